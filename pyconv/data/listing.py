"""What stands in a data set's folder: `root/<split>/<class>/<image>`, ImageNet's own layout, or shards of it.

(Russakovsky et al., IJCV 2015.) Classes are numbered in the order of their sorted folder names, as torchvision's
ImageFolder and the authors' script number them.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import numpy as np

from pyconv.data.files import visible
from pyconv.data.shards import INDEX, open_shards
from pyconv.data.split import DataError, Names, Split

IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"))
ASKING = 8
"""Threads that ask for the sizes of files: a network disk answers several as fast as one."""

Told = Callable[[int, int, str], None]
"""Told (done, of how many, the thing at hand)."""


def untold(done: int, total: int, text: str) -> None:
    """Nobody listens."""


def read_split(root: Path, name: str) -> Split:
    """List `root/name/<class>/<image>`, or read the index of its shards.

    Hidden files are passed over; other files that are no images too, but named in `Split.skipped`. Raises `DataError`
    for a missing split, images outside class folders, folders inside class folders, empty classes, damaged shards.
    """
    root = Path(root)
    folder = root / name
    if (folder / INDEX).exists():
        return open_shards(root, name)
    entries = visible(folder) if folder.is_dir() else _missing(root, name)
    _refuse_flat(root, name, entries)
    classes = tuple(entry.name for entry in entries if entry.is_dir())
    if not classes:
        raise DataError(f"{folder}: no class folder; expected {folder}/<class>/<image>")
    found, skipped = [], [f"{name}/{entry.name}" for entry in entries if not entry.is_dir()]
    for label in classes:
        images, others = _read_class(f"{folder}/{label}")
        found.append(Names.of(images))
        skipped += [f"{name}/{label}/{other}" for other in others]
    labels = np.repeat(np.arange(len(classes), dtype=np.int32), [len(images) for images in found])
    return Split(root, name, classes, labels, Names.join(found), tuple(skipped))


def file_facts(split: Split, told: Told = untold) -> np.ndarray:
    """Size in bytes and time of change in ns of each file, int64 (samples, 2): one question a file, several at once.

    In shards the sizes that the index tells, and no time. Raises `DataError` for a file that is gone.
    """
    facts = np.zeros((len(split), 2), np.int64)
    if split.shards is not None:
        facts[:, 0] = split.shards.sizes
        return facts

    def ask(part: tuple[str, int, int]) -> tuple[int, int]:
        label, start, stop = part
        folder = f"{split.root / split.name / label}/"
        for index in range(start, stop):
            facts[index] = _size_and_time(folder + split.files[index])
        return start, stop

    with ThreadPoolExecutor(ASKING) as pool:
        for _, stop in pool.map(ask, split.by_class()):
            told(stop, len(split), split.name)
    return facts


def is_image(name: str) -> bool:
    """By the end of its name."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - a million names: no Path for each


def _size_and_time(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)  # noqa: PTH116 - a million names: no Path for each
    except OSError as error:
        raise DataError(f"{path}: cannot be looked at ({error.strerror}); replace or delete it") from error
    return found.st_size, found.st_mtime_ns


def _missing(root: Path, name: str) -> NoReturn:
    found = [entry.name for entry in visible(root) if entry.is_dir()] if root.is_dir() else None
    state = f"{root} does not exist" if found is None else f"{root} holds {', '.join(found) or 'no folder'}"
    raise DataError(f"{root / name}: no such split ({state}); expected {root}/{name}/<class>/<image>")


def _refuse_flat(root: Path, name: str, entries: list[os.DirEntry[str]]) -> None:
    files = [entry.name for entry in entries if not entry.is_dir()]
    if flat := [file for file in files if is_image(file)]:
        advice = f"move them to {root / name}/<class>/, the class folders named as in training"
        if name == "val":
            advice = f"`pyconv data prepare imagenet --root {root} --labels FILE` moves ImageNet's there"
        raise DataError(f"{root / name}: {len(flat)} images stand outside class folders (first: {flat[0]}); {advice}")
    if shards := [file for file in files if file.endswith(".tar")]:
        raise DataError(
            f"{root / name}: {len(shards)} tar files without their {INDEX}; run `pyconv data shard` again, it goes on"
        )


def _read_class(folder: str) -> tuple[list[str], list[str]]:
    entries = visible(folder)
    if nested := [entry.name for entry in entries if entry.is_dir()]:
        raise DataError(f"{folder}: holds the folder {nested[0]}; expected images only, one folder a class")
    images = [entry.name for entry in entries if is_image(entry.name)]
    if not images:
        raise DataError(
            f"{folder}: a class without images (its number would still be counted); put its images there or delete it"
        )
    return images, [entry.name for entry in entries if not is_image(entry.name)]
