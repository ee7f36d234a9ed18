"""`pyconv data check ade20k`: every fault by its own word, the release's numbers, kept manifests, exit codes."""

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from pyconv.data import DataError, ade20k, ade20k_classes, decoding, kept
from pyconv.data.ade20k import Scenes, manifest
from pyconv.data.ade20k_check import check, differences
from pyconv.data.check import Finding
from pyconv.data.layouts import LAYOUTS, described, expected
from pyconv.data.layouts import check_splits as check_splits_of
from pyconv.data.layouts import manifest as layout_manifest
from pyconv.data.split import Names
from slurm.cli import cli
from slurm.commands.run import check_splits
from slurm.profile import PACKAGED
from tests.scene_files import contents, photograph, png, values, write

MODULE = "pyconv.data.ade20k_check"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path / "ade", contents())


def call(*arguments: Any) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def texts(findings: Iterable[Finding], kind: str = "error") -> list[str]:
    return [finding.text for finding in findings if finding.kind == kind]


def image(number: int) -> str:
    return f"images/training/ADE_train_{number:08}.jpg"


def label(number: int) -> str:
    return f"annotations/training/ADE_train_{number:08}.png"


def test_a_sound_set_has_only_what_is_worth_knowing(root: Path) -> None:
    found = check(root, "val")
    numbers = np.concatenate([values(number).ravel() for number in (101, 102, 103)])
    assert [(finding.kind, finding.text) for finding in found.findings] == [
        ("note", f"{100 * (numbers == 0).mean():.1f}% of the pixels are of no class")
    ]
    assert found.manifest == manifest(root, "val")
    assert found.kept is not None
    assert check(root, "test").findings == []
    assert check(root, "train+val").manifest["samples"] == 7


def rewrite(place: str, content: bytes) -> Callable[[Path], object]:
    return lambda root: (root / place).write_bytes(content)


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no label map": (
        lambda root: (root / label(2)).unlink(),
        f"1 files are photographs without a label map; add it or delete the photograph: {image(2)}",
    ),
    "no photograph": (
        lambda root: (root / image(2)).unlink(),
        f"1 files are label maps without a photograph; add it or delete the label map: {label(2)}",
    ),
    "a name twice": (
        rewrite(image(2).replace(".jpg", ".JPG"), photograph(2)),
        "1 files have a name that is there already; delete one of the two: " + image(2),
    ),
    "another size": (
        rewrite(label(1), png(values(1)[:, 1:])),
        "1 files are label maps of another size than their photograph; replace one of the two: "
        f"{label(1)} (41 x 30, the photograph 42 x 30)",
    ),
    "label 151": (
        rewrite(label(3), png(np.where(values(3) == 1, 151, values(3)).astype(np.uint8))),
        f"1 files are label maps with numbers that are no class; 0 to 4 is right: {label(3)} (label 151)",
    ),
    "16-bit": (rewrite(label(3), png(values(3).astype(np.uint16))), f"{label(3)} (has 16 bits a pixel"),
    "RGB": (rewrite(label(3), png(values(3), "RGB")), f"{label(3)} (is RGB"),
    "a JPEG": (rewrite(label(3), photograph(3)), f"{label(3)} (is a JPEG, which does not keep numbers"),
    "corrupt photograph": (
        rewrite(image(4), photograph(4)[:-50]),
        f"1 files are photographs that do not decode; replace them: {image(4)} (does not decode (image file is trunc",
    ),
    "no image": (rewrite(image(4), b"<html>"), f"{image(4)} (is no image)"),
    "corrupt label map": (
        rewrite(label(4), png(values(4))[:60] + b"\0" + png(values(4))[61:]),
        f"1 files are label maps that do not decode; replace them: {label(4)} (is damaged (checksum",
    ),
    "empty photograph": (rewrite(image(1), b""), f"1 files are empty (0 bytes); replace them: {image(1)}"),
    "empty label map": (rewrite(label(1), b""), f"1 files are empty (0 bytes); replace them: {label(1)}"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_has_its_word_and_no_manifest_is_kept(fault: str, root: Path) -> None:
    check(root, "train")
    spoil, told = FAULTS[fault]
    spoil(root)
    found = check(root, "train")
    (error,) = texts(found.findings)
    assert told in error
    assert found.kept is None


def test_all_faults_of_all_files_are_told_by_one_process_and_by_two(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, content in (
        (label(1), png(values(1).astype(np.uint16))),
        (label(2), png(values(2), "RGB")),
        (label(3), png(values(3)[1:])),
        (label(4), b""),
        (image(4), photograph(4)[:-50]),
    ):
        (root / place).write_bytes(content)
    monkeypatch.setattr(sys.modules[MODULE], "_CHUNK", 2)
    one, two = (check(root, "train", workers=workers).findings for workers in (1, 2))
    assert one == two
    empty, broken, form, size = texts(one)
    assert form.startswith("2 files are no label maps of one channel of 8 bits")
    assert label(4) in empty
    assert image(4) in broken
    assert label(3) in size


@pytest.mark.parametrize("fault", ["another size", "16-bit", "RGB", "a JPEG", "empty label map", "no image"])
def test_headers_are_looked_at_where_nothing_is_decoded(fault: str, root: Path) -> None:
    spoil, told = FAULTS[fault]
    spoil(root)
    assert told in texts(check(root, "train", decode=0).findings)[0]


def test_content_is_looked_at_in_as_many_as_asked_for(root: Path) -> None:
    for number in (1, 2, 3, 4):
        (root / label(number)).write_bytes(png(np.full_like(values(number), 9)))
    counts = [texts(check(root, "train", decode=decode).findings) for decode in (0, 1, 3, 4, None)]
    assert [found[0].partition(" ")[0] if found else "0" for found in counts] == ["0", "1", "3", "4", "4"]


def test_notes_do_not_make_a_set_unusable(root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (root / image(1)).write_bytes(photograph(1, exif=exif.tobytes()))
    (root / label(2)).write_bytes(png(np.zeros_like(values(2))))
    for number in (1, 3, 4):
        (root / label(number)).write_bytes(png(np.where(values(number) == 2, 1, values(number)).astype(np.uint8)))
    (root / "images/training/notes.txt").write_text("x")
    found = check(root, "train")
    assert texts(found.findings) == []
    assert found.kept is not None
    blank, turned, share, absent, passed = texts(found.findings, "note")
    assert blank == f"1 files are label maps without a labelled pixel: {label(2)}"
    assert turned.startswith("1 files are photographs with an EXIF orientation; it is not applied")
    assert share.endswith("% of the pixels are of no class")
    assert absent.startswith(
        "1 of 4 classes never occur (building): not to be learnt from this split, and in a mean IoU"
    )
    assert "count only where they are predicted" in absent
    assert passed.endswith("passed over: images/training/notes.txt")
    partly = texts(check(root, "train", decode=3).findings, "note")
    assert not any("never occur" in text for text in partly)
    assert any("of what was decoded" in text for text in partly)


def test_damage_that_is_repaired_is_a_note(root: Path) -> None:
    content = photograph(4)
    start = content.rindex(b"\xff\xda") + 40
    (root / image(4)).write_bytes(content[:start] + b"\xff\xd0" + content[start:])
    found = check(root, "train").findings
    assert texts(found) == []
    built = decoding.DECODER is not None  # PIL alone says nothing of it
    assert any("with damage that the decoder repairs" in text for text in texts(found, "note")) == built


def synthetic(name: str, count: int, classes: Iterable[str]) -> Scenes:
    places = Names.of(f"{number}" for number in range(count))
    return Scenes(Path("/data"), name, tuple(classes), places, places)


def test_the_release_does_not_differ_from_itself_and_other_sets_do() -> None:
    true = ade20k_classes.names()
    for split, count in (("train", 20_210), ("val", 2_000), ("test", 3_352), ("train+val", 22_210)):
        assert list(differences(synthetic(split, count, true))) == []
        assert list(differences(synthetic(split, count, map(ade20k_classes.short, true)))) == []
    assert list(differences(synthetic("train", 20_209, true))) == ["20,209 photographs, the release has 20,210"]
    assert list(differences(synthetic("val", 2_000, true[:149]))) == ["149 classes, the release has 150"]
    (swapped,) = differences(synthetic("val", 2_000, [true[1], true[0], *true[2:]]))
    assert swapped == "2 classes are not the release's (first: 1 is 'building, edifice', not 'wall')"


def test_a_kept_manifest_is_read_without_asking_for_sizes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ade20k, "CONTENT_LIMIT", 5)
    known = check(root, "train").manifest
    monkeypatch.setattr(ade20k, "file_sizes", lambda *_: pytest.fail("looked at the files"))
    assert manifest(root, "train") == known
    monkeypatch.undo()
    monkeypatch.setattr(ade20k, "CONTENT_LIMIT", 5)
    for part, content in (("images", photograph(9)), ("annotations", png(values(9)))):
        (root / part / f"training/new.{'jpg' if part == 'images' else 'png'}").write_bytes(content)
    assert manifest(root, "train")["samples"] == 5
    check(root, "train")
    (root / "objectInfo150.txt").unlink()
    assert manifest(root, "train")["classes"] == 150


def test_a_read_only_root_keeps_its_manifest_in_the_cache(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (root / kept.FOLDER).write_text("no folder")
    found = check(root, "train").kept
    assert found is not None
    assert tmp_path / "cache" in found.parents


def test_a_change_while_it_is_looked_at_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ade20k.compute

    def slowly(*arguments: Any) -> Any:
        result = whole(*arguments)
        (root / image(1)).rename(root / image(9))
        (root / label(1)).rename(root / label(9))
        return result

    monkeypatch.setattr(ade20k, "compute", slowly)
    found = check(root, "train")
    assert texts(found.findings) == ["changed while it was looked at; check again when nobody writes"]
    assert found.kept is None


def test_exit_codes_and_what_is_printed(root: Path) -> None:
    differs = call("data", "check", "ade20k", "--root", root, "--json")
    assert differs.exit_code == 1
    content = json.loads(differs.stdout)
    assert content["splits"] == {split: manifest(root, split) for split in ("train", "val")}
    assert {finding["kind"] for finding in content["findings"]} == {"difference", "note"}
    assert "4 photographs, the release has 20,210" in differs.stderr
    assert "not ADE20K's scene-parsing release; if that is meant: --subset" in differs.stderr
    plain = call("data", "check", "ade20k", "--root", root, "--subset", "--split", "val")
    assert plain.exit_code == 0
    assert "val: 3 images, 4 classes" in plain.stdout
    assert call("data", "check", "ade20k", "--root", root, "--subset", "--split", "test").exit_code == 0
    (root / label(1)).write_bytes(png(np.full_like(values(1), 151)))
    broken = call("data", "check", "ade20k", "--root", root, "--subset")
    assert broken.exit_code == 1
    assert "label 151" in broken.stderr
    assert "cannot be used" in broken.stderr
    assert call("data", "check", "ade20k", "--root", root, "--subset", "--decode", "0").exit_code == 0
    missing = call("data", "check", "ade20k", "--root", root / "images", "--split", "val")
    assert missing.exit_code == 1
    assert "images/images/validation: no such folder" in missing.output


def test_scenes_are_not_sharded(root: Path, tmp_path: Path) -> None:
    refused = call("data", "shard", "ade20k", "--root", root, "--output", tmp_path / "shards")
    assert refused.exit_code == 2
    assert "shards are of class folders; ade20k is read from its folders" in refused.output
    assert not (tmp_path / "shards").exists()


def test_a_run_is_refused_before_it_starts_where_a_folder_is_missing(root: Path) -> None:
    needed = {("ade20k", "train+val"), ("ade20k", "val")}
    check_splits("table7/x", needed, {"ade20k": root})
    check_splits("table7/x", {("ade20k", "test")}, {"ade20k": root})
    (root / "annotations/validation").rename(root / "aside")
    with pytest.raises(click.UsageError) as raised:
        check_splits("table7/x", needed, {"ade20k": root})
    assert str(raised.value) == (
        f"ade20k: {root} has no folder annotations/validation/; expected images/training/<name>.jpg and "
        "annotations/training/<name>.png and images/validation/<name>.jpg and annotations/validation/<name>.png"
    )
    with pytest.raises(click.UsageError, match=r"imagenet: .* has no folder val/; expected val/<class>/<image>"):
        check_splits("table2/x", {("imagenet", "val")}, {"imagenet": root})


def test_every_data_set_that_can_be_read_has_a_layout() -> None:
    assert set(PACKAGED) <= set(LAYOUTS)
    assert expected("digits", "val") == ["val"]
    assert expected("kinetics", "val") == ["index"]
    assert expected("scenes", "test") == ["images/testing"]
    assert described("digits", "val") == "val/<class>/<image>"


def test_splits_that_are_no_splits_are_told(root: Path) -> None:
    with pytest.raises(DataError, match="'minival' is no split"):
        check(root, "minival")


def test_a_packaged_set_of_scenes_is_checked_by_the_same_code_without_a_release(root: Path) -> None:
    found, findings = check_splits_of("scenes", root, ("train", "val"), decode=None, workers=1)
    assert [one.manifest["samples"] for one in found] == [4, 3]
    assert {finding.kind for finding in findings} == {"note"}
    assert layout_manifest("scenes", root, "val") == found[1].manifest
