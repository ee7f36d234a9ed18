"""Detections made by hand, and the original API's count of them."""

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pyconv.data.coco import Annotations, Category, CocoSplit
from pyconv.data.split import Names
from pyconv.detection.scores import DECIMALS, METRICS, Found, as_results, ground_truth

SIZE = 200  # pixels of every image
Box = tuple[float, float, float, float, int]  # x, y, width, height, label


def split_of(images: Sequence[Sequence[Box]], crowds: frozenset[int] = frozenset(), classes: int = 3) -> CocoSplit:
    """`crowds`: numbers of boxes, over all images. Category ids have gaps, image ids are not their places."""
    rows = [box for image in images for box in image]
    boxes = np.array([row[:4] for row in rows], np.float64).reshape(-1, 4)
    every = Annotations(
        ids=np.arange(len(rows)) + 1,
        boxes=boxes,
        labels=np.array([row[4] for row in rows], np.int64),
        areas=0.7 * boxes[:, 2] * boxes[:, 3],  # of an outline: smaller than the box
        crowd=np.array([number in crowds for number in range(len(rows))], bool),
    )
    return CocoSplit(
        root=Path("made-up"),
        name="val",
        categories=tuple(Category(3 * number, f"class {number}") for number in range(1, classes + 1)),
        ids=np.arange(len(images)) * 7 + 11,
        sizes=np.full((len(images), 2), SIZE),
        files=Names.of(f"{number}.jpg" for number in range(len(images))),
        starts=np.cumsum([0, *(len(image) for image in images)]),
        every=every,
    )


def original(split: CocoSplit, found: Sequence[Found]) -> dict[str, float]:
    """The summary of the original API."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = ground_truth(split)
        truth.createIndex()
        results = as_results(split, found)
        if not results:  # it cannot load none
            results = [
                {"image_id": int(split.ids[0]), "category_id": 3, "bbox": [500.0, 500.0, 0.1, 0.1], "score": 0.0}
            ]
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    measured = zip(METRICS, evaluation.stats.tolist(), strict=True)
    return {name: round(100 * value, DECIMALS) for name, value in measured if value != -1}


def found(number: int, *rows: tuple[float, ...]) -> Found:
    return Found(number, np.array(sorted(rows, key=lambda row: -row[4]), np.float64).reshape(-1, 6))
