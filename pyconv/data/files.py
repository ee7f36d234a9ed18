"""Files of a data set that are complete or not there, and folders that one process at a time writes."""

import fcntl
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

from pyconv.data.split import DataError

Result = TypeVar("Result")


def publish(path: Path, write: Callable[[BinaryIO], Result]) -> Result:
    """What `write` returns, its bytes at `path`: a temporary file beside it, fsync, rename, fsync of the folder."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with temporary.open("xb") as file:
            result = write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)
    return result


def sync_folder(folder: Path) -> None:
    """The folder's entries are on the disk afterwards."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Refuses (`DataError`) while another process is inside for the same folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(f"{folder}: another process is writing here; wait until it has finished") from error
        except OSError:  # some network file systems cannot lock a folder
            pass
        yield
    finally:
        os.close(handle)


def visible(folder: Path | str) -> list[os.DirEntry[str]]:
    """The entries of a folder but for hidden ones, by name."""
    with os.scandir(folder) as entries:
        return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
