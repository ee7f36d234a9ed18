"""The index of a split in tar shards: names, classes and where each content stands, under a check sum of its own.

`root/<split>/<split>-000000.tar` ... are ordinary tar files with members `<class>/<image>`; `shards.index` beside
them is a line with the format and the SHA-256 of the rest, a line of JSON, and the arrays as little-endian bytes.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pyconv.data.split import DataError, Names, Shards, Split

INDEX = "shards.index"
FORMAT = "pyconv-shards-1"
_ARRAYS = {"labels": "<i4", "ends": "<u4", "numbers": "<u2", "offsets": "<i8", "sizes": "<u4"}


def write_index(file: BinaryIO, split: Split, key: str) -> None:
    """The index of a sharded split. `key`: of what it was made from, for `index_key`."""
    shards = split.shards
    assert shards is not None
    head = {
        "key": key,
        "classes": split.classes,
        "samples": len(split),
        "shards": [
            {"name": path.name, "size": path.stat().st_size, "sha256": digest}
            for path, digest in zip(shards.files, shards.digests, strict=True)
        ],
    }
    columns = (split.labels, split.files.ends, shards.numbers, shards.offsets, shards.sizes)
    packed = b"".join(column.astype(kind).tobytes() for column, kind in zip(columns, _ARRAYS.values(), strict=True))
    content = json.dumps(head).encode() + b"\n" + packed + split.files.text
    file.write(f"{FORMAT} {hashlib.sha256(content).hexdigest()}\n".encode())
    file.write(content)


def open_shards(root: Path, name: str) -> Split:
    """The split of an index. Raises `DataError` when it is damaged or a shard has not the size it was written with."""
    head, content, start = _read(root / name / INDEX)
    arrays = {}
    for label, kind in _ARRAYS.items():
        arrays[label] = np.frombuffer(content, kind, head["samples"], start).astype(kind[1:])
        start += arrays[label].nbytes
    paths = tuple(root / name / shard["name"] for shard in head["shards"])
    stamps = tuple(_stamp(path, shard["size"]) for path, shard in zip(paths, head["shards"], strict=True))
    digests = tuple(shard["sha256"] for shard in head["shards"])
    shards = Shards(paths, stamps, digests, arrays["numbers"], arrays["offsets"], arrays["sizes"])
    names = Names(content[start:], arrays["ends"])
    return Split(root, name, tuple(head["classes"]), arrays["labels"], names, shards=shards)


def index_key(folder: Path) -> str | None:
    """What the shards in `folder` were made from; None when they are not complete."""
    return _read(folder / INDEX)[0]["key"] if (folder / INDEX).exists() else None


def damaged_shards(split: Split) -> list[str]:
    """The shards of a split whose bytes are not the written ones, as complaints. Reads all of them."""
    assert split.shards is not None
    wrong = []
    for path, digest in zip(split.shards.files, split.shards.digests, strict=True):
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != digest:
            wrong.append(f"{path}: damaged, its SHA-256 is {found[:16]}..., written {digest[:16]}...")
    return wrong


def _read(path: Path) -> tuple[dict[str, Any], bytes, int]:
    """The JSON of an index, the content after the first line, and where in it the arrays begin."""
    again = "delete it and run `pyconv data shard` again, which keeps sound shards"
    try:
        first, _, content = path.read_bytes().partition(b"\n")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the disk") from error
    form, _, digest = first.decode("ascii", "replace").partition(" ")
    if form != FORMAT:
        raise DataError(f"{path}: not an index of this program (it begins {form[:20]!r}, expected {FORMAT}); {again}")
    if hashlib.sha256(content).hexdigest() != digest:
        raise DataError(f"{path}: damaged, its check sum does not hold; {again}")
    line = content.index(b"\n")
    return json.loads(content[:line]), content, line + 1


def _stamp(path: Path, size: int) -> int:
    try:
        found = os.stat(path)  # noqa: PTH116 - the error names the file
    except OSError as error:
        raise DataError(f"{path}: a shard is missing ({error.strerror}); run `pyconv data shard` again") from error
    if found.st_size != size:
        raise DataError(f"{path}: {found.st_size} bytes, written {size}; delete it and run `pyconv data shard` again")
    return found.st_mtime_ns
