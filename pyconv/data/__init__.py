"""Readers and transforms of the data sets; `prepare` writes the real images that an installed package ships."""

from pathlib import Path

from pyconv.data import digits, scenes
from pyconv.data.manifest import DataError, Split, manifest, read_split

PACKAGED = ("digits", "scenes")
"""The data sets of the mini runs: real, packaged, small. Images of one digit each, and scenes to be parsed."""

__all__ = ["PACKAGED", "DataError", "Split", "manifest", "prepare", "read_split"]


def prepare(name: str, root: Path) -> dict[str, object]:
    """Write the packaged data set `name` to `root/name` unless it stands there; its manifest: name, splits.

    Raises `DataError` for a name that no package ships and for a folder that was changed since.
    """
    if name not in PACKAGED:
        raise DataError(f"{name!r} is not packaged: only {', '.join(PACKAGED)}; give the folder of your own copy")
    return digits.prepare(root) if name == "digits" else scenes.prepare(root)
