"""The protocol check of many records: those behind the accuracies of tables, and its printers: text, JSON, JUnit."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from experiments.spec import ArchitectureTable, Table
from results import junit
from results.compliance import Check, Status
from results.evidence import Evidence
from results.records import Record

STATUSES: tuple[Status, ...] = ("kept", "departs", "not checkable", "not trained here")


@dataclass(frozen=True)
class Audited:
    """A record at `place` under the records' folder, the rows that show its numbers, and what was found."""

    place: str
    targets: tuple[str, ...]
    check: Check


@dataclass(frozen=True)
class Audit:
    """`problems`: files that are no evidence."""

    records: tuple[Audited, ...]
    problems: tuple[str, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """No record departs, and every file of the evidence is valid."""
        return not self.problems and all(one.check.status != "departs" for one in self.records)

    @property
    def summary(self) -> dict[str, Any]:
        """Records by status."""
        counts = {status: sum(one.check.status == status for one in self.records) for status in STATUSES}
        return {
            "ok": self.ok,
            "records": {status: number for status, number in counts.items() if number},
            "problems": list(self.problems),
        }

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`."""
        return {"records": [_plain(one) for one in self.records], "summary": self.summary}

    def to_text(self) -> str:
        """A line a record, then a line of totals."""
        lines = [f"{one.place}: {one.check.text}" for one in self.records]
        lines += [f"EVIDENCE  {problem}" for problem in self.problems]
        counts = ", ".join(f"{number} {status}" for status, number in self.summary["records"].items())
        return "\n".join([*lines, f"{len(self.records)} records: {counts}" if counts else "nothing is recorded yet"])

    def to_junit(self, path: Path) -> Path:
        """A case a record: one that departs is a failure, one that cannot be checked is skipped."""
        cases = [
            junit.case("protocol", one.place, _OUTCOMES.get(one.check.status, "system-out"), one.check.text)
            for one in self.records
        ]
        problems = [
            junit.case("evidence", f"problem {number}", "failure", text)
            for number, text in enumerate(self.problems, start=1)
        ]
        return junit.write(
            path, "pyconv verify --protocol", [("protocol", cases), ("evidence", problems)], self.seconds
        )


_OUTCOMES: dict[Status, junit.Outcome] = {
    "departs": "failure",
    "not checkable": "skipped",
    "not trained here": "skipped",
}


def audit(tables: Iterable[Table | ArchitectureTable], evidence: Evidence) -> Audit:
    """The check of every record behind an accuracy of `tables`, of all seeds and of weights from files, each once."""
    start = perf_counter()
    found: dict[str, tuple[Record, list[str]]] = {}
    for table in tables:
        if isinstance(table, Table):
            for target, record in _recorded(table, evidence):
                found.setdefault(evidence.place(record), (record, []))[1].append(target)
    records = tuple(
        Audited(place, tuple(dict.fromkeys(targets)), evidence.check(record))
        for place, (record, targets) in found.items()
    )
    return Audit(records, evidence.problems, perf_counter() - start)


def _recorded(table: Table, evidence: Evidence) -> Iterator[tuple[str, Record]]:
    """The records behind the table's accuracies, each with the row's target."""
    for row in table.rows:
        protocols = dict.fromkeys(table.protocol(row, column) for column in table.columns)
        for protocol in protocols:
            if row.experiment is not None and protocol is not None:
                found = [*evidence.seeds(row.experiment, protocol), *evidence.from_files(row.experiment, protocol)]
                yield from ((table.target(row), record) for record in found)


def _plain(one: Audited) -> dict[str, Any]:
    found = one.check
    return {
        "record": one.place,
        "targets": list(one.targets),
        "status": found.status,
        "departures": [{**asdict(departure), "text": departure.text} for departure in found.departures],
        "told": list(found.told),
        "silent": list(found.silent),
    }
