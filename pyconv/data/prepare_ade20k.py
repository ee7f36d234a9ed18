"""ADE20K's scene-parsing downloads in one layout: ADEChallengeData2016.zip and release_test.zip, or their folders.

The first holds images/ and annotations/ of training and validation, objectInfo150.txt and sceneCategories.txt, the
second testing/ and list.txt. Nothing of the user's is deleted or overwritten. Interrupted at any byte and called again
it goes on: each folder is gathered hidden beside its place and gets its name when it is complete.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from zipfile import is_zipfile

from pyconv.data import zips
from pyconv.data.ade20k import CLASS_LIST
from pyconv.data.downloads import Download, gather, hidden, packed, stands, unpacked
from pyconv.data.files import alone
from pyconv.data.listing import Told, untold
from pyconv.data.split import DataError
from pyconv.files import sync_folder

RELEASE, TEST = "ADEChallengeData2016", "release_test"
"""Names of the downloads, with .zip, and of the folders that they unpack to."""
LISTS = (CLASS_LIST, "sceneCategories.txt")
_ENDS = {"images": ".jpg", "annotations": ".png"}
_LEAVES = {"train": "training", "val": "validation", "test": "testing"}
_EXPECTED = f"{RELEASE}.zip, {TEST}.zip, or the folders {RELEASE} and {TEST} that they unpack to"


def prepare(root: Path, source: Path, *, told: Told = untold) -> dict[str, str]:
    """Make the layout in `root` of what `source` holds; for each split that was there, what was done, in a sentence.

    `source`: a folder with the downloads, or one of them, packed or unpacked. Raises `DataError` before anything of a
    split is written that is not complete: a photograph without its label map, other files where these belong.
    """
    root, source = root.absolute(), source.absolute()
    if not source.exists():
        raise DataError(f"{source}: does not exist; --from names the folder or the archive that was downloaded")
    with ExitStack() as stack:
        found = _found(source, stack)
        splits = [split for split, leaf in _LEAVES.items() if f"images/{leaf}" in found]
        if not splits:
            raise DataError(f"{source}: holds no photographs of the scene-parsing release; it is to be {_EXPECTED}")
        root.mkdir(parents=True, exist_ok=True)
        stack.enter_context(alone(root))
        todo = {split: _todo(root, source, found, split) for split in splits}
        for name, download in found.get("", {}).items():
            _list(root / name, download)
        return {split: _bring(root, found, split, todo[split], told) for split in splits}


def _found(source: Path, stack: ExitStack) -> dict[str, dict[str, Download]]:
    """Folder of the layout -> name -> file; the lists in the folder ""."""
    found: dict[str, dict[str, Download]] = {}
    for place in _places(source):
        files = _unpacked(place) if place.is_dir() else packed(stack.enter_context(zips.opened(place)))
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
    if any((source / name).is_dir() for name in ("images", "testing")):
        return [source]
    both = [(source / f"{name}.zip", source / name) for name in (RELEASE, TEST)]
    found = [packed if packed.exists() else folder for packed, folder in both if packed.exists() or folder.is_dir()]
    if not found:
        raise DataError(f"{source}: holds none of the downloads; expected {_EXPECTED}")
    return found


def _folder(path: PurePosixPath) -> str | None:
    """Where a file belongs: a folder below the root, "" for the root itself, None for what is not needed."""
    if path.name in LISTS:
        return ""
    parts = path.parts[-3:-1]
    if parts[-1:] == ("testing",) and parts[:-1] != ("annotations",):
        parts = ("images", "testing")
    if len(parts) == 2 and parts[1] in _LEAVES.values() and path.suffix.lower() == _ENDS.get(parts[0]):
        return "/".join(parts)
    return None


def _unpacked(folder: Path) -> Iterator[tuple[PurePosixPath, Download]]:
    for place in (".", "testing", *(f"{part}/{leaf}" for part in _ENDS for leaf in _LEAVES.values())):
        if (folder / place).is_dir():
            for path, download in unpacked(folder / place):
                yield PurePosixPath(place, path.name), download


def _todo(root: Path, source: Path, found: Mapping[str, Mapping[str, Download]], split: str) -> list[str]:
    """Folders of a split that are still to be brought, label maps first: photographs are never there without."""
    leaf = _LEAVES[split]
    if split != "test":
        photographs, maps = ({Path(name).stem for name in found.get(f"{part}/{leaf}", ())} for part in _ENDS)
        if bare := sorted(photographs - maps):
            raise DataError(f"{source}: {len(bare)} {leaf} photographs have no label map (first: {bare[0]})")
        if lone := sorted(maps - photographs):
            raise DataError(f"{source}: {len(lone)} {leaf} label maps have no photograph (first: {lone[0]})")
    folders = [f"images/{leaf}"] if split == "test" else [f"annotations/{leaf}", f"images/{leaf}"]
    return [folder for folder in folders if not stands(root / folder, found[folder])]


def _list(path: Path, download: Download) -> None:
    """One of the lists, complete or not there."""
    workspace = hidden(path)
    workspace.unlink(missing_ok=True)  # ours, of an earlier call: perhaps torn
    download.put(workspace)
    if not path.exists():
        workspace.rename(path)
        sync_folder(path.parent)
        return
    same = path.read_bytes() == workspace.read_bytes()
    workspace.unlink()
    if not same:
        raise DataError(f"{path}: another list than the download's stands here; move it away, it is not overwritten")


def _bring(root: Path, found: Mapping[str, Mapping[str, Download]], split: str, todo: Sequence[str], told: Told) -> str:
    number, leaf = len(found[f"images/{_LEAVES[split]}"]), _LEAVES[split]
    for folder in todo:
        gather(root / folder, found[folder], told)
    if not todo:
        return f"{number} photographs stand in {root / 'images' / leaf} already"
    return f"{number} photographs: {' and '.join(str(root / folder) for folder in todo)} made"
