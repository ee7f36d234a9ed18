"""ImageNet's downloads brought into class folders: every form of labels, every moment of an interruption."""

import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.io import savemat

from pyconv.data import DataError, prepare_imagenet
from pyconv.data.prepare_imagenet import prepare
from slurm.cli import cli
from tests.photos import WNIDS, jpeg, name, tree

IMAGES = 7
TRUE = {name(number): WNIDS[number * 2 % 3] for number in range(1, IMAGES + 1)}
PREPARED = {f"val/{TRUE[name(number)]}/{name(number)}": jpeg(number) for number in range(1, IMAGES + 1)}
IDS = {WNIDS[0]: 2, WNIDS[1]: 3, WNIDS[2]: 1}  # of the development kit: not in the order of the numbers


@pytest.fixture(autouse=True)
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole machine's disks have nothing to do with these tests."""
    monkeypatch.setattr(os, "sync", lambda: None)


def flat(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for number in range(1, IMAGES + 1):
        (folder / name(number)).write_bytes(jpeg(number))
    return folder


def pack(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for place, content in files.items():
            member = tarfile.TarInfo(place)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def kit(folder: Path) -> Path:
    """A development kit of the real one's structure: leaves first, then inner nodes."""
    (folder / "data").mkdir(parents=True)
    kind = [("ILSVRC2012_ID", "f8"), ("WNID", "O"), ("num_children", "f8")]
    nodes = [(number, wnid, 0) for wnid, number in IDS.items()] + [(4, "n00001740", 3)]
    savemat(folder / "data" / "meta.mat", {"synsets": np.array(nodes, kind).reshape(-1, 1)})
    truth = "".join(f"{IDS[wnid]}\n" for wnid in TRUE.values())
    (folder / "data" / "ILSVRC2012_validation_ground_truth.txt").write_text(truth)
    return folder


def packed_kit(folder: Path) -> Path:
    with tarfile.open(folder.with_suffix(".tar.gz"), "w:gz") as archive:
        archive.add(kit(folder), folder.name)
    return folder.with_suffix(".tar.gz")


def text(content: str) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        path.write_text(content)
        return path

    return write


KAGGLE = "ImageId,PredictionString\n" + "".join(
    f"{image.removesuffix('.JPEG')},{wnid} 0 0 9 9 {wnid} 1 1 5 5 \n" for image, wnid in reversed(TRUE.items())
)
CAFFE = "".join(f"{image} {sorted(WNIDS).index(wnid)}\n" for image, wnid in TRUE.items())
COLUMNS = "".join(f"{image}\t{wnid}\n" for image, wnid in TRUE.items())
FORMS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "kit": (kit, "the development kit"),
    "packed kit": (packed_kit, "the development kit"),
    "truth file": (lambda path: kit(path) / "data" / "ILSVRC2012_validation_ground_truth.txt", "the development kit"),
    "kaggle": (text(KAGGLE), "Kaggle's LOC_val_solution.csv"),
    "caffe": (text(CAFFE), "Caffe's val.txt"),
    "columns": (text(COLUMNS), "file names and WordNet numbers"),
    "csv": (text("image,label\n" + COLUMNS.replace("\t", ",")), "file names and WordNet numbers"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", ["in place", "folder", "tar"])
def test_every_form_of_labels_and_images(form: str, place: str, tmp_path: Path) -> None:
    write, told = FORMS[form]
    labels, root = write(tmp_path / "labels"), tmp_path / "imagenet"
    source = flat(root / "val" if place == "in place" else tmp_path / "flat")
    if place == "tar":
        source = pack(tmp_path / "val.tar", {file.name: file.read_bytes() for file in source.iterdir()})
    for wnid in WNIDS:
        (root / "train" / wnid).mkdir(parents=True)
    done = prepare(root, None if place == "in place" else source, labels=labels)
    assert tree(root) == PREPARED
    assert done["val"].endswith(f"labels of {labels}, read as {told}")
    assert tree(tmp_path / "flat") == ({} if place == "in place" else {Path(k).name: v for k, v in PREPARED.items()})
    again = prepare(root, None if place == "in place" else source, labels=labels)
    assert tree(root) == PREPARED
    assert again["val"].startswith(("0 images", "7 images stand"))


def test_labels_are_found_under_their_usual_names_and_linked_not_copied(tmp_path: Path) -> None:
    source = flat(tmp_path / "down")
    (source / "LOC_val_solution.csv").write_text(KAGGLE)
    prepare(tmp_path / "imagenet", source)
    first = next(iter(PREPARED))
    assert (tmp_path / "imagenet" / first).samefile(source / Path(first).name)
    with pytest.raises(DataError, match=r"no labels of the validation images in .*; give --labels PATH"):
        prepare(tmp_path / "other", flat(tmp_path / "elsewhere" / "down"))


class CutError(BaseException):
    """The process is killed here."""


def cut_everywhere(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    make: Callable[[Path], Callable[[], Any]],
    expected: dict[str, bytes],
) -> None:
    """Die before each change of the file system, then call it again."""
    originals = {key: getattr(Path, key) for key in ("rename", "mkdir", "hardlink_to", "unlink")}
    left = [0]

    def cutting(key: str) -> Callable[..., Any]:
        def change(self: Path, *arguments: Any, **words: Any) -> Any:
            if left[0] == 0:
                raise CutError
            left[0] -= 1
            return originals[key](self, *arguments, **words)

        return change

    for case in range(200):
        root = tmp_path / f"case-{case}"
        call = make(root)
        left[0] = case
        with monkeypatch.context() as patch:
            for key in originals:
                patch.setattr(Path, key, cutting(key))
            try:
                call()
            except CutError:
                finished = False
            else:
                finished = True
        call()
        assert tree(root) == expected
        if finished:
            assert case > IMAGES
            return
    raise AssertionError("never finished")


@pytest.mark.parametrize("place", ["in place", "folder", "tar"])
def test_killed_anywhere_it_goes_on(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = text(COLUMNS)(tmp_path / "labels")
    source = flat(tmp_path / "flat")
    before = tree(source)
    archive = pack(tmp_path / "val.tar", before)

    def make(root: Path) -> Callable[[], Any]:
        if place == "in place":
            flat(root / "val")
            return lambda: prepare(root, labels=labels)
        return lambda: prepare(root, source if place == "folder" else archive, labels=labels)

    cut_everywhere(monkeypatch, tmp_path, make, PREPARED)
    assert tree(source) == before


def train_archive(path: Path) -> tuple[Path, dict[str, bytes]]:
    files = {f"{wnid}/{wnid}_{n}.JPEG": jpeg(n + 3 * k) for k, wnid in enumerate(WNIDS) for n in range(3)}
    inner = {}
    for wnid in WNIDS:
        own = {Path(key).name: content for key, content in files.items() if key.startswith(wnid)}
        inner[f"{wnid}.tar"] = pack(path.with_name("inner.tar"), own).read_bytes()
    return pack(path, inner), {f"train/{key}": content for key, content in files.items()}


def test_the_training_archive_killed_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive, expected = train_archive(tmp_path / "ILSVRC2012_img_train.tar")
    cut_everywhere(monkeypatch, tmp_path, lambda root: lambda: prepare(root, archive), expected)


def test_a_torn_file_of_a_killed_call_is_written_anew_and_never_through_a_link(tmp_path: Path) -> None:
    labels, source = text(COLUMNS)(tmp_path / "labels"), flat(tmp_path / "flat")
    archive = pack(tmp_path / "val.tar", tree(source))
    first, second = name(1), name(2)
    workspace = tmp_path / "imagenet" / ".val-preparing"
    (workspace / TRUE[first]).mkdir(parents=True)
    (workspace / TRUE[second]).mkdir(parents=True, exist_ok=True)
    (workspace / TRUE[first] / first).write_bytes(jpeg(1)[:50] + bytes(len(jpeg(1)) - 50))
    (mine := tmp_path / "mine").write_bytes(b"of the user")
    (workspace / TRUE[second] / second).hardlink_to(mine)
    prepare(tmp_path / "imagenet", archive, labels=labels)
    assert tree(tmp_path / "imagenet") == PREPARED
    assert mine.read_bytes() == b"of the user"


def test_the_downloads_in_one_folder(tmp_path: Path) -> None:
    down, root = tmp_path / "down", tmp_path / "imagenet"
    down.mkdir()
    _, train = train_archive(down / "ILSVRC2012_img_train.tar")
    pack(down / "ILSVRC2012_img_val.tar", {name(number): jpeg(number) for number in range(1, IMAGES + 1)})
    (down / "val.txt").write_text(CAFFE)  # its numbers need the training folders: these come first
    result = CliRunner().invoke(
        cli, ["data", "prepare", "imagenet", "--root", str(root), "--from", str(down), "--json"]
    )
    assert result.exit_code == 0, result.stderr
    assert tree(root) == PREPARED | train
    assert {key: one["samples"] for key, one in json.loads(result.stdout)["splits"].items()} == {"train": 9, "val": 7}
    assert f"val: 7 images brought to {root / 'val'}; labels of {down / 'val.txt'}, read as Caffe's" in result.stderr


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (COLUMNS.partition("\n")[2], r"1 images have no label \(first: ILSVRC2012_val_00000001.JPEG\)"),
        (COLUMNS + f"{name(8)} {WNIDS[0]}\n", r"1 of 8 labelled images are missing \(first: ILSVRC2012_val_00000008"),
        (COLUMNS + f"{name(3)} {WNIDS[0]}\n", r"line 8: ILSVRC2012_val_00000003.JPEG is there twice"),
        (COLUMNS.replace(WNIDS[1], "goldfish"), r"'goldfish' is no WordNet number like n01440764"),
        (COLUMNS.replace(WNIDS[1], "n99999999"), r"class n99999999 is not in .*train"),
        (COLUMNS.replace("\t", " ") + "alone\n", r"line 8 has no class \('alone'\)"),
        (CAFFE.replace(" 1\n", " 3\n"), r"names class 3, there are 3, counted from 0"),
        ("", "empty; give the development kit"),
        ("\x00\xff", "neither text nor an archive|has no class"),
    ],
)
def test_wrong_labels_move_nothing(labels: str, message: str, tmp_path: Path) -> None:
    flat(tmp_path / "val")
    for wnid in WNIDS:
        (tmp_path / "train" / wnid).mkdir(parents=True)
    (path := tmp_path / "labels").write_bytes(labels.encode("latin-1"))
    before = tree(tmp_path)
    with pytest.raises(DataError, match=message):
        prepare(tmp_path, labels=path)
    assert tree(tmp_path) == before
    assert not [entry for entry in (tmp_path / "val").iterdir() if entry.is_dir()]


def test_caffes_numbers_need_a_class_list(tmp_path: Path) -> None:
    flat(tmp_path / "val")
    labels = text(CAFFE)(tmp_path / "labels")
    with pytest.raises(DataError, match="no class list, which Caffe's numbers need; give --synsets FILE"):
        prepare(tmp_path, labels=labels)
    synsets = text("".join(f"{wnid} a fish\n" for wnid in WNIDS))(tmp_path / "synsets")
    prepare(tmp_path, labels=labels, synsets=synsets)
    assert PREPARED.items() <= tree(tmp_path).items()


def test_a_broken_kit_is_told(tmp_path: Path) -> None:
    flat(tmp_path / "val")
    labels = kit(tmp_path / "kit")
    (labels / "data" / "ILSVRC2012_validation_ground_truth.txt").write_text("1\n4\n")
    with pytest.raises(DataError, match=r"line 2 of .* is '4', no ILSVRC2012_ID of meta.mat"):
        prepare(tmp_path, labels=labels)
    os.truncate(labels / "data" / "meta.mat", 150)
    with pytest.raises(DataError, match=r"meta.mat is not the development kit's"):
        prepare(tmp_path, labels=labels)


@pytest.mark.parametrize("evil", ["/etc/passwd.JPEG", "../x.JPEG", "a/../../x.JPEG", "link", "hard link", "device"])
def test_hostile_archives_are_refused(evil: str, tmp_path: Path) -> None:
    kinds = {"link": tarfile.SYMTYPE, "hard link": tarfile.LNKTYPE, "device": tarfile.CHRTYPE}
    with tarfile.open(tmp_path / "val.tar", "w") as archive:
        member = tarfile.TarInfo(name(1) if evil in kinds else evil)
        member.type, member.linkname = kinds.get(evil, tarfile.REGTYPE), "/etc/passwd" if evil in kinds else ""
        archive.addfile(member, io.BytesIO())
    labels = text(f"{name(1)} {WNIDS[0]}\n")(tmp_path / "labels")
    with pytest.raises(DataError, match=r"leads out of the archive|is a link or a device"):
        prepare(tmp_path / "imagenet", tmp_path / "val.tar", labels=labels)
    assert tree(tmp_path / "imagenet") == {}
    inner = {f"{WNIDS[0]}.tar": (tmp_path / "val.tar").read_bytes()}
    with pytest.raises(DataError, match=r"n01440764.tar.*(leads out of the archive|is a link or a device)"):
        prepare(tmp_path / "imagenet", pack(tmp_path / "train.tar", inner))
    assert tree(tmp_path / "imagenet") == {}


def test_what_stands_is_not_overwritten(tmp_path: Path) -> None:
    labels, source, root = text(COLUMNS)(tmp_path / "labels"), flat(tmp_path / "flat"), tmp_path / "imagenet"
    (root / "val" / WNIDS[0]).mkdir(parents=True)
    (root / "val" / WNIDS[0] / "mine.JPEG").write_bytes(b"mine")
    with pytest.raises(DataError, match="holds other images already; move them away, they are not overwritten"):
        prepare(root, source, labels=labels)
    assert tree(root) == {f"val/{WNIDS[0]}/mine.JPEG": b"mine"}
    wrong = tmp_path / "wrong"
    flat(wrong / "val")
    (wrong / "val" / WNIDS[0]).mkdir()
    (wrong / "val" / name(1)).rename(wrong / "val" / WNIDS[0] / name(1))
    with pytest.raises(DataError, match=rf"{WNIDS[0]}/{name(1)}: is of class {TRUE[name(1)]}; move it there"):
        prepare(wrong, labels=labels)
    with pytest.raises(DataError, match=r"holds neither flat images nor ILSVRC2012_img_val.tar"):
        prepare(tmp_path / "third", tmp_path / "imagenet", labels=labels)


def test_where_files_cannot_be_linked_they_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    labels, source = text(COLUMNS)(tmp_path / "labels"), flat(tmp_path / "flat")
    monkeypatch.setattr(Path, "hardlink_to", refused)
    prepare(tmp_path / "imagenet", source, labels=labels)
    assert tree(tmp_path / "imagenet") == PREPARED


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    labels = text(COLUMNS)(tmp_path / "labels")
    flat(tmp_path / "val")
    with (
        prepare_imagenet.alone(tmp_path),
        pytest.raises(DataError, match="another process is writing here"),
    ):
        prepare(tmp_path, labels=labels)
