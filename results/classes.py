"""Pixels of each class that a segmentation got right, and the numbers that follow from them.

    IoU of class c = intersection_c / (predicted_c + labelled_c - intersection_c), in percent
    miou           = mean IoU over the classes that are labelled or predicted anywhere
    pixel_acc      = sum of intersection / sum of labelled, in percent

All counts are over labelled pixels only, summed over the images of the split before anything is divided.
"""

from collections.abc import Mapping, Sequence
from math import isclose
from pathlib import Path
from typing import Any

from results.checks import RecordError, is_kind, short

COUNTS = ("intersection", "predicted", "labelled")


def ious(per_class: Mapping[str, Sequence[int]]) -> list[float | None]:
    """The IoU of each class in percent; None where it is neither labelled nor predicted anywhere."""
    counts = zip(*(per_class[name] for name in COUNTS), strict=True)
    return [100 * i / (p + n - i) if p + n else None for i, p, n in counts]


def segmentation_metrics(per_class: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """miou and pixel_acc in percent. Raises ZeroDivisionError where no pixel is labelled."""
    found = [iou for iou in ious(per_class) if iou is not None]
    right, labelled = sum(per_class["intersection"]), sum(per_class["labelled"])
    return {"miou": sum(found) / len(found), "pixel_acc": 100 * right / labelled}


def check_classes(per_class: Mapping[str, Any], metrics: Mapping[str, Any], where: Path | str) -> None:
    """The counts of every class fit each other and give the metrics. Raises RecordError."""
    here = f"{where}: per_class"
    if sorted(per_class) != sorted(COUNTS):
        raise RecordError(f"{here} has {', '.join(per_class)}; {', '.join(COUNTS)} is right")
    for name, counts in per_class.items():
        if not (isinstance(counts, list) and counts and all(is_kind(count, "count") for count in counts)):
            raise RecordError(f"{here}.{name} is {short(counts)}; a list of whole numbers is right")
    right, predicted, labelled = (per_class[name] for name in COUNTS)
    if not len(right) == len(predicted) == len(labelled):
        raise RecordError(f"{here}: lists of {len(right)}, {len(predicted)} and {len(labelled)} classes")
    if wrong := [c for c in range(len(right)) if right[c] > min(predicted[c], labelled[c])]:
        raise RecordError(f"{here}.intersection of class {wrong[0] + 1} is larger than predicted or labelled")
    if not sum(predicted) == sum(labelled) > 0:
        raise RecordError(f"{here}: {sum(predicted)} pixels predicted, {sum(labelled)} labelled; the same is right")
    for name, value in segmentation_metrics(per_class).items():
        told = metrics.get(name, {}).get("value")
        if told is None or not isclose(told, value, rel_tol=1e-9):
            raise RecordError(f"{here} gives {name} {value!r}; the metric is {told}")
