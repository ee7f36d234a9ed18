"""Mistakes on the way to a cluster are told before anything is sent, with what would be right."""

import errno
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from experiments import TABLES
from experiments.spec import family
from slurm import asked, submissions
from slurm.cli import cli
from slurm.commands import submit
from slurm.environment import clean_environment, inherited
from slurm.job import unit_folder
from slurm.plan import unit_key


def call(*arguments: str) -> Any:
    return CliRunner().invoke(cli, arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("plan", "table2", "--seeds", "0,x"), "no list of seeds"),
        (("submit", "tabel2", "--profile", "lab"), "table2"),
        (("status", "table2", "--profile", "lob"), "lab"),
        (("submit", "table2", "--profile", "local"), "pyconv run"),
        (("submit", "table2", "--profile", "lab"), "PYCONV_DATA_IMAGENET"),
        (("retry", "table2", "--class", "omm", "--profile", "lab"), "oom"),
        (("status", "table2", "--every", "1"), "5"),
    ],
)
def test_mistakes_are_told_with_what_would_be_right(
    arguments: tuple[str, ...], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYCONV_RUNS", str(tmp_path))
    monkeypatch.delenv("PYCONV_DATA_IMAGENET", raising=False)
    result = call(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr


def test_much_is_not_submitted_without_being_asked(tmp_path: Path) -> None:
    """Table 2 in full, without an estimate, is counted with one time limit a job: 8 x 192 GPU-hours to train."""
    profile = tmp_path / "large.toml"
    profile.write_text('executor = "slurm"\n[submitit]\ntimeout_min = 1440\ngpus_per_node = 8\n')
    (tmp_path / "imagenet").mkdir()
    places = ["--runs", str(tmp_path / "runs"), "--records", str(tmp_path / "records")]
    result = call("submit", "table2", "--profile", str(profile), *places, "--data", f"imagenet={tmp_path / 'imagenet'}")
    assert result.exit_code == 2
    assert "GPU-hours" in result.stderr
    assert "--yes" in result.stderr
    assert not list((tmp_path / "runs").glob("submissions/*-*"))


@pytest.mark.parametrize(("answer", "code", "submitted"), [("y", 0, True), ("n", 1, False)])
def test_a_person_at_a_terminal_is_asked(
    answer: str, code: int, submitted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = tmp_path / "large.toml"
    profile.write_text('executor = "slurm"\n[submitit]\ntimeout_min = 1440\ngpus_per_node = 8\n')
    (tmp_path / "imagenet").mkdir()
    command(tmp_path, monkeypatch, "squeue", "")
    command(tmp_path, monkeypatch, "sbatch", "echo Submitted batch job 17")
    terminal = SimpleNamespace(isatty=lambda: True)
    monkeypatch.setattr(submit, "sys", SimpleNamespace(stdin=terminal))
    data = ["--data", f"imagenet={tmp_path / 'imagenet'}"]
    result = CliRunner().invoke(
        cli, ["submit", "table2/final", "--profile", str(profile), *places_in(tmp_path), *data], input=f"{answer}\n"
    )
    assert result.exit_code == code, result.output
    assert "GPU-hours" not in result.stdout  # a question is not data
    assert "GPU-hours" in result.stderr
    assert bool(list((tmp_path / "runs").glob("submissions/*-*"))) is submitted


def command(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> None:
    """A command of SLURM that is a script."""
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    if str(path.parent) not in os.environ["PATH"].split(os.pathsep):
        monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}{os.environ['PATH']}")


def places_in(folder: Path) -> list[str]:
    return ["--runs", str(folder / "runs"), "--records", str(folder / "records")]


def hanging_squeue(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command(folder, monkeypatch, "squeue", "sleep 100")
    monkeypatch.setattr(asked, "PATIENCE", 0.5)
    submissions.begin(submissions.Submission(folder / "runs" / "submissions" / "2-x", (SENT,), "lab", "abc"))


def full_disk(_: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(submissions, "begin", full)


def read_only_records(_: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(**_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)


SENT = submissions.Sent("pyconv-x-0", (), {})


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (hanging_squeue, "squeue did not answer within 0.5 s"),
        (full_disk, "No space left on device"),
        (read_only_records, "Read-only file system; nothing was submitted"),
    ],
)
def test_a_broken_place_is_told_without_a_traceback(
    trouble: Any, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(tmp_path, monkeypatch, "squeue", "")
    command(tmp_path, monkeypatch, "sbatch", "exit 9")
    trouble(tmp_path, monkeypatch)
    before = set((tmp_path / "runs").glob("submissions/*-*"))
    result = call("submit", "table2", "--mini", "--profile", "lab", *places_in(tmp_path))
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)  # no traceback
    assert words in result.stderr
    assert "nothing was submitted" in result.stderr
    assert result.stdout == ""
    assert set((tmp_path / "runs").glob("submissions/*-*")) == before


def test_status_with_a_hanging_squeue_says_so_and_shows_what_it_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging_squeue(tmp_path, monkeypatch)
    result = call("status", "table2", *places_in(tmp_path))
    assert result.exit_code == 0
    assert "squeue did not answer within 0.5 s" in result.stderr
    assert result.stdout.strip() == "8 missing"


def test_watching_asks_once_a_round_and_ends_with_the_last_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, folder = tmp_path / "calls", tmp_path / "runs" / "submissions" / "2-x"
    own = TABLES[2].row("final").experiment  # type: ignore[union-attr]
    key, where = unit_key(own, None), unit_folder(tmp_path / "runs", own, None)
    member = submissions.Member(key, "train", own.name, family(own), 0, ("table2/final",), where)
    sent = submissions.Submission(folder, (replace(SENT, members=(member,)),), "lab", "abc")
    submissions.begin(sent)
    submissions.confirm(sent, 0, "17")
    first = f"test -s {calls} || echo '17|pyconv-x-0|RUNNING|node1|N/A|None'\necho call >> {calls}"
    command(tmp_path, monkeypatch, "squeue", first)
    command(tmp_path, monkeypatch, "sacct", "echo '17|pyconv-x-0|CANCELLED by 0|node1|2026-11-24T09:12:00'")
    naps: list[float] = []
    monkeypatch.setattr("slurm.commands.status.time", SimpleNamespace(sleep=naps.append))
    result = call("status", "table2/final", "--watch", "--every", "7", *places_in(tmp_path))
    assert result.exit_code == 0, result.output
    assert naps == [7.0]
    assert calls.read_text().split() == ["call", "call"]
    assert [line.split()[2] for line in result.stdout.splitlines() if line.startswith("table2/final  ")] == [
        "running",
        "cancelled",
    ]


@pytest.mark.parametrize("verb", ["cancel", "logs"])
def test_nothing_submitted_is_told(verb: str, tmp_path: Path) -> None:
    places = ["--runs", str(tmp_path / "runs"), "--records", str(tmp_path / "records")]
    result = call(verb, "table2", *places)
    assert result.exit_code == (1 if verb == "logs" else 0)
    assert "nothing" in result.stderr


def test_status_of_nothing_is_empty_and_fine(tmp_path: Path) -> None:
    result = call("status", "table2", "--runs", str(tmp_path / "runs"), "--records", str(tmp_path / "records"))
    assert result.exit_code == 0
    assert result.stdout.strip() == "8 missing"


def test_variables_of_another_job_are_hidden_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_JOB_ID", "SBATCH_PARTITION", "SRUN_CPUS_PER_TASK", "SUBMITIT_EXECUTOR", "MASTER_PORT", "RANK"):
        monkeypatch.setenv(name, "7")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm/slurm.conf")
    before = dict(os.environ)
    with clean_environment():
        assert not inherited()
        assert os.environ["SLURM_CONF"] == "/etc/slurm/slurm.conf"  # which cluster, not what job
    assert dict(os.environ) == before
