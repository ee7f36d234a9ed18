"""The hash that a record names its data by: SHA-256 over what stands in a split.

The same for a folder, its copy elsewhere, and the shards made of it. No torch here.
"""

import hashlib
import os
from pathlib import Path

import numpy as np

from pyconv.data import kept
from pyconv.data.listing import Told, file_facts, read_split, untold
from pyconv.data.split import DataError, Split

__all__ = ["CONTENT_LIMIT", "DataError", "Split", "compute", "manifest", "read_split"]

CONTENT_LIMIT = 20_000
"""Up to so many files the hash covers their content; above (ImageNet's 1.28 million) their paths and sizes."""


def manifest(root: Path, split: str) -> dict[str, object]:
    """Samples, classes and SHA-256 of a split, as a record names its data.

    The hash is over one line a file, sorted: path below the split, size, and up to `CONTENT_LIMIT` files the SHA-256
    of the content; `hashed` says which. It does not depend on where the data set stands. Above that limit it is taken
    from what `pyconv data check` has kept, while its witness holds: a small set is always looked at as a whole.
    """
    listing = read_split(root, split)
    known = kept.recall(listing) if len(listing) > CONTENT_LIMIT else None
    return known or compute(listing)


def compute(split: Split, sizes: np.ndarray | None = None, told: Told = untold) -> dict[str, object]:
    """The manifest of what stands there now. `sizes`: of the files in bytes, when they are known already."""
    with_content = len(split) <= CONTENT_LIMIT
    if sizes is None and not with_content:
        sizes = file_facts(split, told)[:, 0]
    total = hashlib.sha256()
    # Sorted by path: the class "a-b" stands before "a", because "-" stands before "/".
    for label, start, stop in sorted(split.by_class(), key=lambda part: part[0] + "/"):
        lines = []
        for index in range(start, stop):
            size, content = _size_and_digest(split, index) if with_content else (sizes[index], "-")  # type: ignore[index]
            lines.append(f"{label}/{split.files[index]}\t{size}\t{content}\n")
        total.update(os.fsencode("".join(lines)))
    return {
        "samples": len(split),
        "classes": len(split.classes),
        "sha256": total.hexdigest(),
        "hashed": "path, size, content" if with_content else "path, size",
    }


def _size_and_digest(split: Split, index: int) -> tuple[int, str]:
    content = split.read(index)
    return len(content), hashlib.sha256(content).hexdigest()
