"""Files of a download, packed or not, gathered into one folder that gets its name when it is complete."""

import filecmp
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from zipfile import ZipFile

from pyconv.data import zips
from pyconv.data.files import visible
from pyconv.data.listing import Told
from pyconv.data.split import DataError
from pyconv.files import sync_folder

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Download:
    """A file that the source holds: its bytes, how it is created at a path, and whether a path holds all of it."""

    size: int
    put: Callable[[Path], None]
    whole: Callable[[Path], bool]


def packed(archive: ZipFile) -> Iterator[tuple[PurePosixPath, Download]]:
    """The members of an archive; what is left of an earlier call is judged by their checksums."""
    for path, member in zips.members(archive).items():
        size, checksum = member.file_size, member.CRC
        yield path, Download(size, partial(zips.unpack, archive, member), partial(_is_whole, size, checksum))


def unpacked(folder: Path) -> Iterator[tuple[PurePosixPath, Download]]:
    """The files in a folder, hidden ones and those in its folders left out."""
    for entry in visible(folder):
        if entry.is_file():
            source = Path(entry.path)
            whole = partial(_is_same, source)
            yield PurePosixPath(folder.name, entry.name), Download(entry.stat().st_size, partial(_copy, source), whole)


def stands(folder: Path, files: Mapping[str, Download]) -> bool:
    """Whether the folder holds these files already; refuses (`DataError`) one that holds anything else."""
    there = {entry.name: entry.stat().st_size for entry in visible(folder)} if folder.is_dir() else {}
    expected = {name: download.size for name, download in files.items()}
    if there and there != expected:
        odd = min(name for name, _ in there.items() ^ expected.items())
        raise DataError(f"{folder}: holds other files already (first: {odd}); move it away, it is not overwritten")
    return bool(there)


def gather(folder: Path, files: Mapping[str, Download], told: Told) -> None:
    """All files in a hidden folder, then under its name: `rename` refuses one that holds anything.

    What an earlier call left there whole is kept; what is torn, or another file, is written anew.
    """
    workspace = hidden(folder)
    workspace.mkdir(parents=True, exist_ok=True)
    for done, (name, download) in enumerate(files.items(), start=1):
        target = workspace / name
        if not (target.exists() and download.whole(target)):
            target.unlink(missing_ok=True)
            download.put(target)
        told(done, len(files), name)
    if others := sorted({entry.name for entry in visible(workspace)} - set(files)):
        raise DataError(f"{workspace}: an earlier call left {others[0]} of another download here; delete it")
    os.sync()  # once for a hundred thousand files, before the name says that they are complete
    workspace.rename(folder)
    sync_folder(folder.parent)


def hidden(path: Path) -> Path:
    """Where a file or folder is prepared."""
    return path.with_name(f".{path.name}-preparing")


def _copy(source: Path, target: Path) -> None:
    """A second name for the same file, else a copy."""
    try:
        target.hardlink_to(source.resolve())
    except OSError:
        shutil.copyfile(source, target)


def _is_same(source: Path, target: Path) -> bool:
    return target.samefile(source) or filecmp.cmp(source, target, shallow=False)


def _is_whole(size: int, checksum: int, target: Path) -> bool:
    if target.stat().st_size != size:
        return False
    found = 0
    with target.open("rb") as file:
        while block := file.read(_BLOCK):
            found = zlib.crc32(block, found)
    return found == checksum
