"""The code as it was when a job was submitted: jobs import it from there, whatever happens to the checkout meanwhile.

    <runs>/snapshots/<id>/{pyconv,experiments,results,slurm}/   the sources, without evidence and rendered tables
    <runs>/snapshots/<id>/snapshot.json                         commit, dirty, hash of the difference, number of files
    <runs>/snapshots/<id>/difference.patch                      what the checkout had beyond its commit

The id is a hash of the sources, so unchanged code has one snapshot and an edited snapshot is recognised.
"""

import hashlib
import json
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results import provenance

PACKAGES = ("pyconv", "experiments", "results", "slurm")
_LEFT_OUT = (Path("results/records"), Path("results/tables"))
_CODE, _DIFFERENCE = "snapshot.json", "difference.patch"


class SnapshotError(RuntimeError):
    """A snapshot that is no longer what its name says."""


@dataclass(frozen=True)
class Snapshot:
    """`root`: what PYTHONPATH names. `code`: commit, dirty, diff_sha256, as records carry it."""

    id: str
    root: Path
    code: dict[str, Any]


def take(runs: Path, checkout: Path | None = None) -> Snapshot:
    """The snapshot of the code that runs now (or of `checkout`) below `runs`, made unless it is there already.

    Raises SnapshotError when the one that is there was edited, OSError with nothing left behind.
    """
    source = Path(__file__).resolve().parent.parent if checkout is None else checkout
    folder = runs.absolute() / "snapshots"
    name = digest(source)
    if not (folder / name).exists():
        name = _copy(source, folder, checkout)
    root = folder / name
    if digest(root) != name:
        raise SnapshotError(f"{root}: edited since it was taken; delete the folder when no queued job needs it")
    return Snapshot(name, root, read(root))


def read(root: Path) -> dict[str, Any]:
    """Commit, dirty and diff_sha256 of the code in a snapshot."""
    content = json.loads((root / _CODE).read_text())
    return {key: content[key] for key in ("commit", "dirty", "diff_sha256")}


def digest(root: Path) -> str:
    """Sixteen hex digits of the SHA-256 over names and contents of the sources below `root`."""
    total = hashlib.sha256()
    for path in files(root):
        content = (root / path).read_bytes()
        total.update(f"{path.as_posix()} {len(content)}\n".encode() + content)
    return total.hexdigest()[:16]


def files(root: Path) -> Iterator[Path]:
    """The sources below `root`, relative to it, sorted."""
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*")):
            inside = path.relative_to(root)
            hidden = "__pycache__" in inside.parts or any(part.startswith(".") for part in inside.parts)
            if path.is_file() and not hidden and not any(inside.is_relative_to(out) for out in _LEFT_OUT):
                yield inside


def _copy(source: Path, folder: Path, checkout: Path | None) -> str:
    """The id of a new snapshot in `folder`: copied beside its place, then renamed; of two at once the first wins.

    The id is that of the copy: an editor may save a file while it is made.
    """
    temporary = folder / f".{uuid.uuid4().hex}.tmp"
    try:
        for path in files(source):
            (temporary / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / path, temporary / path)
        name = digest(temporary)
        code, difference = provenance.code(checkout), provenance.difference(checkout)
        (temporary / _CODE).write_text(json.dumps({"id": name, **code}, indent=1) + "\n")
        if difference:
            (temporary / _DIFFERENCE).write_bytes(difference)
        if not (folder / name).exists():
            temporary.rename(folder / name)
    except OSError as error:
        raise OSError(error.errno, f"cannot take a snapshot of the code: {error.strerror}", str(folder)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return name
