"""Two networks on the same images: McNemar's test on the images that one of them gets right and the other does not.

b images are right in the first network only, c in the second only (McNemar, Psychometrika 1947). If both erred
equally often, c would be Binomial(b + c, 1/2): the p-values are exact sums of that distribution in whole numbers,
two-sided by doubling. `mid_p` counts half of the observed outcome's own probability (Lancaster, JASA 1961): the exact
test is conservative.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import comb, sqrt

from experiments.spec import Column, Row, Table
from results.evidence import Evidence
from results.noise import LEVEL, normal_quantile
from results.outcomes import unpack
from results.records import Record
from results.sides import same_images


@dataclass(frozen=True)
class Paired:
    """`n` images, `b` right in the first network only, `c` in the second only. Numbers in points are percent of `n`."""

    n: int
    b: int
    c: int

    def __post_init__(self) -> None:
        if min(self.b, self.c) < 0 or self.n < 1 or self.b + self.c > self.n:
            raise ValueError(f"b = {self.b} and c = {self.c} of n = {self.n}: both from 0 up, together at most n >= 1")

    @property
    def difference(self) -> float:
        """The first network's error minus the second's, in points: (c - b) / n."""
        return 100 * (self.c - self.b) / self.n

    @property
    def se(self) -> float:
        """Standard error of `difference`, in points: sqrt(b + c - (b - c)^2 / n) / n."""
        return 100 * sqrt(self.b + self.c - (self.b - self.c) ** 2 / self.n) / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval of `difference`, in points (normal approximation)."""
        half = normal_quantile(LEVEL) * self.se
        return self.difference - half, self.difference + half

    @property
    def p(self) -> float:
        """Exact two-sided p-value: min(1, 2 P(X <= min(b, c))), X ~ Binomial(b + c, 1/2)."""
        below, own = self._tail
        return min(1.0, (below + own) / 2 ** (self.b + self.c - 1)) if self.b + self.c else 1.0

    @property
    def mid_p(self) -> float:
        """Two-sided mid-p: 2 P(X < min(b, c)) + P(X = min(b, c))."""
        below, own = self._tail
        return (2 * below + own) / 2 ** (self.b + self.c)

    @cached_property
    def _tail(self) -> tuple[int, int]:
        """2^(b + c) times P(X < min(b, c)), and times P(X = min(b, c))."""
        trials, least = self.b + self.c, min(self.b, self.c)
        own = term = comb(trials, least)
        below = 0
        for successes in range(least, 0, -1):
            term = term * successes // (trials - successes + 1)
            below += term
        return below, own


def compare(first: Record, second: Record, metric: str = "top1_err") -> Paired:
    """`metric` of two records image by image; of any protocols, seeds and networks, if the images are the same.

    Raises ValueError saying why two records cannot be paired.
    """
    n = same_images(first, second, metric)
    a, b = (unpack(record.outcomes[metric], n) for record in (first, second))
    return Paired(n, (a & ~b).bit_count(), (b & ~a).bit_count())


def with_baseline(table: Table, row: Row, evidence: Evidence) -> Iterator[tuple[str, str, int, Paired | str]]:
    """The row against the first one of its group: baseline's target, column key, seed, and the comparison.

    Of every seed that both have recorded; a text says why two records cannot be paired.
    """
    baseline = next(other for other in table.rows if other.group == row.group)
    if row is baseline or row.experiment is None or baseline.experiment is None:
        return
    for column in table.columns:
        ours, theirs = table.protocol(row, column), table.protocol(baseline, column)
        if ours is None or theirs is None or column.noise != "binomial":
            continue
        others = {record.seed: record for record in evidence.seeds(baseline.experiment, theirs)}
        for record in evidence.seeds(row.experiment, ours):
            if record.seed in others:
                yield table.target(baseline), column.key, record.seed, _paired(record, others[record.seed], column)


def _paired(first: Record, second: Record, column: Column) -> Paired | str:
    try:
        return compare(first, second, column.metric)
    except ValueError as error:
        return str(error)
