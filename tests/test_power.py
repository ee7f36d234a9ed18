"""What can be seen: the formula against simulation, its inverse, and the numbers that the documentation states."""

import re
from math import hypot, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import results.verdict
from results.noise import RERUN_SD, Noise, binomial_se, student_quantile
from results.power import detectable, power

EVALUATION = sqrt(2) * binomial_se(22.12, 50_000)
ONE = Noise(0.005, hypot(EVALUATION, sqrt(2) * RERUN_SD["binomial"]))


def seeds(k: int, rounding: float = 0.005) -> Noise:
    return Noise(rounding, EVALUATION, RERUN_SD["binomial"] * sqrt(1 + 1 / k), k - 1)


@pytest.mark.parametrize("noise", [ONE, seeds(3), seeds(5), Noise(0.05, 0.1, 0.4, 16)])
@pytest.mark.parametrize("difference", [0.3, 1.0])
def test_the_power_is_how_often_a_difference_is_seen(noise: Noise, difference: float) -> None:
    generator, trials = np.random.default_rng(1), 20_000
    deltas = generator.normal(difference, hypot(noise.normal, noise.student), trials)
    factors = sqrt(1 / noise.degrees) * np.sqrt(generator.chisquare(noise.degrees, trials)) if noise.degrees else 1.0
    t = student_quantile(0.05, noise.degrees) if noise.degrees else 0.0
    bands = noise.rounding + np.hypot(1.959964 * noise.normal, t * noise.student * factors)
    seen = float((deltas > bands).mean())
    assert power(difference, noise, 0.05) == pytest.approx(seen, abs=4 * sqrt(0.25 / trials))


@settings(deadline=None, max_examples=25)
@given(st.floats(0.01, 2), st.floats(0, 2), st.integers(1, 40), st.floats(0.001, 0.2))
def test_detectable_is_the_inverse(normal: float, student: float, degrees: int, level: float) -> None:
    noise = Noise(0.005, normal, student, degrees)
    assert power(detectable(noise, level, 0.8), noise, level) == pytest.approx(0.8, abs=1e-3)


def test_without_noise_every_difference_beyond_the_rounding_is_seen() -> None:
    assert [power(d, Noise(0.005), 0.05) for d in (0.004, 0.006)] == [0.0, 1.0]


def test_the_verdicts_documentation_states_what_is_so() -> None:
    """Every number of its paragraph on power, computed here."""
    text = " ".join((results.verdict.__doc__ or "").split())
    alone, among = re.search(r"is ([\d.]+) points for a cell tested alone and ([\d.]+) among 16", text).groups()  # type: ignore[union-attr]
    assert float(alone) == pytest.approx(detectable(ONE, 0.05), abs=0.05)
    assert float(among) == pytest.approx(detectable(ONE, 0.05 / 16), abs=0.05)
    (half,) = re.search(r"Half a point is seen in (\d+)% of single cells", text).groups()  # type: ignore[union-attr]
    assert float(half) == pytest.approx(100 * power(0.5, ONE, 0.05), abs=1)
