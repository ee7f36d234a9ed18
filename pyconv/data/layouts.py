"""How each data set stands on the disk, and what is the same to ask of every layout. No torch here.

class folders: `root/<split>/<class>/<image>` (`pyconv.data.listing`), scenes: `root/images/<folder>/<stem>.jpg` with
`root/annotations/<folder>/<stem>.png` (`pyconv.data.ade20k`), coco: `root/<folder>/<image>` with
`root/annotations/instances_<folder>.json` (`pyconv.data.coco`), videos: `root/<split>/<class>/<video>` or
`root/<split>.csv`, with `root/index/<split>.jsonl` (`pyconv.data.kinetics`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pyconv.data import ade20k, ade20k_check, check, coco, coco_check, kinetics, kinetics_check, kinetics_listing
from pyconv.data import manifest as class_folders
from pyconv.data.ade20k import FOLDERS
from pyconv.data.check import DECODED, Checked, Finding
from pyconv.data.listing import Told, untold
from pyconv.data.split import Split

Layout = Literal["class folders", "scenes", "coco", "videos"]
LAYOUTS: dict[str, Layout] = {
    "imagenet": "class folders",
    "digits": "class folders",
    "ade20k": "scenes",
    "scenes": "scenes",
    "coco": "coco",
    "signs": "coco",
    "kinetics": "videos",
    "motions": "videos",
}
RELEASES = {
    "imagenet": "ILSVRC-2012",
    "ade20k": "ADE20K's scene-parsing release",
    "coco": "COCO 2017",
    "kinetics": "a known copy of Kinetics-400",
}
"""What a data set is compared with."""


def manifest(name: str, root: Path, split: str) -> dict[str, Any]:
    """Samples, classes and SHA-256 of a split of the data set `name`. Raises `DataError`."""
    of_layout = {
        "class folders": class_folders,
        "scenes": ade20k.manifest,
        "coco": coco.manifest,
        "videos": kinetics.manifest,
    }
    return of_layout[LAYOUTS[name]](root, split)


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

    `decode`: so many images of each; None: what is usual, some of class folders and of COCO's layout, and all of
    scenes, whose label maps no header vouches for. Videos that are not in their index yet are decoded anyway. Raises
    `DataError` where one cannot even be listed.
    """
    layout, release = LAYOUTS[name], name in RELEASES
    usual = None if layout == "scenes" else DECODED
    many = None if decode == "all" else usual if decode is None else decode
    if layout == "class folders":
        found = [check.check(root, split, decode=many, workers=workers, told=told) for split in splits]
        between = check.compare([one.split for one in found if isinstance(one.split, Split)], ilsvrc=release)
        return found, [*(finding for one in found for finding in one.findings), *between]
    look = {"scenes": ade20k_check.check, "coco": coco_check.check, "videos": kinetics_check.check}[layout]
    found = [look(root, split, decode=many, workers=workers, told=told, release=release) for split in splits]
    between = [
        *coco_check.compare([one.split for one in found if isinstance(one.split, coco.CocoSplit)]),
        *kinetics_check.compare([one.split for one in found if isinstance(one.split, kinetics.VideoSplit)]),
    ]
    return found, [*(finding for one in found for finding in one.findings), *between]


def expected(name: str, split: str) -> list[str]:
    """The folders below the root that a split of the data set `name` stands in; nothing for one of no layout here."""
    match LAYOUTS.get(name):
        case "class folders":
            return [split]
        case "scenes":
            parts = ("images",) if split == "test" else ("images", "annotations")
            return [f"{part}/{folder}" for folder in FOLDERS.get(split, (split,)) for part in parts]
        case "coco":
            return ["annotations", coco.FOLDERS.get(split, split)]
        case "videos":
            return ["index"]
        case _:
            return []


def described(name: str, split: str) -> str:
    """What is expected below the root of the data set `name`, for messages: `train/<class>/<image>`."""
    if LAYOUTS[name] == "class folders":
        return f"{split}/<class>/<image>"
    if LAYOUTS[name] == "coco":
        folder = coco.FOLDERS.get(split, split)
        return f"annotations/instances_{folder}.json and {folder}/<image>"
    if LAYOUTS[name] == "videos":
        return f"{kinetics_listing.described(split)}, and the index that `pyconv data prepare kinetics` writes"
    ends = {"images": "<name>.jpg", "annotations": "<name>.png"}
    return " and ".join(f"{folder}/{ends[folder.partition('/')[0]]}" for folder in expected(name, split))
