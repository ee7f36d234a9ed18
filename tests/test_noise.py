"""The noise of a difference: its formula by hand, its laws, its coverage by simulation."""

from dataclasses import replace
from math import sqrt
from random import Random
from statistics import stdev

import numpy as np
import pytest
from evidence import measurement
from hypothesis import given
from hypothesis import strategies as st

from experiments.spec import Column
from results.noise import (
    ENOUGH,
    RERUN_SD,
    Noise,
    Spread,
    evaluation_se,
    normal_quantile,
    of_delta,
    of_published,
    of_run,
    of_seeds,
    pooled,
    student_quantile,
    values_of,
)
from results.records import Metric

TOP1 = Column("top1_err", "top-1", "top1_err", "lower", noise="binomial")
MIOU = Column("miou", "mean IoU", "miou", "higher", noise="segmentation")
SIZES = st.floats(0.001, 10)
NOISES = st.builds(Noise, st.floats(0, 1), SIZES, SIZES, st.integers(1, 30))


def test_the_band_by_hand() -> None:
    noise = Noise(0.005, 0.3, 0.2, 4)
    assert noise.band(0.05) == pytest.approx(0.005 + sqrt((1.959964 * 0.3) ** 2 + (2.776445 * 0.2) ** 2), rel=1e-6)
    assert Noise(0.005).band(0.05) == 0.005
    assert normal_quantile(0.05) == pytest.approx(1.959964, rel=1e-6)
    assert student_quantile(0.01, 1) == pytest.approx(63.657, rel=1e-4)  # a printed t table


@given(NOISES, st.floats(0.001, 1.0))
def test_the_p_value_is_the_level_whose_band_ends_there(noise: Noise, level: float) -> None:
    assert noise.p(noise.band(level)) == pytest.approx(level, rel=1e-5)
    assert noise.p(-noise.band(level)) == pytest.approx(level, rel=1e-5)


@given(NOISES, st.floats(0, 20), st.floats(0, 20))
def test_a_larger_difference_is_never_likelier(noise: Noise, one: float, other: float) -> None:
    small, large = sorted((one, other))
    assert noise.p(large) <= noise.p(small) * (1 + 1e-8)


def test_p_within_the_rounding_and_without_noise() -> None:
    assert Noise(0.005, 0.1).p(0.004) == 1
    assert Noise(0.005).p(0.006) == pytest.approx(0, abs=1e-9)
    assert Noise(normal=1.0).p(1.959964) == pytest.approx(0.05, rel=1e-5)


@given(NOISES, NOISES, st.floats(-5, 5).filter(lambda factor: abs(factor) > 0.01))
def test_independent_noises_add_as_squares(one: Noise, other: Noise, factor: float) -> None:
    both = one + other
    assert both == other + one
    assert both.normal**2 == pytest.approx(one.normal**2 + other.normal**2)
    assert both.student**2 == pytest.approx(one.student**2 + other.student**2)
    assert both.degrees == min(one.degrees, other.degrees)
    assert one.scaled(factor).band(0.05) == pytest.approx(abs(factor) * one.band(0.05))
    assert (one + Noise(normal=1.0)).degrees == one.degrees  # what is known has no degrees to lose


def test_pooled_is_the_analysis_of_variance() -> None:
    rows = [(22.0, 22.2), (30.0, 30.3, 30.6), (25.0,)]
    expected = sqrt(((0.1**2) * 2 + 2 * 0.3**2) / 3)
    assert pooled(rows) == Spread(pytest.approx(expected), 3)
    assert pooled([(1.0,), (2.0,)]) is None


def test_one_seed_is_assumed_unless_the_table_knows_better() -> None:
    assert of_run([22.0], TOP1) == Noise(normal=RERUN_SD["binomial"])
    assert of_run([22.0], TOP1, Spread(0.2, ENOUGH - 1)) == Noise(normal=RERUN_SD["binomial"])
    assert of_run([22.0], TOP1, Spread(0.2, ENOUGH)) == Noise(student=0.2, degrees=ENOUGH)
    wild = of_run([22.0, 24.0], TOP1, Spread(0.2, 9))
    assert wild == Noise(student=pytest.approx(stdev([22.0, 24.0])), degrees=9)


def test_of_seeds_and_of_a_printed_number() -> None:
    assert of_seeds([22.0, 22.3, 22.6], TOP1) == Noise(student=pytest.approx(0.3 / sqrt(3)), degrees=2)
    assert of_published(22.12, TOP1, 50_000).normal == pytest.approx(
        sqrt(22.12 * 77.88 / 50_000 + RERUN_SD["binomial"] ** 2)
    )
    assert of_published(44.0, MIOU, 2_000) == Noise(normal=RERUN_SD["segmentation"])


def test_the_evaluation_is_recorded_or_binomial_or_not_known() -> None:
    records = [replace(measurement(), metrics={"top1_err": Metric(22.0, "%", 50_000, se)}) for se in (0.2, None)]
    assert values_of(records, TOP1) == [22.0, 22.0]
    assert evaluation_se(records, TOP1) == pytest.approx((0.2 + sqrt(22 * 78 / 50_000)) / 2)
    unknown = replace(measurement(), metrics={"miou": Metric(44.0, "%", 2_000, None)})
    assert evaluation_se([unknown], MIOU) is None


def coverage(rows: int, seeds: int, run_sds: np.ndarray, level: float, trials: int = 2000) -> float:
    """How often truly equal runs of a table's first row are beyond the band at `level`, its seeds pooled."""
    generator = np.random.default_rng(rows * 10 + seeds)
    n, beyond = 50_000, 0
    for _ in range(trials):
        errors = generator.normal(22.12, run_sds[:, None], (rows, seeds + 1))
        errors = generator.binomial(n, errors / 100) * 100 / n
        published, values = round(errors[0, 0], 2), errors[0, 1:]
        pool = pooled(row[1:] for row in errors)
        se = sqrt(values.mean() * (100 - values.mean()) / n)
        noise = of_delta(list(values), se, n, published, TOP1, pool)
        beyond += abs(values.mean() - published) > noise.band(level)
    return beyond / trials


@pytest.mark.parametrize("level", [0.05, 0.2])
@pytest.mark.parametrize(("rows", "seeds"), [(1, 2), (1, 4), (8, 2), (8, 3)])
def test_equal_runs_are_beyond_the_band_at_most_as_often_as_it_says(rows: int, seeds: int, level: float) -> None:
    """Runs that scatter five times more than assumed, so that the seeds' spread is what matters."""
    rate = coverage(rows, seeds, np.full(rows, 5 * RERUN_SD["binomial"]), level)
    assert rate <= level + 3 * sqrt(level * (1 - level) / 2000)


def test_the_pool_assumes_one_spread_and_a_wild_row_keeps_its_own() -> None:
    """A row that scatters four times more than the seven beside it: by the pool alone every second one is false."""
    run_sds = np.array([1.0, *[0.25] * 7])
    assert coverage(8, 5, run_sds, 0.05) <= 0.12
    generator = Random(0)
    calm = sum(abs(generator.gauss(0, sqrt(2))) > 1.96 * 0.25 * sqrt(2) for _ in range(2000)) / 2000
    assert calm > 0.5
