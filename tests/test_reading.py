"""Reading many files of evidence: the second process finds what one alone finds, whatever happens to it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import pytest
from evidence import CROP, EXPERIMENT, save, save_count

from pyconv.architectures import resnet
from results import reading
from results.evidence import Evidence
from results.external import entry
from results.paths import candidates, places
from results.records import write

EXAMPLES = Path(__file__).parent / "examples" / "records"
BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "torn": lambda text: text[: len(text) // 2],
    "empty": lambda _: b"",
    "not UTF-8": lambda text: text.replace(b"digits", b"digits\xff"),
    "a key twice": lambda text: text.replace(b'"seed":', b'"seed": 7, "seed":', 1),
    "infinite": lambda text: text.replace(b'"seed": 0', b'"seed": 1e999', 1),
    "half of a pair": lambda text: text.replace(b'"name": "', b'"name": "\\ud800', 1),
    "edited": lambda text: text.replace(b'"epochs": ', b'"epochs": 1', 1),
}


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """A training, a count and an answer among the examples, and files that are no evidence for different reasons."""
    root = copytree(EXAMPLES, tmp_path / "records")
    trained = save(root)
    answer = entry(EXPERIMENT, CROP, {"miou": 40.0, "pixel_acc": 80.0}, "2026-11-30", "https://server.example/1")
    write(answer, trained.parents[1] / answer.run / trained.name)
    save_count(root, resnet(50), 25_557_032, 4_143_000_000)
    measured = [path for path in candidates(root) if path.parent.name != "counts"]
    for number, damage in enumerate(BROKEN.values()):
        path = measured[2 * number]
        path.write_bytes(damage(path.read_bytes()))
    copytree(measured[1].parents[1], root / f"again-{measured[1].parents[1].name.rpartition('-')[2]}")
    measured[3].with_name("crop224.json.invalid").write_text("moved aside")
    (root / "folder.json").mkdir()
    return root


@pytest.fixture
def alone(records: Path, monkeypatch: pytest.MonkeyPatch) -> Evidence:
    """What one process finds; after it two files are many, on a machine of two cores."""
    found = Evidence.load(records)
    monkeypatch.setattr(reading, "MANY", 2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    return found


def test_a_second_process_finds_the_same(records: Path, alone: Evidence) -> None:
    assert len(alone.problems) >= len(BROKEN)
    assert alone.records
    assert alone.counts
    assert alone.external
    found = Evidence.load(records)
    assert found == alone
    assert list(found.records) == list(alone.records)


@pytest.mark.usefixtures("alone")
def test_the_second_process_reads_the_second_half(records: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths, read = candidates(records), []
    whole = reading._read
    monkeypatch.setattr(reading, "_read", lambda path: read.append(path) or whole(path))
    assert len(list(reading.read_each(paths))) == len(paths)
    assert read == paths[: len(paths) // 2]


@pytest.mark.parametrize("program", ["/nowhere/python", "/bin/false", "/bin/cat", "/bin/true"])
def test_where_the_helper_fails_its_files_are_read_all_the_same(
    program: str, records: Path, alone: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", program)
    assert Evidence.load(records) == alone


def test_answers_that_are_cut_off_or_too_few_are_not_believed(
    records: Path, alone: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = records.parent / "answer"
    start = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda _, **how: start(["/bin/cat", str(answer)], **how))
    for wrong in (b"", (100).to_bytes(8) + b"[", (1).to_bytes(8) + b"?", b"\xff" * 9):
        answer.write_bytes(wrong)
        assert Evidence.load(records) == alone


def test_the_helper_runs_no_code_of_the_folder_that_it_is_started_in(
    records: Path, alone: Evidence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("open('run', 'w').close()")
    monkeypatch.chdir(tmp_path)
    assert Evidence.load(records) == alone
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("alone")
def test_no_helper_is_left_behind(records: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    start = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *what, **how: started.append(start(*what, **how)) or started[-1])
    some = reading.read_each(candidates(records))
    next(some)
    some.close()
    assert [helper.poll() is not None for helper in started] == [True]


def test_few_files_need_no_helper(records: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a helper was started"))
    Evidence.load(records)


def test_the_files_are_those_that_a_glob_finds_in_the_order_of_their_parts(tmp_path: Path) -> None:
    for name in (
        "b/x.json",
        "b-c/y.json",
        "b/.tmp.json",
        "b/z.json.invalid",
        "b/.z.json.invalid",
        "b/w.jsonl",
        "a.json",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "deep.json").mkdir()
    (tmp_path / "b" / "deep.json" / ".json").touch()
    (tmp_path / "link").symlink_to(tmp_path / "b")
    (tmp_path / "gone.json").symlink_to(tmp_path / "nowhere")
    globbed = sorted(path for path in tmp_path.rglob("*.json*") if path.suffix in (".json", ".invalid"))
    wanted = [path for path in globbed if path.suffix == ".invalid" or not path.name.startswith(".")]
    assert candidates(tmp_path) == wanted
    assert places(tmp_path) == [path.relative_to(tmp_path).as_posix() for path in wanted]
    assert places(tmp_path / "nowhere") == []
