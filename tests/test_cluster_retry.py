"""`pyconv retry` by class of failure, whatever form SLURM's accounting keeps a cancelled array in.

How sacct shows an array that was cancelled depends on what slurmdbd had heard of it by then: nothing (one line `17`,
which stays for ever), that it waits (one line `17_[0-1]`), or that its elements run (a line each). Each is made here on
purpose.
"""

import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from sites import PROFILE, slurm, until

from slurm import queue
from slurm.cli import cli
from slurm.live import look

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("healthy_lab")]

SEEDS = 2
# What has ended is gone from it, as on a cluster some minutes later (MinJobAge of slurm.conf).
FORGETFUL = """#!/bin/sh
for word; do shift; [ "$word" = --states=all ] || set -- "$@" "$word"; done
exec {squeue} "$@"
"""


@pytest.fixture(autouse=True)
def forgetful(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A squeue that shows only what waits or runs."""
    command = tmp_path / "bin" / "squeue"
    command.parent.mkdir()
    command.write_text(FORGETFUL.format(squeue=shutil.which("squeue")))
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")


def call(folder: Path, verb: str, *more: str) -> list[str]:
    """The ids of what a verb submits of a row in two seeds, held in the queue. It ends with 0 in any case."""
    places = [
        "--profile",
        str(folder / "held.toml"),
        "--runs",
        str(folder / "runs"),
        "--records",
        str(folder / "records"),
    ]
    words = [verb, "table2/final", "--mini", f"--seeds={','.join(map(str, range(SEEDS)))}", "--json", *places, *more]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    submission = json.loads(done.stdout)["submission"]
    return [job["job_id"] for job in submission["jobs"]] if submission else []


def cancel_before_accounting_hears(array: str) -> None:
    slurm("scancel", array)


def cancel_once_accounting_knows_the_array(array: str) -> None:
    until(lambda: sacct(array) != [], 60)
    slurm("scancel", array)


def cancel_while_it_runs(array: str) -> None:
    slurm("scontrol", "release", array)
    until(lambda: sacct(array) == [f"{array}_{element}" for element in range(SEEDS)], 60)
    slurm("scancel", array)


def sacct(*arrays: str) -> list[str]:
    """Its lines, by their ids."""
    return slurm("sacct", "-nPX", "--format=JobID", "-j", ",".join(arrays)).split()


def cancelled(ids: Sequence[str]) -> bool:
    accounts = queue.account(ids)
    return not accounts.silence and all(job in accounts.jobs and accounts.jobs[job].state == "CANCELLED" for job in ids)


@pytest.mark.parametrize(
    ("cancel", "forms"),
    [
        (cancel_before_accounting_hears, (["{0}"], ["{0}_[0-1%2]"])),  # slurmdbd may have been quicker
        (cancel_once_accounting_knows_the_array, (["{0}_[0-1%2]"],)),
        (cancel_while_it_runs, (["{0}_0", "{0}_1"],)),
    ],
)
def test_a_cancelled_array_is_retried_as_cancelled(cancel, forms, tmp_path: Path) -> None:
    (tmp_path / "held.toml").write_text(PROFILE.format(more="hold = true"))
    ids = call(tmp_path, "submit")
    trainings, _ = arrays = sorted({job.partition("_")[0] for job in ids}, key=int)
    assert len(ids) == 2 * SEEDS
    cancel(trainings)
    slurm("scancel", *arrays)  # their tests, where SLURM has not ended them already
    until(lambda: look(tmp_path / "runs").live() == {})
    began = time.monotonic()
    until(lambda: cancelled(ids), 60)
    print(f"accounting was {time.monotonic() - began:.1f} s late; it says {sacct(*arrays)}")
    assert sacct(trainings) in [[line.format(trainings) for line in form] for form in forms]
    assert call(tmp_path, "retry", "--class=timeout") == []
    again = call(tmp_path, "retry", "--class=cancelled")  # their tests were not run because of that: another class
    assert len(again) == SEEDS
    assert len(call(tmp_path, "retry")) == SEEDS
    assert call(tmp_path, "retry") == []
    assert len(look(tmp_path / "runs").live()) == 2 * SEEDS
