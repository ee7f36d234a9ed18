"""What a person sees of jobs: `status` and `logs` on a cluster whose squeue has forgotten them."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from experiments import TABLES
from experiments.spec import Experiment, family
from slurm import submissions, traces
from slurm.cli import cli
from slurm.commands import logs
from slurm.job import run_folder, unit_folder
from slurm.plan import unit_key
from slurm.submissions import Member, Sent, Submission
from slurm.traces import Failed, Life

TRACEBACK = "Traceback (most recent call last):\n  File ...\nValueError: no such class"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A runs folder where table2/final failed as job 17 and table2/baseline left only a log as job 18."""
    squeue = tmp_path / "bin" / "squeue"
    squeue.parent.mkdir()
    squeue.write_text("#!/bin/sh\n")
    sacct = squeue.with_name("sacct")
    sacct.write_text("#!/bin/sh\necho 'sacct: error: Slurm accounting storage is disabled' >&2\nexit 1\n")
    for command in (squeue, sacct):
        command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{squeue.parent}{os.pathsep}/usr/bin{os.pathsep}/bin")
    (tmp_path / "records").mkdir()
    runs = tmp_path / "runs"
    first = send(runs, row("final"), "17")
    traces.add_life(unit_folder(runs, row("final"), None), Life("17", 0, ("node2",)))
    traces.fail(unit_folder(runs, row("final"), None), Failed("own", "ValueError: no", TRACEBACK, "17", "node2"))
    (first.jobs / "17_0_log.out").write_text("starting\n")
    second = send(runs, row("baseline"), "18")
    (second.jobs / "18_0_log.out").write_text("".join(f"epoch {n}\n" for n in range(100)))
    (second.jobs / "18_0_log.err").write_text("srun: error: node1: task 0: Killed\n")
    return tmp_path


def row(key: str) -> Experiment:
    experiment = TABLES[2].row(key).experiment  # type: ignore[union-attr]
    assert experiment is not None
    return experiment


def send(runs: Path, own: Experiment, job_id: str) -> Submission:
    folder = submissions.new_folder(runs)
    where = unit_folder(runs, own, None)
    where.mkdir(parents=True)
    member = Member(unit_key(own, None), "train", own.name, family(own), own.seed, ("table2/...",), where)
    sent = Submission(folder, (Sent(submissions.array_name(folder, 0), (member,), {}),), "lab", "abc")
    submissions.begin(sent)
    submissions.confirm(sent, 0, job_id)
    return sent


def call(place: Path, *arguments: str) -> Any:
    places = ["--runs", str(place / "runs"), "--records", str(place / "records")]
    return CliRunner().invoke(cli, [*arguments, *places])


def test_failed_prints_the_traceback_of_what_failed_by_itself_and_the_words_of_what_was_killed(place: Path) -> None:
    result = call(place, "logs", "table2", "--failed")
    assert result.exit_code == 0, result.output
    assert TRACEBACK in result.stdout
    assert "task 0: Killed" in result.stdout
    assert "epoch 99" not in result.stdout


def test_logs_are_the_end_of_both_streams(place: Path) -> None:
    result = call(place, "logs", "table2/baseline", "--lines", "3")
    assert [line for line in result.stdout.splitlines() if line.startswith("epoch")] == [
        "epoch 97",
        "epoch 98",
        "epoch 99",
    ]
    assert "task 0: Killed" in result.stdout


def test_following_ends_with_the_job(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "CHECK", 0.0)
    result = call(place, "logs", "table2/baseline", "-f")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("epoch") == 100


@pytest.fixture
def here(place: Path) -> Path:
    """`pyconv run` of table2/2221 that failed here, in its second process."""
    folder = run_folder(place / "runs", row("2221"))
    for number, name in enumerate(("4711", "4712")):
        for ending in ("out", "err"):
            path = folder / "logs" / f"{name}_0_log.{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{ending} of {name}\n")
            os.utime(path, (1000 + number, 1000 + number))
    traces.fail(folder, Failed("own", "ValueError: no", TRACEBACK, "4712", "here"))
    return place


def test_logs_of_a_run_by_hand_are_those_of_its_last_process(here: Path) -> None:
    result = call(here, "logs", "table2/2221")
    assert result.exit_code == 0, result.output
    assert "out of 4712\n" in result.stdout
    assert "err of 4712\n" in result.stdout
    assert "4711" not in result.stdout
    assert "failed (own: ValueError: no)" in result.stdout


def test_a_run_by_hand_that_failed_prints_its_traceback(here: Path) -> None:
    result = call(here, "logs", "table2/2221", "--failed")
    assert result.exit_code == 0, result.output
    assert TRACEBACK in result.stdout


def test_only_one_job_is_followed(place: Path) -> None:
    result = call(place, "logs", "table2", "-f")
    assert result.exit_code == 2
    assert "name one row" in result.stderr


def test_status_tells_what_failed_why_where_and_what_to_do(place: Path) -> None:
    result = call(place, "status", "table2")
    assert result.exit_code == 1  # a run failed
    (final,) = [line for line in result.stdout.splitlines() if line.startswith("table2/final  ")]
    assert final.split()[1:3] == ["0", "failed"]
    assert "17" in final
    assert "node2" in final
    assert "table2/final seed 0: training failed: own: ValueError: no" in result.stdout
    assert "table2/baseline seed 0: training failed: killed" in result.stdout
    assert "2 failed" in result.stdout
    assert "pyconv retry" in result.stderr
    assert "no accounting (Slurm accounting storage is disabled)" in result.stderr


def test_status_without_any_slurm_says_so_and_exits_well(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(place))
    result = call(place, "status", "table2/final")
    assert result.exit_code == 0, result.output
    assert "squeue is not installed here" in result.stderr
    assert json.loads(call(place, "status", "table2/final", "--json").stdout)["slurm"] == "squeue is not installed here"


def test_status_as_json_names_the_class_of_each_failure(place: Path) -> None:
    told = json.loads(call(place, "status", "table2", "--json").stdout)
    units = {row["target"]: row["units"][0] for row in told["rows"]}
    assert (units["table2/final"]["state"], units["table2/final"]["failure"]) == ("failed", "own")
    assert units["table2/baseline"]["failure"] == "killed"
    assert units["table2/2221"]["state"] == "missing"
    assert told["slurm"] == "answered"
    assert told["accounting"] == "Slurm accounting storage is disabled"
