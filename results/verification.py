"""What `verify` found: one cell a count, a summary, and its printers: JSON, JUnit, Markdown, a terminal's table."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from experiments.columns import PAPER_CONVENTION
from results import junit
from results.verdict import Verdict

# Of several verdicts on one thing the first of these that occurs is the thing's.
WORST: tuple[Verdict, ...] = ("FAILED", "PENDING", "DEVIATION", "MATCH")


@dataclass(frozen=True)
class Cell:
    """One count: `measured` the raw integer; `published`, `reference` and `delta` in the column's printed unit.

    `network`: the label of a distinct (network, input size). `convention` None: parameters. `published` None: nothing
    readable is printed; `reference`: the computed number that stands in its place.
    """

    table: str
    row: str
    group: str
    network: str
    metric: str
    convention: str | None
    published: float | None
    measured: int | None
    delta: float | None
    verdict: Verdict
    reason: str
    reference: float | None = None

    @property
    def target(self) -> str:
        """`table3/resnet/50`: the row that the cell stands in."""
        return "/".join(part for part in (self.table, self.row, self.group) if part)

    @property
    def name(self) -> str:
        """What is counted, of which network: `resnet50 params`, `resnet50 flops thop-2019`."""
        return " ".join(part for part in (self.network, self.metric, self.convention) if part)


@dataclass(frozen=True)
class Verification:
    """All cells in page order; `networks`: the distinct (network, input size); `problems`: of the evidence."""

    cells: tuple[Cell, ...]
    networks: tuple[str, ...]
    problems: tuple[str, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """No count has drifted and every file of the evidence is valid."""
        return not self.problems and all(cell.verdict != "FAILED" for cell in self.cells)

    @property
    def pairs(self) -> dict[str, Verdict]:
        """The verdict on the printed (params, GFLOPs) pair of each distinct (network, input size)."""
        params: dict[str, list[Verdict]] = {}
        flops: dict[str, list[Verdict]] = {}
        for cell in self.cells:
            if cell.convention in (None, PAPER_CONVENTION):
                found = flops if cell.convention else params
                found.setdefault(cell.network, []).append(cell.verdict)
        # A network has the same parameters at every input size.
        return {
            network: _worst([*verdicts, *params.get(network, []), *params.get(network.partition("@")[0], [])])
            for network, verdicts in flops.items()
        }

    @property
    def summary(self) -> dict[str, Any]:
        """Cells and distinct pairs by verdict, problems, seconds."""
        return {
            "ok": self.ok,
            "cells": _by_verdict(cell.verdict for cell in self.cells),
            "pairs": _by_verdict(self.pairs.values()),
            "networks": len(self.networks),
            "problems": list(self.problems),
            "seconds": round(self.seconds, 2),
        }

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`: every cell and the summary."""
        return {"cells": [asdict(cell) for cell in self.cells], "summary": self.summary}

    def to_junit(self, path: Path) -> Path:
        """A JUnit file: a suite a table, a case a cell; FAILED is a failure, PENDING is skipped."""
        suites = [
            (table, [_case(cell) for cell in self.cells if cell.table == table])
            for table in dict.fromkeys(cell.table for cell in self.cells)
        ]
        problems = [
            junit.case("evidence", f"problem {number}", "failure", text)
            for number, text in enumerate(self.problems, start=1)
        ]
        return junit.write(path, "pyconv verify", [*suites, ("evidence", problems)], self.seconds)

    def to_summary(self) -> str:
        """Markdown for a pull request or a GitHub step summary: the verdict, what is not a MATCH, and every row."""
        lines = [f"## Counts of the paper: {'ok' if self.ok else 'FAILED'}", "", self.headline(), ""]
        for cell in self._told():
            lines.append(f"- **{cell.verdict}** {_markdown(f'{cell.target} {cell.name}: {cell.reason}')}")
        lines += [f"- **evidence** {_markdown(problem)}" for problem in self.problems]
        table = _table([[_markdown(text) for text in line] for line in self._lines()], "pipe")
        return "\n".join([*lines, "", "<details><summary>All rows</summary>", "", table, "", "</details>", ""])

    def to_text(self) -> str:
        """For a terminal: a line a row of the paper, then the reason of everything that is not a MATCH."""
        notes = [f"{cell.verdict}  {cell.target}  {cell.name}: {cell.reason}" for cell in self._told()]
        problems = [f"EVIDENCE  {problem}" for problem in self.problems]
        return "\n".join([_table(self._lines(), "simple"), "", *notes, *problems, self.headline()])

    def headline(self) -> str:
        """One line: distinct pairs and cells by verdict, seconds."""
        pairs = _words(self.summary["pairs"])
        cells = _words(self.summary["cells"])
        return (
            f"{len(self.pairs)} distinct (params, GFLOPs) pairs: {pairs}; {len(self.cells)} cells: {cells}; "
            f"{self.seconds:.1f} s"
        )

    def _told(self) -> list[Cell]:
        """What is not a MATCH, each reason once a network, and the computed references."""
        told: dict[tuple[str, str], Cell] = {}
        for cell in self.cells:
            if cell.verdict != "MATCH" or cell.reference is not None:
                told.setdefault((cell.name, cell.reason), cell)
        return sorted(told.values(), key=lambda cell: WORST.index(cell.verdict))

    def _lines(self) -> list[list[str]]:
        """A line a row and input size: printed and counted parameters and FLOPs, and the worst verdict."""
        rows: dict[tuple[str, str], list[Cell]] = {}
        for cell in self.cells:
            if cell.metric == "flops":
                rows.setdefault((cell.target, cell.network), []).append(cell)
        params = {cell.target: cell for cell in self.cells if cell.metric == "params"}
        return [_line(target, params.get(target), cells) for (target, _), cells in rows.items()]


_HEADER = ["row", "network", "params M", "counted", "GFLOPs", PAPER_CONVENTION, "macs", "fvcore", "verdict"]


def _line(target: str, params: Cell | None, flops: list[Cell]) -> list[str]:
    by_convention = {cell.convention: cell for cell in flops}
    numbers = [_integer(cell.measured if (cell := by_convention.get(key)) else None) for key in _HEADER[5:8]]
    verdict = _worst([cell.verdict for cell in (*flops, *([params] if params else []))])
    counted = _integer(params.measured if params else None)
    return [
        target,
        flops[0].network,
        _shown(params),
        counted,
        _shown(by_convention.get(PAPER_CONVENTION)),
        *numbers,
        verdict,
    ]


def _integer(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


def _shown(cell: Cell | None) -> str:
    """The printed number; a computed reference in brackets."""
    if cell is None or (cell.published is None and cell.reference is None):
        return "-"
    return f"[{cell.reference:.2f}]" if cell.published is None else f"{cell.published:.2f}"


def _table(lines: list[list[str]], layout: str) -> str:
    from tabulate import tabulate  # only where a table is shown

    alignment = ("left", "left", "right", "right", "right", "right", "right", "right", "left")
    return str(tabulate(lines, headers=_HEADER, tablefmt=layout, colalign=alignment, disable_numparse=True))


def _case(cell: Cell) -> ElementTree.Element:
    if cell.verdict == "FAILED":
        return junit.case(cell.target, cell.name, "failure", cell.reason)
    if cell.verdict == "PENDING":
        return junit.case(cell.target, cell.name, "skipped", cell.reason)
    return junit.case(cell.target, cell.name, "system-out", f"{cell.verdict}: {cell.reason}")


def _markdown(text: str) -> str:
    return re.sub(r"([\\|<>*_`#])", r"\\\1", junit.printable(text)).replace("\n", " ")


def _worst(verdicts: Iterable[Verdict]) -> Verdict:
    present = set(verdicts)
    return next(verdict for verdict in WORST if verdict in present)


def _by_verdict(verdicts: Iterable[Verdict]) -> dict[str, int]:
    counts = Counter(verdicts)
    return {verdict: counts[verdict] for verdict in reversed(WORST) if counts[verdict]}


def _words(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {verdict}" for verdict, number in counts.items()) or "none"
