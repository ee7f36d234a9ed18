"""Evidence survives crashes, races, full disks and forgers, or says that it did not."""

import base64
import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from math import sqrt
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evidence import CROP, EXPERIMENT, measurement, save, save_count
from hypothesis import given
from hypothesis import strategies as st

from experiments.spec import Protocol, family
from pyconv.architectures import resnet
from results import provenance
from results.evidence import Evidence
from results.outcomes import pack, unpack
from results.records import (
    AlreadyRecorded,
    Metric,
    Record,
    RecordError,
    count_path,
    default_root,
    encode,
    read,
    record_path,
    write,
)


def edited(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A valid record's file whose JSON was edited by `change` afterwards."""
    path = save(tmp_path)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    record = measurement()
    path = write(record, record_path(tmp_path, EXPERIMENT, CROP))
    assert path == tmp_path / f"imagenet-resnet50-{family(EXPERIMENT)}" / "seed-0" / "crop224.json"
    assert read(path) == record
    evidence = Evidence.load(tmp_path)
    assert evidence.problems == ()
    assert evidence.measurement(EXPERIMENT, CROP) == record
    assert evidence.place(evidence.seeds(EXPERIMENT, CROP)[0]) == path.relative_to(tmp_path).as_posix()


def test_a_count_is_found_at_its_size_only(tmp_path: Path) -> None:
    save_count(tmp_path, resnet(50), 25_557_032, 4_143_000_000)
    evidence = Evidence.load(tmp_path)
    found = evidence.count(resnet(50))
    assert found is not None
    assert found.params == 25_557_032
    assert evidence.count(resnet(50), (3, 320, 320)) is None
    assert evidence.count(resnet(101)) is None


def test_other_seeds_are_the_same_family_and_other_protocols_are_not(tmp_path: Path) -> None:
    for seed in (2, 0, 1):
        save(tmp_path, replace(EXPERIMENT, seed=seed))
    evidence = Evidence.load(tmp_path)
    assert [record.seed for record in evidence.seeds(EXPERIMENT, CROP)] == [0, 1, 2]
    assert len(list(tmp_path.iterdir())) == 1
    measured = evidence.measurement(replace(EXPERIMENT, seed=2), CROP)
    assert measured is not None
    assert measured.seed == 2
    assert evidence.seeds(EXPERIMENT, replace(CROP, resize=232)) == []


def test_a_folder_keeps_its_family_when_the_label_changes(tmp_path: Path) -> None:
    first = save(tmp_path)
    renamed = replace(EXPERIMENT, model=replace(EXPERIMENT.model, name="My résumé / net"), seed=1)
    assert renamed == replace(EXPERIMENT, seed=1)
    assert record_path(tmp_path, renamed, CROP).parents[1] == first.parents[1]
    fresh = record_path(tmp_path / "other", renamed, CROP)
    assert fresh.parents[2] == tmp_path / "other"  # the label's slash makes no folder
    network = replace(resnet(50), name="again")
    path = save_count(tmp_path, resnet(50), 100, 200)
    assert count_path(tmp_path, network, network.input_size) == path


def test_the_first_record_is_kept(tmp_path: Path) -> None:
    path = save(tmp_path)
    before = path.read_bytes()
    with pytest.raises(AlreadyRecorded, match="first one is kept"):
        save(tmp_path, errors=(1.0, 0.5))
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["crop224.json"]


def race(root: str, top1: float, start: float) -> str:
    """Write at the agreed moment; says who won."""
    while time.time() < start:
        pass
    try:
        save(Path(root), errors=(top1, 1.0))
    except AlreadyRecorded:
        return "lost"
    return f"won {top1}"


@pytest.mark.parametrize("torn", [False, True], ids=["empty place", "torn file in the place"])
def test_of_racing_processes_one_wins_and_its_record_stands(tmp_path: Path, torn: bool) -> None:
    path = record_path(tmp_path, EXPERIMENT, CROP)
    if torn:
        path.parent.mkdir(parents=True)
        path.write_text('{"schema": 1, ')
    with get_context("spawn").Pool(4) as pool:
        start = time.time() + 2.0  # by then every process has imported what it needs
        outcomes = pool.starmap(race, [(str(tmp_path), float(top1), start) for top1 in range(10, 14)], chunksize=1)
    winners = [outcome for outcome in outcomes if outcome != "lost"]
    assert len(winners) == 1
    standing = Evidence.load(tmp_path).measurement(EXPERIMENT, CROP)
    assert standing is not None
    assert winners == [f"won {standing.metrics['top1_err'].value}"]
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_file_cut_at_any_byte_is_named_and_not_shown(tmp_path: Path) -> None:
    path = save(tmp_path)
    whole = path.read_bytes()
    for size in [*range(0, len(whole) - 2, 97), len(whole) - 2]:  # the last byte is the final newline
        path.write_bytes(whole[:size])
        evidence = Evidence.load(tmp_path)
        assert evidence.measurement(EXPERIMENT, CROP) is None
        assert len(evidence.problems) == 1
        assert "crop224.json" in evidence.problems[0]
        assert str(tmp_path) not in evidence.problems[0]


def test_a_torn_file_is_moved_aside_for_a_good_one_and_told(tmp_path: Path) -> None:
    path = save(tmp_path)
    torn = path.read_text()[:300]
    path.write_text(torn)
    save(tmp_path, errors=(20.0, 5.0))
    evidence = Evidence.load(tmp_path)
    standing = evidence.measurement(EXPERIMENT, CROP)
    assert standing is not None
    assert standing.metrics["top1_err"].value == 20.0
    (aside,) = path.parent.glob("*.invalid")
    assert aside.read_text() == torn
    assert "moved aside" in evidence.problems[0]


def test_a_half_written_temporary_file_is_no_evidence_and_no_problem(tmp_path: Path) -> None:
    path = save(tmp_path)
    (path.parent / ".crop320.json.node7.0123.tmp").write_text('{"schema"')
    assert Evidence.load(tmp_path).problems == ()


def test_a_killed_writer_leaves_a_record_or_nothing(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from dataclasses import replace\n"
        "from evidence import EXPERIMENT, save\n"
        "print('go', flush=True)\n"
        "for seed in range(100_000): save(Path(sys.argv[1]), replace(EXPERIMENT, seed=seed))\n"
    )
    for delay in (0.0, 0.011, 0.037):
        child = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / str(delay))],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parent,
        )
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(delay)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        evidence = Evidence.load(tmp_path / str(delay))
        assert evidence.problems == ()
        finals = list((tmp_path / str(delay)).rglob("crop224.json"))
        assert len(finals) == len(evidence.records)


def test_temporary_names_differ_between_hosts_with_equal_process_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    link = os.link
    monkeypatch.setattr(os, "link", lambda a, b: (seen.append(Path(a).name), link(a, b))[1])
    monkeypatch.setattr(os, "getpid", lambda: 1)
    for host in ("node1", "node2"):
        monkeypatch.setattr("socket.gethostname", lambda host=host: host)
        save(tmp_path / host)
    assert "node1" in seen[0]
    assert "node2" in seen[1]
    assert seen[0].split(".")[-2] != seen[1].split(".")[-2]


@pytest.mark.parametrize("call", ["fsync", "link"])
def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match=r"cannot write .*crop224.json: No space left on device") as caught:
        save(tmp_path)
    assert caught.value.errno == errno.ENOSPC
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match=r"cannot write .*nothing was left behind"):
        write(measurement(), tmp_path / "file" / record_path(Path(), EXPERIMENT, CROP))


def test_without_hard_links_it_is_still_once_and_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    path = save(tmp_path)
    assert read(path) == measurement()
    with pytest.raises(AlreadyRecorded):
        save(tmp_path, errors=(1.0, 0.5))
    assert [p.name for p in path.parent.iterdir()] == ["crop224.json"]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_none_are_refused(tmp_path: Path, number: float) -> None:
    with pytest.raises(RecordError, match="finite numbers"):
        save(tmp_path, metrics={"top1_err": Metric(number, "%", 1, None)})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999", "1" * 30, "1" * 5000])
def test_numbers_that_are_none_are_not_read(tmp_path: Path, literal: str) -> None:
    path = save(tmp_path)
    path.write_text(path.read_text().replace("23.88", literal))
    with pytest.raises(RecordError, match=r"crop224\.json"):
        read(path)


FORGERIES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "number as text": (
        lambda c: c["metrics"]["top1_err"].update(value="23.88"),
        r"metrics\.top1_err\.value .*right: number",
    ),
    "bool as number": (
        lambda c: c["metrics"]["top1_err"].update(value=True),
        r"metrics\.top1_err\.value .*right: number",
    ),
    "count as fraction": (lambda c: c.update(counted_samples=50_000.0), r"counted_samples .*right: count"),
    "error above 100": (lambda c: c["metrics"]["top1_err"].update(value=123.0), r"top1_err\.value is 123\.0 %"),
    "negative error bar": (lambda c: c["metrics"]["top1_err"].update(se=-0.1), r"top1_err\.se .*not negative"),
    "no metrics": (lambda c: c.update(metrics={}), "metrics is empty"),
    "unknown field": (lambda c: c.update(top1=1), r"top1 is not a field; valid: name, fingerprint"),
    "missing field": (lambda c: c.pop("checkpoint"), "checkpoint is missing"),
    "missing part": (lambda c: c["checkpoint"].pop("sha256"), r"checkpoint\.sha256 is missing"),
    "bad hash": (lambda c: c["checkpoint"].update(sha256="abc"), r"checkpoint\.sha256 .*right: sha256"),
    "schema from the future": (lambda c: c.update(schema=4), "schema is 4; this program reads schema 1 or 2 or 3"),
    "no schema": (lambda c: c.pop("schema"), "schema is None"),
    "unknown kind": (lambda c: c.update(kind="rumour"), "kind is 'rumour'; valid: measurement, count"),
    "edited spec": (lambda c: c["experiment"]["recipe"].update(epochs=9), r"fingerprint is .* record was edited"),
    "edited fingerprint": (lambda c: c.update(fingerprint="0" * 12), r"fingerprint is '0{12}'"),
    "edited family": (lambda c: c.update(family="0" * 12), "family is"),
    "edited seed": (lambda c: c.update(seed=3), "seed is 3, the spec inside gives 0"),
    "fewer samples promised": (
        lambda c: c.update(expected_samples=100, counted_samples=100),
        "expected_samples is 100",
    ),
    "other protocol": (lambda c: c["protocol"].update(key="crop999"), r"belongs in .*/crop999\.json"),
    "flops as text": (lambda c: c["complexity"]["flops"].update(macs="4"), r"complexity\.flops\.macs"),
    "split without hash": (lambda c: c["data"]["splits"]["val"].pop("sha256"), r"data\.splits\.val\.sha256 is missing"),
    "trainable as text": (
        lambda c: c["data"]["splits"]["val"].update(trainable="4"),
        r"data\.splits\.val\.trainable is '4' .*right: count",
    ),
    "time as text": (lambda c: c["timings"].update(train="fast"), r"timings\.train"),
    "history as numbers": (lambda c: c.update(history=[1]), "history is 1"),
    "deviation as number": (lambda c: c.update(deviations=[1]), "deviations is 1"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_an_edited_record_is_refused_by_field(tmp_path: Path, name: str) -> None:
    change, told = FORGERIES[name]
    path = edited(tmp_path, change)
    with pytest.raises(RecordError, match=told) as caught:
        read(path)
    assert "crop224.json" in str(caught.value)
    evidence = Evidence.load(tmp_path)
    assert evidence.records == {}
    assert len(evidence.problems) == 1


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "7", "[" * 100_000, '{"schema": 1, "schema": 1}', "\x00", "\ufeff{}"]
)
def test_what_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    path = save(tmp_path)
    path.write_text(text)
    with pytest.raises(RecordError, match=r"crop224\.json"):
        read(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecordError, match="not UTF-8"):
        read(path)


def test_an_edited_count_is_refused(tmp_path: Path) -> None:
    path = save_count(tmp_path, resnet(50), 25_557_032, 4_143_000_000)
    good = json.loads(path.read_text())
    for change, told in (
        ({"params": "25557032"}, "params .*right: count"),
        ({"network": {**good["network"], "num_classes": 10}}, "network_digest is"),
        ({"input_size": [3, 320, 320]}, "belongs in counts/"),
        ({"input_size": [224]}, "C, H, W"),
        ({"flops": {"macs": -1}}, r"flops\.macs"),
    ):
        path.write_text(json.dumps({**good, **change}))
        with pytest.raises(RecordError, match=told):
            read(path)


def test_a_moved_record_is_no_evidence(tmp_path: Path) -> None:
    path = save(tmp_path)
    elsewhere = tmp_path / f"imagenet-resnet101-{'0' * 12}" / "seed-0" / "crop224.json"
    elsewhere.parent.mkdir(parents=True)
    path.rename(elsewhere)
    (problem,) = Evidence.load(tmp_path).problems
    assert "moved, renamed or edited" in problem
    with pytest.raises(RecordError, match="belongs in"):
        write(measurement(), tmp_path / "record.json")


def test_two_folders_of_one_family_are_told_and_the_first_counts(tmp_path: Path) -> None:
    path = save(tmp_path)
    double = tmp_path / path.parents[1].name.replace("resnet50", "copy") / "seed-0" / "crop224.json"
    double.parent.mkdir(parents=True)
    double.write_text(encode(measurement(errors=(1.0, 0.5))))
    evidence = Evidence.load(tmp_path)
    assert len(evidence.seeds(EXPERIMENT, CROP)) == 1
    assert "second record of one measurement" in evidence.problems[0]


def test_an_incomplete_test_is_no_evidence(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="counted_samples is 49999, not the expected 50000"):
        save(tmp_path, counted_samples=49_999)
    edited(tmp_path, lambda content: content.update(counted_samples=49_999))
    evidence = Evidence.load(tmp_path)
    assert evidence.measurement(EXPERIMENT, CROP) is None
    assert "incomplete" in evidence.problems[0]
    save(tmp_path)  # the next complete test takes the place
    assert Evidence.load(tmp_path).measurement(EXPERIMENT, CROP) is not None


def test_a_protocol_key_is_a_file_name(tmp_path: Path) -> None:
    for key in ("../../crop", "a b", "", ".hidden"):
        with pytest.raises(ValueError, match="protocol key"):
            record_path(tmp_path, EXPERIMENT, Protocol(key, "imagenet"))


def test_the_root_is_beside_the_code_or_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYCONV_RECORDS", raising=False)
    assert default_root().parts[-2:] == ("results", "records")
    monkeypatch.setenv("PYCONV_RECORDS", "/elsewhere")
    assert default_root() == Path("/elsewhere")
    assert Evidence.load().records == {}


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_code_names_commit_and_difference(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "model.py").write_text("width = 64\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    clean = provenance.code(tmp_path)
    assert clean["dirty"] is False
    assert clean["diff_sha256"] is None
    assert len(str(clean["commit"])) == 40
    (tmp_path / "model.py").write_text("width = 65\n")
    changed = provenance.code(tmp_path)
    assert changed["dirty"] is True
    assert changed["commit"] == clean["commit"]
    git(tmp_path, "checkout", "model.py")
    (tmp_path / "results" / "records").mkdir(parents=True)
    (tmp_path / "results" / "records" / "new.json").write_text("{}")
    assert provenance.code(tmp_path) == clean  # evidence is not code
    (tmp_path / "extra.py").write_text("width = 66\n")
    untracked = provenance.code(tmp_path)
    assert untracked["dirty"] is True
    assert untracked["diff_sha256"] not in (None, changed["diff_sha256"])


def test_code_without_git_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = {"commit": None, "dirty": None, "diff_sha256": None}
    assert provenance.code(tmp_path) == nothing
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.code(tmp_path) == nothing


def test_environment_says_no_paths_and_needs_no_torch() -> None:
    told = provenance.environment("cpu", 2)
    assert told["torch"]
    assert told["device"] == "cpu"
    assert str(Path.home()) not in json.dumps(told)
    script = "import sys, results.provenance as p; p.environment('cpu'); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parent.parent)


def test_metrics_may_carry_a_standard_error(tmp_path: Path) -> None:
    metrics = {"top1_err": Metric(23.9, "%", 50_000, sqrt(23.9 * 76.1 / 50_000))}
    path = save(tmp_path, metrics=metrics)
    assert read(path) == measurement(metrics=metrics)
    wrong = {"top1_err": Metric(23.9, "%", 50_000, 0.19)}
    with pytest.raises(RecordError, match=r"top1_err\.se is 0\.19; the value and n give 0\.1907\d+ \(binomial\)"):
        save(tmp_path / "other", metrics=wrong)


FOUR = {"top1_err": [True, False, False, True, False, True, True, False, True, True]}  # ten images, four wrong
FIVE = {**FOUR, "top5_err": [True, True, False, True, False, True, True, True, True, True]}
TEN = replace(CROP, samples=10)


def scored(tmp_path: Path, change: Callable[[dict[str, Any]], None] = lambda _: None) -> Path:
    """The file of a record of ten images, edited by `change`."""
    path = save(tmp_path, EXPERIMENT, TEN, right=FIVE)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


def test_outcomes_are_numpy_s_bits_and_come_back(tmp_path: Path) -> None:
    record = read(scored(tmp_path))
    assert isinstance(record, Record)
    assert record.metrics["top1_err"].value == 40
    assert base64.b64decode(record.outcomes["top1_err"]) == bytes([0b10010110, 0b11000000])


@given(st.lists(st.booleans(), max_size=100))
def test_what_is_packed_is_unpacked(right: list[bool]) -> None:
    text = pack(right)
    assert base64.b64decode(text) == np.packbits(np.array(right, bool)).tobytes()
    assert unpack(text, len(right)) == sum(1 << place for place, one in enumerate(reversed(right)) if one)
    for other in (len(right) + 8, len(right) - 8):
        if other >= 0:
            with pytest.raises(ValueError, match="bytes"):
                unpack(text, other)


def bits(*values: int) -> str:
    return base64.b64encode(bytes(values)).decode()


OUTCOME_FORGERIES: dict[str, tuple[dict[str, Any], str]] = {
    "of no metric": ({"top9_err": bits(150, 192)}, r"outcomes\.top9_err belongs to no metric; valid: top1_err, top5"),
    "a number": ({"top1_err": 150}, r"outcomes\.top1_err is 150 .*right: text"),
    "not base64": ({"top1_err": "!!!!"}, r"outcomes\.top1_err is not base64"),
    "no ASCII": ({"top1_err": "é"}, r"outcomes\.top1_err is not base64"),
    "a byte short": ({"top1_err": bits(150)}, r"outcomes\.top1_err holds 1 bytes; the bits of 10 images are 2"),
    "a byte long": ({"top1_err": bits(150, 192, 0)}, r"outcomes\.top1_err holds 3 bytes"),
    "padding": ({"top1_err": bits(150, 193)}, r"outcomes\.top1_err has bits behind .*last 6 must be zero"),
    "one more right": ({"top1_err": bits(151, 192)}, r"outcomes\.top1_err has 3 wrong of 10, .*metric is 40"),
    "first of all but not among five": (
        {"top1_err": bits(150, 192), "top5_err": bits(0b01111111, 0b01000000)},
        r"outcomes\.top5_err",
    ),
}


@pytest.mark.parametrize("name", OUTCOME_FORGERIES)
def test_outcomes_that_are_not_those_of_the_metric_are_refused(tmp_path: Path, name: str) -> None:
    outcomes, told = OUTCOME_FORGERIES[name]
    with pytest.raises(RecordError, match=told):
        read(scored(tmp_path, lambda content: content.update(outcomes=outcomes)))


def test_right_at_once_is_right_among_five(tmp_path: Path) -> None:
    swapped = {"top1_err": FIVE["top1_err"], "top5_err": [not one for one in FIVE["top1_err"]]}
    with pytest.raises(RecordError, match=r"outcomes\.top5_err is wrong where outcomes\.top1_err is right"):
        save(tmp_path, EXPERIMENT, TEN, right=swapped)


@pytest.mark.parametrize("size", [[224], [224, 224.0], [224, 0], "224x224", None])
def test_an_observed_input_is_two_numbers_of_pixels(tmp_path: Path, size: object) -> None:
    with pytest.raises(RecordError, match=r"observed\.input is .*\[height, width\]"):
        read(scored(tmp_path, lambda content: content.update(observed={"input": size})))


def test_a_measurement_of_schema_1_stays_readable(tmp_path: Path) -> None:
    def age(content: dict[str, Any]) -> None:
        del content["outcomes"], content["observed"], content["per_class"], content["protocol"]["weights"]
        content["schema"] = 1

    path = edited(tmp_path, age)
    assert read(path) == measurement()
    assert Evidence.load(tmp_path).measurement(EXPERIMENT, CROP) == measurement()
    path.write_text(json.dumps({**json.loads(path.read_text()), "outcomes": {}}))
    with pytest.raises(RecordError, match="outcomes is not a field of schema 1"):
        read(path)


def test_a_measurement_of_schema_2_stays_readable(tmp_path: Path) -> None:
    def age(content: dict[str, Any]) -> None:
        del content["per_class"]
        content["schema"] = 2

    path = edited(tmp_path, age)
    assert read(path) == measurement()
    path.write_text(json.dumps({**json.loads(path.read_text()), "per_class": {}}))
    with pytest.raises(RecordError, match="per_class is not a field of schema 2"):
        read(path)


def test_the_committed_counts_are_still_what_would_be_written() -> None:
    evidence = Evidence.load(Path(__file__).parent.parent / "results" / "records")
    assert len(evidence.counts) == 51
    for place, count in evidence.counts.items():
        assert (evidence.root / place).read_text(encoding="utf-8") == encode(count)
