"""Which classes a segmentation finds and which it misses, in a few words, from the record's pixel counts."""

from collections.abc import Mapping, Sequence

from pyconv.data import scenes
from pyconv.data.ade20k_classes import names, short
from results.classes import ious

SHOWN = 8


def class_facts(per_class: Mapping[str, Sequence[int]], data: str) -> list[tuple[str, str]]:
    """What and text: the `SHOWN` best and worst IoU of the classes that occur, how many lie at 0, which are absent.

    `data`: name of the data set, whose classes are called by their names where they are known.
    """
    found = ious(per_class)
    called = _called(len(found), data)
    ranked = sorted((-iou, number) for number, iou in enumerate(found) if iou is not None)
    told = [f"{called[number]} {-iou:.1f}" for iou, number in ranked]
    half = min(SHOWN, (len(told) + 1) // 2)
    absent = [called[number] for number, iou in enumerate(found) if iou is None]
    return [
        ("IoU, best classes", ", ".join(told[:half])),
        ("IoU, worst classes", ", ".join(reversed(told[max(half, len(told) - half) :]))),
        ("classes never hit", f"{sum(iou == 0 for iou, _ in ranked)} of {len(ranked)}"),
        ("neither labelled nor predicted", ", ".join(absent)),
    ]


def _called(count: int, data: str) -> list[str]:
    """The benchmark's names for its 150 classes, the packaged scenes' for theirs, numbers from 1 for others."""
    known = list(scenes.CLASSES) if data == "scenes" else [short(name) for name in names()]
    return known if count == len(known) else [f"class {n + 1}" for n in range(count)]
