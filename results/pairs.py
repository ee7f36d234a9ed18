"""Every row of a table against its first one, on the same images: the paper's comparisons, sharper than its numbers.

With a record on either side that says which images were right, the difference of two error rates over k and l seeds has
McNemar's standard error in the place of two binomial ones (`results.sides`) and the spread of both means
over seeds (`results.noise.of_seeds`, pooled). All pairs of a table are one family, tested together at 5% by Holm's
rule. A pair tested alone, of networks that differ on every tenth of 50,000 images, shows half a point in 57% of cases
with one seed each (an assumed spread), in over 80% with five, and in over 90% as two given checkpoints.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from experiments.spec import Column, Table
from results.cell import Cell
from results.evidence import Evidence
from results.holm import adjusted, levels
from results.noise import LEVEL, Noise
from results.paired import compare

Word = Literal["better", "worse", "within the noise"]
TITLE = "Against the first row, image by image"
HEADINGS = ("", "", "printed", "measured", "band", "p", "")


@dataclass(frozen=True)
class Pair:
    """`row` against `baseline` in `column`: differences in points, negative where the row errs less.

    `published`: of the printed numbers, None where one is not readable. `half`: half the interval of `difference` at
    the pair's own level. `discordant`: of one record a side, images that only the row, only the baseline got right, and
    the exact McNemar p-value of these two checkpoints.
    """

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

    def line(self) -> tuple[str, ...]:
        """As texts below `HEADINGS`: row, column, differences, half interval, corrected p-value, word."""
        digits = max(2, self.column.decimals)
        p = "< 0.001" if self.adjusted < 0.001 else f"{self.adjusted:.3f}"
        return (
            " ".join(part for part in (self.label, self.group) if part),
            self.column.header,
            "" if self.published is None else f"{self.published:+.{digits}f}",
            f"{self.difference:+.{digits}f}",
            f"{self.half:.{digits}f}",
            p,
            self.word,
        )


def explained(found: Sequence[Pair]) -> str:
    """What the lines of a table's pairs are."""
    baseline, n = found[0].baseline, found[0].n
    seeds = sorted({k for pair in found for k in pair.seeds})
    runs = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    return (
        f"Differences from {baseline} in points on the same {n:,} images (McNemar), negative where the row errs less; "
        f"{runs} {'seed' if seeds == [1] else 'seeds'} a side, whose spread is in the band; p by Holm for all "
        f"{len(found)} pairs together."
    )


@dataclass(frozen=True)
class _Found:
    """A pair before all pairs of the table are judged together."""

    ours: Cell
    theirs: Cell
    noise: Noise
    discordant: tuple[int, int, float] | None

    @property
    def difference(self) -> float:
        """Of the measured means, in points."""
        return (self.ours.measured or 0.0) - (self.theirs.measured or 0.0)


def pairs(table: Table, cells: Iterable[Cell], evidence: Evidence) -> list[Pair]:
    """The pairs of `table` whose records can be compared image by image, in page order."""
    own = {(cell.row, cell.group, cell.column.key): cell for cell in cells}
    found = []
    for row in table.rows:
        baseline = next(other for other in table.rows if other.group == row.group)
        for column in table.columns if row is not baseline else ():
            ours, theirs = (own[one.key, row.group, column.key] for one in (row, baseline))
            if column.noise == "binomial" and ours.seeds and theirs.seeds:
                found += _found(ours, theirs, evidence)
    p = [one.noise.p(one.difference) for one in found]
    return [
        _pair(one, p_value, corrected, level)
        for one, p_value, corrected, level in zip(found, p, adjusted(p), levels(p, LEVEL), strict=True)
    ]


def _found(ours: Cell, theirs: Cell, evidence: Evidence) -> list[_Found]:
    """The pair, or nothing where the records cannot be paired (`pyconv show` says why)."""
    metric = ours.column.metric
    try:
        noise = Noise(normal=evidence.sides.difference_se(ours.records, theirs.records, metric))
    except ValueError:
        return []
    noise += (ours.seed_noise or Noise()) + (theirs.seed_noise or Noise())
    discordant = None
    if len(ours.records) == len(theirs.records) == 1:
        left, right = (evidence.records[cell.records[0]] for cell in (ours, theirs))
        paired = compare(left, right, metric)
        discordant = (paired.b, paired.c, paired.p)
    return [_Found(ours, theirs, noise, discordant)]


def _pair(found: _Found, p: float, corrected: float, level: float) -> Pair:
    ours, theirs = found.ours, found.theirs
    return Pair(
        ours.row,
        ours.label,
        theirs.label,
        ours.column,
        ours.group,
        ours.n or 0,
        (ours.seeds, theirs.seeds),
        _published(ours, theirs),
        found.difference,
        found.noise.band(level),
        p,
        corrected,
        found.discordant,
    )


def _published(ours: Cell, theirs: Cell) -> float | None:
    ours_printed, theirs_printed = ours.published, theirs.published
    if isinstance(ours_printed, (int, float)) and isinstance(theirs_printed, (int, float)):
        return ours_printed - theirs_printed
    return None
