"""Two sets of runs of one experiment: the difference of their means, its standard error, and a p-value.

k_l runs (seeds) on the left gave x_1 .. x_kl, k_r on the right y_1 .. y_kr, in the printed unit. Under the null
hypothesis all of them are runs of one experiment, so of one mean and one spread. With d = mean(y) - mean(x) and
se^2 = e^2 + v, p is the level a at which the band reaches the difference:

    d^2 = z_a^2 e^2 + t_{a,nu}^2 v        z_a, t_{a,nu}: two-sided quantiles, normal and Student's

**Evaluation.** Of error rates whose records all say which of the same images were right, e is that of
`results.sides.difference_se` (McNemar's). Otherwise the tests count as independent: e^2 = se_x^2 + se_y^2, each the
mean of a side's recorded or binomial standard errors. It is not divided by k: the runs of a side see the same images.

**Runs.** With seeds on a side, v = s^2 (1/k_l + 1/k_r), s^2 the pooled variance of nu = k_l + k_r - 2 degrees of
freedom: Student's test, where a single run on the other side is one more run. With one run a side, v = 2 RERUN_SD^2,
assumed and said, and t = z. Of the same weights on both sides v = 0: only the test was repeated.

By Banerjee's inequality (Sankhya 1960) p <= a holds for at most a share a of truly equal sets, at every a, so also
behind Holm's correction. Welch's test, which allows the sides spreads of their own, does not keep that at few seeds: of
two runs beside ten it has p <= 0.003 eight times too often, with a known e beside the spread up to fifty times. So a
spread that differs counts as a difference here, and can be what is found where one side has few runs and scatters more.
On the same images e counts the seeds' own part of the evaluation again, and sides that share seeds or records are taken
as independent: both make p larger.

Power behind the correction for 16 cells, on 50,000 images of which two networks disagree on a tenth, runs scattering by
RERUN_SD: one run a side shows a point of top-1 in more than 80% of cases, five runs a side, which assume nothing, three
quarters of a point. Two runs a side show a point in one case of six: they hardly know their spread.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, sqrt
from statistics import fmean, variance

from experiments.spec import Column
from results.noise import RERUN_SD, Noise, standard_error
from results.origins import one_line
from results.records import Record
from results.sides import difference_se

# Of one mini run, in points, where only one was made: `experiments.mini` states that two seeds differ by up to six
# points, read as 1.96 standard deviations of a difference of two. Of top-1; taken for top-5 too, where it is wide.
MINI_RERUN_SD = 6 / (1.96 * sqrt(2))


@dataclass(frozen=True)
class Difference:
    """`value`: d in the printed unit; `se`, `degrees` (nu; None: no spread is measured) and `p` as above; `told`: how.

    `p` is None where nothing is known of the noise.
    """

    value: float
    se: float
    degrees: int | None
    p: float | None
    told: str


def difference(left: Sequence[Record], right: Sequence[Record], column: Column, *, mini: bool = False) -> Difference:
    """The difference of `column` between two non-empty sets of records, one record a seed or a file of weights."""
    values = [[record.metrics[column.metric].value / column.scale for record in side] for side in (left, right)]
    d = fmean(values[1]) - fmean(values[0])
    evaluation, tested = _evaluation(left, right, column)
    spread, degrees, ran = _spread(
        left, right, values, (MINI_RERUN_SD if mini else RERUN_SD[column.noise]) / column.scale
    )
    se, told = sqrt(evaluation**2 + spread), f"{ran}; {tested}"
    if se == 0:
        return Difference(d, se, degrees, None if d else 1.0, told)
    return Difference(d, se, degrees, p_value(d, evaluation, spread, degrees), told)


def p_value(d: float, evaluation: float, spread: float, degrees: int | None) -> float:
    """The level at which z^2 evaluation^2 + t^2 spread is d^2; `degrees` None: t = z."""
    if degrees is None:
        return Noise(normal=hypot(evaluation, sqrt(spread))).p(d)
    return Noise(normal=evaluation, student=sqrt(spread), degrees=degrees).p(d)


def same_weights(left: Sequence[Record], right: Sequence[Record]) -> bool:
    """Whether both sides tested the very same checkpoints."""
    ours, theirs = (sorted(record.checkpoint["sha256"] for record in side) for side in (left, right))
    return ours == theirs


def _evaluation(left: Sequence[Record], right: Sequence[Record], column: Column) -> tuple[float, str]:
    """e, and how it is known."""
    n = left[0].metrics[column.metric].n
    unpaired = ""
    if column.noise == "binomial":
        try:
            return difference_se(left, right, column.metric) / column.scale, f"the same {n:,} images, in pairs"
        except ValueError as error:
            unpaired = f"not in pairs: {one_line(str(error))}"
    sides = [[standard_error(record.metrics[column.metric], column) for record in side] for side in (left, right)]
    known = [[error for error in errors if error is not None] for errors in sides]
    if not all(known):
        return 0.0, f"n = {n:,}, evaluation noise not known"
    told = f"n = {n:,}, tests taken as independent"
    return hypot(*map(fmean, known)), f"{told} ({unpaired})" if unpaired else told


def _spread(
    left: Sequence[Record], right: Sequence[Record], values: Sequence[Sequence[float]], assumed: float
) -> tuple[float, int | None, str]:
    """v, nu (None: assumed), and in words what they are made of."""
    if same_weights(left, right):
        return 0.0, None, "the same weights on both sides, tested twice"
    degrees = len(left) + len(right) - 2
    if not degrees:
        return 2 * assumed**2, None, f"one run a side: a re-run's standard deviation is assumed to be {assumed:.2f}"
    squares = sum(variance(side) * (len(side) - 1) for side in values if len(side) > 1)
    v = squares / degrees * (1 / len(left) + 1 / len(right))
    return v, degrees, f"{len(left)} and {len(right)} runs"
