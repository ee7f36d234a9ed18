"""Every row of a table against its first one, on the same images: the paper's comparisons, sharper than its numbers.

With a record on either side that says which images were right, the difference of two error rates over k and l seeds has
McNemar's standard error in the place of two binomial ones (`results.paired.difference_se`) and the spread of both means
over seeds (`results.noise.of_seeds`, pooled over the table). All pairs of a table are one family, tested together at 5%
by Holm's rule. Half a point between two networks that differ on every tenth of 50,000 images is seen in 60% of single
runs with the spread assumed for one seed, in over 80% with five seeds, and in over 90% between two checkpoints.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from experiments.spec import ArchitectureTable, Column, Row, Table
from results.cell import Cell
from results.holm import adjusted, levels
from results.noise import LEVEL, Noise
from results.paired import compare, difference_se
from results.records import Evidence, Record

Word = Literal["better", "worse", "within the noise"]


@dataclass(frozen=True)
class Pair:
    """`row` against `baseline` in `column`: differences in points, negative where the row errs less.

    `published`: of the printed numbers, None where one is not readable. `half`: half the interval of `difference` at
    the pair's own level. `discordant`: of one record a side, images that only the row, only the baseline got right, and
    the exact McNemar p-value of these two checkpoints.
    """

    table: str
    row: str
    label: str
    baseline: str
    column: Column
    group: str
    n: int
    seeds: tuple[int, int]
    published: float | None
    difference: float
    half: float
    p: float
    adjusted: float
    discordant: tuple[int, int, float] | None

    @property
    def word(self) -> Word:
        """Whether the row differs, and to which side."""
        if abs(self.difference) <= self.half:
            return "within the noise"
        return "better" if (self.difference < 0) == (self.column.better == "lower") else "worse"


def pairs(tables: Iterable[Table | ArchitectureTable], cells: Sequence[Cell], evidence: Evidence) -> list[Pair]:
    """The pairs of all `tables` whose records can be compared image by image, in page order."""
    found: list[Pair] = []
    for table in tables:
        if isinstance(table, Table):
            own = {(c.row, c.group, c.column.key): c for c in cells if c.table == table.name}
            found += _together(list(_measured(table, own, evidence)))
    return found


def _measured(
    table: Table, cells: dict[tuple[str, str, str], Cell], evidence: Evidence
) -> Iterator[tuple[Cell, Cell, Row, float, Noise, tuple[int, int, float] | None]]:
    for row in table.rows:
        baseline = next(other for other in table.rows if other.group == row.group)
        for column in table.columns:
            ours, theirs = cells[row.key, row.group, column.key], cells[baseline.key, row.group, column.key]
            if row is baseline or column.noise != "binomial" or not (ours.seeds and theirs.seeds):
                continue
            sides = [[evidence.records[place] for place in cell.records] for cell in (ours, theirs)]
            try:
                noise = Noise(normal=difference_se(sides[0], sides[1], column.metric))
            except ValueError:  # the records cannot be paired; `pyconv show` says why
                continue
            noise += (ours.seed_noise or Noise()) + (theirs.seed_noise or Noise())
            assert ours.measured is not None
            assert theirs.measured is not None
            yield ours, theirs, baseline, ours.measured - theirs.measured, noise, _discordant(sides, column)


def _together(
    found: Sequence[tuple[Cell, Cell, Row, float, Noise, tuple[int, int, float] | None]],
) -> list[Pair]:
    p = [noise.p(difference) for _, _, _, difference, noise, _ in found]
    return [
        Pair(
            ours.table,
            ours.row,
            ours.label,
            baseline.label,
            ours.column,
            ours.group,
            ours.n or 0,
            (ours.seeds, theirs.seeds),
            _published(ours, theirs),
            difference,
            noise.band(level),
            own,
            corrected,
            discordant,
        )
        for (ours, theirs, baseline, difference, noise, discordant), own, corrected, level in zip(
            found, p, adjusted(p), levels(p, LEVEL), strict=True
        )
    ]


def _published(ours: Cell, theirs: Cell) -> float | None:
    numbers = [cell.published for cell in (ours, theirs)]
    if not all(isinstance(number, (int, float)) for number in numbers):
        return None
    return float(numbers[0] or 0) - float(numbers[1] or 0)


def _discordant(sides: Sequence[Sequence[Record]], column: Column) -> tuple[int, int, float] | None:
    if any(len(side) != 1 for side in sides):
        return None
    paired = compare(sides[0][0], sides[1][0], column.metric)
    return paired.b, paired.c, paired.p
