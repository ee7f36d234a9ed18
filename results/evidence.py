"""All the evidence under one folder: every valid record by its place, and the files that are none, with the reason."""

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from experiments.spec import Experiment, Protocol, digest, family, fingerprint
from pyconv.architectures import Network
from results.by_hand import Entered, read_by_hand
from results.compliance import Check, check
from results.digests import digest_of
from results.reading import read_each
from results.records import (
    AnyRecord,
    CountRecord,
    ExternalRecord,
    Record,
    RecordError,
    default_root,
    identity,
    places,
    size_text,
)
from results.sides import Sides

MANY = 1000  # files
_TWICE = "a second record of one measurement; keep the right one of the two folders"


@dataclass(frozen=True)
class Evidence:
    """Every valid record under `root`, by its place; `problems`: files that are not evidence, and why.

    `released`: records of weights that were not trained here; no training counts as done because of them.
    `external`: what test servers answered, entered by hand. `by_hand`: printed numbers that our copy of the paper lost,
    by the target of their cells.
    """

    root: Path
    records: Mapping[str, Record] = field(default_factory=dict)
    counts: Mapping[str, CountRecord] = field(default_factory=dict)
    released: Mapping[str, Record] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    external: Mapping[str, ExternalRecord] = field(default_factory=dict)
    by_hand: Mapping[str, Entered] = field(default_factory=dict)

    @classmethod
    def load(cls, root: Path | None = None) -> "Evidence":
        """Read every record under `root` (default: `default_root()`); a missing folder is no evidence, not an error."""
        root = default_root() if root is None else root
        found: dict[str, AnyRecord] = {}
        problems: list[str] = []
        known: set[tuple[str, ...]] = set()
        there = places(root)
        with _no_collector(len(there)):
            for place, read in zip(there, read_each([root / place for place in there]), strict=True):
                if not place.isascii() and (told := place.encode(errors="replace").decode()) != place:
                    problems.append(f"{told}: the name is not UTF-8 text, no page could show it; rename file or folder")
                elif isinstance(read, RecordError):
                    problems.append(str(read).replace(str(root / place), place))
                elif (measured := identity(read)) in known:
                    problems.append(f"{place}: {_TWICE}")
                else:
                    known.add(measured)
                    found[place] = read
        by_hand, faults = read_by_hand(root)
        runs = {place: record for place, record in found.items() if isinstance(record, Record)}
        return cls(
            root,
            {place: record for place, record in runs.items() if not record.released},
            {place: record for place, record in found.items() if isinstance(record, CountRecord)},
            {place: record for place, record in runs.items() if record.released},
            (*problems, *faults),
            {place: record for place, record in found.items() if isinstance(record, ExternalRecord)},
            by_hand,
        )

    def measurement(self, experiment: Experiment, protocol: Protocol) -> Record | None:
        """The record of exactly this run (its seed included) under exactly this protocol."""
        wanted = fingerprint(experiment)
        return next((r for r in self.seeds(experiment, protocol) if r.fingerprint == wanted), None)

    def seeds(self, experiment: Experiment, protocol: Protocol) -> list[Record]:
        """The records of this run and of those that differ from it in the seed only, by seed."""
        return list(self._measurements.get((family(experiment), digest(protocol)), []))

    def from_files(self, experiment: Experiment, protocol: Protocol) -> list[Record]:
        """The records of weights that were not trained here, of this run's network and recipe, in their places' order.

        They stand for no seed, so those of the family's other seeds are among them.
        """
        wanted = (family(experiment), digest(protocol))
        return [r for _, r in sorted(self.released.items()) if (r.family, digest_of(r.protocol)) == wanted]

    def answers(self, experiment: Experiment, protocol: Protocol) -> list[ExternalRecord]:
        """A test server's answers about this run and those of other seeds, by seed; weights from files come last."""
        wanted = (family(experiment), digest(protocol))
        found = [r for r in self.external.values() if (r.family, digest_of(r.protocol)) == wanted]
        return sorted(found, key=lambda record: (record.released, record.seed, record.run))

    def count(self, network: Network, input_size: tuple[int, ...] | None = None) -> CountRecord | None:
        """The counts of `network` at `input_size` (default: its own)."""
        return self._networks.get((digest(network), size_text(input_size or network.input_size)))

    def place(self, record: AnyRecord) -> str:
        """The path under `root` of a record of this evidence."""
        return self._places[id(record)]

    def check(self, record: Record) -> Check:
        """The protocol check of a record of this evidence; it stands in several cells and is checked once."""
        if id(record) not in self._checks:
            self._checks[id(record)] = check(record)
        return self._checks[id(record)]

    @cached_property
    def sides(self) -> Sides:
        """The trainings' records as sides of comparisons image by image."""
        return Sides(self.records)

    @cached_property
    def _checks(self) -> dict[int, Check]:
        return {}

    @cached_property
    def _places(self) -> dict[int, str]:
        return {id(record): place for place, record in self.all()}

    def all(self) -> list[tuple[str, AnyRecord]]:
        """Every record of whatever kind, with its place."""
        return [*self.records.items(), *self.released.items(), *self.counts.items(), *self.external.items()]

    @cached_property
    def _measurements(self) -> dict[tuple[str, str], list[Record]]:
        groups: dict[tuple[str, str], list[Record]] = {}
        for record in sorted(self.records.values(), key=lambda record: record.seed):
            groups.setdefault((record.family, digest_of(record.protocol)), []).append(record)
        return groups

    @cached_property
    def _networks(self) -> dict[tuple[str, str], CountRecord]:
        return {(count.network_digest, size_text(count.input_size)): count for count in self.counts.values()}


@contextmanager
def _no_collector(files: int) -> Iterator[None]:
    """Without the collector of cycles, which records have none of: it costs a third of the time of reading many.

    Where many files are read it does not look at what is there again later either: all of it lives as long as the
    evidence, and each look at millions of objects takes as long as a table.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
        if files >= MANY:
            gc.freeze()
    finally:
        if was_on:
            gc.enable()
