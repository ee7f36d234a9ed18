"""Opening a bundle: nothing of it is believed before every byte is what the manifest says.

A bundle is the zip file or the folder that it was unpacked to. Its members are copied, checked on the way, into a
temporary folder and read from there, so that nothing can be changed between the check and the use. A zip file must be,
byte for byte, the one that `results.bundle_zip` writes of these members. What was changed together with the manifest is
found by the digest only, or where a record's own content betrays it.
"""

import contextlib
import filecmp
import hashlib
import json
import os
import stat
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from results import bundle_layout as layout
from results.bundle_layout import BundleError, Member, name_problems, read_manifest, shown
from results.bundle_zip import BROKEN, listed, write_zip
from results.evidence import Evidence
from results.specs import check_specs

_CHUNK = 1 << 20
_NONE = f"{layout.MANIFEST} is missing: not a bundle, or not its top folder"
_REPACKED = (
    "every member is right, but the zip file is not the one that `pyconv archive` wrote (packed again, or bytes "
    "between the members were changed): unpack it and give the folder, or get the original"
)


@dataclass(frozen=True)
class Bundle:
    """A bundle that was checked. `pages`: its own report, by file name; `rendered_by`: the program that made it."""

    digest: str
    members: int
    target: str
    mini: bool
    rendered_by: Mapping[str, Any]
    specs: Mapping[str, Any]
    evidence: Evidence
    pages: Mapping[str, bytes]


@dataclass(frozen=True)
class _Source:
    """A member before it is believed."""

    size: int
    open: Callable[[], Any]


@contextlib.contextmanager
def opened(path: Path, digest: str = "") -> Iterator[Bundle]:
    """The bundle at `path`, checked; its records are files as long as the block runs.

    `digest`: the one that was published. Raises BundleError naming every member that is missing, changed or too many.
    """
    with tempfile.TemporaryDirectory(prefix="pyconv-bundle-") as name:
        folder = Path(name)
        checksums, found = _checked(path, folder / "bundle", digest)
        if path.is_file():
            _check_container(path, folder, checksums)
        yield _read(path, folder / "bundle", found, len(checksums) + 1)


def _checked(path: Path, copy: Path, digest: str) -> tuple[dict[str, str], str]:
    """The manifest's checksums and its own; every member is then in the folder `copy`."""
    with _sources(path) as sources:
        try:
            found = _copied(sources[layout.MANIFEST], copy / layout.MANIFEST)
            checksums = read_manifest((copy / layout.MANIFEST).read_bytes())
        except BROKEN as error:
            raise BundleError(path, [f"{layout.MANIFEST}: {error}"]) from None
        problems = [f"its digest is {found}, not {digest}"] if digest not in ("", found) else []
        wanted = dict.fromkeys([*layout.FILES, *checksums])
        problems += [f"{shown(name)} is missing" for name in wanted if name not in sources]
        problems += name_problems(checksums)
        problems += [f"{name} is not in the manifest" for name in sources if name not in wanted]
        problems += _changed(sources, checksums, copy)
    if problems:
        raise BundleError(path, problems)
    return checksums, found


def _changed(sources: Mapping[str, _Source], checksums: Mapping[str, str], copy: Path) -> list[str]:
    """Copy every member; those that are not what the manifest says, a sentence each."""
    problems = []
    for name, checksum in checksums.items():
        try:
            if name in sources and _copied(sources[name], copy / name) != checksum:
                problems.append(f"{name} is not what the manifest says: changed or damaged")
        except BROKEN:
            problems.append(f"{name} is damaged")
    return problems


def _copied(source: _Source, target: Path) -> str:
    """Copy a member to `target`; its SHA-256."""
    hashed, left = hashlib.sha256(), source.size
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open() as file, target.open("wb") as copy:
        while chunk := file.read(_CHUNK):
            left -= len(chunk)
            if left < 0:
                raise ValueError("it holds more than it claims")
            hashed.update(chunk)
            copy.write(chunk)
    return hashed.hexdigest()


@contextlib.contextmanager
def _sources(path: Path) -> Iterator[dict[str, _Source]]:
    """Every member by its name, names and kinds checked, nothing read yet."""
    if path.is_dir():
        if not (path / layout.MANIFEST).is_file():
            raise BundleError(path, [_NONE])
        yield _in_folder(path)
        return
    if not path.is_file():
        raise BundleError(path, ["there is no such file or folder"])
    try:
        archive = zipfile.ZipFile(path)
    except (*BROKEN, OSError) as error:
        raise BundleError(path, [f"not a zip file, or a torn one ({error})"]) from None
    with archive:
        if layout.MANIFEST not in archive.namelist():
            raise BundleError(path, [_NONE])
        infos = listed(path, archive)
        yield {info.filename: _Source(info.file_size, _opener(archive, info)) for info in infos}


def _opener(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[], Any]:
    return lambda: archive.open(info)


def _in_folder(root: Path) -> dict[str, _Source]:
    sources: dict[str, _Source] = {}
    problems: list[str] = []
    for place, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = Path(place, name)
            inside, status = path.relative_to(root).as_posix(), path.lstat()
            if stat.S_ISREG(status.st_mode):
                sources[inside] = _Source(status.st_size, _no_link(path))
            elif not stat.S_ISDIR(status.st_mode):
                problems.append(f"{shown(inside)}: a symbolic link or a device; a bundle holds plain files")
            if len(sources) > layout.MAX_MEMBERS:
                raise BundleError(root, [f"more than {layout.MAX_MEMBERS} members"])
    problems += name_problems(sources)
    if sum(source.size for source in sources.values()) > layout.MAX_BYTES:
        problems.append(f"more than {layout.MAX_BYTES:,} bytes")
    if problems:
        raise BundleError(root, problems)
    return sources


def _no_link(path: Path) -> Callable[[], BinaryIO]:
    return lambda: os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb")


def _check_container(path: Path, folder: Path, checksums: Mapping[str, str]) -> None:
    """The zip file must be the one that these members make."""
    names = [*checksums, layout.MANIFEST]
    again = folder / "again.zip"
    with again.open("wb") as file:
        write_zip([Member.of(name, folder / "bundle" / name) for name in names], file)
    if not filecmp.cmp(path, again, shallow=False):
        raise BundleError(path, [_REPACKED])
    again.unlink()


def _read(path: Path, folder: Path, digest: str, members: int) -> Bundle:
    """What the checked members say; a record that is none, or none any more, is refused with the whole bundle."""
    evidence = Evidence.load(folder / layout.RECORDS)
    if evidence.problems:
        raise BundleError(path, [f"{layout.RECORDS}{problem}" for problem in evidence.problems])
    try:
        about, specs = (json.loads((folder / name).read_bytes()) for name in (layout.ABOUT, layout.SPECS))
        _check_about(about)
        check_specs(specs)
    except (ValueError, RecursionError) as error:
        raise BundleError(path, [f"{layout.ABOUT} or {layout.SPECS}: {error}"]) from None
    report = folder / layout.REPORT
    pages = {p.relative_to(report).as_posix(): p.read_bytes() for p in sorted(report.rglob("*")) if p.is_file()}
    return Bundle(digest, members, about["target"], about["mini"], about["rendered_by"], specs, evidence, pages)


def _check_about(about: Any) -> None:
    """Raises ValueError."""
    if not isinstance(about, dict) or about.get("schema") != layout.SCHEMA:
        raise ValueError(f"the bundle's schema is not {layout.SCHEMA}, the one that this program reads")
    for key, kind in {"target": str, "mini": bool, "rendered_by": dict}.items():
        if not isinstance(about.get(key), kind):
            raise ValueError(f"{key} is no {kind.__name__}")
