"""Handing over on a disk that fills, with SLURM's commands played by scripts: what was accepted is told and kept."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny

from slurm import cluster, send, submissions
from slurm.live import look
from slurm.plan import PlannedJob
from slurm.profile import Profile
from slurm.send import Order, Wanted
from slurm.submissions import SubmissionError

OWN = tiny.experiment()
TRAIN = PlannedJob("train", OWN, None, ("table2/final",), "run", "not recorded")
TEST = PlannedJob("test", OWN, tiny.CROP, ("table2/final",), "run", "not recorded", (TRAIN.key,))
PROFILE = Profile("lab", Path("lab.toml"), executor="slurm")


@pytest.fixture
def order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Order:
    """A site whose squeue shows what `sbatch` took: 17, 18, ... under its own names."""
    shown = tmp_path / "queue"
    shown.touch()
    squeue = tmp_path / "bin" / "squeue"
    squeue.parent.mkdir()
    squeue.write_text(f"#!/bin/sh\ncat {shown}\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{squeue.parent}{os.pathsep}{os.environ['PATH']}")

    def sbatch(*_: object, name: str, **__: object) -> str:
        job_id = str(17 + len(shown.read_text().splitlines()))
        with shown.open("a") as file:
            file.write(f"{job_id}|{name}|PENDING||N/A|Priority\n")
        return job_id

    monkeypatch.setattr(cluster, "submit_array", sbatch)
    return Order(PROFILE, tmp_path / "records", tmp_path / "runs")


def full_at(number: int) -> Callable[..., None]:
    """`submissions.confirm` of a disk that is full from array `number` on."""
    confirm = submissions.confirm

    def confirmed(submission: submissions.Submission, at: int, job_id: str) -> None:
        if at >= number:
            raise OSError(errno.ENOSPC, f"cannot write {at}.job: No space left on device")
        confirm(submission, at, job_id)

    return confirmed


@pytest.mark.parametrize(("full", "told"), [(0, "1 jobs \\(17\\)"), (1, "2 jobs \\(17, 18\\)")])
def test_an_id_that_a_full_disk_refuses_is_told_and_found_again(
    full: int, told: str, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(submissions, "confirm", full_at(full))
        with pytest.raises(SubmissionError, match=f"No space left.*submitted before: {told}, which stay"):
            send.send(order, lambda _: Wanted([TRAIN, TEST]))
        assert look(order.runs).live()[TRAIN.key] == "17"  # although the disk is still full
    assert set(look(order.runs).live()) == {job.key for job in (TRAIN, TEST)[: full + 1]}
    (sent,), _ = submissions.load(order.runs)
    assert [array.job_id for array in sent.arrays] == ["17", "18"][: full + 1] + [None] * (1 - full)
