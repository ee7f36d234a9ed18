"""The container of a bundle: a zip file whose bytes follow from the names and bytes of its members alone.

Members are sorted, stored and carry the first date a zip file knows. They are not compressed: what a compressor gives
differs between its versions, and a stored member cannot be larger than it looks.
"""

import stat
import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from results.bundle_layout import MAX_BYTES, MAX_MEMBER_BYTES, MAX_MEMBERS, BundleError, Member, name_problems, shown

FIRST_DATE = (1980, 1, 1, 0, 0, 0)
# What `zipfile` raises for files that are none, or no more.
BROKEN = (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError, EOFError, struct.error, OverflowError)
_UNIX = 3
_ENCRYPTED = 1


def write_zip(members: Iterable[Member], file: BinaryIO) -> None:
    """Write `members` into `file`, which is empty and can seek."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for member in sorted(members, key=lambda member: member.name):
            info = zipfile.ZipInfo(member.name, FIRST_DATE)
            info.create_system = _UNIX
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            info.file_size = member.size
            with archive.open(info, "w") as target:
                for chunk in member.chunks():
                    target.write(chunk)


def listed(path: Path, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The members of the zip file at `path`. Raises BundleError when one of them must not be read."""
    infos = archive.infolist()
    if len(infos) > MAX_MEMBERS:
        raise BundleError(path, [f"{len(infos)} members; a bundle has at most {MAX_MEMBERS}"])
    problems = name_problems(info.orig_filename for info in infos)
    problems += [problem for info in infos if (problem := _problem(info))]
    total, size = sum(info.file_size for info in infos), path.stat().st_size
    if total > min(size, MAX_BYTES):
        problems.append(f"its members claim {total:,} bytes, more than the file's own {size:,} or {MAX_BYTES:,}")
    if problems:
        raise BundleError(path, problems)
    return infos


def _problem(info: zipfile.ZipInfo) -> str | None:
    name, kind = shown(info.orig_filename), stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        return f"{name}: {'a symbolic link' if stat.S_ISLNK(kind) else 'not a file'}; a bundle holds plain files"
    if info.header_offset < 0:
        return f"{name}: begins before the file does; bytes were cut out"
    if info.flag_bits & _ENCRYPTED:
        return f"{name}: encrypted; a bundle is not"
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        return f"{name}: compressed; a bundle's members are stored (packed again? unpack it and give the folder)"
    if info.file_size > MAX_MEMBER_BYTES:
        return f"{name}: {info.file_size:,} bytes; a member has at most {MAX_MEMBER_BYTES:,}"
    return None
