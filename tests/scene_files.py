"""Real photographs with made-up label maps in ADE20K's layout: files of a few hundred bytes."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from tests.photos import photo

NAMES = ("wall", "building, edifice", "sky", "floor, flooring")
HEADING = "Idx\tRatio\tTrain\tVal\tStuff\tName"


def png(values: np.ndarray, mode: str | None = None) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(values)
    (image if mode is None else image.convert(mode)).save(file, "PNG")
    return file.getvalue()


def size_of(number: int) -> tuple[int, int]:
    """(width, height) of scene `number`: both orientations, odd sizes."""
    return (41 + number, 30) if number % 2 else (33, 47 + number)


def photograph(number: int, **words: object) -> bytes:
    """A crop of its own for each number."""
    (width, height), file = size_of(number), io.BytesIO()
    top, left = number * 7 % 300, number * 13 % 500
    whole = photo("china.jpg" if number % 2 else "flower.jpg")
    Image.fromarray(whole[top : top + height, left : left + width]).save(file, "JPEG", **words)
    return file.getvalue()


def values(number: int) -> np.ndarray:
    """Numbers of all classes, and 0 in a quarter of the pixels at most."""
    width, height = size_of(number)
    rows, columns = np.mgrid[:height, :width]
    return ((rows // 5 + columns // 7 + number) % (len(NAMES) + 1)).astype(np.uint8)


def class_list(names: tuple[str, ...] = NAMES) -> str:
    rows = [f"{number}\t0.1\t10\t5\t1\t{name}" for number, name in enumerate(names, start=1)]
    return "\n".join([HEADING, *rows]) + "\n"


def contents(train: int = 4, val: int = 3, test: int = 2) -> dict[str, bytes]:
    """Path below the root -> bytes."""
    made = {"objectInfo150.txt": class_list().encode(), "sceneCategories.txt": b"ADE_train_00000001 airport\n"}
    for folder, short, first, count in (("training", "train", 0, train), ("validation", "val", 100, val)):
        for number in range(1, count + 1):
            stem = f"ADE_{short}_{number:08}"
            made[f"images/{folder}/{stem}.jpg"] = photograph(first + number)
            made[f"annotations/{folder}/{stem}.png"] = png(values(first + number))
    for number in range(1, test + 1):
        made[f"images/testing/ADE_test_{number:08}.jpg"] = photograph(200 + number)
    return made


def write(root: Path, files: dict[str, bytes]) -> Path:
    for place, content in files.items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_bytes(content)
    return root
