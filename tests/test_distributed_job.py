"""Jobs of two ranks on this machine over gloo, started as SLURM and submitit start them: one run, one writer.

Two micro-batches, one a rank: `a + b` is `b + a` in floating point too, so the weights are the bits of one process.
"""

import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import tiny
from submitit.helpers import TorchDistributedEnvironment
from torch.distributed import TCPStore

from results.compliance import check
from results.evidence import Evidence
from slurm import meeting, telling, traces
from slurm.distributed import Seat, seat
from slurm.job import Job
from slurm.meeting import MeetingError, meet, meeting_file

PROGRAM = """
import os, pickle, signal, sys, time
from pathlib import Path

path, trouble = Path(sys.argv[1]), sys.argv[2]
rank = int(os.environ["SLURM_PROCID"])

def requeue(*_):  # where submitit's handler would be
    (path.parent / f"requeued-by-{rank}").touch()
    sys.exit(255)

signal.signal(signal.SIGUSR2, requeue)
job = pickle.loads(path.read_bytes())

from pyconv.optimisation import Optimisation
steps, original = [], Optimisation.step

def step(self, *arguments):
    steps.append(1)
    (path.parent / f"steps-of-{rank}").write_text(str(len(steps)))
    if len(steps) == 6 and trouble == f"signal-{rank}":
        signal.raise_signal(signal.SIGUSR2)
    if len(steps) == 3 and trouble == f"memory-{rank}":
        raise MemoryError("not enough for the activations")
    if len(steps) == 3 and trouble == f"kill-{rank}":
        signal.raise_signal(signal.SIGKILL)
    return original(self, *arguments)

Optimisation.step = step
devices = os.environ.get("CUDA_VISIBLE_DEVICES")
job()
assert os.environ.get("CUDA_VISIBLE_DEVICES") == devices, "another job's GPU"
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.digits(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Job:
    """The same run by one process."""
    job = job_of_two(tmp_path_factory.mktemp("whole"), data)
    job()
    return job


def job_of_two(folder: Path, data: Path) -> Job:
    own = tiny.experiment()
    return tiny.job(folder, data, experiment=replace(own, recipe=replace(own.recipe, batch_norm_batch=5)))


class Ranks:
    """The two processes of a job. `trouble`: `signal-R`, `memory-R` or `kill-R`, what happens to rank R."""

    def __init__(self, job: Job, folder: Path, trouble: str = "") -> None:
        self.folder = folder
        (folder / "program.py").write_text(PROGRAM)
        (folder / "job.pkl").write_bytes(pickle.dumps(job))
        self.processes = [self._start(rank, trouble) for rank in range(2)]

    def _start(self, rank: int, trouble: str) -> "subprocess.Popen[str]":
        names = {"JOB_ID": 17, "NTASKS": 2, "PROCID": rank, "LOCALID": rank, "NODEID": 0, "JOB_NUM_NODES": 1}
        environment = {f"SLURM_{name}": str(value) for name, value in names.items()}
        environment |= {"SLURM_JOB_NODELIST": "localhost", "SUBMITIT_EXECUTOR": "slurm"}
        environment |= {"SLURMD_NODENAME": "localhost", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "6,7"}
        command = [sys.executable, str(self.folder / "program.py"), str(self.folder / "job.pkl"), trouble]
        return subprocess.Popen(
            command, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def steps(self, rank: int) -> str:
        return (self.folder / f"steps-of-{rank}").read_text()

    def ended(self) -> list[tuple[int, str]]:
        told = [process.communicate(timeout=60) for process in self.processes]
        return [(process.returncode, "".join(words)) for process, words in zip(self.processes, told, strict=True)]

    def __enter__(self) -> "Ranks":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()


def sha(job: Job) -> Any:
    record = job.record(tiny.CROP)
    assert record is not None
    return record.checkpoint["sha256"]


def test_two_ranks_make_the_bits_of_one_and_rank_0_writes_one_record(tmp_path: Path, data: Path, whole: Job) -> None:
    job = job_of_two(tmp_path, data)
    with Ranks(job, tmp_path) as ranks:
        ended = ranks.ended()
    assert [code for code, _ in ended] == [0, 0], ended
    assert sha(job) == sha(whole)
    record, alone = job.record(tiny.CROP), whole.record(tiny.CROP)
    assert record is not None
    assert alone is not None
    assert record.metrics == alone.metrics  # each image is counted once
    assert check(record).text == "kept"  # the batches of both ranks together are the recipe's
    assert (record.job["id"], record.job["ranks"], record.job["nodes"]) == ("17", 2, ["localhost"])
    assert [life.nodes for life in traces.lives(job.folder)] == [("localhost",)]
    assert "recorded" in ended[0][1]
    assert "recorded" not in ended[1][1]
    assert "epoch 1/2" not in ended[1][1]
    assert "gloo" in ended[0][1]
    assert not Evidence.load(job.records).problems


@pytest.mark.parametrize("signalled", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_signal_on_one_rank_stops_all_and_rank_0_alone_requeues(
    signalled: int, tmp_path: Path, data: Path, whole: Job
) -> None:
    job = job_of_two(tmp_path, data)
    with Ranks(job, tmp_path, f"signal-{signalled}") as ranks:
        assert ranks.processes[0].wait(60) == 255
        time.sleep(0.5)
        assert ranks.processes[1].poll() is None  # an exit of its own could end rank 0 before it has requeued
        assert ranks.steps(1) == "6"  # and it computes nothing that is computed again
    assert [path.name for path in tmp_path.glob("requeued-by-*")] == ["requeued-by-0"]
    assert job.missing()
    assert traces.failed(job.folder) is None
    with Ranks(job, tmp_path) as again:
        assert [code for code, _ in again.ended()] == [0, 0]
    assert again.steps(0) == "2"  # of eight: nothing is repeated
    assert sha(job) == sha(whole)


def test_the_rank_that_ran_out_of_memory_says_so_whatever_the_others_die_of(tmp_path: Path, data: Path) -> None:
    job = job_of_two(tmp_path, data)
    with Ranks(job, tmp_path, "memory-1") as ranks:
        ended = ranks.ended()
    assert all(code == 1 for code, _ in ended)
    assert "MemoryError" in ended[1][1]
    assert "MemoryError" not in ended[0][1]
    failed = traces.failed(job.folder)
    assert failed is not None
    assert (failed.kind, failed.job, failed.node) == ("oom", "17", "localhost")


@pytest.mark.parametrize("killed", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_rank_that_is_killed_is_not_an_error_of_those_that_survive(killed: int, tmp_path: Path, data: Path) -> None:
    job = job_of_two(tmp_path, data)
    with Ranks(job, tmp_path, f"kill-{killed}") as ranks:
        ended = ranks.ended()
    assert ended[killed][0] == -signal.SIGKILL
    assert ended[1 - killed][0] == 1
    failed = traces.failed(job.folder)
    assert failed is not None
    assert failed.kind == "peer", failed.error


def test_two_ranks_start_although_the_port_that_submitit_would_guess_is_taken(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MASTER_PORT", raising=False)
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # remains of earlier connections are no obstacle
        with suppress(OSError):  # another program has it already
            taken.bind(("", TorchDistributedEnvironment().master_port))
            taken.listen()
        job = job_of_two(tmp_path, data)
        with Ranks(job, tmp_path) as ranks:
            ended = ranks.ended()
    assert [code for code, _ in ended] == [0, 0], ended
    assert not list(job.folder.glob("*meeting*"))


def two() -> tuple[Seat, Seat]:
    first = Seat(0, 2, 0, "17", "slurm", "localhost", ("localhost", "node2"))
    return first, replace(first, rank=1, node="node2")


@contextmanager
def listening(what: str) -> Iterator[int]:
    """A port where somebody or nobody answers."""
    with socket.socket() as listener:
        listener.bind(("", 0))
        port = listener.getsockname()[1]
        if what == "silent":
            listener.listen()
            yield port
    if what == "a store":
        store = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
        yield store.port
    elif what == "nobody":
        yield port


@pytest.mark.parametrize(
    ("restart", "left"), [(0, "nobody"), (0, "silent"), (0, "a store"), (1, "a store")], ids=lambda value: str(value)
)
def test_what_another_life_left_is_not_taken_for_this_ones(
    restart: int, left: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meeting, "REACH_TIMEOUT", timedelta(seconds=3))
    first, second = two()
    stale = meeting_file(replace(first, restart=restart), tmp_path)
    patience = timedelta(seconds=30)
    with ThreadPoolExecutor() as pool, listening(left) as port:
        stale.write_text(json.dumps({"host": "localhost", "port": port, "token": "of another life"}))
        found = pool.submit(meet, second, tmp_path, patience)
        time.sleep(0.5)
        assert not found.done()
        store = meet(first, tmp_path, patience)
        store.set("word", "of this life")
        assert found.result(30).get("word") == b"of this life"
    assert list(tmp_path.iterdir()) == [stale] * restart  # it is gone when all are there


def test_a_rank_that_does_not_find_the_others_in_time_says_so(tmp_path: Path) -> None:
    first, second = two()
    soon = timedelta(seconds=0.3)
    path = meeting_file(second, tmp_path)
    with pytest.raises(MeetingError, match=f"^rank 1 of 2 on node2: no rank 0 on localhost within 0.3 s: .*{path}"):
        meet(second, tmp_path, soon)
    with listening("nobody") as port:
        path.write_text(json.dumps({"host": "localhost", "port": port, "token": ""}))
        with pytest.raises(MeetingError, match=f"not at localhost:{port}, as .* says: .*Connection refused"):
            meet(second, tmp_path, soon)
    with pytest.raises(MeetingError, match=r"^rank 0 of 2 on localhost: .* within 0.3 s: rank 1$") as raised:
        meet(first, tmp_path, soon)
    assert not path.exists()
    assert telling.kind(raised.value) == "peer"  # so it is retried


def test_who_a_process_is_comes_from_submitits_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUBMITIT_EXECUTOR", raising=False)
    here = socket.gethostname()
    assert seat() == Seat(node=here, nodes=(here,))
    values = {"JOB_ID": "20", "ARRAY_JOB_ID": "17", "ARRAY_TASK_ID": "3", "NTASKS": "4", "PROCID": "3", "LOCALID": "1"}
    values |= {"JOB_NODELIST": "node[1-2]", "JOB_NUM_NODES": "2", "NODEID": "1", "RESTART_COUNT": "5"}
    for name, value in values.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setenv("SLURMD_NODENAME", "node2")
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    assert seat() == Seat(3, 4, 1, "17_3", "slurm", "node2", ("node1", "node2"), 5)
