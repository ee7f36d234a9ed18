"""How each data set stands on the disk, and what is the same to ask of every layout. No torch here.

class folders: `root/<split>/<class>/<image>` (`pyconv.data.listing`), scenes: `root/images/<folder>/<stem>.jpg` with
`root/annotations/<folder>/<stem>.png` (`pyconv.data.ade20k`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pyconv.data import ade20k, ade20k_check, check
from pyconv.data import manifest as class_folders
from pyconv.data.ade20k import FOLDERS
from pyconv.data.check import DECODED, Checked, Finding
from pyconv.data.listing import Told, untold
from pyconv.data.split import Split

Layout = Literal["class folders", "scenes"]
LAYOUTS: dict[str, Layout] = {
    "imagenet": "class folders",
    "digits": "class folders",
    "ade20k": "scenes",
    "scenes": "scenes",
}
RELEASES = {"imagenet": "ILSVRC-2012", "ade20k": "ADE20K's scene-parsing release"}
"""What a data set is compared with."""


def manifest(name: str, root: Path, split: str) -> dict[str, Any]:
    """Samples, classes and SHA-256 of a split of the data set `name`. Raises `DataError`."""
    return ade20k.manifest(root, split) if LAYOUTS[name] == "scenes" else class_folders(root, split)


def check_splits(
    name: str,
    root: Path,
    splits: Sequence[str],
    *,
    decode: int | Literal["all"] | None,
    workers: int,
    told: Told = untold,
) -> tuple[list[Checked], list[Finding]]:
    """Look at splits of the data set `name`, and all that was found, of each and between them.

    `decode`: so many images of each; None: what is usual, some of class folders and all of scenes, whose label maps no
    header vouches for. Raises `DataError` where one cannot even be listed.
    """
    if LAYOUTS[name] == "scenes":
        many, release = (None if decode == "all" else decode), name in RELEASES
        found = [
            ade20k_check.check(root, split, decode=many, workers=workers, told=told, release=release)
            for split in splits
        ]
        return found, [finding for one in found for finding in one.findings]
    many = None if decode == "all" else DECODED if decode is None else decode
    found = [check.check(root, split, decode=many, workers=workers, told=told) for split in splits]
    between = check.compare([one.split for one in found if isinstance(one.split, Split)], ilsvrc=name in RELEASES)
    return found, [*(finding for one in found for finding in one.findings), *between]


def expected(name: str, split: str) -> list[str]:
    """The folders below the root that a split of the data set `name` stands in; nothing for one of no layout here."""
    match LAYOUTS.get(name):
        case "class folders":
            return [split]
        case "scenes":
            parts = ("images",) if split == "test" else ("images", "annotations")
            return [f"{part}/{folder}" for folder in FOLDERS.get(split, (split,)) for part in parts]
        case _:
            return []


def described(name: str, split: str) -> str:
    """What is expected below the root of the data set `name`, for messages: `train/<class>/<image>`."""
    if LAYOUTS[name] == "class folders":
        return f"{split}/<class>/<image>"
    ends = {"images": "<name>.jpg", "annotations": "<name>.png"}
    return " and ".join(f"{folder}/{ends[folder.partition('/')[0]]}" for folder in expected(name, split))
