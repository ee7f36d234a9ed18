"""How far two numbers may lie apart when nothing is different: rounding, evaluation and the spread over seeds.

A difference delta of two numbers in the printed unit has three sources of noise:

    rounding   h: half the last printed digit, a bound
    normal     E: a standard error that is known: sqrt(p (100 - p) / n) of an error rate over n images (binomial), the
               bootstrap's or jackknife's of a record, or `RERUN_SD`, the spread between runs that one seed leaves to
               be assumed
    student    S with f degrees of freedom: a standard error estimated from seeds

    band(level) = h + sqrt(z^2 E^2 + t_f^2 S^2)

with z and t_f the two-sided quantiles of `level`. Half-widths added as squares cover at least as often as they say, at
every level (Banerjee, Sankhya 1960; `tests/test_noise.py` simulates it, down to two seeds). The p-value of delta is the
level whose band ends at |delta|. Sums keep the smaller f, so that estimates may share a pool.

**Spread.** Two or three seeds of one network say little about its spread (t_1 = 12.7, t_2 = 4.3), those of all networks
that were trained by one recipe and tested alike say more (`results.pools`). They are pooled: s^2 = sum of squares / f
with f = sum of (k_i - 1), and t_f is used. A network that scatters more than the pool keeps its own larger s. One seed
alone takes the pool's s once f >= `ENOUGH`; otherwise its spread is assumed, and the verdict says so.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import erfc, hypot, sqrt
from statistics import NormalDist, fmean, stdev, variance

from experiments.spec import Column
from results.records import Metric, Record

LEVEL = 0.05
# Standard deviation of one run, in points, where only one seed was run. Reported spreads of re-runs, each read as the
# central 95% of a normal distribution: ResNet-50's top-1 about 0.5 in range (taken for top-5 too, where it is wide),
# segmentation +-0.6, COCO 0.3 in range.
RERUN_SD = {"binomial": 0.25 / 1.96, "segmentation": 0.6 / 1.96, "detection": 0.15 / 1.96, "none": 0.0}
ENOUGH = 4  # degrees of freedom; with fewer, t makes more of an estimate than an assumption would
_SMALLEST = 1e-12  # a p-value below it is told as it


@dataclass(frozen=True)
class Noise:
    """The sources of a difference's noise, in its unit; see the module for the formula."""

    rounding: float = 0.0
    normal: float = 0.0
    student: float = 0.0
    degrees: int = 0

    def band(self, level: float = LEVEL) -> float:
        """The |delta| that noise alone exceeds in at most `level` of all cases."""
        normal = normal_quantile(level) * self.normal
        student = student_quantile(level, self.degrees) * self.student if self.student else 0.0
        return self.rounding + hypot(normal, student)

    def p(self, delta: float) -> float:
        """The two-sided p-value of `delta`; 1 within the rounding, at least 1e-12."""
        excess = abs(delta) - self.rounding
        if excess <= 0:
            return 1.0
        if not self.normal and not self.student:
            return _SMALLEST
        if not self.student:
            return max(erfc(excess / self.normal / sqrt(2)), _SMALLEST)
        low, high = _SMALLEST, 1.0
        while high - low > 1e-9 * high:
            middle = sqrt(low * high)
            low, high = (low, middle) if self.band(middle) < abs(delta) else (middle, high)
        return high

    def scaled(self, factor: float) -> "Noise":
        """The noise of the difference times `factor`."""
        size = abs(factor)
        return Noise(size * self.rounding, size * self.normal, size * self.student, self.degrees)

    def __add__(self, other: "Noise") -> "Noise":
        """The noise of the sum or difference of two independent numbers."""
        degrees = [noise.degrees for noise in (self, other) if noise.student]
        return Noise(
            self.rounding + other.rounding,
            hypot(self.normal, other.normal),
            hypot(self.student, other.student),
            min(degrees, default=0),
        )


@dataclass(frozen=True)
class Spread:
    """The standard deviation of single runs, estimated from seeds with `degrees` of freedom."""

    sd: float
    degrees: int


def pooled(rows: Iterable[Sequence[float]]) -> Spread | None:
    """The common spread of `rows` of seeds; None where no row has two."""
    several = [values for values in rows if len(values) > 1]
    degrees = sum(len(values) - 1 for values in several)
    if not degrees:
        return None
    return Spread(sqrt(sum(variance(values) * (len(values) - 1) for values in several) / degrees), degrees)


def of_published(value: float, column: Column, n: int) -> Noise:
    """Of one run's printed number about its experiment: evaluation on `n` images, and the assumed spread of runs."""
    evaluation = binomial_se(value, n) if column.noise == "binomial" and n > 0 else 0.0
    return Noise(normal=hypot(evaluation, RERUN_SD[column.noise]))


def of_run(values: Sequence[float], column: Column, pool: Spread | None = None) -> Noise:
    """Of one run among seeds with `values`: the spread of runs, estimated (see **Spread**) or assumed."""
    if len(values) == 1:
        if pool is None or pool.degrees < ENOUGH:
            return Noise(normal=RERUN_SD[column.noise])
        return Noise(student=pool.sd, degrees=pool.degrees)
    own = Spread(stdev(values), len(values) - 1)
    return Noise(student=max(own.sd, pool.sd if pool else 0.0), degrees=(pool or own).degrees)


def of_seeds(values: Sequence[float], column: Column, pool: Spread | None = None) -> Noise:
    """Of the mean over seeds, of seeds alone: `of_run` / sqrt(k)."""
    return of_run(values, column, pool).scaled(1 / sqrt(len(values)))


def of_delta(
    values: Sequence[float], se: float | None, n: int, published: float, column: Column, pool: Spread | None = None
) -> Noise:
    """Of the mean of k seeds' `values` minus a printed number that is one more run, tested on as many (n) images.

    E^2 = se^2 + se_p^2, and the spread of one run times sqrt(1 + 1/k). `se`: the mean of the tests' standard errors,
    not divided by sqrt(k), since all were tested on the same images; se_p: the binomial one of the printed number, or
    as large as `se`. Both tests are treated as independent, although they share the images: that makes the band wider,
    never narrower.
    """
    ours = se or 0.0
    theirs = binomial_se(published, n) if column.noise == "binomial" and n > 0 else ours
    spread = of_run(values, column, pool).scaled(sqrt(1 + 1 / len(values)))
    return Noise(half_digit(column), hypot(ours, theirs)) + spread


def half_digit(column: Column) -> float:
    """Half of the column's last printed digit."""
    return 0.5 * 10.0**-column.decimals


def values_of(records: Sequence[Record], column: Column) -> list[float]:
    """The column's metric of each record, in the printed unit."""
    return [record.metrics[column.metric].value / column.scale for record in records]


def evaluation_se(records: Sequence[Record], column: Column) -> float | None:
    """The mean standard error of the records' tests, in the printed unit; None where none is known."""
    known = [error for r in records if (error := standard_error(r.metrics[column.metric], column)) is not None]
    return fmean(known) if known else None


def standard_error(metric: Metric, column: Column) -> float | None:
    """Of one measurement in the printed unit: the recorded one, or the binomial one of an error rate, or not known."""
    if metric.se is not None:
        return metric.se / column.scale
    binomial = column.noise == "binomial" and metric.n > 0
    return binomial_se(metric.value, metric.n) / column.scale if binomial else None


def binomial_se(percent: float, n: int) -> float:
    """sqrt(p (100 - p) / n): standard error, in points, of a rate in percent over `n` samples."""
    return sqrt(percent * (100 - percent) / n)


def normal_quantile(level: float) -> float:
    """z with P(|N(0, 1)| > z) = `level`."""
    return -NormalDist().inv_cdf(level / 2)


@lru_cache(maxsize=4096)
def student_quantile(level: float, degrees: int) -> float:
    """t with P(|T| > t) = `level` for `degrees` of freedom."""
    from scipy.special import stdtrit  # a third of a second, and only several seeds need it

    return -float(stdtrit(degrees, level / 2))
