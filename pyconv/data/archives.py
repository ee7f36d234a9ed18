"""The members of ImageNet's original tar files, hostile ones refused before anything is written."""

import tarfile
from pathlib import Path, PurePosixPath
from typing import IO

from pyconv.data.split import DataError


def members(archive: tarfile.TarFile, what: str) -> dict[str, tarfile.TarInfo]:
    """The files of an archive by their last name. `what`: the archive, for messages.

    Raises `DataError` for absolute names, `..`, links, devices, and two files of one name.
    """
    found: dict[str, tarfile.TarInfo] = {}
    for member in archive:
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts or "\0" in member.name:
            raise DataError(
                f"{what}: {member.name!r} leads out of the archive; this is no file of ImageNet, not unpacked"
            )
        if member.isdir():
            continue
        if not member.isreg():
            raise DataError(f"{what}: {member.name!r} is a link or a device; this is no file of ImageNet, not unpacked")
        if path.name in found:
            raise DataError(f"{what}: two files are named {path.name!r}; download it again")
        if not path.name.startswith("."):
            found[path.name] = member
    return found


def content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    """The bytes of a regular member."""
    file = archive.extractfile(member)
    assert file is not None, "members() lets only files through"
    return file


def is_tar(path: Path) -> bool:
    """By content, not by name."""
    return path.is_file() and tarfile.is_tarfile(path)
