"""Pixels of each class in a record: the arithmetic, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from results.checks import RecordError
from results.classes import check_classes, ious, segmentation_metrics

# Ten labelled pixels: class 1 has four, three of them right; class 2 six, five right; class 3 is nowhere.
COUNTS: dict[str, list[int]] = {"intersection": [3, 5, 0], "predicted": [4, 6, 0], "labelled": [4, 6, 0]}
METRICS = {"miou": {"value": 100 * (3 / 5 + 5 / 7) / 2}, "pixel_acc": {"value": 80.0}}


def test_iou_is_the_intersection_over_the_union_and_an_absent_class_has_none() -> None:
    assert ious(COUNTS) == [pytest.approx(60), pytest.approx(100 * 5 / 7), None]
    assert segmentation_metrics(COUNTS) == pytest.approx({name: metric["value"] for name, metric in METRICS.items()})
    check_classes(COUNTS, METRICS, Path("record.json"))


def test_a_class_that_is_predicted_but_never_labelled_counts_as_wrong() -> None:
    counts = {"intersection": [4, 0], "predicted": [4, 2], "labelled": [6, 0]}
    assert ious(counts) == [pytest.approx(100 * 4 / 6), 0.0]
    assert segmentation_metrics(counts)["miou"] == pytest.approx(100 * 4 / 6 / 2)


def test_a_class_that_is_all_right_has_an_iou_of_100() -> None:
    assert ious({"intersection": [7], "predicted": [7], "labelled": [7]}) == [100.0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"intersection": None}, "intersection, predicted, labelled is right"),
        ({"intersection": [3, 5]}, "lists of 2, 3 and 3 classes"),
        ({"intersection": [3, 5, "0"]}, "a list of whole numbers is right"),
        ({"intersection": [3, 5, -1]}, "a list of whole numbers is right"),
        ({"intersection": [3, 7, 0]}, "class 2 is larger than predicted or labelled"),
        ({"predicted": [4, 7, 0]}, "11 pixels predicted, 10 labelled"),
        ({"intersection": [2, 5, 0]}, "the metric is"),
    ],
)
def test_counts_that_do_not_fit_are_refused(change: dict[str, Any], words: str) -> None:
    counts = {name: value for name, value in {**COUNTS, **change}.items() if value is not None}
    with pytest.raises(RecordError, match=words):
        check_classes(counts, METRICS, Path("record.json"))
