"""`pyconv data check coco`: every fault by its own word, the release's numbers, kept manifests, exit codes."""

import json
import struct
import sys
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from pyconv.data import DataError, coco, coco_classes, decoding
from pyconv.data.check import Finding
from pyconv.data.coco import CocoSplit, manifest
from pyconv.data.coco_check import RELEASE, check, compare, counts, differences
from pyconv.data.coco_json import Annotations
from pyconv.data.layouts import check_splits as check_splits_of
from pyconv.data.layouts import expected
from pyconv.data.layouts import manifest as layout_manifest
from pyconv.data.split import Names
from slurm.cli import cli
from slurm.commands.run import check_splits
from tests.coco_files import file_name, image_id, instances, layout, place_of, rewrite
from tests.scene_files import photograph, png, size_of

MODULE = "pyconv.data.coco_check"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return layout(tmp_path / "coco")


def call(*arguments: Any) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def texts(findings: Iterable[Finding], kind: str = "error") -> list[str]:
    return [finding.text for finding in findings if finding.kind == kind]


def image(number: int) -> str:
    return f"train2017/{file_name(number)}"


def test_a_sound_set_has_only_what_is_worth_knowing(root: Path) -> None:
    found = check(root, "train")
    rows = instances("train")["annotations"]
    crowds = sum(row["iscrowd"] for row in rows)
    assert [(finding.kind, finding.text) for finding in found.findings] == [
        (
            "note",
            f"{crowds} of {len(rows)} annotations are crowds: not trained on, "
            "and in a test detections that lie on them do not count",
        ),
        ("note", "1 of 6 images have no box to train on: not trained on, tested like the others"),
    ]
    assert found.manifest == manifest(root, "train")
    assert found.kept is not None


def spoilt(place: int, **values: Any) -> Callable[[Path], None]:
    """Change a row of the annotations."""

    def spoil(root: Path) -> None:
        content = instances("train")
        content["annotations"][place].update(values)
        rewrite(root, "train", content)

    return spoil


def written(number: int, content: bytes) -> Callable[[Path], object]:
    return lambda root: (root / image(number)).write_bytes(content)


def huge() -> bytes:
    """The header of a PNG of 60,000 x 60,000 pixels."""
    content = png(np.zeros((1, 1), np.uint8))
    header = b"IHDR" + struct.pack(">II", 60_000, 60_000) + content[24:29]
    return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]


WIDTH, HEIGHT = size_of(2)
FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no image": (
        lambda root: (root / image(2)).unlink(),
        f"1 files are in the annotations and not in the folder of images; prepare or copy them again: {file_name(2)}",
    ),
    "orphan": (spoilt(0, image_id=5), "1 annotations are of an image that is not listed (annotation 1: 5)"),
    "NaN": (spoilt(1, bbox=[0, 0, float("nan"), 1]), "1 annotations have a box with NaN or infinity (annotation 2"),
    "empty": (written(2, b""), f"1 files are empty (0 bytes); replace them: {image(2)}"),
    "torn": (written(4, photograph(4)[:-50]), f"1 files are images that do not decode; replace them: {image(4)} ("),
    "text": (written(4, b"<html>"), f"{image(4)} (is no image)"),
    "huge": (written(4, huge()), f"{image(4)} (does not decode (Image size (3600000000 pixels) exceeds limit"),
    "another size": (
        written(2, png(np.zeros((9, 8), np.uint8))),
        "1 files are of another size than the annotations say; replace them: "
        f"{image(2)} (8 x 9, the annotations {WIDTH} x {HEIGHT})",
    ),
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


def test_all_faults_are_told_by_one_process_and_by_two(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, content in ((1, photograph(1)[:-50]), (2, b""), (3, photograph(4)), (6, b"x")):
        (root / image(number)).write_bytes(content)
    (root / image(4)).unlink()
    spoilt(0, image_id=5)(root)
    monkeypatch.setattr(sys.modules[MODULE], "_CHUNK", 2)
    one, two = (check(root, "train", workers=workers).findings for workers in (1, 2))
    assert one == two
    _, absent, empty, broken, size = texts(one)
    assert (file_name(4) in absent, image(2) in empty) == (True, True)
    assert broken.startswith("2 files are images that do not decode")
    assert image(3) in size


@pytest.mark.parametrize("fault", ["another size", "text", "empty"])
def test_headers_are_looked_at_where_nothing_is_decoded(fault: str, root: Path) -> None:
    spoil, told = FAULTS[fault]
    spoil(root)
    assert told in texts(check(root, "train", decode=0).findings)[0]


def test_content_is_looked_at_in_as_many_as_asked_for(root: Path) -> None:
    for number in range(1, 7):
        (root / image(number)).write_bytes(photograph(number)[:-12])  # within the coded pixels
    found = [texts(check(root, "train", decode=decode).findings) for decode in (0, 1, 4, None)]
    assert [one[0].partition(" ")[0] if one else "0" for one in found] == ["0", "1", "4", "6"]


def test_odd_boxes_are_notes_with_their_numbers(root: Path) -> None:
    content = instances("train")
    width, height = size_of(1)
    odd = [[3, 4, 5, 0], [width + 1, 0, 5, 5], [width - 4, 1, 6.5, 2], [-0.01, 0, width + 0.02, height]]
    for row, box in zip(
        (row for row in content["annotations"] if row["image_id"] == image_id(1)), odd[:2], strict=True
    ):
        row["bbox"] = box
    new = {"image_id": image_id(1), "category_id": 1, "area": 4, "iscrowd": 0}
    content["annotations"] += [new | {"id": 70 + place, "bbox": box} for place, box in enumerate(odd[2:])]
    rewrite(root, "train", content)
    found = check(root, "train")
    _, flat, outside, reaching, _ = texts(found.findings, "note")
    one = image_id(1)
    assert flat == f"1 boxes have no area: not trained on (annotations 1 of image {one})"
    assert outside.startswith("1 boxes lie outside of their image: not trained on (annotations 900100000")
    most = "by 2.5 pixels at most: cut to it in training"
    assert reaching == f"1 boxes reach out of their image, {most} (annotations 70 of image {one})"


def test_other_notes_do_not_make_a_set_unusable(root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (root / image(1)).write_bytes(photograph(1, exif=exif.tobytes()))
    content = photograph(4)
    start = content.rindex(b"\xff\xda") + 40
    (root / image(4)).write_bytes(content[:start] + b"\xff\xd0" + content[start:])
    (root / "train2017/other.jpg").touch()
    only = instances("train")
    only["annotations"] = [row | {"category_id": 1} for row in only["annotations"]]
    rewrite(root, "train", only)
    found = check(root, "train")
    assert texts(found.findings) == []
    assert found.kept is not None
    notes = texts(found.findings, "note")
    assert notes[0].startswith("1 files are images with an EXIF orientation; it is not applied, boxes lie on")
    assert any("damage that the decoder repairs" in text for text in notes) == (decoding.DECODER is not None)
    assert "2 of 3 categories never occur (bottle, toothbrush)" in notes
    assert "1 files are in the folder of images and not in the annotations; passed over: other.jpg" in notes


def made_up(name: str, images: int, annotations: int, crowds: int, bare: int) -> CocoSplit:
    """A split of these counts."""
    starts = np.full(images + 1, annotations)
    starts[: images - bare] = np.arange(images - bare)
    every = Annotations(
        np.arange(annotations),
        np.ones((annotations, 4)),
        np.ones(annotations, np.int64),
        np.ones(annotations),
        np.arange(annotations) < crowds,
    )
    sizes = np.full((images, 2), 9)
    return CocoSplit(Path("/x"), name, coco_classes.categories(), starts[1:], sizes, Names.of([]), starts, every)


def test_the_release_does_not_differ_from_itself_and_other_sets_do() -> None:
    for name, bare, no_crowds in (("train", 1_021, 849_949), ("val", 48, 36_335)):
        right = RELEASE[name]
        split = made_up(name, right.images, right.annotations, right.annotations - no_crowds, bare)
        assert (counts(split), list(differences(split))) == (right, [])
    assert list(differences(made_up("val", 4_999, 36_780, 445, 48))) == [
        "4,999 images, the release has 5,000",
        "36,780 annotations, the release has 36,781",
        "445 crowds, the release has 446",
        "4,951 images with annotations, the release has 4,952",
    ]


def test_other_categories_are_a_difference_and_between_splits_an_error(root: Path) -> None:
    told = texts(check(root, "val", release=True).findings, "difference")[-1]
    assert told == "77 of the release's categories are not here (first: 2 bicycle)"
    one, two = (coco.read_coco(root, name) for name in ("train", "val"))
    assert compare([one, two]) == []
    content = instances("val")
    content["categories"][0]["name"] = "vase"
    rewrite(root, "val", content)
    (finding,) = compare([one, coco.read_coco(root, "val")])
    assert finding.text == "other categories than train: bottle, vase; make the two lists the same"
    assert finding in check_splits_of("coco", root, ("train", "val"), decode=0, workers=1)[1]
    told = texts(check(root, "val", release=True).findings, "difference")[-2]
    assert told == "1 categories are not the release's (first: 44 vase)"


def test_a_kept_manifest_is_read_without_reading_the_annotations(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = check(root, "train").manifest
    (root / image(1)).write_bytes(photograph(1, quality=74))
    assert manifest(root, "train") != small  # a small set is always looked at as a whole
    monkeypatch.setattr(coco, "CONTENT_LIMIT", 5)
    known = check(root, "train").manifest
    with monkeypatch.context() as patch:
        patch.setattr(coco, "read_coco", lambda *_: pytest.fail("looked at the files"))
        assert manifest(root, "train") == known
    (root / "train2017" / "new.jpg").write_bytes(b"x")
    assert manifest(root, "train") == known  # computed anew: a file that is not listed decides nothing
    check(root, "train")
    content = instances("train")
    content["annotations"][0]["area"] = 1.25
    rewrite(root, "train", content)
    assert manifest(root, "train")["sha256"] != known["sha256"]


def test_a_change_while_it_is_looked_at_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = coco.compute

    def slowly(*arguments: Any) -> Any:
        (root / "train2017" / "new.jpg").write_bytes(b"x")
        return whole(*arguments)

    monkeypatch.setattr(coco, "compute", slowly)
    found = check(root, "train")
    assert texts(found.findings) == ["changed while it was looked at; check again when nobody writes"]
    assert found.kept is None


def test_exit_codes_and_what_is_printed(root: Path) -> None:
    differs = call("data", "check", "coco", "--root", root, "--json")
    assert differs.exit_code == 1
    content = json.loads(differs.stdout)
    assert content["splits"] == {split: manifest(root, split) for split in ("train", "val")}
    assert {finding["kind"] for finding in content["findings"]} == {"difference", "note"}
    assert "6 images, the release has 118,287" in differs.stderr
    assert "not COCO 2017; if that is meant: --subset" in differs.stderr
    plain = call("data", "check", "coco", "--root", root, "--subset", "--split", "val", "--decode", "all")
    assert (plain.exit_code, "val: 5 images, 3 classes" in plain.stdout) == (0, True)
    (root / place_of("val")).write_bytes((root / place_of("val")).read_bytes()[:500])
    torn = call("data", "check", "coco", "--root", root, "--subset", "--split", "val")
    assert torn.exit_code == 1
    assert "instances_val2017.json: cut off after byte 500" in torn.output
    sharded = call("data", "shard", "coco", "--root", root, "--output", root / "shards")
    assert "coco is read from its folders, annotations/instances_val2017.json and val2017/<image>" in sharded.output


def test_a_run_is_refused_before_it_starts_where_a_folder_is_missing(root: Path) -> None:
    check_splits("table8/x", {("coco", "train"), ("coco", "val")}, {"coco": root})
    (root / "val2017").rename(root / "aside")
    told = r"coco: .* has no folder val2017/; expected annotations/instances_val2017.json and val2017/<image>"
    with pytest.raises(click.UsageError, match=told):
        check_splits("table8/x", {("coco", "val")}, {"coco": root})
    assert expected("signs", "train") == ["annotations", "train2017"]


def test_a_packaged_set_is_checked_by_the_same_code_without_a_release(root: Path) -> None:
    found, findings = check_splits_of("signs", root, ("train", "val"), decode=None, workers=1)
    assert [one.manifest["samples"] for one in found] == [6, 5]
    assert {finding.kind for finding in findings} == {"note"}
    assert layout_manifest("signs", root, "val") == found[1].manifest
    with pytest.raises(DataError, match="'minival' is no split"):
        check(root, "minival")
    with pytest.raises(
        DataError, match=r"No such file or directory; expected annotations/.*json and val2017/<image> be"
    ):
        check(root / "annotations", "val")
