"""The counts that the paper prints, as values to check, and the records of what was counted for them."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import experiments
from experiments.columns import FLOPS, PARAMS
from experiments.spec import ArchitectureTable, Column, Published, Row, Table, digest, resolved
from pyconv.architectures import Network
from results import provenance
from results.evidence import Evidence
from results.records import AlreadyRecorded, CountRecord, count_path, write

Progress = Callable[[int, int, str], None]
Key = tuple[str, tuple[int, ...]]
"""A distinct (network, input size): the digest of the description and (C, H, W) or (C, T, H, W)."""


@dataclass(frozen=True)
class Printed:
    """One printed count: where it stands, what is printed there, and of which network."""

    table: str
    row: str
    group: str
    network: Network
    input_size: tuple[int, ...]
    column: Column
    published: float | None
    reference: float | None

    @cached_property
    def key(self) -> Key:
        """What is counted for this cell; cells of one key are counted once."""
        return digest(self.network), self.input_size

    @property
    def target(self) -> str:
        """How the ledger names the cell: `table3/resnet/50/params`."""
        return "/".join(part for part in (self.table, self.row, self.group, self.column.key) if part)


def record_counts(
    tables: Iterable[Table | ArchitectureTable], root: Path, *, progress: Progress | None = None
) -> list[Path]:
    """Count what has no record under `root` yet, in all conventions, and write it once; the files written."""
    from pyconv.complexity import CONVENTIONS as ALL  # torch takes seconds
    from pyconv.complexity import count, stage_outputs

    evidence = Evidence.load(root)
    missing = {
        entry.key: entry for entry in printed_counts(tables) if evidence.count(entry.network, entry.input_size) is None
    }
    shown = {digest(network) for network in architectures(experiments.tables())}
    code, environment = provenance.code(), provenance.environment("meta")
    written = []
    for number, ((name, size), entry) in enumerate(missing.items(), start=1):
        complexity = count(entry.network, size, ALL)
        own_size = size == entry.network.input_size
        record = CountRecord(
            name=entry.network.name,
            network=resolved(entry.network),
            network_digest=name,
            input_size=list(size),
            params=complexity.params,
            flops=complexity.flops,
            stages=stage_outputs(entry.network) if name in shown and own_size else [],
            code=code,
            environment=environment,
        )
        with suppress(AlreadyRecorded):  # another process was faster: the first record stands
            written.append(write(record, count_path(root, entry.network, size)))
        if progress is not None:
            progress(number, len(missing), entry.network.name)
    return written


def printed_counts(tables: Iterable[Table | ArchitectureTable]) -> Iterator[Printed]:
    """Every cell of `tables` that is a count of a network of our own, row by row."""
    for table in tables:
        if isinstance(table, ArchitectureTable):
            for header, experiment, params, flops in table.networks:
                network = experiment.model
                for column, published in ((PARAMS, params), (FLOPS, flops)):
                    yield Printed(table.name, header, "", network, network.input_size, column, published, None)
            continue
        for row, column, value in table.cells():
            if row.experiment is not None and column.metric in ("params", "flops"):
                yield _printed(table, row, column, value, row.experiment.model)


def _printed(table: Table, row: Row, column: Column, value: Published, network: Network) -> Printed:
    published = value if isinstance(value, (int, float)) else None
    size = column.input_size or network.input_size
    reference = dict(row.reference).get(column.key)
    return Printed(table.name, row.key, row.group, network, size, column, published, reference)


def architectures(tables: Iterable[Table | ArchitectureTable]) -> list[Network]:
    """The networks of Tables 1 and 9."""
    found = [table for table in tables if isinstance(table, ArchitectureTable)]
    return [experiment.model for table in found for _, experiment, _, _ in table.networks]
