"""COCO 2017's downloads in one layout: train2017.zip, val2017.zip, annotations_trainval2017.zip, or their folders.

Of the annotations only the two instances files are taken. Nothing of the user's is deleted or overwritten. Interrupted
at any byte and called again it goes on with the images that are whole: each folder is gathered hidden beside its place
and gets its name when it is complete.
"""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from zipfile import is_zipfile

from pyconv.data import coco_json, zips
from pyconv.data.coco import FOLDERS, annotation_file
from pyconv.data.downloads import Download, gather, hidden, packed, stands, unpacked
from pyconv.data.files import alone
from pyconv.data.listing import Told, is_image, untold
from pyconv.data.split import DataError
from pyconv.files import sync_folder

ANNOTATIONS = "annotations"
ARCHIVES = {"train2017": "train2017.zip", "val2017": "val2017.zip", ANNOTATIONS: "annotations_trainval2017.zip"}
"""Folder -> the download that unpacks to it."""
_INSTANCES = {f"instances_{folder}.json": split for split, folder in FOLDERS.items()}
_EXPECTED = f"{', '.join(ARCHIVES.values())}, or the folders {', '.join(ARCHIVES)} that they unpack to"

Found = dict[str, dict[str, Download]]
"""Folder of the layout -> name -> file."""


def prepare(root: Path, source: Path, *, told: Told = untold) -> dict[str, str]:
    """Make the layout in `root` of what `source` holds; for each split that was there, what was done, in a sentence.

    `source`: a folder with the downloads, or one of the archives. A split without images is passed over. Raises
    `DataError` before anything is written of a split whose annotations are missing or wrong, or whose images are not
    all there.
    """
    root, source = root.absolute(), source.absolute()
    if not source.exists():
        raise DataError(f"{source}: does not exist; --from names the folder or the archive that was downloaded")
    with ExitStack() as stack:
        found = _found(source, stack)
        splits = [split for split in FOLDERS if _is_meant(root, found, split)]
        if not splits:
            raise DataError(f"{source}: holds no images of COCO 2017; it is to be {_EXPECTED}")
        root.mkdir(parents=True, exist_ok=True)
        stack.enter_context(alone(root))
        for split in splits:
            stack.callback(hidden(annotation_file(root, split)).unlink, missing_ok=True)
        todo = {split: _todo(root, source, found, split) for split in splits}
        return {split: _bring(root, found, split, todo[split], told) for split in splits}


def _is_meant(root: Path, found: Found, split: str) -> bool:
    """Its images are among the downloads, or its annotations are and the images stand in `root`."""
    annotated = annotation_file(root, split).name in found.get(ANNOTATIONS, {})
    return bool(found.get(FOLDERS[split])) or (annotated and (root / FOLDERS[split]).is_dir())


def _found(source: Path, stack: ExitStack) -> Found:
    found: Found = {}
    for place in _places(source):
        files = unpacked(place) if place.is_dir() else packed(stack.enter_context(zips.opened(place)))
        for path, download in files:
            if (folder := _folder(path)) is None:
                continue
            if path.name in found.setdefault(folder, {}):
                raise DataError(f"{place}: {path} is a second {folder}/{path.name}; download it again")
            found[folder][path.name] = download
    return found


def _places(source: Path) -> list[Path]:
    """The archives and folders to look into; of a download in both forms the archive, which has checksums."""
    if source.is_file():
        if not is_zipfile(source):
            raise DataError(f"{source}: no whole zip archive; download it again, or give the folder as --from")
        return [source]
    both = [(source / archive, source / folder) for folder, archive in ARCHIVES.items()]
    places = [
        archive if archive.exists() else folder for archive, folder in both if archive.exists() or folder.is_dir()
    ]
    if not places:
        raise DataError(f"{source}: holds none of the downloads; expected {_EXPECTED}")
    return places


def _folder(path: PurePosixPath) -> str | None:
    """Where a file belongs below the root; None for what is not needed."""
    if path.name in _INSTANCES:
        return ANNOTATIONS
    return path.parent.name if path.parent.name in FOLDERS.values() and is_image(path.name) else None


def _todo(root: Path, source: Path, found: Found, split: str) -> list[str]:
    """What of a split is still to be brought: its annotation file, its folder of images. All of it is looked at."""
    folder, file = FOLDERS[split], annotation_file(root, split)
    download = found.get(ANNOTATIONS, {}).get(file.name)
    if not file.exists() and download is None:
        raise DataError(f"{source}: {folder} without {file.name}; {ARCHIVES[ANNOTATIONS]} belongs beside it")
    if file.exists() and download is not None and file.stat().st_size != download.size:
        raise DataError(f"{file}: another file than the download's stands here; move it away, it is not overwritten")
    images = found.get(folder, {})
    todo = [] if not images or stands(root / folder, images) else [folder]
    todo = todo if file.exists() else [ANNOTATIONS, *todo]
    if todo:
        there = set(images) or {entry.name for entry in (root / folder).iterdir()}
        _complete(file, source, download if ANNOTATIONS in todo else None, folder, there)
    return todo


def _complete(file: Path, source: Path, download: Download | None, folder: str, there: set[str]) -> None:
    """Read the annotations, those of `download` if there is one; refuse them, and images that are not all there."""
    place, told = file, str(file)
    if download is not None:
        place, told = hidden(file), f"{source}: {file.name}"
        place.parent.mkdir(exist_ok=True)
        place.unlink(missing_ok=True)  # ours, of an earlier call: perhaps torn
        download.put(place)
    try:
        content = coco_json.read(place)
        if content.faults:
            raise DataError("; ".join(content.faults))
    except DataError as error:
        raise DataError(str(error).replace(str(place), told)) from error
    if absent := [name for name in content.files if name not in there]:
        missing = f"{len(absent):,} of {len(content.files):,} images are not in {folder} (first: {absent[0]})"
        raise DataError(f"{source}: {missing}; download it again")


def _bring(root: Path, found: Mapping[str, Mapping[str, Download]], split: str, todo: list[str], told: Told) -> str:
    folder, file = root / FOLDERS[split], annotation_file(root, split)
    if ANNOTATIONS in todo:
        with hidden(file).open("rb") as prepared:
            os.fsync(prepared.fileno())
        hidden(file).rename(file)
        sync_folder(file.parent)
    if folder.name in todo:
        gather(folder, found[folder.name], told)
    made = [str(file)] * (ANNOTATIONS in todo) + [str(folder)] * (folder.name in todo)
    return f"{' and '.join(made)} made" if made else f"{file} and {folder} stand already"
