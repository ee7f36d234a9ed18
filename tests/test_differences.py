"""The difference of two sets of runs: by hand, against scipy, its rates by simulation on equal and unequal runs."""

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from evidence import CROP, SHA, measurement, scored
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from experiments.spec import Column
from results.differences import MINI_RERUN_SD, Difference, difference, p_value
from results.holm import adjusted
from results.noise import RERUN_SD
from results.records import Metric, Record
from results.sides import difference_se

TOP1 = Column("top1_err", "top-1", "top1_err", "lower", noise="binomial")
AP = Column("ap", "AP", "ap", "higher", noise="detection")
FOUND = Column("found", "found", "found", "higher")  # of no known noise
BASE = measurement()
IMAGES = 50_000


def runs(*values: float, column: Column = TOP1, se: float | None = None, side: str = "a") -> list[Record]:
    """A record a value, of weights of its own."""
    metrics = [{column.metric: Metric(value, "%", IMAGES, se)} for value in values]
    shas = [f"{side}{seed}".ljust(64, "0") for seed in range(len(values))]
    return [
        replace(BASE, seed=seed, metrics=metric, checkpoint={"sha256": sha, "epochs": 90})
        for seed, (metric, sha) in enumerate(zip(metrics, shas, strict=True))
    ]


def against(left: list[float], right: list[float], column: Column = TOP1, **options: float | None) -> Difference:
    return difference(runs(*left, column=column, **options), runs(*right, column=column, side="b", **options), column)


def test_one_run_a_side_by_hand() -> None:
    found = against([22.0], [22.5])
    errors = 22.0 * 78.0 / IMAGES + 22.5 * 77.5 / IMAGES
    se = sqrt(errors + 2 * (0.25 / 1.96) ** 2)
    assert found.value == pytest.approx(0.5)
    assert found.se == pytest.approx(se)
    assert found.p == pytest.approx(2 * stats.norm.sf(0.5 / se), rel=1e-9)
    assert found.degrees is None
    assert "one run a side: a re-run's standard deviation is assumed to be 0.13" in found.told
    assert "not in pairs: " in found.told


def test_seeds_without_evaluation_noise_are_student_s_test() -> None:
    left, right = [44.0, 44.5, 44.1], [44.9, 45.0, 44.6, 45.2, 44.8]
    found = against(left, right, AP)
    expected = stats.ttest_ind(right, left)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.degrees == expected.df
    assert found.told == "3 and 5 runs; n = 50,000, evaluation noise not known"


def test_a_single_run_is_held_against_the_spread_of_the_others() -> None:
    """Seeds 1, 2, 3 points apart: s = 1 and one more run scatters by sqrt(1 + 1/3) about their mean."""
    found = against([44.0, 45.0, 46.0], [47.0], AP)
    assert found.se == pytest.approx(sqrt(4 / 3))
    assert found.p == pytest.approx(2 * stats.t.sf(2 / sqrt(4 / 3), 2), rel=1e-9)
    assert against([47.0], [44.0, 45.0, 46.0], AP).p == pytest.approx(found.p)


def test_mini_runs_scatter_as_their_module_says() -> None:
    """Two of them differ by up to six points: 95% of the differences of two of them."""
    pairs = np.diff(np.random.default_rng(0).normal(0, MINI_RERUN_SD, (20_000, 2)))
    assert np.mean(np.abs(pairs) <= 6) == pytest.approx(0.95, abs=0.005)
    found = difference(runs(22.0), runs(27.0, side="b"), TOP1, mini=True)
    assert found.p is not None
    assert found.p > 0.05
    assert "assumed to be 2.16" in found.told


def test_the_same_weights_tested_twice_leave_only_the_test() -> None:
    right = np.random.default_rng(0).random((2, 1000)) < 0.7
    one, two = (measurement(protocol=replace(CROP, samples=1000), **scored(top1_err=bits)) for bits in right)
    assert one.checkpoint["sha256"] == two.checkpoint["sha256"] == SHA
    found = difference([one], [two], TOP1)
    assert found.se == pytest.approx(difference_se([one], [two], "top1_err"))
    assert found.p == pytest.approx(2 * stats.norm.sf(abs(found.value) / found.se), rel=1e-9)
    assert "the same weights on both sides" in found.told
    other = replace(two, checkpoint={**two.checkpoint, "sha256": "b" * 64})
    assert difference([one], [other], TOP1).se == pytest.approx(sqrt(found.se**2 + 2 * RERUN_SD["binomial"] ** 2))


def test_where_no_noise_is_known_there_is_no_p_unless_nothing_differs() -> None:
    assert against([1.0], [2.0], FOUND).p is None
    assert against([1.0], [1.0], FOUND).p == 1
    assert against([1.0, 1.0], [2.0, 2.0], FOUND).p is None


@given(st.floats(1e-12, 1), st.floats(0, 2), st.floats(0.01, 2), st.sampled_from([None, 1, 2, 3, 8, 40]))
def test_p_is_the_level_whose_band_is_the_difference(p: float, e: float, v: float, degrees: int | None) -> None:
    z = stats.norm.isf(p / 2)
    t = z if degrees is None else stats.t.isf(p / 2, degrees)
    d = sqrt(z**2 * e**2 + t**2 * v)
    assert p_value(d, e, v, degrees) == pytest.approx(p, rel=1e-6, abs=1e-12)
    assert p_value(-d, e, v, degrees) == p_value(d, e, v, degrees)


def test_p_of_any_difference_is_a_probability() -> None:
    for degrees in (None, 1, 2, 3, 10):
        levels = [p_value(d, 0.1, 0.01, degrees) for d in (0, 1e-9, 0.1, 1, 10, 1e3, 1e9)]
        assert levels == sorted(levels, reverse=True)
        assert levels[0] == 1
        assert 0 < levels[-1] < 1


@settings(max_examples=30)
@given(st.lists(st.floats(20, 25), min_size=1, max_size=4), st.lists(st.floats(20, 25), min_size=1, max_size=4))
def test_the_order_of_the_sides_is_a_sign(left: list[float], right: list[float]) -> None:
    found, mirrored = against(left, right), against(right, left)
    assert mirrored.value == pytest.approx(-found.value)
    assert mirrored.p == pytest.approx(found.p)


@pytest.mark.parametrize(("k_left", "k_right"), [(1, 1), (2, 2), (3, 1), (2, 10)])
@pytest.mark.parametrize("run_sd", [0.5, 8.0])
def test_of_truly_equal_tables_at_most_the_stated_share_has_a_difference(
    k_left: int, k_right: int, run_sd: float
) -> None:
    """16 cells a table, each side tested on images of its own; runs that scatter by `run_sd` times RERUN_SD.

    One run a side assumes that spread, so it has to be at most that there.
    """
    rng = np.random.default_rng(k_left + 10 * k_right)
    trials, wrong = 150, 0
    sd = RERUN_SD["binomial"] * (min(run_sd, 1) if k_left == k_right == 1 else run_sd)
    for _ in range(trials):
        sides = [
            22.12 + rng.normal(0, sqrt(22.12 * 77.88 / IMAGES), (16, 1)) + rng.normal(0, sd, (16, k))
            for k in (k_left, k_right)
        ]
        found = [against(list(left), list(right)).p for left, right in zip(*sides, strict=True)]
        wrong += min(adjusted([p for p in found if p is not None])) <= 0.05
    assert wrong / trials <= 0.05 + 3 * sqrt(0.05 * 0.95 / trials)


def trained(rng: np.random.Generator, shift: float, side: str, count: int) -> list[Record]:
    """Runs of about 22% error that scatter by RERUN_SD about a mean; two of them disagree on a tenth of the images.

    A fifth of the images are wrong with a probability of one half or so: 0.1 points of spread by themselves.
    """
    wanted = sqrt(RERUN_SD["binomial"] ** 2 - 0.1**2)
    found = []
    for seed in range(count):
        wrong = np.arange(IMAGES) < 0.12 * IMAGES
        chance = 0.5 + (shift + rng.normal(0, wanted)) / 20
        wrong[-IMAGES // 5 :] = rng.random(IMAGES // 5) < chance
        checkpoint = {"sha256": f"{side}{seed}".ljust(64, "0"), "epochs": 90}
        found.append(replace(measurement(**scored(top1_err=~wrong)), seed=seed, checkpoint=checkpoint))
    return found


@pytest.mark.parametrize(("count", "shift", "power"), [(1, 1.0, 0.8), (5, 0.75, 0.8)])
def test_a_real_difference_is_found_with_the_stated_power(count: int, shift: float, power: float) -> None:
    """Behind the correction for 16 cells, in pairs."""
    rng, trials = np.random.default_rng(count), 60
    found = [difference(trained(rng, 0, "a", count), trained(rng, shift, "b", count), TOP1) for _ in range(trials)]
    assert np.mean([one.p is not None and one.p <= 0.05 / 16 and one.value > 0 for one in found]) > power
    assert np.mean([one.value for one in found]) == pytest.approx(shift, abs=0.1)


def test_in_pairs_too_equal_runs_are_called_different_at_most_at_the_level() -> None:
    rng, trials = np.random.default_rng(4), 150
    found = [difference(trained(rng, 0, "a", 1), trained(rng, 0, "b", 1), TOP1).p for _ in range(trials)]
    assert np.mean([p is not None and p <= 0.05 for p in found]) <= 0.05 + 3 * sqrt(0.05 * 0.95 / trials)
