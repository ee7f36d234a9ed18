"""Mistakes on the way to a cluster are told before anything is sent, with what would be right."""

import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from slurm.cli import cli
from slurm.environment import clean_environment, inherited


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
