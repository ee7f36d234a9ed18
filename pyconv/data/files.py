"""Folders of a data set: one process at a time writes, and what is hidden is passed over."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyconv.data.split import DataError


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
