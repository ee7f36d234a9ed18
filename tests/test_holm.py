"""Holm's correction: by hand, against the definition, its laws, and its rate by simulation."""

from fractions import Fraction
from math import sqrt
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.holm import adjusted

PROBABILITIES = st.lists(st.floats(0, 1), max_size=12)


def by_definition(p: list[float]) -> list[float]:
    """The smallest level of the family at which the step-down procedure rejects each hypothesis, in exact numbers."""
    exact = [Fraction(value) for value in p]
    levels = sorted({min(Fraction(1), k * value) for value in exact for k in range(1, len(p) + 1)})
    return [
        float(min((a for a in levels if index in rejected(exact, a)), default=Fraction(1))) for index in range(len(p))
    ]


def rejected(p: list[Fraction], level: Fraction) -> set[int]:
    """Holm's procedure as he wrote it: from the smallest on, against level / (number left), until one is not below."""
    found: set[int] = set()
    for index in sorted(range(len(p)), key=lambda index: p[index]):
        if p[index] * (len(p) - len(found)) > level:
            break
        found.add(index)
    return found


def test_by_hand() -> None:
    """Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1: 0.02, 0.03, 0.06, and 0.04 is raised to 0.06."""
    assert adjusted([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert adjusted([]) == []
    assert adjusted([0.02]) == [0.02]
    assert adjusted([0.9, 0.8]) == [1.0, 1.0]


@given(PROBABILITIES)
def test_it_is_the_smallest_level_at_which_the_procedure_rejects(p: list[float]) -> None:
    assert adjusted(p) == pytest.approx(by_definition(p), rel=1e-12, abs=1e-300)


@given(PROBABILITIES, st.randoms())
def test_laws(p: list[float], order: Random) -> None:
    found = adjusted(p)
    assert all(before <= after <= 1 for before, after in zip(p, found, strict=True))
    assert all(
        after <= min(1, len(p) * before) for before, after in zip(p, found, strict=True)
    )  # never above Bonferroni
    pairs = sorted(zip(p, found, strict=True))
    assert [after for _, after in pairs] == sorted(found)
    shuffled = list(range(len(p)))
    order.shuffle(shuffled)
    assert adjusted([p[index] for index in shuffled]) == [found[index] for index in shuffled]


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan"), float("inf")])
def test_what_is_no_probability_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        adjusted([0.5, wrong])


def test_the_family_is_wrong_at_most_at_its_rate_and_bonferroni_would_find_less() -> None:
    """Six true nulls and six real effects: some null is called in at most 5% of 4,000 families."""
    rng = np.random.default_rng(8)
    trials, false, found, plain = 4_000, 0, 0, 0
    for _ in range(trials):
        p = [*rng.random(6), *(rng.random(6) * 0.008)]
        holm = adjusted(p)
        false += min(holm[:6]) <= 0.05
        found += sum(value <= 0.05 for value in holm[6:])
        plain += sum(12 * value <= 0.05 for value in p[6:])
    assert false / trials <= 0.05 + 3 * sqrt(0.05 * 0.95 / trials)
    assert found > 1.05 * plain
