"""A column of a table as a whole: is it shifted against the printed one, although no single cell shows it?

With delta_i the deltas of the m measured rows of a column, each with its noise (`results.noise.of_delta`), the mean
delta has the noise

    rounding h,   normal sqrt(sum E_i^2) / m,   student sqrt(sum S_i^2) / m

Errors shared by all rows would not average out. Images are shared, but by the printed numbers too, so what is hard in
them cancels in every delta; therefore only cells count that were tested on as many images as their protocol has, which
is the paper's own test set. The columns of a table are one family, tested together at 5% by Holm's rule. This is where
half a point shows that every row of a table lost: eight rows of one seed see it in over 95% of all cases.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from statistics import fmean

from experiments.spec import Column, Table
from results.cell import Cell
from results.holm import adjusted, levels
from results.noise import LEVEL, Noise, half_digit
from results.verdict import Verdict


@dataclass(frozen=True)
class Trend:
    """The mean `delta` of `rows` measured rows of `column`, in the printed unit, and what it is held against."""

    column: Column
    rows: int
    delta: float
    band: float
    p: float
    adjusted: float
    verdict: Verdict

    @property
    def text(self) -> str:
        """`test crop: 224x224 top-1 +0.05 ± 0.38`, with the number of rows."""
        digits = max(2, self.column.decimals)
        name = " ".join(part for part in (self.column.group, self.column.header) if part)
        return f"{name} {self.delta:+.{digits}f} ± {self.band:.{digits}f} ({self.rows} rows)"


def told(found: Sequence[Trend]) -> list[str]:
    """The trends as remarks below a table, a sentence a verdict."""
    words: dict[Verdict, str] = {
        "WORSE": "worse than the printed column by more than the noise",
        "BETTER": "better than the printed column by more than the noise",
        "INCONCLUSIVE": "the printed column within the noise",
    }
    return [
        f"All measured rows of a column together, mean delta and its band: {', '.join(texts)}: {said}."
        for verdict, said in words.items()
        if (texts := [trend.text for trend in found if trend.verdict == verdict])
    ]


def trends(table: Table, cells: Sequence[Cell]) -> list[Trend]:
    """The columns of `table` of which two rows or more are measured on the paper's own test set."""
    samples = {
        f"{table.target(row)}/{column.key}": protocol.samples
        for row, column, _ in table.cells()
        if (protocol := table.protocol(row, column)) is not None
    }
    found = []
    for column in table.columns:
        same = [c for c in cells if c.column == column and c.test and c.n == samples.get(c.target)]
        if len(same) > 1:
            found.append((column, len(same), fmean(c.test.value for c in same if c.test), _mean_noise(same)))
    p = [noise.p(delta) for _, _, delta, noise in found]
    return [
        Trend(column, rows, delta, noise.band(level), own, corrected, _verdict(delta, noise.band(level), column))
        for (column, rows, delta, noise), own, corrected, level in zip(
            found, p, adjusted(p), levels(p, LEVEL), strict=True
        )
    ]


def _mean_noise(cells: Sequence[Cell]) -> Noise:
    noises = [cell.test.noise for cell in cells if cell.test is not None]
    total = reduce(add, noises).scaled(1 / len(noises))
    return Noise(half_digit(cells[0].column), total.normal, total.student, total.degrees)


def _verdict(delta: float, band: float, column: Column) -> Verdict:
    if abs(delta) <= band:
        return "INCONCLUSIVE"
    return "BETTER" if (delta < 0) == (column.better == "lower") else "WORSE"
