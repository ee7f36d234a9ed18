"""COCO's twelve numbers: the original API's to ten decimals, and by hand where a hand can count."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyconv.data.coco import CocoSplit
from pyconv.detection.scores import METRICS, Found, as_results, scores
from tests.detections import found, original, split_of

places = st.integers(0, 150).map(float)
sides = st.sampled_from([0.5, 8.0, 31.9, 32.0, 45.3, 96.0, 180.0])
boxes = st.tuples(places, places, sides, sides, st.integers(1, 3))


@st.composite
def cases(draw: st.DrawFn) -> tuple[CocoSplit, list[Found]]:
    """Boxes, some of them crowds, and detections that are shifted copies of them or anywhere, with equal scores."""
    images = draw(st.lists(st.lists(boxes, max_size=5), min_size=1, max_size=4))
    total = sum(map(len, images))
    crowds = draw(st.frozensets(st.integers(0, total), max_size=2))
    detections = []
    for number, image in enumerate(images):
        near = [draw(st.sampled_from(image)) for _ in range(draw(st.integers(0, 6)))] if image else []
        rows = []
        for x, y, width, height, label in [*near, *draw(st.lists(boxes, max_size=3))]:
            shift = draw(st.sampled_from([0.0, 0.0, 0.04, 0.3, 0.9]))
            score = draw(st.sampled_from([0.05, 0.3, 0.3, 0.75, 1.0]))
            rows.append((x + shift * width, y, width, height, score, float(label)))
        detections.append(found(number, *rows))
    return split_of(images, crowds), detections


@settings(max_examples=100, deadline=None)
@given(cases())
def test_the_numbers_are_the_original_s_to_the_bit(case: tuple[CocoSplit, list[Found]]) -> None:
    split, detections = case
    assert scores(split, detections) == original(split, detections)


def test_many_detections_of_many_classes_give_the_original_s_numbers() -> None:
    random = np.random.default_rng(0)
    images, detections = [], []
    for number in range(40):
        count = int(random.integers(0, 12))
        truth = np.concatenate(
            [random.uniform(0, 120, (count, 2)), random.uniform(2, 150, (count, 2)), random.integers(1, 9, (count, 1))],
            1,
        )
        images.append([(x, y, w, h, int(label)) for x, y, w, h, label in truth.tolist()])
        near = np.repeat(truth, 15, 0)
        near[:, :4] += random.normal(0, 6, (len(near), 4))
        near[:, 2:4] = near[:, 2:4].clip(1)
        rows = np.concatenate([near[:, :4], random.uniform(0.05, 1, (len(near), 1)).round(2), near[:, 4:]], 1)
        detections.append(found(number, *map(tuple, rows.tolist())))
    split = split_of(images, frozenset({1, 5, 30}), classes=8)
    assert max(len(one.rows) for one in detections) > 100  # more than the API looks at
    ours = scores(split, detections)
    assert ours == original(split, detections)
    assert set(ours) == set(METRICS)


def test_perfect_detections_find_everything() -> None:
    split = split_of([[(10, 10, 50, 50, 1), (100, 100, 20, 20, 2)], [(0, 0, 150, 150, 3)]])
    detections = [
        found(0, (10, 10, 50, 50, 0.9, 1), (100, 100, 20, 20, 0.8, 2)),
        found(1, (0, 0, 150, 150, 0.7, 3)),
    ]
    assert scores(split, detections) == dict.fromkeys(METRICS, pytest.approx(100))


def test_a_box_shifted_by_a_quarter_counts_at_the_lower_half_of_the_thresholds() -> None:
    """IoU (1 - 1/4) / (1 + 1/4) = 0.6: right at 0.50, 0.55 and 0.60, wrong at the other seven."""
    split = split_of([[(0, 0, 80, 80, 1)]])
    measured = scores(split, [found(0, (20, 0, 80, 80, 0.9, 1))])
    assert measured["ap50"] == pytest.approx(100)
    assert measured["ap75"] == 0
    assert measured["ap"] == measured["ar1"] == pytest.approx(30)
    assert "ap_s" not in measured  # no object of that area


def test_twice_the_same_object_is_one_right_and_one_wrong() -> None:
    """Of two objects one is found, by the first of two detections: precision 1 up to recall 1/2, 51 of 101 points."""
    split = split_of([[(0, 0, 50, 50, 1), (100, 100, 50, 50, 1)]])
    measured = scores(split, [found(0, (0, 0, 50, 50, 0.9, 1), (0, 0, 50, 50, 0.8, 1))])
    assert measured["ap50"] == pytest.approx(100 * 51 / 101)
    assert measured["ar100"] == pytest.approx(50)


def test_what_lies_in_a_crowd_is_neither_right_nor_wrong() -> None:
    images = [[(0, 0, 50, 50, 1), (80, 80, 110, 110, 1)]]
    detections = [found(0, (0, 0, 50, 50, 0.5, 1), (90, 90, 40, 40, 0.9, 1))]
    assert scores(split_of(images, frozenset({1})), detections)["ap50"] == pytest.approx(100)
    assert scores(split_of(images), detections)["ap50"] < 60


def test_nothing_detected_is_zero() -> None:
    split = split_of([[(0, 0, 50, 50, 1)]])
    assert scores(split, [found(0)])["ap"] == 0


def test_results_name_images_and_categories_by_their_ids() -> None:
    split = split_of([[], [(0, 0, 50, 50, 2)]])
    detections = [found(1, (1.5, 2, 3, 4, 0.25, 2), (5, 6, 7, 8, 0.5, 3)), found(0, (9, 9, 9, 9, 0.1, 1))]
    assert as_results(split, detections) == [
        {"image_id": 11, "category_id": 3, "bbox": [9, 9, 9, 9], "score": 0.1},
        {"image_id": 18, "category_id": 9, "bbox": [5, 6, 7, 8], "score": 0.5},
        {"image_id": 18, "category_id": 6, "bbox": [1.5, 2, 3, 4], "score": 0.25},
    ]
