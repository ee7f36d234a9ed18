"""ADE20K's downloads brought into one layout: packed or not, torn, hostile, interrupted at every moment."""

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
from pyconv.data.ade20k import read_scenes
from pyconv.data.prepare_ade20k import RELEASE, TEST, prepare
from slurm.cli import cli
from tests.photos import tree
from tests.scene_files import contents, photograph, png, values, write

EXPECTED = contents()
LABELLED = {place: content for place, content in EXPECTED.items() if "testing" not in place}
TESTING = {place: content for place, content in EXPECTED.items() if "testing" in place}


@pytest.fixture(autouse=True)
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole machine's disks have nothing to do with these tests."""
    monkeypatch.setattr(os, "sync", lambda: None)


def as_released(test: bool) -> dict[str, bytes]:
    """What one of the two downloads holds, with its own folder at the top."""
    if test:
        names = [Path(place).name for place in TESTING]
        listed = {f"{TEST}/list.txt": "\n".join(names).encode()}
        return listed | {f"{TEST}/testing/{Path(place).name}": content for place, content in TESTING.items()}
    return {f"{RELEASE}/{place}": content for place, content in LABELLED.items()}


def pack(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for place, content in files.items():
            folder = zipfile.ZipInfo(f"{place.rpartition('/')[0]}/")
            if folder.filename not in archive.namelist():
                archive.writestr(folder, b"")
            archive.writestr(place, content)
        archive.writestr(f"__MACOSX/{RELEASE}/images/training/._a.jpg", b"litter")
        archive.writestr(f"{RELEASE}/images/training/.DS_Store", b"litter")
    return path


def downloads(folder: Path, form: str) -> Path:
    for test in (False, True):
        if form in ("packed", "both"):
            pack(folder / f"{TEST if test else RELEASE}.zip", as_released(test))
        if form in ("folders", "both"):
            write(folder, as_released(test))
    return folder


@pytest.mark.parametrize("form", ["packed", "folders", "both"])
def test_every_form_gives_the_layout_and_is_left_as_it_was(form: str, tmp_path: Path) -> None:
    source, root = downloads(tmp_path / "down", form), tmp_path / "ade"
    before = tree(source)
    done = prepare(root, source)
    assert tree(root) == EXPECTED
    assert done == {
        "train": f"4 photographs: {root}/annotations/training and {root}/images/training made",
        "val": f"3 photographs: {root}/annotations/validation and {root}/images/validation made",
        "test": f"2 photographs: {root}/images/testing made",
    }
    assert tree(source) == before
    again = prepare(root, source)
    assert again["test"] == f"2 photographs stand in {root}/images/testing already"
    assert tree(root) == EXPECTED
    assert [len(read_scenes(root, split)) for split in ("train", "val", "test")] == [4, 3, 2]


def test_one_download_alone_and_by_any_name(tmp_path: Path) -> None:
    root = tmp_path / "ade"
    assert list(prepare(root, pack(tmp_path / "x.zip", as_released(test=True)))) == ["test"]
    assert tree(root) == TESTING
    write(tmp_path / "down", as_released(test=False))
    assert list(prepare(root, tmp_path / "down" / RELEASE)) == ["train", "val"]
    assert tree(root) == EXPECTED
    first = "images/training/ADE_train_00000001.jpg"
    assert (root / first).samefile(tmp_path / "down" / RELEASE / first)  # linked, not copied


def test_an_unpacked_download_can_be_the_root_itself(tmp_path: Path) -> None:
    source = downloads(tmp_path / "down", "folders")
    done = prepare(source / RELEASE, source)
    assert tree(source / RELEASE) == EXPECTED
    assert done["train"].endswith("already")
    assert prepare(source / RELEASE, source / RELEASE)["test"].endswith("already")


class CutError(BaseException):
    """The process is killed here."""


@pytest.mark.parametrize("form", ["packed", "folders"])
def test_killed_anywhere_it_goes_on(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Die before each change of the file system, and in the midst of each file, then call it again."""
    source = downloads(tmp_path / "down", form)
    before, left = tree(source), [0]
    originals: dict[str, Any] = {
        key: getattr(Path, key) for key in ("rename", "mkdir", "hardlink_to", "unlink", "open")
    }

    def cutting(key: str) -> Callable[..., Any]:
        def change(self: Path, *arguments: Any, **words: Any) -> Any:
            if key == "open" and arguments[:1] != ("xb",):
                return originals[key](self, *arguments, **words)
            if left[0] == 0:
                if key == "open":
                    self.write_bytes(b"torn")
                raise CutError
            left[0] -= 1
            return originals[key](self, *arguments, **words)

        return change

    for case in range(200):
        root = tmp_path / f"case-{case}"
        left[0], finished = case, True
        with monkeypatch.context() as patch:
            for key in originals:
                patch.setattr(Path, key, cutting(key))
            try:
                prepare(root, source)
            except CutError:
                finished = False
        prepare(root, source)
        assert tree(root) == EXPECTED
        assert tree(source) == before
        if finished:
            assert case > 2 * len(EXPECTED)
            return
    raise AssertionError("never finished")


def test_a_download_that_is_not_whole_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    files = as_released(test=False)
    whole = pack(tmp_path / "whole.zip", files, zipfile.ZIP_STORED).read_bytes()
    root, source = tmp_path / "ade", tmp_path / f"{RELEASE}.zip"
    for kept in (0, 10, len(whole) // 2, len(whole) - 5):
        source.write_bytes(whole[:kept])
        for given in (source, tmp_path):
            with pytest.raises(DataError, match=r"no whole zip archive.*download it again"):
                prepare(root, given)
    map_of_2 = f"{RELEASE}/annotations/training/ADE_train_00000002.png"
    pack(source, {place: content for place, content in files.items() if place != map_of_2})
    with pytest.raises(DataError, match=r"1 training photographs have no label map \(first: ADE_train_00000002\)"):
        prepare(root, source)
    pack(source, {place: content for place, content in files.items() if not place.endswith("0002.jpg")})
    with pytest.raises(DataError, match=r"1 training label maps have no photograph \(first: ADE_train_00000002\)"):
        prepare(root, source)
    assert tree(root) == {}


def test_a_changed_byte_in_an_archive_is_found_and_the_next_download_goes_on(tmp_path: Path) -> None:
    source, root = tmp_path / f"{RELEASE}.zip", tmp_path / "ade"
    whole = pack(source, as_released(test=False), zipfile.ZIP_STORED).read_bytes()
    at = whole.index(photograph(3)) + 200
    source.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(DataError, match=r"ADE_train_00000003.jpg is damaged \(Bad CRC-32.*download it again"):
        prepare(root, source)
    assert not (root / "images/training").exists()
    source.write_bytes(whole)
    prepare(root, source)
    assert tree(root) == LABELLED


def link(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


HOSTILE: dict[str, tuple[str | zipfile.ZipInfo, str]] = {
    "up": ("../images/training/evil.jpg", "leads out of the archive"),
    "up inside": (f"{RELEASE}/images/training/../../../../evil.jpg", "leads out of the archive"),
    "absolute": ("/tmp/images/training/evil.jpg", "leads out of the archive"),
    "backslash": ("images\\..\\..\\training\\evil.jpg", "leads out of the archive"),
    "link": (link(f"{RELEASE}/images/training/evil.jpg"), "is a link or a device"),
    "second": (f"other/images/training/{'ADE_train_00000001.jpg'}", "is a second images/training/ADE_train_00000001"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_archives_write_nothing(kind: str, tmp_path: Path) -> None:
    member, told = HOSTILE[kind]
    source = pack(tmp_path / "down.zip", as_released(test=False))
    with zipfile.ZipFile(source, "a") as archive:
        archive.writestr(member, b"x")
    before = tree(tmp_path)
    with pytest.raises(DataError, match=told):
        prepare(tmp_path / "ade", source)
    assert tree(tmp_path) == before


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_path_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    source = pack(tmp_path / "down.zip", as_released(test=False))
    with zipfile.ZipFile(source, "a") as archive:
        archive.writestr(f"{RELEASE}/images/training/ADE_train_00000001.jpg", b"x")
    with pytest.raises(DataError, match=r"ADE_train_00000001.jpg' is there twice; download it again"):
        prepare(tmp_path / "ade", source)


@pytest.mark.parametrize(
    ("place", "content", "told"),
    [
        ("images/training/ADE_train_00000001.jpg", b"mine", "images/training: holds other files already"),
        ("images/testing/mine.txt", b"mine", r"images/testing: holds other files already \(first: "),
        ("objectInfo150.txt", b"mine", "objectInfo150.txt: another list than the download's stands here"),
        ("annotations/.validation-preparing/x.png", b"mine", "an earlier call left x.png of another download here"),
    ],
)
def test_nothing_that_stands_there_is_overwritten(place: str, content: bytes, told: str, tmp_path: Path) -> None:
    source, root = downloads(tmp_path / "down", "packed"), write(tmp_path / "ade", {place: content})
    with pytest.raises(DataError, match=told):
        prepare(root, source)
    assert (root / place).read_bytes() == content


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, f"holds none of the downloads; expected {RELEASE}.zip, {TEST}.zip, or the folders"),
        ({"images/training/notes.txt": b"x"}, "holds no photographs of the scene-parsing release"),
        ({"ADE20K_2016_07_26/images/training/a/abbey/ADE_train_1.jpg": b"x"}, "holds none of the downloads"),
    ],
)
def test_other_folders_are_no_downloads(files: dict[str, bytes], told: str, tmp_path: Path) -> None:
    (tmp_path / "down").mkdir()
    with pytest.raises(DataError, match=told):
        prepare(tmp_path / "ade", write(tmp_path / "down", files))
    with pytest.raises(DataError, match="nowhere: does not exist; --from names"):
        prepare(tmp_path / "ade", tmp_path / "nowhere")


def test_on_the_command_line(tmp_path: Path) -> None:
    source, root = downloads(tmp_path / "down", "packed"), tmp_path / "ade"

    def call(*arguments: Any) -> Any:
        return CliRunner().invoke(cli, ["data", "prepare", *map(str, arguments)])

    made = call("ade20k", "--from", source, "--root", root, "--json")
    assert made.exit_code == 0, made.output
    told = json.loads(made.stdout)["splits"]
    assert {split: (found["samples"], found["classes"]) for split, found in told.items()} == {
        "train": (4, 4),
        "val": (3, 4),
        "test": (2, 4),
    }
    assert tree(root) == EXPECTED
    needed = call("ade20k", "--root", root)
    assert (needed.exit_code, "--from DOWNLOADS is needed" in needed.output) == (2, True)
    other = call("ade20k", "--root", root, "--from", source, "--labels", source)
    assert (other.exit_code, "--labels is for imagenet" in other.output) == (2, True)
    packaged = call("digits", "--from", source)
    assert (packaged.exit_code, "--from is for downloads" in packaged.output) == (2, True)
    (root / "annotations/validation/ADE_val_00000001.png").write_bytes(png(values(3)))
    refused = call("ade20k", "--from", source, "--root", root)
    assert refused.exit_code == 1
    assert "annotations/validation: holds other files already (first: ADE_val_00000001.png)" in refused.output
