"""Files that are complete or not there: written under a name of their own, synced, then named in one step."""

import contextlib
import errno
import fcntl
import os
import re
import shutil
import socket
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from pyconv.files import sync_folder


class AlreadyRecorded(FileExistsError):  # noqa: N818 (an outcome of a race, not a fault)
    """A valid record of this measurement stands: the first one is kept, this one was not written."""


def write_once(path: Path, text: str, check: Callable[[str], object]) -> None:
    """Create `path` with `text` unless it is there; of several writers the first wins.

    `check` raises ValueError for a text that is not worth keeping: such a file (torn, invalid) is moved aside to a name
    ending in `.invalid`. Raises AlreadyRecorded when a good one stands there, OSError with nothing left behind.
    """
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _write_beside(path, text)
        try:
            _link_once(temporary, path, check)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)


def write_over(path: Path, content: str | bytes) -> None:
    """`path` holds `content` afterwards, or what it held before if that fails (OSError): for pages only."""
    with writing_over(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def writing_over(path: Path) -> Iterator[BinaryIO]:
    """A new file that takes the name `path` when the block is over; if that fails `path` holds what it held before.

    A file that stood there keeps its permissions.
    """
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _beside(path)
        try:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileNotFoundError):
                shutil.copymode(path, temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)


def safe_name(label: str) -> str:
    """A label as part of a file name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", label).strip(".-")[:80] or "unnamed"


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Errors of the operating system say which file could not be written."""
    try:
        yield
    except AlreadyRecorded:
        raise
    except OSError as error:
        raise OSError(error.errno, f"cannot write {path}: {error.strerror}; nothing was left behind") from error


def _beside(path: Path) -> Path:
    """A new name in the same folder, unique between hosts with equal process ids."""
    return path.with_name(f".{path.name}.{safe_name(socket.gethostname())}.{uuid.uuid4().hex}.tmp")


def _write_beside(path: Path, text: str) -> Path:
    """The text in a new file of the same folder, synced."""
    temporary = _beside(path)
    try:
        with temporary.open("xb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _link_once(temporary: Path, path: Path, check: Callable[[str], object]) -> None:
    for _ in range(3):
        try:
            os.link(temporary, path)
            return
        except FileExistsError:
            if _same_file(temporary, path):  # NFS lost the answer to a link that was made
                return
            _refuse_or_move_aside(path, check)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK):
                raise
            _rename_once(temporary, path, check)
            return
    raise AlreadyRecorded(errno.EEXIST, "other writers keep recording here; look at the folder", str(path))


def _rename_once(temporary: Path, path: Path, check: Callable[[str], object]) -> None:
    """Without hard links: complete or not there all the same, but of writers in the same instant the last one wins."""
    if path.exists():
        _refuse_or_move_aside(path, check)
    temporary.rename(path)


def _refuse_or_move_aside(path: Path, check: Callable[[str], object]) -> None:
    """AlreadyRecorded when the file at `path` is good; else it is moved, not deleted: somebody may want to look."""
    with _locked(path.parent):
        try:
            check(path.read_bytes().decode("utf-8", errors="replace"))
        except ValueError:
            path.rename(path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.invalid"))
            return
        except FileNotFoundError:
            return
    raise AlreadyRecorded(errno.EEXIST, "a valid record stands here; the first one is kept", str(path))


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One mover at a time, so that nobody moves aside what another has just put in place of an invalid file."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems cannot lock a folder
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _same_file(a: Path, b: Path) -> bool:
    try:
        return a.samefile(b)
    except FileNotFoundError:
        return False
