"""A runs folder that a group shares: what is made in it can be written by the group, whatever the user's umask."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_GROUP = stat.S_IRWXG


@contextmanager
def shared(runs: Path) -> Iterator[None]:
    """Inside, files and folders are made for the group too where `runs` is group-writable; nothing changes elsewhere.

    SLURM and children take the umask over. That they belong to the right group is the folder's set-group-ID bit.
    """
    before = os.umask(0o077)
    os.umask(before & ~_GROUP if _writable_by_group(runs) else before)
    try:
        yield
    finally:
        os.umask(before)


def _writable_by_group(runs: Path) -> bool:
    try:
        return bool(runs.stat().st_mode & stat.S_IWGRP)
    except OSError:  # not made yet: its maker's own
        return False
