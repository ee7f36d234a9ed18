"""What stands in a data set's folder: `root/<split>/<class>/<image>`, and the hash that a record names it by.

ImageNet's own layout (Russakovsky et al., IJCV 2015). Classes are numbered in the order of their sorted folder names,
as torchvision's ImageFolder and the authors' script number them. No torch here.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"))
CONTENT_LIMIT = 20_000
"""Up to so many files the hash covers their content; above (ImageNet's 1.28 million) their paths and sizes."""


class DataError(ValueError):
    """A data set that cannot be used: names the file or folder and what would be right."""


@dataclass(frozen=True)
class Split:
    """The images of `root/name`: `samples` are (path below root, class number), sorted by path."""

    root: Path
    name: str
    classes: tuple[str, ...]
    samples: tuple[tuple[str, int], ...]
    skipped: tuple[str, ...] = ()

    def path(self, index: int) -> Path:
        """The file of sample `index`."""
        return self.root / self.samples[index][0]


def read_split(root: Path, name: str) -> Split:
    """List `root/name/<class>/<image>`.

    Hidden files are passed over; other files that are no images too, but named in `Split.skipped`. Raises `DataError`
    for a missing split, images outside class folders, folders inside class folders and empty classes.
    """
    root = Path(root)
    folder = root / name
    if not folder.is_dir():
        found = sorted(entry.name for entry in root.iterdir() if entry.is_dir()) if root.is_dir() else None
        state = f"{root} does not exist" if found is None else f"{root} holds {', '.join(found) or 'no folder'}"
        raise DataError(f"{folder}: no such split ({state}); expected {root}/{name}/<class>/<image>")
    entries = _visible(folder)
    if flat := [entry.name for entry in entries if entry.is_file() and _is_image(entry.name)]:
        raise DataError(
            f"{folder}: {len(flat)} images stand outside class folders (first: {flat[0]}); "
            f"move them to {folder}/<class>/, the class folders named as in training"
        )
    classes = tuple(entry.name for entry in entries if entry.is_dir())
    if not classes:
        raise DataError(f"{folder}: no class folder; expected {folder}/<class>/<image>")
    samples: list[tuple[str, int]] = []
    skipped = [f"{name}/{entry.name}" for entry in entries if not entry.is_dir()]
    for number, label in enumerate(classes):
        images, others = _read_class(folder / label)
        samples += [(f"{name}/{label}/{image}", number) for image in images]
        skipped += [f"{name}/{label}/{other}" for other in others]
    return Split(root, name, classes, tuple(samples), tuple(skipped))


def manifest(root: Path, split: str) -> dict[str, object]:
    """Samples, classes and SHA-256 of a split, as a record names its data.

    The hash is over one line a file, sorted: path below the split, size, and up to `CONTENT_LIMIT` files the SHA-256
    of the content; `hashed` says which. It does not depend on where the data set stands.
    """
    listing = read_split(root, split)
    with_content = len(listing.samples) <= CONTENT_LIMIT
    total = hashlib.sha256()
    for sample, _ in sorted(listing.samples):
        path = listing.root / sample
        content = hashlib.sha256(path.read_bytes()).hexdigest() if with_content else "-"
        total.update(f"{sample.removeprefix(split + '/')}\t{path.stat().st_size}\t{content}\n".encode())
    return {
        "samples": len(listing.samples),
        "classes": len(listing.classes),
        "sha256": total.hexdigest(),
        "hashed": "path, size, content" if with_content else "path, size",
    }


def _read_class(folder: Path) -> tuple[list[str], list[str]]:
    entries = _visible(folder)
    if nested := [entry.name for entry in entries if entry.is_dir()]:
        raise DataError(f"{folder}: holds the folder {nested[0]}; expected images only, one folder a class")
    images = [entry.name for entry in entries if _is_image(entry.name)]
    if not images:
        raise DataError(
            f"{folder}: a class without images (its number would still be counted); put its images there or delete it"
        )
    return images, [entry.name for entry in entries if not _is_image(entry.name)]


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - a million names: no Path for each
