"""Panels of detections: photographs, their objects' boxes and what networks found there, read and checked.

What a network found is `<folder>/detections.json` in COCO's result format: a list of `{"image_id", "category_id",
"bbox": [x, y, width, height] in pixels, "score"}`. The paper prints no such figure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, TypeGuard

import numpy as np
import orjson

from pyconv.data.coco import CocoSplit, clipped
from results.figures.segmentations import ROWS, FigureError, NotPredicted, Source

FILE = "detections.json"
THRESHOLD = 0.5
"""Boxes with a lower score are not shown [I]: a test keeps those from 0.05 on, a picture of them is unreadable."""


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes on a photograph, inside of it. corners: float64 (K, 4), left, top, right, bottom in pixels.

    `labels`: int64 (K,), from 1. `scores`: float64 (K,), falling; None for true boxes. `crowd`: bool (K,), a region.
    """

    corners: np.ndarray
    labels: np.ndarray
    scores: np.ndarray | None
    crowd: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Found:
    """What a network found on a photograph: `shown`, and how many more it found with a score below the threshold."""

    shown: Boxes
    below: int


@dataclass(frozen=True, eq=False)
class Photograph:
    """One row. `image`: uint8 (H, W, 3); `truth`: its objects; `found`: by each network."""

    name: str
    image: np.ndarray
    truth: Boxes
    found: tuple[Found, ...]

    @property
    def columns(self) -> tuple[Boxes, ...]:
        """What is drawn on the photograph, from left to right."""
        return (self.truth, *(one.shown for one in self.found))


@dataclass(frozen=True, eq=False)
class Panels:
    """All that is drawn. `headers`: of the networks' columns; `classes`: names by label - 1; `note`: a line below."""

    headers: tuple[tuple[str, ...], ...]
    rows: tuple[Photograph, ...]
    classes: tuple[str, ...]
    threshold: float = THRESHOLD
    note: str = ""


def choose(split: CocoSplit, wanted: Sequence[str] = ()) -> list[int]:
    """The photographs to show, by their number in `split`: those `wanted` by name, or `ROWS` that nobody picked.

    Of the n photographs with an object, by their id, those in the middle of `ROWS` equal parts: number
    floor((2 k + 1) n / (2 ROWS)). What the networks found there does not matter. Raises FigureError.
    """
    if not wanted:
        n = len(split.trainable)
        if not n:
            raise FigureError(f"{split.root}, {split.name}: no photograph has an object: there is nothing to show")
        shown = min(ROWS, n)
        return [int(split.trainable[(2 * k + 1) * n // (2 * shown)]) for k in range(shown)]
    numbers = {split.path(number).stem: number for number in range(len(split))}
    if unknown := [name for name in wanted if name not in numbers]:
        near = f"{next(iter(numbers))} to {list(numbers)[-1]}" if numbers else "none"
        raise FigureError(f"{unknown[0]} is no photograph of {split.root}, {split.name}; there are {near}")
    return [numbers[name] for name in dict.fromkeys(wanted)]


def panels(split: CocoSplit, sources: Sequence[Source], chosen: Sequence[int], note: str = "") -> Panels:
    """Read the `chosen` photographs and what is on them. Raises FigureError, DataError."""
    if missing := [source for source in sources if not (source.folder / FILE).is_file()]:
        raise NotPredicted("\n".join(f"{one.target} has no predictions in {one.folder}" for one in missing))
    found = [_detections(source, split, chosen) for source in sources]
    rows = tuple(
        Photograph(
            split.path(number).stem, split.image(number), _truth(split, number), tuple(one[number] for one in found)
        )
        for number in chosen
    )
    return Panels(
        tuple(source.header for source in sources), rows, tuple(one.name for one in split.categories), note=note
    )


def occurring(shown: Panels) -> list[int]:
    """The labels in the figure, by their boxes, the commonest first."""
    boxes = [boxes for row in shown.rows for boxes in row.columns]
    counted = sum(np.bincount(one.labels, minlength=len(shown.classes) + 1) for one in boxes)
    assert isinstance(counted, np.ndarray), "a figure has rows"
    return sorted(map(int, np.flatnonzero(counted)), key=lambda label: (-counted[label], label))


def _truth(split: CocoSplit, number: int) -> Boxes:
    """The boxes of a photograph's objects; one that has no area in the image cannot be shown."""
    kept = split.annotations(number)
    corners = clipped(kept.boxes, split.sizes[number])
    there = _seen(corners)
    return Boxes(corners[there], kept.labels[there], None, kept.crowd[there])


def _detections(source: Source, split: CocoSplit, chosen: Sequence[int]) -> dict[int, Found]:
    """What a network found on the `chosen` photographs, by their number."""
    path = source.folder / FILE
    try:
        content = orjson.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise FigureError(f"{source.target}: {path} cannot be read ({error}); test again") from error
    where = f"{source.target}: {path}"
    if not isinstance(content, list) or not all(isinstance(one, dict) for one in content):
        raise FigureError(f"{where} is no list of objects, which COCO's result format is; test again")
    known, by_image = set(map(int, split.ids)), {int(split.ids[number]): number for number in chosen}
    entries: dict[int, list[Mapping[str, Any]]] = {number: [] for number in chosen}
    for one in content:
        image = one.get("image_id")
        if not isinstance(image, int) or image not in known:
            raise FigureError(f"{where} has image_id {image!r}, which is no image of {split.root}, {split.name}")
        if image in by_image:
            entries[by_image[image]].append(one)
    labels = {category.id: label for label, category in enumerate(split.categories, start=1)}
    return {number: _found(every, labels, split.sizes[number], where) for number, every in entries.items()}


def _found(entries: Sequence[Mapping[str, Any]], labels: Mapping[int, int], size: np.ndarray, where: str) -> Found:
    for one in entries:
        _check(one, labels, where)
    ordered = sorted(entries, key=lambda one: -one["score"])
    shown = [one for one in ordered if one["score"] >= THRESHOLD]
    corners = clipped(np.array([one["bbox"] for one in shown], np.float64).reshape(-1, 4), size)
    there = _seen(corners)
    numbers = np.array([labels[one["category_id"]] for one in shown], np.int64)[there]
    scores = np.array([one["score"] for one in shown], np.float64)[there]
    return Found(Boxes(corners[there], numbers, scores, np.zeros(len(numbers), bool)), len(ordered) - len(shown))


def _check(one: Mapping[str, Any], labels: Mapping[int, int], where: str) -> None:
    """Raises FigureError unless the entry is a detection of a known category."""
    image, category, score, box = (one.get(key) for key in ("image_id", "category_id", "score", "bbox"))
    if not isinstance(category, int) or category not in labels:
        near = f"{min(labels)} to {max(labels)}, {len(labels)} of them"
        raise FigureError(f"{where}, image {image}: category_id {category!r} is not in the annotations ({near})")
    if not (_is_number(score) and 0 <= score <= 1):
        raise FigureError(f"{where}, image {image}: score is {score!r}; a number from 0 to 1 is right")
    if not (isinstance(box, list) and len(box) == 4 and all(map(_is_number, box)) and min(box[2:]) >= 0):
        raise FigureError(f"{where}, image {image}: bbox is {box!r}; [x, y, width, height] in pixels is right")


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)


def _seen(corners: np.ndarray) -> np.ndarray:
    """Which boxes have an area."""
    return np.asarray((corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1]))
