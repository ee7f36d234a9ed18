"""The networks of a report with what was counted and measured of each: what model cards and model zoos list.

One `Model` is one training (its seeds together), in whatever tables it stands: PyConvResNet-50 of Tables 2, 3 and 4 is
one. Printed numbers of the paper are not in here.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from experiments.columns import PAPER_CONVENTION
from experiments.spec import Experiment, Protocol, Table, family
from results.cell import Cell
from results.cells import COUNT_METRICS
from results.files import safe_name
from results.gather import Report
from results.records import Record


@dataclass(frozen=True)
class Tested:
    """What was measured by one `protocol`: a cell a metric, and the records behind them; a test server's has none."""

    protocol: Protocol
    cells: tuple[Cell, ...]
    records: tuple[Record, ...]

    @property
    def places(self) -> tuple[str, ...]:
        """Where the records are, under the records' folder."""
        return tuple(dict.fromkeys(place for cell in self.cells for place in cell.records))

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader of the numbers alone must know: the footnotes and departures that the tables show."""
        return tuple(dict.fromkeys(text for cell in self.cells for text in cell.footnotes))

    @property
    def revision(self) -> str | None:
        """The hash of the data's manifest, if it is the same for all records."""
        found = {record.data["splits"].get(self.protocol.split, {}).get("sha256") for record in self.records}
        return found.pop() if len(found) == 1 else None


@dataclass(frozen=True)
class Model:
    """`params`, `flops`: exact integers (FLOPs under the paper's convention, at the network's own size) or None."""

    experiment: Experiment
    mini: bool
    params: int | None
    flops: int | None
    tests: tuple[Tested, ...]

    @property
    def name(self) -> str:
        """As the folder of its records: `imagenet-pyconvresnet50-5521ff5e1e0f`."""
        return f"{safe_name(self.experiment.name)}-{family(self.experiment)}"


def models(report: Report) -> list[Model]:
    """Every training of the report's tables, in their order."""
    found: dict[str, tuple[Experiment, bool]] = {}
    tests: dict[str, dict[Protocol, dict[str, Cell]]] = {}
    for experiment, protocol, cell, mini in _cells(report):
        key = family(experiment)
        found.setdefault(key, (experiment, mini))
        if protocol is not None and cell is not None and cell.measured is not None:
            tests.setdefault(key, {}).setdefault(protocol, {}).setdefault(cell.column.metric, cell)
    return [_model(report, *found[key], tests.get(key, {})) for key in found]


def _cells(report: Report) -> Iterator[tuple[Experiment, Protocol | None, Cell | None, bool]]:
    """The experiment and protocol of each cell; None where there is no test or no cell of its own."""
    cells = {(cell.table, cell.row, cell.group, cell.column.key): cell for cell in report.cells}
    for table in report.tables:
        if not isinstance(table, Table):
            for _, experiment, *_ in table.networks:
                yield experiment, None, None, False
            continue
        for row, column, _ in table.cells():
            if row.experiment is not None:
                cell = cells.get((table.name, row.key, row.group, column.key))
                protocol = None if column.metric in COUNT_METRICS else table.protocol(row, column)
                yield row.experiment, protocol, cell, table.mini


def _model(report: Report, experiment: Experiment, mini: bool, tests: dict[Protocol, dict[str, Cell]]) -> Model:
    evidence = report.evidence
    known = {**evidence.records, **evidence.released}
    tested = tuple(
        Tested(
            protocol,
            tuple(cells.values()),
            tuple(known[p] for p in dict.fromkeys(p for cell in cells.values() for p in cell.records) if p in known),
        )
        for protocol, cells in tests.items()
    )
    count = evidence.count(experiment.model)
    if count is not None:
        return Model(experiment, mini, count.params, count.flops.get(PAPER_CONVENTION), tested)
    for record in (record for test in tested for record in test.records if mini):
        flops = record.complexity["flops"].get(PAPER_CONVENTION)
        return Model(experiment, mini, record.complexity["params"], flops, tested)
    return Model(experiment, mini, None, None, tested)
