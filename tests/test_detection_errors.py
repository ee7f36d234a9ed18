"""Standard errors of COCO's numbers: those of a mean where a number is one, and the spread over sets of images."""

from math import sqrt
from statistics import fmean, stdev

import numpy as np
import pytest

from pyconv.data.coco import CocoSplit
from pyconv.detection.errors import GROUPS, standard_errors
from pyconv.detection.scores import Found, scores
from tests.detections import found, split_of

BOX = (20.0, 20.0, 100.0, 100.0)


def found_or_not(right: list[bool]) -> tuple[list[list[tuple[float, float, float, float, int]]], list[Found]]:
    """One object an image, found exactly or not at all: recall is the mean over images of `right`."""
    images = [[(*BOX, 1)] for _ in right]
    return images, [found(number, *([(*BOX, 0.5, 1.0)] if one else [])) for number, one in enumerate(right)]


def test_of_few_images_the_error_of_recall_is_that_of_a_mean() -> None:
    """sqrt(p (1 - p) / (n - 1)), each image being a group."""
    images, detections = found_or_not([True] * 3 + [False] * 7)
    errors = standard_errors(split_of(images), detections)
    assert errors["ar100"] == pytest.approx(100 * sqrt(0.3 * 0.7 / 9))
    assert errors["ar1"] == errors["ar100"]


def test_of_many_images_the_error_of_recall_is_that_of_a_mean_within_what_groups_can_know() -> None:
    random = np.random.default_rng(1)
    images, detections = found_or_not((random.random(50 * GROUPS) < 0.4).tolist())
    errors = standard_errors(split_of(images), detections)
    wanted = 100 * sqrt(0.4 * 0.6 / (50 * GROUPS))
    assert errors["ar100"] == pytest.approx(wanted, rel=3 / sqrt(2 * (GROUPS - 1)))


def test_no_error_where_none_can_be_known() -> None:
    images, detections = found_or_not([True])
    assert standard_errors(split_of(images), detections) == {}
    images, detections = found_or_not([True, True, False])
    images[0] = [(20.0, 20.0, 20.0, 20.0, 1)]  # the only small object
    errors = standard_errors(split_of(images), detections)
    assert "ap_s" in scores(split_of(images), detections)
    assert "ap_s" not in errors
    assert errors["ar_m"] > 0  # areas are 0.7 of the boxes


def test_the_error_of_ap_is_its_spread_over_sets_of_images() -> None:
    """Sixty sets of 80 images of one kind: root mean square of the errors against the standard deviation of AP."""
    random = np.random.default_rng(2)
    values: dict[str, list[float]] = {"ap": [], "ap50": []}
    errors: dict[str, list[float]] = {"ap": [], "ap50": []}
    for _ in range(60):
        split, detections = some_images(random, 80)
        split_scores, split_errors = scores(split, detections), standard_errors(split, detections)
        for name in values:
            values[name].append(split_scores[name])
            errors[name].append(split_errors[name])
    for name in values:
        told = sqrt(fmean(error**2 for error in errors[name]))
        # sixty sets know a standard deviation to 9%, and the mean of their errors to 2%: three times both
        assert told == pytest.approx(stdev(values[name]), rel=0.3)


def some_images(random: np.random.Generator, number: int) -> tuple[CocoSplit, list[Found]]:
    """Up to three objects of two classes an image; each is found with a chance and at a shift of its image's own."""
    images, detections = [], []
    for image in range(number):
        skill = random.random()
        truth = [
            (*random.uniform(0, 100, 2).tolist(), *random.uniform(40, 90, 2).tolist(), int(random.integers(1, 3)))
            for _ in range(random.integers(1, 4))
        ]
        rows = []
        for x, y, width, height, label in truth:
            if random.random() < skill:
                rows.append((x + random.normal(0, 8), y, width, height, skill * random.random(), float(label)))
            if random.random() < 0.4:
                rows.append((y, x, width, height, 0.7 * random.random(), float(label)))
        images.append(truth)
        detections.append(found(image, *rows))
    return split_of(images), detections
