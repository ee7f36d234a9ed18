"""Photographs and their label maps in the layout of the ADE20K scene-parsing release (Zhou et al., CVPR 2017).

    root/images/{training,validation,testing}/<stem>.jpg   root/annotations/{training,validation}/<stem>.png
    root/objectInfo150.txt   one line a class after a heading, separated by tabs: number from 1, ..., name

A label map holds the class number, 0 where the pixel belongs to none of the classes. `labels` gives class numbers from
0 and `IGNORE` there. No torch here.
"""

import hashlib
import os
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from pyconv.data.files import visible
from pyconv.data.split import DataError

FOLDERS = {
    "train": ("training",),
    "val": ("validation",),
    "train+val": ("training", "validation"),
    "test": ("testing",),
}
"""Split -> the release's folders."""
IGNORE = 255
CLASSES = 150
CLASS_LIST = "objectInfo150.txt"
CONTENT_LIMIT = 20_000
"""Up to so many files the manifest's hash covers their content; above, as in the full release, paths and sizes."""


@dataclass(frozen=True, eq=False)
class Scenes:
    """A split: `images` and `annotations` below `root`, in one order; of the test split there are no annotations."""

    root: Path
    name: str
    classes: tuple[str, ...]
    images: tuple[str, ...]
    annotations: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def stem(self, index: int) -> str:
        """The name of photograph `index`, such as ADE_val_00000001."""
        return Path(self.images[index]).stem

    def image(self, index: int) -> np.ndarray:
        """Photograph `index`: uint8 (H, W, 3), RGB. Raises `DataError` naming the file."""
        with self._opened(self.images[index]) as image:
            return np.array(_loaded(image, self.root / self.images[index]).convert("RGB"))

    def labels(self, index: int) -> np.ndarray:
        """Class number of every pixel of photograph `index`: uint8 (H, W), `IGNORE` where there is none.

        Raises `DataError` naming the file: not one channel of 8 bits, or a number that is no class.
        """
        path = self.root / self.annotations[index]
        with self._opened(self.annotations[index]) as image:
            if image.mode not in ("L", "P"):
                raise DataError(f"{path}: a label map has one channel of 8 bits, this is {image.mode}")
            numbers = np.array(_loaded(image, path))
        if int(numbers.max()) > len(self.classes):
            raise DataError(f"{path}: label {int(numbers.max())}; 0 to {len(self.classes)} is right")
        return numbers - np.uint8(1)  # 0 wraps to 255: IGNORE

    def _opened(self, place: str) -> Image.Image:
        path = self.root / place
        try:
            return Image.open(BytesIO(path.read_bytes()))
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror or error}); is it complete?") from error


def read_scenes(root: Path, name: str) -> Scenes:
    """List a split: train, val, train+val or test. Raises `DataError` naming what is missing or does not match."""
    root = Path(root)
    if name not in FOLDERS:
        raise DataError(f"{name!r} is no split of {root}; valid: {', '.join(FOLDERS)}")
    images: list[str] = []
    annotations: list[str] = []
    for folder in FOLDERS[name]:
        here = _listed(root, f"images/{folder}", ".jpg")
        images += here
        if name != "test":
            annotations += _matching(root, folder, here)
    return Scenes(root, name, class_names(root), tuple(images), tuple(annotations))


def class_names(root: Path) -> tuple[str, ...]:
    """The names of the classes in their order, from the list in `root`."""
    path = Path(root) / CLASS_LIST
    try:
        lines = path.read_text(encoding="utf-8").splitlines()[1:]
    except FileNotFoundError:
        return tuple(f"class {number}" for number in range(1, CLASSES + 1))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); take it from the release again") from error
    return tuple(line.split("\t")[-1].strip() for line in lines if line.strip())


def manifest(root: Path, split: str) -> dict[str, object]:
    """Samples, classes and SHA-256 of a split, as a record names its data.

    The hash is over one line a file, photographs and label maps, sorted: path, size, and up to `CONTENT_LIMIT` files
    the SHA-256 of the content; `hashed` says which.
    """
    scenes = read_scenes(root, split)
    places = sorted([*scenes.images, *scenes.annotations])
    with_content = len(places) <= CONTENT_LIMIT
    total = hashlib.sha256()
    for place in places:
        total.update(os.fsencode(f"{place}\t{_fact(scenes.root / place, with_content)}\n"))
    return {
        "samples": len(scenes),
        "classes": len(scenes.classes),
        "sha256": total.hexdigest(),
        "hashed": "path, size, content" if with_content else "path, size",
    }


def _fact(path: Path, with_content: bool) -> str:
    try:
        if not with_content:
            return f"{path.stat().st_size}\t-"
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); is it complete?") from error
    return f"{len(content)}\t{hashlib.sha256(content).hexdigest()}"


def _loaded(image: Image.Image, path: Path) -> Image.Image:
    try:
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: does not decode ({error}); replace it") from error
    return image


def _listed(root: Path, place: str, suffix: str) -> list[str]:
    folder = root / place
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected {root}/{place}/<name>{suffix}")
    found = [f"{place}/{entry.name}" for entry in visible(folder) if entry.name.lower().endswith(suffix)]
    if not found:
        raise DataError(f"{folder}: holds no {suffix} file")
    return found


def _matching(root: Path, folder: str, images: list[str]) -> list[str]:
    """The label map of each photograph."""
    found = {Path(place).stem: place for place in _listed(root, f"annotations/{folder}", ".png")}
    stems = [Path(place).stem for place in images]
    if missing := [stem for stem in stems if stem not in found]:
        raise DataError(
            f"{root / 'annotations' / folder}: {len(missing)} photographs have no label map (first: {missing[0]})"
        )
    if surplus := sorted(set(found) - set(stems)):
        raise DataError(
            f"{root / 'annotations' / folder}: {len(surplus)} label maps have no photograph (first: {surplus[0]})"
        )
    return [found[stem] for stem in stems]
