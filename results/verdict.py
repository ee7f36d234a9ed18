"""Measured against published: one verdict a cell, with its reason, the delta and the band the delta was held against.

**Counts** are exact: MATCH when the raw integer, rounded half up, has the printed digits; else DEVIATION when the
ledger knows exactly this integer, else FAILED.

**Measurements.** k runs (seeds) gave x_1 .. x_k in the printed unit, with mean x; the page prints p with d decimals;
delta = x - p; h = 0.5 * 10^-d is half the last printed digit. Under the null hypothesis the printed number is one more
run of the same experiment, tested on as many samples, so delta scatters with

    noise^2 = z^2 * (se_x^2 + se_p^2)              evaluation: se_x = mean of the records' standard errors,
                                                   se_p = sqrt(p (100 - p) / n) for error rates, else se_p = se_x
            + t_{k-1}^2 * s^2 * (1 + 1/k)          k >= 2: s = standard deviation of the x_i
            | z^2 * RERUN_SD^2 * 2                 k = 1: an assumed spread, and the reason says so

    band = h + noise

with z and t the two-sided 95% quantiles (`CONFIDENCE`). se_x is not divided by sqrt(k): all runs are tested on the same
samples. Treating the two evaluations as independent although they share the samples makes the band wider, never
narrower. MATCH: x rounds to the printed digits. Otherwise |delta| <= band: INCONCLUSIVE, the numbers agree within the
noise, which is all that can be said. Otherwise BETTER or WORSE by the column's direction. Each of the two is then false
for at most 2.5% of truly equal runs, for each cell by itself. A whole point of top-1 error lost on 50,000 images is
seen in more than 80% of single runs; five seeds, which assume nothing, see it in more than 60%.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from math import atan, cos, hypot, pi, sin, sqrt
from statistics import NormalDist, fmean, stdev
from typing import Literal

from experiments.spec import Column
from results.deviations import Deviation
from results.records import Metric, Record

Verdict = Literal["MATCH", "BETTER", "WORSE", "INCONCLUSIVE", "DEVIATION", "QUOTED", "EXTERNAL", "PENDING", "FAILED"]

CONFIDENCE = 0.95
Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)

# Standard deviation of one run, in points, where only one seed was run. Reported spreads of re-runs, each read as the
# central 95% of a normal distribution: ResNet-50's top-1 about 0.5 in range (taken for top-5 too, where it is wide),
# segmentation +-0.6, COCO 0.3 in range.
RERUN_SD = {"binomial": 0.25 / 1.96, "segmentation": 0.6 / 1.96, "detection": 0.15 / 1.96, "none": 0.0}


@dataclass(frozen=True)
class Judgement:
    """`delta` = measured - published in the printed unit; `band`: the largest |delta| that noise explains."""

    verdict: Verdict
    reason: str
    delta: float | None
    band: float | None


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


def measured_verdict(
    records: Sequence[Record], published: float, column: Column, deviation: Deviation | None
) -> Judgement:
    """The verdict on `column.metric` of the records of one experiment (one a seed), by the rule of this module."""
    if not records:
        return Judgement("PENDING", "not measured yet", None, None)
    metrics = [record.metrics[column.metric] for record in records]
    values = [metric.value / column.scale for metric in metrics]
    mean = fmean(values)
    delta = mean - published
    errors = [standard_error(metric, column) for metric in metrics]
    noise, told = _noise(values, errors, published, column, metrics[0].n)
    band = 0.5 * 10.0**-column.decimals + noise
    if printed(mean * column.scale, column) == printed(published * column.scale, column):
        return Judgement("MATCH", f"the printed digits ({told})", delta, band)
    digits = max(2, column.decimals)
    size = f"{delta:+.{digits}f} with a band of +-{band:.{digits}f}"
    if abs(delta) <= band:
        return Judgement("INCONCLUSIVE", f"{size}: agrees within the noise, which is all it says ({told})", delta, band)
    if deviation is not None:
        return Judgement("DEVIATION", f"{size}: {deviation.reason}", delta, band)
    better = (delta < 0) == (column.better == "lower")
    return Judgement("BETTER" if better else "WORSE", f"{size}: more than the noise ({told})", delta, band)


def binomial_se(percent: float, n: int) -> float:
    """sqrt(p (100 - p) / n): standard error, in points, of a rate in percent over `n` samples."""
    return sqrt(percent * (100 - percent) / n)


def published_uncertainty(published: float, column: Column, n: int) -> float:
    """Half the 95% interval of what one run's printed number says about its experiment; 0 for counts."""
    evaluation = binomial_se(published, n) if column.noise == "binomial" and n > 0 else 0.0
    return Z * sqrt(evaluation**2 + RERUN_SD[column.noise] ** 2)


def measured_uncertainty(records: Sequence[Record], column: Column) -> float:
    """Half the 95% interval of the mean over seeds: evaluation and `rerun_uncertainty`."""
    metrics = [record.metrics[column.metric] for record in records]
    known = [error for metric in metrics if (error := standard_error(metric, column)) is not None]
    evaluation = Z * fmean(known) if known else 0.0
    return hypot(evaluation, rerun_uncertainty(records, column))


def rerun_uncertainty(records: Sequence[Record], column: Column) -> float:
    """The part of it that other seeds would change: the t-interval of the mean, or one run's assumed spread."""
    values = [record.metrics[column.metric].value / column.scale for record in records]
    if len(values) == 1:
        return Z * RERUN_SD[column.noise]
    return student_quantile(CONFIDENCE, len(values) - 1) * stdev(values) / sqrt(len(values))


def student_quantile(confidence: float, degrees: int) -> float:
    """t with P(|T| <= t) = `confidence` for `degrees` >= 1 of freedom, by bisection of `_student`."""
    low, high = 0.0, 1.0
    while _student(high, degrees) < confidence:
        high *= 2
    while high - low > 1e-10 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _student(middle, degrees) < confidence else (low, middle)
    return high


def _student(t: float, degrees: int) -> float:
    """P(|T| <= t) for a whole number of degrees of freedom (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    angle = atan(t / sqrt(degrees))
    term = cos(angle) if degrees % 2 else 1.0
    total = 0.0
    for k in range(2 if degrees % 2 else 1, degrees, 2):
        total += term
        term *= cos(angle) ** 2 * k / (k + 1)
    return 2 / pi * (angle + sin(angle) * total) if degrees % 2 else sin(angle) * total


def standard_error(metric: Metric, column: Column) -> float | None:
    """Of one measurement in the printed unit: the recorded one, or the binomial one of an error rate, or not known."""
    if metric.se is not None:
        return metric.se / column.scale
    binomial = column.noise == "binomial" and metric.n > 0
    return binomial_se(metric.value, metric.n) / column.scale if binomial else None


def _noise(
    values: Sequence[float], errors: Sequence[float | None], published: float, column: Column, n: int
) -> tuple[float, str]:
    """The band without the rounding, and in words what it is made of."""
    known = [error for error in errors if error is not None]
    ours = fmean(known) if known else 0.0
    theirs = binomial_se(published, n) if column.noise == "binomial" and n > 0 else ours
    k = len(values)
    if k > 1:
        spread = student_quantile(CONFIDENCE, k - 1) * stdev(values) * sqrt(1 + 1 / k)
        told = f"{k} seeds"
    else:
        spread = Z * RERUN_SD[column.noise] * sqrt(2)
        told = f"one seed; a re-run's standard deviation is assumed to be {RERUN_SD[column.noise]:.2f}"
    told += f", n = {n:,}" if known else f", n = {n:,}, evaluation noise not known"
    return sqrt(Z**2 * (ours**2 + theirs**2) + spread**2), told
