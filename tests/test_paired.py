"""McNemar's test: by hand, against scipy, by simulation; and what cannot be paired says why."""

import time
from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from evidence import CROP, SHA, measurement, scored
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from results.paired import Paired, compare
from results.records import Metric, Record
from results.sides import difference_se

TEN = replace(CROP, samples=10)


def record(right: str, **changes: object) -> Record:
    """Ten images, "1" where the network was right."""
    return replace(measurement(protocol=TEN, **scored(top1_err=[one == "1" for one in right])), **changes)


def test_by_hand() -> None:
    """b = 1, c = 5 of ten: p = 2 (1 + 6) / 64, mid-p = (2 * 1 + 6) / 64."""
    found = compare(record("1100000011"), record("0111111011"))
    assert (found.n, found.b, found.c) == (10, 1, 5)
    assert found.difference == 40
    assert found.se == pytest.approx(100 * sqrt(6 - 16 / 10) / 10)
    assert found.p == 14 / 64
    assert found.mid_p == 8 / 64
    assert found.interval == pytest.approx((40 - 1.959964 * found.se, 40 + 1.959964 * found.se), rel=1e-6)


def test_equal_networks() -> None:
    same = compare(record("1100000011"), record("1100000011"))
    assert (same.b, same.c, same.difference, same.se, same.p, same.mid_p) == (0, 0, 0, 0, 1, 1)
    assert Paired(10, 3, 3).p == Paired(10, 3, 3).mid_p == 1


@given(st.integers(0, 400), st.integers(0, 400))
def test_scipy_agrees_and_the_order_is_a_sign(b: int, c: int) -> None:
    found, mirrored = Paired(1000, b, c), Paired(1000, c, b)
    assert (found.p, found.mid_p, found.difference) == (mirrored.p, mirrored.mid_p, -mirrored.difference)
    if b + c:
        assert found.p == pytest.approx(binomtest(b, b + c, 0.5).pvalue, rel=1e-9)
        least = min(b, c)
        mid = 2 * binom.cdf(least - 1, b + c, 0.5) + binom.pmf(least, b + c, 0.5)
        assert found.mid_p == pytest.approx(min(1, mid), rel=1e-9)
    assert found.mid_p <= found.p


def test_fifty_thousand_images_are_exact_and_fast() -> None:
    start = time.perf_counter()
    found = Paired(50_000, 2_350, 2_650)
    assert found.p == pytest.approx(binomtest(2_350, 5_000, 0.5).pvalue, rel=1e-9)
    assert Paired(50_000, 0, 5_000).p == 0.0  # below the smallest double
    assert time.perf_counter() - start < 1


def test_the_standard_error_is_that_of_the_differences_image_by_image() -> None:
    first, second = np.random.default_rng(0).random((2, 10)) < 0.6
    found = compare(*(record("".join("01"[int(one)] for one in right)) for right in (first, second)))
    assert found.se == pytest.approx(100 * np.std(second.astype(float) - first) / sqrt(10))


def test_error_rates_of_the_test_itself() -> None:
    """5,000 of 50,000 images disagree. Equal networks: at most 5% called different; half a point: nearly all found.

    Half a point is 250 images of se sqrt(5000): 3.5 standard errors, so the power is Phi(3.5 - 1.96) = 0.94.
    """
    rng = np.random.default_rng(1)
    trials, m = 400, 5_000
    equal = [Paired(50_000, int(b), m - int(b)) for b in rng.binomial(m, 0.5, trials)]
    assert np.mean([pair.p < 0.05 for pair in equal]) <= 0.05 + 3 * sqrt(0.05 * 0.95 / trials)
    worse = [Paired(50_000, int(b), m - int(b)) for b in rng.binomial(m, 0.5 + 125 / m, trials)]
    assert np.mean([pair.p < 0.05 for pair in worse]) == pytest.approx(0.94, abs=0.04)


def test_two_crops_of_the_same_images_are_paired() -> None:
    larger = record("1111000000", protocol={**measurement(protocol=TEN).protocol, "key": "crop320", "crop": 320})
    assert compare(record("1100000011"), larger).c == 2


def test_what_cannot_be_paired_says_why() -> None:
    one = record("1100000011")
    splits = {"val": {"samples": 10, "classes": 1000, "sha256": "b" * 64}}
    nine = {"top1_err": Metric(40.0, "%", 9, None)}
    for other, told in (
        (replace(one, outcomes={}), r"resnet50 \(seed 0, crop224\) does not say which images were right by top1_err"),
        (replace(one, data={**one.data, "name": "digits"}), "tested on imagenet, .* on digits"),
        (replace(one, data={**one.data, "splits": splits}), rf"different images \(manifests {SHA[:12]} and b{{12}}\)"),
        (replace(one, data={**one.data, "splits": {}}), "has no manifest of val"),
        (replace(one, metrics=nine), "counted 10 images, .* 9"),
    ):
        with pytest.raises(ValueError, match=told):
            compare(one, other)
    with pytest.raises(ValueError, match="by top5_err"):
        compare(one, one, "top5_err")
    with pytest.raises(ValueError, match="together at most n"):
        Paired(3, 2, 2)


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 4))
def test_the_standard_error_over_seeds_is_that_of_the_mean_difference_image_by_image(
    seed: int, left: int, right: int
) -> None:
    wrong = np.random.default_rng(seed).random((left + right, 10)) < 0.4
    records = [record("".join("10"[int(one)] for one in images)) for images in wrong]
    differences = wrong[:left].mean(0) - wrong[left:].mean(0)
    found = difference_se(records[:left], records[left:], "top1_err")
    assert found == pytest.approx(100 * differences.std() / sqrt(10), abs=1e-6)
    if (left, right) == (1, 1):
        assert found == pytest.approx(compare(*records).se, abs=1e-6)


def test_the_standard_error_over_seeds_is_that_of_tests_on_other_images() -> None:
    """Networks of two and three seeds, whose errors lie on the same hard images, tested on 400 draws of images."""
    rng = np.random.default_rng(3)
    n, trials = 2_000, 400
    found, differences = [], []
    for trial in range(trials):
        hard = rng.random(n)
        wrong = [hard + 0.3 * rng.random(n) > limit for limit in (1.0, 1.01, 0.98, 0.99, 0.97)]
        differences.append(100 * (np.mean(wrong[:2]) - np.mean(wrong[2:])))
        if trial < 10:
            tested = [replace(measurement(protocol=replace(CROP, samples=n)), **scored(top1_err=~w)) for w in wrong]
            found.append(difference_se(tested[:2], tested[2:], "top1_err"))
    assert np.mean(found) == pytest.approx(np.std(differences), rel=0.1)


def test_seeds_on_other_images_are_refused() -> None:
    one = record("1100000011")
    with pytest.raises(ValueError, match="does not say"):
        difference_se([one], [one, replace(one, outcomes={})], "top1_err")
