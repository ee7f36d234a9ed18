"""Merging records: nothing is lost or overwritten, conflicts are told, an interruption leaves whole records."""

import json
import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from evidence import CROP, EXPERIMENT, counted, measurement, save, save_count

from experiments.spec import family
from pyconv.architectures import resnet
from results import merge as module
from results.evidence import Evidence
from results.files import AlreadyRecorded
from results.merge import MergeError, Step, merge
from results.records import count_path, record_path, write

RELEASED = {"source": "released", "sha256": "b" * 64, "file": "r50.pth", "layout": "the authors'", "epochs": None}


def content(root: Path) -> dict[str, bytes]:
    """Every file under `root`, whatever its name."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def folder(root: Path, seeds: dict[int, str]) -> Path:
    root.mkdir(parents=True)
    for seed, result in seeds.items():
        save(root, replace(EXPERIMENT, seed=seed), errors=(23.0, 7.0) if result == "usual" else (24.0, 7.5))
    return root


def whats(steps: tuple[Step, ...]) -> list[str]:
    return [step.what for step in steps]


def test_everything_of_two_machines_is_there_to_the_byte(tmp_path: Path) -> None:
    one, two, into = folder(tmp_path / "one", {0: "usual"}), folder(tmp_path / "two", {1: "usual"}), tmp_path / "all"
    save_count(two, resnet(50), 25_557_032, 4_142_713_880)
    path = record_path(two, EXPERIMENT, CROP).parents[1] / f"released-{'b' * 8}" / "crop224.json"
    write(measurement(checkpoint=RELEASED), path)
    found = merge([one, two], into)
    assert found.ok
    assert found.summary == {"copied": 4, "already there": 0, "conflict": 0, "invalid": 0}
    assert content(into) == content(one) | content(two)
    evidence = Evidence.load(into)
    assert (len(evidence.records), len(evidence.released), len(evidence.counts), evidence.problems) == (2, 1, 1, ())


def test_an_older_schema_and_foreign_line_ends_are_copied_as_they_are(tmp_path: Path) -> None:
    path = save(tmp_path / "old")
    old = {"schema": 1, "kind": "measurement", **asdict(measurement())}
    del old["outcomes"], old["observed"], old["per_class"]
    path.write_bytes(json.dumps(old, separators=(",", ":")).encode() + b"\r\n")
    assert merge([tmp_path / "old"], tmp_path / "all").ok
    assert content(tmp_path / "all") == content(tmp_path / "old")
    again = merge([tmp_path / "old"], tmp_path / "all")
    assert whats(again.steps) == ["already there"]


def test_the_same_content_in_other_bytes_is_the_same_record(tmp_path: Path) -> None:
    """A checkout on another system may have changed the line ends."""
    one, two = save(tmp_path / "one"), save(tmp_path / "two")
    two.write_bytes(two.read_bytes().replace(b"\n", b"\r\n"))
    before = one.read_bytes()
    assert whats(merge([tmp_path / "two"], tmp_path / "one").steps) == ["already there"]
    assert one.read_bytes() == before


def test_a_conflict_says_what_differs_and_stays_alone(tmp_path: Path) -> None:
    one = save(tmp_path / "one")
    save(
        tmp_path / "two",
        errors=(24.5, 7.06),
        code={"commit": "1" * 40, "dirty": True, "diff_sha256": "d" * 64},
        environment={"python": "3.11.7", "torch": "2.15.0", "device": "cuda", "threads": 1},
        job={"id": "7", "executor": "slurm", "hostname": "node2\x1b[31m"},
        timings={"train": 1.0},
    )
    save(tmp_path / "two", replace(EXPERIMENT, seed=1))
    before = one.read_bytes()
    found = merge([tmp_path / "two"], tmp_path / "one")
    assert not found.ok
    (conflict, copied) = found.steps
    assert (conflict.what, copied.what) == ("conflict", "copied")
    assert one.read_bytes() == before
    for told in (
        "top1_err 23.88 here, 24.5 there",
        f"commit {'0' * 12} here, {'1' * 12} with changes dddddddd there",
        "torch 2.14.1 here, 2.15.0 there",
        "device cpu here, cuda there",
        "host node1 here, node2?[31m there",
        "job executor local here, slurm there",
        "also other timings",
    ):
        assert told in conflict.told
    assert "top5" not in conflict.told
    assert "python" not in conflict.told


def test_a_run_repeated_to_the_bit_is_a_conflict_that_says_so(tmp_path: Path) -> None:
    save(tmp_path / "one")
    save(tmp_path / "two", timings={"train": 99.0})
    (step,) = merge([tmp_path / "two"], tmp_path / "one").steps
    assert step.what == "conflict"
    assert step.told == "the same numbers; also other timings"


def test_of_contradicting_sources_the_first_is_kept(tmp_path: Path) -> None:
    one, two = folder(tmp_path / "one", {0: "usual"}), folder(tmp_path / "two", {0: "other"})
    for number, sources in enumerate(([one, two], [two, one])):
        into = tmp_path / f"all{number}"
        planned = merge(sources, into, dry_run=True)
        assert not into.exists()
        found = merge(sources, into)
        assert whats(found.steps) == ["copied", "conflict"]
        assert (planned.steps, planned.summary) == (found.steps, found.summary)
        assert content(into) == content(sources[0])


def test_counts_made_twice_are_no_conflict_unless_the_integers_differ(tmp_path: Path) -> None:
    network = resnet(50)
    save_count(tmp_path / "one", network, 25_557_032, 4_142_713_880)
    elsewhere = counted(network, 25_557_032, 4_142_713_880, environment={"python": "3.12.1"})
    write(elsewhere, count_path(tmp_path / "two", network, network.input_size))
    save_count(tmp_path / "three", network, 25_557_033, 4_142_713_880)
    same, other = merge([tmp_path / "two", tmp_path / "three"], tmp_path / "one").steps
    assert (same.what, other.what) == ("already there", "conflict")
    assert same.told.startswith("the same counts")
    assert other.told.startswith("other counts")


def test_a_family_keeps_its_folder_whatever_the_label(tmp_path: Path) -> None:
    one, two = folder(tmp_path / "one", {0: "usual"}), folder(tmp_path / "two", {0: "usual", 1: "usual"})
    (ours,), (theirs,) = one.iterdir(), two.iterdir()
    theirs.rename(two / f"my net-{family(EXPERIMENT)}")
    network = resnet(50)
    count = save_count(one, network, 100, 200)
    save_count(two, replace(network, name="theirs"), 100, 200)
    copied, *there = sorted(merge([two], one).steps, key=lambda step: step.what != "copied")
    assert copied.into == f"{ours.name}/seed-1/crop224.json"
    assert [step.what for step in there] == ["already there"] * 2
    assert {step.into for step in there} == {f"{ours.name}/seed-0/crop224.json", f"counts/{count.name}"}
    fresh = merge([two], tmp_path / "new")
    assert {step.into.split("/")[0] for step in fresh.steps} == {f"my-net-{family(EXPERIMENT)}", "counts"}
    assert Evidence.load(tmp_path / "new").problems == ()


def test_another_test_under_the_same_name_is_told(tmp_path: Path) -> None:
    one = save(tmp_path / "one")
    before = one.read_bytes()
    save(tmp_path / "two", protocol=replace(CROP, resize=232))
    (step,) = merge([tmp_path / "two"], tmp_path / "one").steps
    assert step.what == "conflict"
    assert "another test of the same name" in step.told
    assert one.read_bytes() == before


def test_what_is_no_evidence_is_told_and_never_copied(tmp_path: Path) -> None:
    source, good = tmp_path / "source", save(tmp_path / "source")
    whole = good.read_text()
    broken = {
        "torn": whole[: len(whole) // 2],
        "edited": whole.replace('"seed": 0', '"seed": 7', 1),
        "incomplete": whole.replace('"counted_samples": 50000', '"counted_samples": 49999'),
        "not text": "\udcff",
    }
    for name, text in broken.items():
        path = good.parents[1] / f"seed-{name}" / "crop224.json"
        path.parent.mkdir()
        path.write_bytes(text.encode(errors="surrogateescape"))
    (good.parent / "crop320.json.1a2b3c4d.invalid").write_text(whole)
    (good.parent / ".crop224.json.host.1234.tmp").write_text(whole)
    (good.parent / "notes.txt").write_text("no record")
    found = merge([source], tmp_path / "all")
    assert not found.ok
    assert found.summary == {"copied": 1, "already there": 0, "conflict": 0, "invalid": 5}
    assert all(step.told for step in found.steps if step.what == "invalid")
    assert content(tmp_path / "all") == {good.relative_to(source).as_posix(): whole.encode()}


def test_links_out_of_a_source_are_not_followed(tmp_path: Path) -> None:
    outside, source = save(tmp_path / "outside"), tmp_path / "source"
    inside = record_path(source, EXPERIMENT, CROP)
    inside.parent.mkdir(parents=True)
    inside.symlink_to(outside)
    os.mkfifo(inside.with_name("pipe.json"))  # reading it would never end
    inside.with_name("folder.json").mkdir()
    (source / "linked-folder").symlink_to(tmp_path / "outside")
    (source / "loop").symlink_to(source)
    found = merge([source], tmp_path / "all")
    assert whats(found.steps) == ["invalid"] * 4
    assert "a link that leads out" in "".join(step.told for step in found.steps)
    assert "is not followed" in found.steps[-1].told
    assert not (tmp_path / "all").exists()
    inside.unlink()
    shutil.copy(outside, inside)
    assert merge([source], tmp_path / "all").summary["copied"] == 1


def test_a_torn_file_in_the_target_is_moved_aside_not_lost(tmp_path: Path) -> None:
    source, into = folder(tmp_path / "source", {0: "usual"}), tmp_path / "all"
    torn = record_path(into, EXPERIMENT, CROP)
    torn.parent.mkdir(parents=True)
    torn.write_text('{"schema"')
    planned = merge([source], into, dry_run=True)
    found = merge([source], into)
    assert planned.steps == found.steps
    assert found.steps[0].told == "an invalid file stood in its place and is moved aside"
    assert len(found.problems) == 1
    assert sorted(content(into).values()) == sorted([b'{"schema"', *content(source).values()])


@pytest.mark.parametrize(
    ("sources", "into", "told"),
    [
        (["one", "nowhere"], "all", "nowhere is not there"),
        (["one/file"], "all", "is not a folder; a records folder"),
        (["one"], "one", "is the folder to merge into"),
        (["one"], "link", "is the folder to merge into"),
        (["one"], "one/below", "lie one inside the other"),
        (["one/below"], "one", "lie one inside the other"),
        (["one"], "one/file", "is not a folder; records are merged into"),
    ],
)
def test_folders_that_cannot_be_merged(tmp_path: Path, sources: list[str], into: str, told: str) -> None:
    (tmp_path / "one" / "below").mkdir(parents=True)
    (tmp_path / "one" / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "one")
    with pytest.raises(MergeError, match=told):
        merge([tmp_path / source for source in sources], tmp_path / into)
    assert not (tmp_path / "all").exists()


def test_another_process_may_record_in_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, into = folder(tmp_path / "source", {0: "usual", 1: "usual"}), tmp_path / "all"
    real = module.write_text

    def slower(text: str, path: Path) -> Path:
        if "seed-0" in str(path):
            save(into, errors=(11.0, 2.0))
        else:
            real(text, path)
        return real(text, path)

    monkeypatch.setattr(module, "write_text", slower)
    found = merge([source], into)
    assert whats(found.steps) == ["conflict", "already there"]
    with pytest.raises(AlreadyRecorded):
        slower(next(iter(content(source).values())).decode(), record_path(into, EXPERIMENT, CROP))
