"""COCO's downloads brought into one layout: packed or not, torn, hostile, interrupted at every moment."""

import json
import os
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pyconv.data import DataError
from pyconv.data.coco import read_coco
from pyconv.data.prepare_coco import ARCHIVES, prepare
from slurm.cli import cli
from tests.coco_files import contents, file_name, instances, place_of
from tests.photos import tree
from tests.scene_files import photograph, write

EXPECTED = contents()
VAL = {place: content for place, content in EXPECTED.items() if "val2017" in place}


@pytest.fixture(autouse=True)
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole machine's disks have nothing to do with these tests."""
    monkeypatch.setattr(os, "sync", lambda: None)


def released(folder: str) -> dict[str, bytes]:
    """What the download of a folder holds."""
    more = {"annotations/captions_val2017.json": b"{}", "annotations/person_keypoints_train2017.json": b"{}"}
    own = {place: content for place, content in EXPECTED.items() if place.startswith(f"{folder}/")}
    return own | (more if folder == "annotations" else {})


def pack(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for place, content in files.items():
            if (folder := f"{place.rpartition('/')[0]}/") not in archive.namelist():
                archive.writestr(zipfile.ZipInfo(folder), b"")
            archive.writestr(place, content)
        archive.writestr("__MACOSX/val2017/._a.jpg", b"litter")
    return path


def downloads(source: Path, form: str, folders: tuple[str, ...] = tuple(ARCHIVES)) -> Path:
    for folder in folders:
        if form in ("packed", "both"):
            pack(source / ARCHIVES[folder], released(folder))
        if form in ("folders", "both"):
            write(source, released(folder))
    return source


@pytest.mark.parametrize("form", ["packed", "folders", "both"])
def test_every_form_gives_the_layout_and_is_left_as_it_was(form: str, tmp_path: Path) -> None:
    source, root = downloads(tmp_path / "down", form), tmp_path / "coco"
    before = tree(source)
    done = prepare(root, source)
    assert tree(root) == EXPECTED
    assert done == {split: f"{root}/{place_of(split)} and {root}/{split}2017 made" for split in ("train", "val")}
    assert tree(source) == before
    again = prepare(root, source)
    assert again["val"] == f"{root}/{place_of('val')} and {root}/val2017 stand already"
    assert tree(root) == EXPECTED
    assert [len(read_coco(root, split)) for split in ("train", "val")] == [6, 5]


def test_one_split_first_and_the_other_later(tmp_path: Path) -> None:
    root = tmp_path / "coco"
    assert list(prepare(root, downloads(tmp_path / "one", "packed", ("val2017", "annotations")))) == ["val"]
    assert tree(root) == VAL
    assert list(prepare(root, downloads(tmp_path / "two", "folders", ("train2017", "annotations")))) == ["train", "val"]
    assert tree(root) == EXPECTED
    first = f"train2017/{file_name(1)}"
    assert (root / first).samefile(tmp_path / "two" / first)  # linked, not copied


def test_images_and_annotations_may_come_one_after_the_other(tmp_path: Path) -> None:
    root = write(tmp_path / "coco", {place: content for place, content in VAL.items() if "json" in place})
    images = pack(tmp_path / "any name.zip", released("val2017"))
    assert prepare(root, images) == {"val": f"{root}/val2017 made"}
    assert tree(root) == VAL
    (root / place_of("val")).unlink()
    annotations = pack(tmp_path / "b.zip", released("annotations"))
    assert prepare(root, annotations) == {"val": f"{root}/{place_of('val')} made"}
    assert tree(root) == VAL


def test_an_unpacked_download_can_be_the_root_itself(tmp_path: Path) -> None:
    source = downloads(tmp_path / "down", "folders")
    before = tree(source)
    assert prepare(source, source)["train"].endswith("stand already")
    assert tree(source) == before


class CutError(BaseException):
    """The process is killed here."""


@pytest.mark.parametrize("form", ["packed", "folders"])
def test_killed_anywhere_it_goes_on(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Die before each change of the file system, and in the midst of each file, then call it again."""
    source = downloads(tmp_path / "down", form)
    before, left, dead = tree(source), [0], [False]
    originals: dict[str, Any] = {
        key: getattr(Path, key) for key in ("rename", "mkdir", "hardlink_to", "unlink", "open")
    }

    def cutting(key: str) -> Callable[..., Any]:
        def change(self: Path, *arguments: Any, **words: Any) -> Any:
            if key == "open" and arguments[:1] != ("xb",):
                return originals[key](self, *arguments, **words)
            if left[0] == 0 or dead[0]:
                if key == "open" and not dead[0]:
                    self.write_bytes(b"torn")
                dead[0] = True  # a killed process does not tidy up either
                raise CutError
            left[0] -= 1
            return originals[key](self, *arguments, **words)

        return change

    for case in range(200):
        root = tmp_path / f"case-{case}"
        left[0], dead[0], finished = case, False, True
        with monkeypatch.context() as patch:
            for key in originals:
                patch.setattr(Path, key, cutting(key))
            try:
                prepare(root, source)
            except CutError:
                finished = not dead[0]
        prepare(root, source)
        assert tree(root) == EXPECTED
        assert tree(source) == before
        if finished:
            assert case > len(EXPECTED)
            return
    raise AssertionError("never finished")


@pytest.mark.parametrize("form", ["packed", "folders"])
def test_what_an_earlier_call_left_whole_is_kept_and_the_rest_is_not(form: str, tmp_path: Path) -> None:
    source, root = downloads(tmp_path / "down", form), tmp_path / "coco"
    names = [file_name(number) for number in range(101, 106)]
    whole, other = VAL[f"val2017/{names[0]}"], VAL[f"val2017/{names[1]}"]
    left = {names[0]: whole, names[1]: other[:-1], names[2]: VAL[f"val2017/{names[2]}"][:-1] + b"x", names[3]: b""}
    write(root / ".val2017-preparing", left)
    kept = (root / ".val2017-preparing" / names[0]).stat().st_ino
    prepare(root, source)
    assert tree(root) == EXPECTED
    assert (root / "val2017" / names[0]).stat().st_ino == kept


def test_a_download_that_is_not_whole_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    source, root = downloads(tmp_path / "down", "packed"), tmp_path / "coco"
    path = source / ARCHIVES["val2017"]
    whole = path.read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:size])
        for given in (source, path):
            with pytest.raises(DataError, match=r"no whole zip archive.*download it again"):
                prepare(root, given)
    gone = f"val2017/{file_name(103)}"
    pack(path, {place: content for place, content in released("val2017").items() if place != gone})
    told = rf"down: 1 of 5 images are not in val2017 \(first: {file_name(103)}\); download it again"
    with pytest.raises(DataError, match=told):
        prepare(root, source)
    path.write_bytes(whole)
    (source / ARCHIVES["annotations"]).unlink()
    with pytest.raises(DataError, match=r"train2017 without instances_train2017.json; annotations_trainval2017.zip be"):
        prepare(root, source)
    assert tree(root) == {}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (EXPECTED[place_of("val")][:-9], r"down: instances_val2017.json: cut off after byte"),
        (b"[]", r'down: instances_val2017.json: no list "images"'),
        (
            json.dumps(instances("val") | {"categories": [{"id": 2, "name": "x"}]}).encode(),
            r"down: instances_val2017.json: \d+ annotations are of a category that is not listed",
        ),
    ],
)
def test_annotations_are_read_before_anything_is_written(content: bytes, told: str, tmp_path: Path) -> None:
    source, root = downloads(tmp_path / "down", "packed"), tmp_path / "coco"
    pack(source / ARCHIVES["annotations"], released("annotations") | {place_of("val"): content})
    with pytest.raises(DataError, match=told):
        prepare(root, source)
    assert tree(root) == {}


def test_a_changed_byte_in_an_archive_is_found_and_the_next_download_goes_on(tmp_path: Path) -> None:
    source, root = downloads(tmp_path / "down", "packed"), tmp_path / "coco"
    path = source / ARCHIVES["val2017"]
    whole = pack(path, released("val2017"), zipfile.ZIP_STORED).read_bytes()
    at = whole.index(photograph(103)) + 200
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(DataError, match=rf"{file_name(103)} is damaged \(Bad CRC-32.*download it again"):
        prepare(root, source)
    assert not (root / "val2017").exists()
    path.write_bytes(whole)
    prepare(root, source)
    assert tree(root) == EXPECTED


def link(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


HOSTILE: dict[str, tuple[str | zipfile.ZipInfo, str]] = {
    "up": ("../val2017/evil.jpg", "leads out of the archive"),
    "absolute": ("/tmp/val2017/evil.jpg", "leads out of the archive"),
    "link": (link("val2017/evil.jpg"), "is a link or a device"),
    "second": (f"other/val2017/{file_name(101)}", f"is a second val2017/{file_name(101)}"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_archives_write_nothing(kind: str, tmp_path: Path) -> None:
    member, told = HOSTILE[kind]
    source = downloads(tmp_path / "down", "packed")
    with zipfile.ZipFile(source / ARCHIVES["val2017"], "a") as archive:
        archive.writestr(member, b"x")
    before = tree(tmp_path)
    with pytest.raises(DataError, match=told):
        prepare(tmp_path / "coco", source)
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("place", "told"),
    [
        (f"val2017/{file_name(101)}", "val2017: holds other files already"),
        ("train2017/mine.txt", r"train2017: holds other files already \(first: "),
        (place_of("val"), "instances_val2017.json: another file than the download's stands here"),
        (".val2017-preparing/x.jpg", "an earlier call left x.jpg of another download here"),
    ],
)
def test_nothing_that_stands_there_is_overwritten(place: str, told: str, tmp_path: Path) -> None:
    source, root = downloads(tmp_path / "down", "packed"), write(tmp_path / "coco", {place: b"mine"})
    with pytest.raises(DataError, match=told):
        prepare(root, source)
    assert (root / place).read_bytes() == b"mine"


def test_other_folders_are_no_downloads(tmp_path: Path) -> None:
    for files, told in (
        ({"notes.txt": b"x"}, "holds none of the downloads; expected train2017.zip, val2017.zip, annotations_trainval"),
        ({"val2017/notes.txt": b"x"}, "holds no images of COCO 2017; it is to be train2017.zip"),
        ({"annotations/captions_val2017.json": b"{}"}, "holds no images of COCO 2017"),
    ):
        source = write(tmp_path / told[:12] / str(len(files)) / next(iter(files)).partition("/")[0], files)
        with pytest.raises(DataError, match=told):
            prepare(tmp_path / "coco", source)
    with pytest.raises(DataError, match="nowhere: does not exist; --from names"):
        prepare(tmp_path / "coco", tmp_path / "nowhere")


def test_on_the_command_line(tmp_path: Path) -> None:
    source, root = downloads(tmp_path / "down", "packed"), tmp_path / "coco"

    def call(*arguments: Any) -> Any:
        return CliRunner().invoke(cli, ["data", "prepare", *map(str, arguments)])

    made = call("coco", "--from", source, "--root", root, "--json")
    assert made.exit_code == 0, made.output
    told = json.loads(made.stdout)["splits"]
    assert {split: (found["samples"], found["classes"]) for split, found in told.items()} == {
        "train": (6, 3),
        "val": (5, 3),
    }
    assert tree(root) == EXPECTED
    needed = call("coco", "--root", root)
    assert (needed.exit_code, "--from DOWNLOADS is needed: the folder of train2017.zip" in needed.output) == (2, True)
    other = call("coco", "--root", root, "--from", source, "--synsets", source)
    assert (other.exit_code, "--synsets is for imagenet" in other.output) == (2, True)
