"""ImageNet's downloads in class folders: the flat validation images by their labels, the training archive unpacked.

Nothing of the user's is deleted or overwritten. Interrupted at any byte and called again it goes on: images in place
are renamed one by one; others are gathered in a hidden folder beside, which gets its name when it is complete.
"""

import os
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from pyconv.data import ground_truth
from pyconv.data.archives import content, is_tar, members
from pyconv.data.files import alone, visible
from pyconv.data.ilsvrc import WNID
from pyconv.data.listing import Told, is_image, untold
from pyconv.data.split import DataError
from pyconv.files import sync_folder

VAL_TAR, TRAIN_TAR = "ILSVRC2012_img_val.tar", "ILSVRC2012_img_train.tar"
Put = Callable[[Path], None]
"""Creates one image at a path."""


def prepare(
    root: Path,
    source: Path | None = None,
    *,
    labels: Path | None = None,
    synsets: Path | None = None,
    told: Told = untold,
) -> dict[str, str]:
    """Make `root/train` and `root/val` of what `source` holds; for each split that was, what was done, in a sentence.

    `source`: a folder of flat images, one of the original archives, or a folder with them; None: `root/val` itself.
    `labels`: the ground truth of the validation images, else looked for beside them; `synsets`: the class list for
    Caffe's numbers, else the folders of `root/train`. Raises `DataError` before anything is moved.
    """
    source = (source or root / "val").absolute()
    if not source.exists():
        raise DataError(f"{source}: does not exist; --from names the folder or the archive that was downloaded")
    root.mkdir(parents=True, exist_ok=True)
    done: dict[str, str] = {}
    with alone(root):
        for split, found in _sources(root, source):
            if split == "train":
                done["train"] = _train(root, found, told)
                continue
            path = labels or ground_truth.find([source, found.parent, source.parent, root])
            truth = ground_truth.read(path, partial(_classes, root, synsets))
            _refuse_unknown(root, path, truth)
            done["val"] = f"{_val(root, found, truth.wnids, told)}; labels of {path}, read as {truth.form}"
    return done


def _sources(root: Path, source: Path) -> Iterator[tuple[str, Path]]:
    """(split, folder or archive) of what the source holds, training first: its folders are the class list."""
    if source.is_file():
        if not is_tar(source):
            raise DataError(f"{source}: no tar archive; --from takes {VAL_TAR}, {TRAIN_TAR} or a folder")
        yield ("train" if _is_train(source) else "val"), source
        return
    archives = [("train", source / TRAIN_TAR), ("val", source / VAL_TAR)]
    found = [(split, path) for split, path in archives if path.exists()]
    flat = source.samefile(root / "val") if (root / "val").exists() else False
    if flat or (not found and any(is_image(entry.name) for entry in visible(source))):
        found = [("val", source)]
    if not found:
        raise DataError(
            f"{source}: holds neither flat images nor {VAL_TAR} nor {TRAIN_TAR}; give their folder as --from"
        )
    yield from found


def _is_train(path: Path) -> bool:
    with tarfile.open(path) as archive:
        first = next((member for member in archive if member.isfile()), None)
    return first is not None and first.name.endswith(".tar")


def _classes(root: Path, synsets: Path | None) -> Sequence[str]:
    """The sorted WordNet numbers: the first words of a file's lines, else the folders of the training images."""
    if synsets is not None:
        wnids = sorted({line.split()[0] for line in synsets.read_text().splitlines() if line.strip()})
    else:
        wnids = [entry.name for entry in visible(root / "train") if entry.is_dir()] if (root / "train").is_dir() else []
    where = synsets or root / "train"
    if not wnids or not all(WNID.fullmatch(wnid) for wnid in wnids):
        raise DataError(f"{where}: no class list, which Caffe's numbers need; give --synsets FILE, a wnid a line")
    return wnids


def _refuse_unknown(root: Path, path: Path, truth: ground_truth.GroundTruth) -> None:
    """The classes must be those of the training images, where these stand."""
    train = {entry.name for entry in visible(root / "train") if entry.is_dir()} if (root / "train").is_dir() else set()
    if train and (other := sorted(set(truth.wnids.values()) - train)):
        raise DataError(f"{path}: class {other[0]} is not in {root / 'train'}; labels and images are of different sets")


def _val(root: Path, source: Path, wnids: dict[str, str], told: Told) -> str:
    folder = root / "val"
    flat, placed = _state(folder)
    if folder.exists() and source.is_dir() and source.samefile(folder):
        return _in_place(folder, flat, placed, wnids, told)
    if not flat and placed == wnids:
        return f"{len(placed)} images stand in {folder} already"
    if flat or placed:
        raise DataError(f"{folder}: holds other images already; move them away, they are not overwritten")
    if source.is_dir():
        puts = {name: partial(_link_or_copy, source / name) for name in _state(source)[0]}
        _refuse_mismatch(source, puts, wnids)
        return _gathered(folder, puts, wnids, told)
    with tarfile.open(source) as archive:
        found = {name: one for name, one in members(archive, str(source)).items() if is_image(name)}
        _refuse_mismatch(source, found, wnids)
        return _gathered(folder, {n: partial(_unpack, archive, one) for n, one in found.items()}, wnids, told)


def _state(folder: Path) -> tuple[list[str], dict[str, str]]:
    """The images that lie flat, and the class folder of the others."""
    entries = visible(folder) if folder.is_dir() else []
    flat = [entry.name for entry in entries if not entry.is_dir() and is_image(entry.name)]
    placed: dict[str, str] = {}
    for label in (entry.name for entry in entries if entry.is_dir()):
        for image in filter(lambda entry: is_image(entry.name), visible(folder / label)):
            if image.name in placed:
                raise DataError(f"{folder}: {image.name} is in {placed[image.name]} and in {label}; which is right?")
            placed[image.name] = label
    return flat, placed


def _refuse_mismatch(folder: Path, images: Iterable[str], wnids: dict[str, str]) -> None:
    """Every image has a label and every label an image."""
    have = set(images)
    if missing := sorted(set(wnids) - have):
        raise DataError(
            f"{folder}: {len(missing)} of {len(wnids)} labelled images are missing (first: {missing[0]}); "
            f"download them again, or give labels of these images only"
        )
    if surplus := sorted(have - set(wnids)):
        raise DataError(f"{folder}: {len(surplus)} images have no label (first: {surplus[0]}); move them away")


def _in_place(folder: Path, flat: list[str], placed: dict[str, str], wnids: dict[str, str], told: Told) -> str:
    _refuse_mismatch(folder, [*flat, *placed], wnids)
    if twice := sorted(set(flat) & set(placed)):
        raise DataError(f"{folder}: {twice[0]} is there and in {placed[twice[0]]} too; move one of them away")
    if wrong := sorted(name for name, label in placed.items() if wnids[name] != label):
        raise DataError(f"{folder / placed[wrong[0]] / wrong[0]}: is of class {wnids[wrong[0]]}; move it there")
    for wnid in sorted(set(wnids.values())):
        (folder / wnid).mkdir(exist_ok=True)
    for done, name in enumerate(flat, start=1):
        (folder / name).rename(folder / wnids[name] / name)  # looked at above: nothing stands there
        told(done, len(flat), name)
    return f"{len(flat)} images of {folder} moved into {len(set(wnids.values()))} class folders"


def _gathered(folder: Path, puts: Mapping[str, Put], wnids: dict[str, str], told: Told) -> str:
    """All images in a hidden folder, then under its name: `rename` refuses one that holds anything."""
    workspace = folder.with_name(f".{folder.name}-preparing")
    for wnid in sorted(set(wnids.values())):
        (workspace / wnid).mkdir(parents=True, exist_ok=True)
    for done, (name, put) in enumerate(puts.items(), start=1):
        put(workspace / wnids[name] / name)
        told(done, len(puts), name)
    if _state(workspace)[1] != wnids:
        raise DataError(f"{workspace}: an earlier call left images of other labels here; delete it and try again")
    _publish(workspace, folder)
    return f"{len(puts)} images brought to {folder}"


def _publish(workspace: Path, folder: Path) -> None:
    os.sync()  # once for 50,000 files, before the name says that they are complete
    workspace.rename(folder)
    sync_folder(folder.parent)


def _link_or_copy(source: Path, target: Path) -> None:
    """A second name for the same file, else a copy."""
    target.unlink(missing_ok=True)  # ours, of an earlier call: perhaps torn
    try:
        target.hardlink_to(source.resolve())
    except OSError:
        shutil.copyfile(source, target)


def _unpack(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    """Always anew: what an earlier call left may be torn, and may be a second name of a file that is not ours."""
    target.unlink(missing_ok=True)
    with content(archive, member) as file, target.open("xb") as out:
        shutil.copyfileobj(file, out)
    if target.stat().st_size != member.size:
        raise DataError(f"{archive.name!r}: ends within {member.name}; download it again")


def _train(root: Path, path: Path, told: Told) -> str:
    """An archive of one archive a class; a class gets its name when it is complete, so that a second call goes on."""
    folder, workspace = root / "train", root / ".train-preparing"
    with tarfile.open(path) as archive:
        inner = {name.removesuffix(".tar"): member for name, member in members(archive, str(path)).items()}
        if strange := [member.name for wnid, member in inner.items() if not WNID.fullmatch(wnid)]:
            raise DataError(f"{path}: {strange[0]!r} is no archive of a class like n01440764.tar")
        if folder.is_dir() and (stands := {entry.name for entry in visible(folder)}):
            if stands == set(inner):
                return f"{len(stands)} classes stand in {folder} already"
            raise DataError(f"{folder}: holds other classes already; move it away, it is not overwritten")
        for done, (wnid, member) in enumerate(inner.items(), start=1):
            if not (workspace / wnid).exists():
                with content(archive, member) as file, tarfile.open(fileobj=file) as images:
                    _unpack_class(images, f"{path}: {member.name}", workspace, wnid)
            told(done, len(inner), wnid)
    if {entry.name for entry in visible(workspace)} != set(inner):
        raise DataError(f"{workspace}: an earlier call left classes of another archive here; delete it and try again")
    _publish(workspace, folder)
    return f"{len(inner)} classes of {path} unpacked to {folder}"


def _unpack_class(images: tarfile.TarFile, what: str, workspace: Path, wnid: str) -> None:
    found, growing = members(images, what), workspace / f".{wnid}"
    growing.mkdir(parents=True, exist_ok=True)
    for name, member in found.items():
        _unpack(images, member, growing / name)
    os.sync()
    growing.rename(workspace / wnid)
