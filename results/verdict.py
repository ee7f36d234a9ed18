"""Measured against published: one verdict a cell, with its reason, the delta and the band the delta was held against.

**Counts** are exact: MATCH when the raw integer, rounded half up, has the printed digits; else DEVIATION when the
ledger knows exactly this integer, else FAILED.

**Measurements.** The mean x over k runs (seeds) is held against the printed number p; delta = x - p. Under the null
hypothesis p is one more run of the same experiment, tested on as many images. MATCH: x rounds to the printed digits.
Otherwise |delta| <= band: INCONCLUSIVE, the numbers agree within the noise, which is all that can be said. Otherwise
BETTER or WORSE by the column's direction. The band is that of `results.noise.of_delta`: printed rounding, error of the
evaluation on both sides, spread over seeds (a t-interval; for one seed an assumed spread, and the reason says so).

**Many cells.** All m measured cells of a table are one family, tested together at `LEVEL` = 5% by Holm's step-down rule
(`results.holm`): the chance that one or more truly equal cells of a table are called BETTER or WORSE is at most 5%,
at most 2.5% for WORSE alone, and a cell's band is the one at its own level, between 5% / m and 5%.

**Power.** What a cell can see is computed (`results.power`), told beside it as `detectable`, and simulated in tests.
On 50,000 images near 22% error, one seed, the loss that is called WORSE in 80% of all cases is 0.9 points for a cell
tested alone and 1.2 among 16. Half a point is seen in 34% of single cells: the paper's one run leaves no more. Half a
point lost by all eight rows of a table is seen in over 95% (`results.trend`). Between two rows measured on the same
images it is seen in 57% with one seed each and in over 80% with five (`results.pairs`), between two given checkpoints
in over 90% (`results.paired`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from statistics import fmean
from typing import Literal

from experiments.spec import Column
from results.deviations import Deviation
from results.noise import ENOUGH, LEVEL, RERUN_SD, Noise, Spread, of_delta

Verdict = Literal["MATCH", "BETTER", "WORSE", "INCONCLUSIVE", "DEVIATION", "QUOTED", "EXTERNAL", "PENDING", "FAILED"]


@dataclass(frozen=True)
class Judgement:
    """`delta` = measured - published in the printed unit; `band`: the largest |delta| that noise explains."""

    verdict: Verdict
    reason: str
    delta: float | None
    band: float | None


@dataclass(frozen=True)
class Delta:
    """A measured mean against a printed number: `value` = measured - published, what noise explains, and in words why.

    `same_digits`: the mean has the printed digits. `told`: on how many seeds and samples it rests.
    """

    value: float
    noise: Noise
    same_digits: bool
    told: str

    @property
    def p(self) -> float:
        """The two-sided p-value of `value`, by itself."""
        return self.noise.p(self.value)


def printed(raw: float | int, column: Column) -> Decimal:
    """A raw measurement in the column's unit with the column's decimals, rounded half up as on paper."""
    exact = Decimal(raw) / Decimal(column.scale) if isinstance(raw, int) else Decimal(repr(raw / column.scale))
    return exact.quantize(Decimal(1).scaleb(-column.decimals), ROUND_HALF_UP)


def count_verdict(measured_raw: int, published: float, column: Column, deviation: Deviation | None) -> Judgement:
    """MATCH: the count has the printed digits. DEVIATION: it is the integer that the ledger expects. Else FAILED."""
    page = Decimal(repr(published)).quantize(Decimal(1).scaleb(-column.decimals), ROUND_HALF_UP)
    ours = printed(measured_raw, column)
    delta = float(Decimal(measured_raw) / Decimal(column.scale) - Decimal(repr(published)))
    band = 0.5 * 10.0**-column.decimals
    if ours == page:
        return Judgement("MATCH", f"{measured_raw:,} is {ours} {column.unit} to the last printed digit", delta, band)
    told = f"counted {measured_raw:,} = {ours} {column.unit}, printed {page}"
    if deviation is not None and deviation.expected in (None, measured_raw):
        return Judgement("DEVIATION", f"{told}: {deviation.reason}", delta, band)
    if deviation is not None:
        told += f"; the ledger ({deviation.key}) expects {deviation.expected:,}"
    return Judgement("FAILED", told, delta, band)


def compared(
    values: Sequence[float], se: float | None, n: int, published: float, column: Column, pool: Spread | None = None
) -> Delta:
    """The mean of the seeds' `values` (printed unit; tests with `se` on `n` images) against the printed number.

    `n` 0: not told. `pool`: the spread of all seeds of the recipe.
    """
    mean = fmean(values)
    same = printed(mean * column.scale, column) == printed(published * column.scale, column)
    noise = of_delta(values, se, n, published, column, pool)
    tested = f"n = {n:,}" if n else "n not told"
    told = f"{_seeds(values, column, pool)}, {tested}" + (", evaluation noise not known" if se is None else "")
    return Delta(mean - published, noise, same, told)


def measured_verdict(
    delta: Delta, column: Column, deviation: Deviation | None, level: float = LEVEL, tested: int = 1
) -> Judgement:
    """The verdict on a measurement, by the rule of this module, at its own `level` among `tested` cells."""
    band = delta.noise.band(level)
    told = delta.told if tested == 1 else f"{delta.told}; {tested} cells tested together"
    if delta.same_digits:
        return Judgement("MATCH", f"the printed digits ({told})", delta.value, band)
    digits = max(2, column.decimals)
    size = f"{delta.value:+.{digits}f} with a band of ±{band:.{digits}f}"
    if abs(delta.value) <= band:
        reason = f"{size}: agrees within the noise, which is all it says ({told})"
        return Judgement("INCONCLUSIVE", reason, delta.value, band)
    if deviation is not None:
        return Judgement("DEVIATION", f"{size}: {deviation.reason}", delta.value, band)
    better = (delta.value < 0) == (column.better == "lower")
    return Judgement("BETTER" if better else "WORSE", f"{size}: more than the noise ({told})", delta.value, band)


def _seeds(values: Sequence[float], column: Column, pool: Spread | None) -> str:
    """On how many seeds a number rests, and where its spread is from."""
    k = len(values)
    seeds = "one seed" if k == 1 else f"{k} seeds"
    if k == 1 and (pool is None or pool.degrees < ENOUGH):
        return f"{seeds}; a re-run's standard deviation is assumed to be {RERUN_SD[column.noise]:.2f}"
    if pool is None or pool.degrees == k - 1:
        return seeds
    return f"{seeds}; spread {pool.sd:.2f} from all seeds of the recipe ({pool.degrees} degrees of freedom)"
