"""Photographs and their label maps in the layout of the ADE20K scene-parsing release (Zhou et al., CVPR 2017).

    root/images/{training,validation,testing}/<stem>.jpg   root/annotations/{training,validation}/<stem>.png
    root/objectInfo150.txt   one line a class after a heading, separated by tabs: number from 1, ..., name

A label map holds the class number, 0 where the pixel belongs to none of the classes. `labels` gives class numbers from
0 and `IGNORE` there. An EXIF orientation is not applied: label maps lie on the pixels as they are stored. (OpenCV's
imread, which the authors' code reads with, applies it; a photograph that this turns on its side would no longer have
its label map's size, which that code refuses. `pyconv data check` tells photographs that carry one.) No torch here.
"""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pyconv.data import ade20k_classes, decoding, kept
from pyconv.data.contents import read, size_and_digest, sizes_of
from pyconv.data.files import visible
from pyconv.data.listing import Told, untold
from pyconv.data.split import DataError, Names

FOLDERS = {
    "train": ("training",),
    "val": ("validation",),
    "train+val": ("training", "validation"),
    "test": ("testing",),
}
"""Split -> the release's folders."""
IGNORE = 255
CLASS_LIST = "objectInfo150.txt"
CONTENT_LIMIT = 20_000
"""Up to so many files the manifest's hash covers their content; above, as in the full release, paths and sizes."""


@dataclass(frozen=True, eq=False)
class Scenes:
    """A split: `images` and `annotations` below `root`, in one order; of the test split there are no annotations.

    Names are packed and no file stays open: cheap to hand to a worker, forked or spawned.
    """

    root: Path
    name: str
    classes: tuple[str, ...]
    images: Names
    annotations: Names

    def __len__(self) -> int:
        return len(self.images)

    def stem(self, index: int) -> str:
        """The name of photograph `index`, such as ADE_val_00000001."""
        return _stem(self.images[index])

    def image(self, index: int) -> np.ndarray:
        """Photograph `index`: uint8 (H, W, 3), RGB. Raises `DataError` naming the file."""
        path = self.root / self.images[index]
        try:
            return decoding.rgb(read(path))
        except ValueError as error:
            raise _named(path, error) from error

    def labels(self, index: int) -> np.ndarray:
        """Class number of every pixel of photograph `index`: uint8 (H, W), `IGNORE` where there is none.

        Raises `DataError` naming the file: not one channel of 8 bits, damaged, or a number that is no class.
        """
        path = self.root / self.annotations[index]
        try:
            numbers = decoding.numbers(read(path))
        except ValueError as error:
            raise _named(path, error) from error
        if (highest := int(numbers.max())) > len(self.classes):
            raise DataError(f"{path}: label {highest}; 0 to {len(self.classes)} is right")
        return numbers - np.uint8(1)  # 0 wraps to 255: IGNORE

    def take(self, indices: Iterable[int]) -> "Scenes":
        """Only these photographs, in this order."""
        chosen = list(indices)
        images = Names.of(self.images[index] for index in chosen)
        return replace(
            self, images=images, annotations=Names.of(self.annotations[i] for i in chosen if self.annotations)
        )


@dataclass(frozen=True)
class Listing:
    """What stands in the folders of a split. `bare`: photographs without a label map, `lone`: the reverse.

    `twice`: files whose name another has in other letters or with another end, `skipped`: neither .jpg nor .png.
    """

    images: list[str]
    annotations: list[str]
    bare: list[str]
    lone: list[str]
    twice: list[str]
    skipped: list[str]


def read_scenes(root: Path, name: str) -> Scenes:
    """List a split: train, val, train+val or test. Raises `DataError` naming what is missing or does not match."""
    found = listed(root, name)
    complaints = {
        "photographs have no label map": found.bare,
        "label maps have no photograph": found.lone,
        "files are there a second time": found.twice,
    }
    for what, places in complaints.items():
        if places:
            raise DataError(f"{Path(root)}: {len(places)} {what} (first: {places[0]}); replace or delete them")
    return scenes_of(root, name, found)


def listed(root: Path, name: str) -> Listing:
    """Photographs and label maps by their names; raises `DataError` only for a folder that is missing or empty."""
    if name not in FOLDERS:
        raise DataError(f"{name!r} is no split of {root}; valid: {', '.join(FOLDERS)}")
    found = Listing([], [], [], [], [], [])
    for folder in FOLDERS[name]:
        photographs = _files(Path(root), f"images/{folder}", ".jpg", found)
        if name == "test":
            found.images.extend(photographs.values())
            continue
        maps = _files(Path(root), f"annotations/{folder}", ".png", found)
        for stem, place in photographs.items():
            (found.images if stem in maps else found.bare).append(place)
        found.annotations.extend(maps[stem] for stem in photographs if stem in maps)
        found.lone.extend(place for stem, place in maps.items() if stem not in photographs)
    return found


def scenes_of(root: Path, name: str, found: Listing) -> Scenes:
    """The photographs that have what they need."""
    return Scenes(Path(root), name, class_names(root), Names.of(found.images), Names.of(found.annotations))


def class_names(root: Path) -> tuple[str, ...]:
    """The names of the classes in their order, from the list in `root`; the benchmark's where there is none.

    As many as the list has rows. Raises `DataError` for rows that are not numbered 1, 2, ... or have no name.
    """
    path = Path(root) / CLASS_LIST
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return ade20k_classes.names()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); take it from the release again") from error
    found: list[str] = []
    for line in filter(str.strip, lines[1:]):
        parts = [part.strip() for part in line.split("\t")]
        if len(parts) < 2 or parts[0] != str(len(found) + 1) or not parts[-1]:
            right = f"{len(found) + 1}, ..., name, separated by tabs"
            raise DataError(f"{path}: {line[:60]!r} where class {len(found) + 1} should stand; {right} is right")
        found.append(parts[-1])
    if not 1 <= len(found) <= IGNORE or len(set(found)) < len(found):
        raise DataError(
            f"{path}: {len(found)} classes, {len(set(found))} names; 1 to {IGNORE} different ones are right"
        )
    return tuple(found)


def manifest(root: Path, split: str) -> dict[str, object]:
    """Samples, classes and SHA-256 of a split, as a record names its data.

    The hash is over one line a file, photographs and label maps, sorted: path, size, and up to `CONTENT_LIMIT` files
    the SHA-256 of the content; `hashed` says which. Above that limit it is taken from what `pyconv data check` has
    kept, while its witness holds: a small set is always looked at as a whole.
    """
    scenes = read_scenes(root, split)
    large = len(scenes.images) + len(scenes.annotations) > CONTENT_LIMIT
    return (kept.recall_if(scenes, lambda: witness(scenes)) if large else None) or compute(scenes)


def witness(scenes: Scenes) -> str:
    """A SHA-256 that changes when a file is added to the split, removed or renamed, or the class list changes."""
    lines = [f"{len(scenes)}", *scenes.classes]
    for part in ("images", "annotations") if scenes.annotations else ("images",):
        for folder in FOLDERS[scenes.name]:
            path = scenes.root / part / folder
            try:
                lines.append(f"{part}/{folder}\t{path.stat().st_mtime_ns}")
            except OSError as error:
                raise DataError(f"{path}: gone while it was looked at; check the disk and try again") from error
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def compute(scenes: Scenes, sizes: dict[str, int] | None = None) -> dict[str, object]:
    """The manifest of what stands there now. `sizes`: of the files in bytes, when they are known already."""
    places = sorted([*scenes.images, *scenes.annotations])
    with_content = len(places) <= CONTENT_LIMIT
    if sizes is None and not with_content:
        sizes = file_sizes(scenes)
    total = hashlib.sha256()
    for place in places:
        size, digest = size_and_digest(scenes.root / place) if sizes is None or with_content else (sizes[place], "-")
        total.update(os.fsencode(f"{place}\t{size}\t{digest}\n"))
    return {
        "samples": len(scenes),
        "classes": len(scenes.classes),
        "sha256": total.hexdigest(),
        "hashed": "path, size, content" if with_content else "path, size",
    }


def file_sizes(scenes: Scenes, told: Told = untold) -> dict[str, int]:
    """Bytes of each photograph and label map: one question a file, several at once."""
    return sizes_of(scenes.root, [*scenes.images, *scenes.annotations], scenes.name, told)


def _named(path: Path, error: ValueError) -> DataError:
    return error if isinstance(error, DataError) else DataError(f"{path}: {error}; replace the file")


def _stem(place: str) -> str:
    return place[place.rfind("/") + 1 : place.rfind(".")]


def _files(root: Path, place: str, suffix: str, found: Listing) -> dict[str, str]:
    """Stem -> file of those with this end; `found` is told of the others."""
    folder = root / place
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected {root}/{place}/<name>{suffix}")
    files: dict[str, str] = {}
    for entry in visible(folder):
        if not entry.name.lower().endswith(suffix):
            found.skipped.append(f"{place}/{entry.name}")
        elif (stem := _stem(entry.name)) in files:
            found.twice.append(f"{place}/{entry.name}")
        else:
            files[stem] = f"{place}/{entry.name}"
    if not files:
        raise DataError(f"{folder}: holds no {suffix} file")
    return files
