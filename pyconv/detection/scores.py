"""COCO's twelve numbers: average precision and average recall of boxes, as the COCO API defines them, in percent.

    ap, ap50, ap75    at most 100 detections an image; the mean over IoU 0.50 to 0.95 in steps of 0.05, at 0.50, at 0.75
    ap_s, ap_m, ap_l  objects of less than 32^2, up to 96^2 and more pixels
    ar1, ar10, ar100  average recall with at most so many detections an image
    ar_s, ar_m, ar_l  with at most 100, by the objects' area

Matching and accumulation are faster-coco-eval's, ten times as fast as the original API. That one adds 2^-52 to the
denominator of a precision, so that a first detection that is right counts 0.9999999999999998; rounded to `DECIMALS` the
numbers of both are the same to the bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyconv.data.coco import CocoSplit

METRICS = ("ap", "ap50", "ap75", "ap_s", "ap_m", "ap_l", "ar1", "ar10", "ar100", "ar_s", "ar_m", "ar_l")
"""In the order of the API's summary."""
DECIMALS = 10  # of a percentage
_NONE = -1  # what the API says where there is no object


@dataclass(frozen=True, eq=False)
class Found:
    """What was detected in one image. `number`: the image's in its split; `rows`: float64 (k, 6), by falling score.

    A row: left, top, width and height in pixels of the image, score, label (from 1).
    """

    number: int
    rows: np.ndarray


def scores(split: CocoSplit, found: Sequence[Found]) -> dict[str, float]:
    """The numbers of `METRICS` in percent; those of areas that no object has are left out, as they are not defined."""
    return Scoring(split, found).numbers()


class Scoring:
    """What was detected in a split beside what is there, to be counted over some or all of the images."""

    def __init__(self, split: CocoSplit, found: Sequence[Found]) -> None:
        from faster_coco_eval import COCO  # late: readers of detections do without

        self._ids = split.ids.tolist()
        self._truth = COCO(ground_truth(split))
        self._results = self._truth.loadRes(as_results(split, found))

    def numbers(self, images: Sequence[int] | None = None) -> dict[str, float]:
        """`scores` over the images with these numbers; None: over all."""
        from faster_coco_eval import COCOeval_faster

        evaluation = COCOeval_faster(self._truth, self._results, "bbox")
        if images is not None:
            evaluation.params.imgIds = [self._ids[number] for number in images]
        evaluation.run()
        values = zip(METRICS, evaluation.stats[: len(METRICS)].tolist(), strict=True)
        return {name: round(100 * value, DECIMALS) for name, value in values if value != _NONE}


def as_results(split: CocoSplit, found: Sequence[Found]) -> list[dict[str, Any]]:
    """COCO's result format: one dict a detection, image by image in the split's order."""
    ids = split.ids.tolist()
    return [
        {
            "image_id": ids[one.number],
            "category_id": split.categories[int(label) - 1].id,
            "bbox": [left, top, width, height],
            "score": score,
        }
        for one in sorted(found, key=lambda one: one.number)
        for left, top, width, height, score, label in one.rows.tolist()
    ]


def ground_truth(split: CocoSplit) -> dict[str, Any]:
    """The annotations of a split in COCO's own format, without their outlines."""
    annotations: list[dict[str, Any]] = []
    images = []
    for number, (image, (height, width)) in enumerate(zip(split.ids.tolist(), split.sizes.tolist(), strict=True)):
        images.append({"id": image, "height": height, "width": width})
        own = split.annotations(number)
        columns = (own.ids, own.labels, own.boxes, own.areas, own.crowd)
        annotations += (
            {
                "id": identity,
                "image_id": image,
                "category_id": split.categories[label - 1].id,
                "bbox": box,
                "area": area,
                "iscrowd": int(crowd),
            }
            for identity, label, box, area, crowd in zip(*(column.tolist() for column in columns), strict=True)
        )
    categories = [{"id": category.id, "name": category.name} for category in split.categories]
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories}
