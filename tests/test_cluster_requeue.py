"""A run on two nodes with two ranks each, preempted and thrown out, ends with the bits of one that nobody disturbed."""

import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import tiny

from pyconv.checkpoints import load_weights, weights_digest
from results.evidence import Evidence
from slurm import cluster, traces
from slurm.job import Job
from slurm.profile import Profile

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("healthy_lab")]

KEYWORDS = {"timeout_min": 20, "nodes": 2, "tasks_per_node": 2, "cpus_per_task": 1, "mem_gb": 3}
EPOCHS = 150


def job_of(folder: Path, data: Path) -> Job:
    """Two steps an epoch, of four micro-batches: one for each rank."""
    own = tiny.experiment(EPOCHS)
    recipe = replace(own.recipe, batch_size=20, batch_norm_batch=5, lr=1e-3)
    return tiny.job(folder, data, experiment=replace(own, recipe=recipe))


def submit(job: Job, folder: Path) -> str:
    root = Path(__file__).resolve().parent.parent
    place = Profile("lab", Path("lab.toml"))
    return cluster.submit_array([job], KEYWORDS, folder / "jobs", name="ranks", profile=place, snapshot_root=root)


def until(condition: Callable[[], object], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def weights_of(job: Job) -> str:
    return weights_digest(load_weights(job.folder / "weights.pt"))


def told(job: Job) -> list[str]:
    """What each rank of each life printed."""
    return [path.read_text() for path in sorted((job.runs.parent / "jobs").glob("*_log.out"))]


def further_than(job: Job, part: float, lives: int) -> bool:
    told = traces.told(job.folder)
    return told is not None and told.done > part and len(traces.lives(job.folder)) == lives


def test_four_ranks_on_two_nodes_are_requeued_to_the_same_bits(tmp_path: Path) -> None:
    data = tiny.digits(tmp_path)
    plain, hit = job_of(tmp_path / "plain", data), job_of(tmp_path / "hit", data)
    submit(plain, tmp_path / "plain")
    job_id = submit(hit, tmp_path / "hit")
    until(lambda: further_than(hit, 0.2, lives=1))
    subprocess.run(["scancel", "--signal=USR2", job_id], check=True)  # as before a time limit: to every rank
    until(lambda: further_than(hit, 0.5, lives=2))
    subprocess.run(["scontrol", "requeue", job_id], check=True)  # no word to the ranks, which ignore SIGTERM
    until(hit.done)
    until(plain.done)
    lives = traces.lives(hit.folder)
    assert len(lives) == 3
    assert [len(set(life.nodes)) for life in lives] == [2, 2, 2]
    assert weights_of(hit) == weights_of(plain)
    assert traces.failed(hit.folder) is None
    for job, restarts in ((plain, 0), (hit, 2)):  # of four ranks and three lives, rank 0 of the last one writes, once
        evidence = Evidence.load(job.records)
        assert evidence.problems == ()
        (record,) = evidence.records.values()
        assert (record.job["ranks"], len(set(record.job["nodes"])), record.job["restarts"]) == (4, 2, restarts)
        assert sum(line.startswith("recorded") for log in told(job) for line in log.splitlines()) == 1
