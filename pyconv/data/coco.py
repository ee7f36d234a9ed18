"""Photographs and their boxes in the layout of COCO 2017 (Lin et al., ECCV 2014).

    root/annotations/instances_{train2017,val2017}.json   root/{train2017,val2017}/<file_name>

Category numbers in the file have gaps (1 to 90 for 80 classes): label = place in ascending order + 1, and 0 is left for
the background. An EXIF orientation is not applied: boxes lie on the pixels as they are stored. Boxes that reach out of
the image or have no area are given as they are; `trainable` leaves out images that have no other. No torch here.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from pyconv.data import coco_json, decoding, kept
from pyconv.data.coco_json import Annotations, Category
from pyconv.data.contents import read, size_and_digest, sizes_of
from pyconv.data.files import visible
from pyconv.data.listing import Told, untold
from pyconv.data.split import DataError, Names

__all__ = ["FOLDERS", "Annotations", "Category", "CocoSplit", "clipped", "manifest", "read_coco"]

FOLDERS = {"train": "train2017", "val": "val2017"}
"""Split -> the release's folder of images."""
CONTENT_LIMIT = 20_000
"""Up to so many images the manifest's hash covers their content; above, as in train2017, names and sizes."""


@dataclass(frozen=True, eq=False)
class CocoSplit:
    """A split: categories and images by ascending id. ids int64 (n,); sizes int64 (n, 2): height, width in pixels.

    Rows `starts[i]` to `starts[i + 1]` of `every` are the annotations of image i. Arrays and packed names, and no file
    stays open: cheap to hand to a worker, and a forked one copies nothing.
    """

    root: Path
    name: str
    categories: tuple[Category, ...]
    ids: np.ndarray
    sizes: np.ndarray
    files: Names
    starts: np.ndarray
    every: Annotations

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def folder(self) -> Path:
        """Where the images stand."""
        return self.root / FOLDERS[self.name]

    def path(self, index: int) -> Path:
        """The file of image `index`."""
        return self.folder / self.files[index]

    def image(self, index: int) -> np.ndarray:
        """Image `index`: uint8 (H, W, 3), RGB, greyscale repeated.

        Raises `DataError` naming the file: it does not decode, or is not of the size that its annotations are made for.
        """
        path = self.path(index)
        try:
            pixels = decoding.rgb(read(path))
        except DataError:
            raise
        except ValueError as error:
            raise DataError(f"{path}: {error}; replace the file") from error
        if pixels.shape[:2] != tuple(self.sizes[index]):
            (height, width), (rows, columns) = self.sizes[index], pixels.shape[:2]
            told = f"{annotation_file(self.root, self.name).name} says {width} x {height}"
            raise DataError(f"{path}: {columns} x {rows} pixels, {told}; replace the file")
        return pixels

    def annotations(self, index: int) -> Annotations:
        """The annotations of image `index` as the file has them, crowds included; perhaps none."""
        return self.every.rows(slice(int(self.starts[index]), int(self.starts[index + 1])))

    def take(self, indices: Iterable[int]) -> "CocoSplit":
        """Only these images with their annotations, in this order."""
        chosen = np.fromiter(indices, np.int64)
        counts = np.diff(self.starts)[chosen]
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        rows = np.repeat(self.starts[chosen] - starts[:-1], counts) + np.arange(starts[-1])
        return replace(
            self,
            ids=self.ids[chosen],
            sizes=self.sizes[chosen],
            files=Names.of(self.files[index] for index in chosen.tolist()),
            starts=starts,
            every=self.every.rows(rows),
        )

    @cached_property
    def owners(self) -> np.ndarray:
        """The image of each row of `every`: int64 (a,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    @cached_property
    def trainable(self) -> np.ndarray:
        """Images with a box that is no crowd and, cut to the image, has an area: their numbers, ascending, int64."""
        left, top, right, bottom = clipped(self.every.boxes, self.sizes[self.owners]).T
        usable = ~self.every.crowd & (right > left) & (bottom > top)
        return np.unique(self.owners[usable])


def clipped(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Boxes (g, 4), x, y, width, height, cut to images of sizes (g, 2) or (2,), height and width.

    float64 (g, 4): left, top, right, bottom in pixels; right <= left or bottom <= top where nothing of it is inside.
    """
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
    ends = np.broadcast_to(sizes, (len(boxes), 2))[:, [1, 0, 1, 0]]
    return np.clip(corners, 0, ends)


def annotation_file(root: Path, name: str) -> Path:
    """The file of a split's annotations. Raises `DataError` for a split that there is not."""
    if name not in FOLDERS:
        raise DataError(f"{name!r} is no split of {root}; valid: {', '.join(FOLDERS)}")
    return Path(root) / "annotations" / f"instances_{FOLDERS[name]}.json"


def read_coco(root: Path, name: str) -> CocoSplit:
    """Read a split, train or val, and see that its images are there.

    Raises `DataError` naming the file, the annotations and what would be right.
    """
    split, faults = parsed(root, name)
    if faults:
        raise DataError("; ".join(faults))
    if absent := missing(split, present(split)):
        named = annotation_file(root, name).name
        raise DataError(
            f"{split.folder}: {len(absent):,} of {len(split):,} images in {named} are not there (first: {absent[0]}); "
            f"prepare or copy them again"
        )
    return split


def parsed(root: Path, name: str) -> tuple[CocoSplit, list[str]]:
    """What the annotation file says, and what in it cannot be right and was left out."""
    found = coco_json.read(annotation_file(root, name))
    split = CocoSplit(
        Path(root), name, found.categories, found.ids, found.sizes, Names.of(found.files), found.starts, found.every
    )
    return split, found.faults


def present(split: CocoSplit) -> list[str]:
    """The names in the folder of images, hidden ones left out. Raises `DataError` where there is no such folder."""
    if not split.folder.is_dir():
        raise DataError(f"{split.folder}: no such folder; expected {split.folder}/<file_name>")
    return [entry.name for entry in visible(split.folder)]


def missing(split: CocoSplit, names: Sequence[str]) -> list[str]:
    """Images of the annotation file that are not among these names."""
    there = set(names)
    return [name for name in split.files if name not in there]


def manifest(root: Path, split: str) -> dict[str, object]:
    """Samples, how many of them can be trained on, classes and SHA-256 of a split, as a record names its data.

    The hash is over categories, images and annotations as they are read (segmentations, captions and the file's spacing
    decide no measurement), and one line an image, sorted: name, size, and up to `CONTENT_LIMIT` images the SHA-256 of
    the content; `hashed` says which. Above that limit it is taken from what `pyconv data check` has kept, while its
    witness holds: a small set is always looked at as a whole.
    """
    known = kept.recall_if(Place(Path(root), split), lambda: witness(root, split))
    large = known is not None and known["samples"] > CONTENT_LIMIT
    return known if large and known is not None else compute(read_coco(root, split))


@dataclass(frozen=True)
class Place:
    """A split that is not read yet, as `pyconv.data.kept` asks for it."""

    root: Path
    name: str


def witness(root: Path, name: str) -> str:
    """A SHA-256 that changes when the annotation file does, or an image is added, removed or renamed."""
    path = annotation_file(root, name)
    try:
        file, folder = path.stat(), (Path(root) / FOLDERS[name]).stat()
    except OSError as error:
        expected = f"{path.relative_to(root)} and {FOLDERS[name]}/<image>"
        raise DataError(f"{error.filename}: {error.strerror}; expected {expected} below {root}") from error
    return hashlib.sha256(f"{file.st_size}\t{file.st_mtime_ns}\t{folder.st_mtime_ns}".encode()).hexdigest()


def compute(split: CocoSplit, sizes: dict[str, int] | None = None) -> dict[str, object]:
    """The manifest of what stands there now. `sizes`: of the images in bytes, when they are known already."""
    with_content = len(split) <= CONTENT_LIMIT
    total = hashlib.sha256()
    for category in split.categories:
        total.update(f"{category.id}\t{category.name}\n".encode())
    for array in (split.ids, split.sizes, split.starts, *vars(split.every).values()):
        total.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
    for name in split.files:
        total.update(os.fsencode(f"{name}\n"))  # which image is which
    if not with_content and sizes is None:
        sizes = file_sizes(split)
    for name in sorted(split.files):
        size, digest = size_and_digest(split.folder / name) if with_content or sizes is None else (sizes[name], "-")
        total.update(os.fsencode(f"{name}\t{size}\t{digest}\n"))
    return {
        "samples": len(split),
        "trainable": len(split.trainable),
        "classes": len(split.categories),
        "sha256": total.hexdigest(),
        "hashed": f"annotations, name, size{', content' if with_content else ''}",
    }


def file_sizes(split: CocoSplit, told: Told = untold) -> dict[str, int]:
    """Bytes of each image: one question a file, several at once."""
    return sizes_of(split.folder, [*split.files], split.name, told)
