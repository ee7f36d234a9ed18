"""Readers and transforms of the data sets; `prepare` writes the real images that an installed package ships."""

from importlib import import_module
from pathlib import Path

from pyconv.data.manifest import DataError, Split, manifest, read_split

PACKAGED = ("digits", "scenes", "signs", "motions")
"""The data sets of the mini runs, a module each: single digits, scenes to be parsed, digits to be found, motions."""

__all__ = ["PACKAGED", "DataError", "Split", "manifest", "prepare", "read_split"]


def prepare(name: str, root: Path) -> dict[str, object]:
    """Write the packaged data set `name` to `root/name` unless it stands there; its manifest: name, splits.

    Raises `DataError` for a name that no package ships and for a folder that was changed since.
    """
    if name not in PACKAGED:
        raise DataError(f"{name!r} is not packaged: only {', '.join(PACKAGED)}; give the folder of your own copy")
    made: dict[str, object] = import_module(f"pyconv.data.{name}").prepare(root)
    return made
