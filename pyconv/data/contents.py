"""What the files of a data set hold, and how large they are."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pyconv.data.listing import ASKING, Told, untold
from pyconv.data.split import DataError

_ASKED = 500  # files by one thread in a row


def read(path: Path) -> bytes:
    """A file's bytes. Raises `DataError` naming it when they cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); is it complete?") from error


def size_and_digest(path: Path) -> tuple[int, str]:
    """Bytes and SHA-256 of a file. Raises `DataError` as `read` does."""
    content = read(path)
    return len(content), hashlib.sha256(content).hexdigest()


def sizes_of(folder: Path, places: Sequence[str], what: str, told: Told = untold) -> dict[str, int]:
    """Bytes of each file, by its place below `folder`: one question a file, several at once. `what`: for `told`."""
    parts = [places[start : start + _ASKED] for start in range(0, len(places), _ASKED)]
    found: dict[str, int] = {}

    def ask(part: Sequence[str]) -> dict[str, int]:
        return {place: _size(f"{folder}/{place}") for place in part}

    with ThreadPoolExecutor(ASKING) as pool:
        for sizes in pool.map(ask, parts):
            found |= sizes
            told(len(found), len(places), what)
    return found


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - a hundred thousand names: no Path for each
    except OSError as error:
        raise DataError(f"{path}: cannot be looked at ({error.strerror}); replace or delete it") from error
