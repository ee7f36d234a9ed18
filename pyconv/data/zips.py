"""The members of a zip archive, hostile and torn ones refused before anything is written."""

import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from pyconv.data.split import DataError

_ENCRYPTED = 1
_LITTER = "__MACOSX"


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """An archive to read. Raises `DataError` where it is none, or its directory, which stands at its end, is gone."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, EOFError, ValueError) as error:
        raise DataError(f"{path}: no whole zip archive ({error}); download it again") from error
    with archive:
        yield archive


def members(archive: zipfile.ZipFile) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """The files of an archive by their paths, but for hidden ones.

    Raises `DataError` for absolute names, `..`, links, devices, encryption, and two files of one path.
    """
    found: dict[PurePosixPath, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        path, what = PurePosixPath(member.filename), f"{archive.filename}: {member.filename!r}"
        if path.is_absolute() or ".." in path.parts or "\\" in member.filename:
            raise DataError(f"{what} leads out of the archive; nothing is unpacked")
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise DataError(f"{what} is a link or a device; nothing is unpacked")
        if member.flag_bits & _ENCRYPTED:
            raise DataError(f"{what} is encrypted; give an archive without a password")
        if member.is_dir() or _LITTER in path.parts or path.name.startswith("."):
            continue
        if path in found:
            raise DataError(f"{what} is there twice; download it again")
        found[path] = member
    return found


def unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    """Write a member to a path where nothing stands. Raises `DataError` where its checksum or its end is wrong."""
    try:
        with archive.open(member) as file, target.open("xb") as out:
            shutil.copyfileobj(file, out)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DataError(f"{archive.filename}: {member.filename} is damaged ({error}); download it again") from error
