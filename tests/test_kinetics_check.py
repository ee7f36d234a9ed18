"""`pyconv data check kinetics`: the right word for every broken video, which copy it is, duplicates, exit codes."""

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result

from pyconv.data import kinetics_index
from pyconv.data.check import Finding
from pyconv.data.kinetics_check import _which_copy, check, known_copies
from pyconv.data.kinetics_entries import Entry, index_file
from pyconv.data.kinetics_index import Index
from pyconv.data.kinetics_listing import NO_FILE, Listing
from pyconv.data.layouts import check_splits, described, expected
from pyconv.data.layouts import manifest as layout_manifest
from pyconv.data.split import Names
from pyconv.data.video import Facts
from slurm.cli import cli
from slurm.commands.run import check_splits as run_check
from tests.broken_videos import write_all
from tests.kinetics_files import FACTS, Probe, class_folders, content, tree


def call(*arguments: Any) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Probe:
    stand_in = Probe()
    monkeypatch.setattr(kinetics_index, "probe", stand_in)
    return stand_in


def texts(findings: list[Finding], kind: str) -> str:
    return "\n".join(f"{finding.split}: {finding.text}" for finding in findings if finding.kind == kind)


def test_every_broken_video_passes_through_with_its_word(tmp_path: Path) -> None:
    words = write_all(tmp_path / "val" / "a class")
    assert len(words) >= 20
    asked = ("data", "check", "kinetics", "--root", tmp_path, "--split", "val")
    checked = call(*asked, "--workers", 1, "--subset", "--json")
    assert checked.exit_code == 0, checked.output
    told = json.loads(checked.stdout)
    entries = [json.loads(line) for line in index_file(tmp_path, "val").read_text().splitlines()[1:-1]]
    assert {entry["place"].removeprefix("val/a class/"): entry.get("word") for entry in entries} == words
    broken = [word for word in words.values() if word]
    assert told["splits"]["val"]["skipped"] == {word: broken.count(word) for word in sorted(set(broken))}
    assert told["splits"]["val"]["samples"] == len(words) - len(broken)
    notes = [finding["text"] for finding in told["findings"] if finding["kind"] == "note"]
    for word in set(broken):
        [note] = [note for note in notes if f"are skipped: {word}:" in note]
        assert note.startswith(f"{broken.count(word)} files ")
        assert all(f"val/a class/{name}" in note for name, its in words.items() if its == word)
    assert "2 files are stored rotated: they are turned upright" in "\n".join(notes)
    assert "1 files have a variable frame rate" in "\n".join(notes)
    assert "'val/a class/new\\nline.mp4'" in checked.stderr
    no_copy = call(*asked, "--decode", 0)
    assert (no_copy.exit_code, "not a known copy of Kinetics-400; if that is meant" in no_copy.output) == (1, True)


def listing(split: str, videos: int, absent: int = 0, classes: int = 400) -> Index:
    """A split of so many videos, `absent` of them not there; every second one that is there is usable."""
    names = Names.of(str(number) for number in range(videos + absent))
    sizes = np.array([1] * videos + [NO_FILE] * absent)
    labels = np.arange(videos + absent) % classes
    kinds = tuple(str(number) for number in range(classes))
    found = Listing(Path("/data"), split, kinds, labels, names, sizes, sizes, ())
    entries = [
        Entry(name, 1, 1, facts=FACTS if number % 2 else None, word=None if number % 2 else "corrupt")
        for number, name in enumerate(names)
    ]
    return Index(found, entries, Path("/data/index"))


def test_the_copies_that_are_known() -> None:
    copies = known_copies()
    assert {19_404, 19_761, 19_796} <= {copy.val for copy in copies}
    assert all(copy.train > 10 * copy.val and copy.source.startswith("github.com/") for copy in copies)
    assert max(copies, key=lambda copy: copy.train).copy.startswith("the annotation files")


@pytest.mark.parametrize(
    ("index", "kinds", "told"),
    [
        (
            listing("val", 19_796, 111),
            ["note"],
            "19,796 videos: as many as the copy MMAction2's (github.com/open-mmlab",
        ),
        (listing("val", 19_404), ["note"], "GluonCV's"),
        (listing("val", 19_761), ["note"], "Non-local Networks', which PySlowFast takes too (github.com/facebookres"),
        (listing("val", 2 * 19_404), ["note"], "19,404 usable videos of 38,808: as many as the copy GluonCV's"),
        (
            listing("val", 19_780),
            ["difference"],
            "19,780 videos, no copy that is known; nearest are 19,796: MMAction2'",
        ),
        (
            listing("val", 19_780),
            ["difference"],
            "; 19,761: Non-local Networks', which PySlowFast takes too (github.com/facebookresearch/video-nonlocal-net/"
            "issues/67) and PaddleVideo's",
        ),
        (listing("val", 19_796, 0, 399), ["difference", "note"], "399 classes, Kinetics-400 has 400"),
        (listing("train", 240_436), ["note"], "240,436 videos: as many as the copy MMAction2's"),
    ],
)
def test_which_copy_it_is_goes_by_the_count(index: Index, kinds: list[str], told: str) -> None:
    findings = [*_which_copy(index)]
    assert [finding.kind for finding in findings] == kinds
    assert told in " ".join(finding.text for finding in findings)


def test_notes_name_what_is_odd(tmp_path: Path, probe: Probe) -> None:
    files = {
        "val/yoga/short.mp4": content(Facts(60, 9, 9, 25.0, 2.4)),
        "val/yoga/enough.mp4": content(Facts(61, 9, 9, 25.0, 2.44)),
        "val/yoga/turned.mp4": content(Facts(99, 9, 9, 25.0, 4.0, 270)),
        "val/yoga/vfr.mp4": content(Facts(99, 9, 9, 25.0, 4.0, 0, True)),
        "val/yoga/copy.mp4": content(salt="val/abseiling/0.mp4"),
        "val/empty/x.mp4": b"",
        "val/yoga/notes.txt": b"",
    }
    root = tree(class_folders(tmp_path), files)
    found = check(root, "val", workers=0, release=True)
    notes = texts(found.findings, "note")
    for told in (
        "1 files have less than 61 frames, a clip: looped: val/yoga/short.mp4",
        "1 files are stored rotated: they are turned upright: val/yoga/turned.mp4",
        "1 files have a variable frame rate: frames are taken by number, not by time: val/yoga/vfr.mp4",
        "1 files stand there more than once, byte for byte: val/abseiling/0.mp4 = val/yoga/copy.mp4",
        "1 files are skipped: empty: val/empty/x.mp4",
        "1 files are no videos of this split and passed over: val/yoga/notes.txt",
        "1 of 3 classes have no usable video (empty)",
    ):
        assert told in notes
    assert found.manifest == layout_manifest("kinetics", root, "val")
    assert found.kept == index_file(root, "val")
    assert len(probe.asked) == 11


def test_splits_are_compared_by_classes_and_content(tmp_path: Path, probe: Probe) -> None:
    root = class_folders(class_folders(tmp_path), "train")
    tree(root, {"train/yoga/again.mp4": content(salt="val/abseiling/0.mp4"), "val/zumba/1.mp4": content(salt="z")})
    _, findings = check_splits("motions", root, ("train", "val"), decode=None, workers=0)
    assert texts(findings, "error") == (
        "val: other classes than train: 1 are in one of them only (zumba); make them the same"
    )
    told = "val: 1 files are in train too, byte for byte: not independent of it: val/abseiling/0.mp4 = train/yoga/again"
    assert told in texts(findings, "note")
    assert texts(findings, "difference") == ""
    assert len(probe.asked) == 14
    check_splits("motions", root, ("val",), decode=3, workers=0)
    assert len(probe.asked) == 17
    check_splits("motions", root, ("val",), decode="all", workers=0)
    assert len(probe.asked) == 24


def test_what_is_expected_on_the_disk(tmp_path: Path) -> None:
    run_check("table10/x", {("motions", "train")}, {})
    with pytest.raises(click.UsageError, match=r"kinetics: .* has no folder index/; expected val/<class>/<video> or"):
        run_check("table10/x", {("kinetics", "val")}, {"kinetics": tmp_path})
    assert expected("kinetics", "val") == ["index"]
    assert described("kinetics", "val") == (
        "val/<class>/<video> or val.csv with lines of path,label, and the index that `pyconv data prepare kinetics` "
        "writes"
    )


def test_shards_are_of_images(tmp_path: Path) -> None:
    refused = call("data", "shard", "kinetics", "--root", tmp_path, "--output", tmp_path / "x")
    assert (refused.exit_code, "kinetics is read from its folders, val/<class>/<video>" in refused.output) == (2, True)
