"""Killed at random moments in every way a cluster knows, on the real SLURM of the lab.

Each run ends with exactly one valid record and the bits of weights of a run that nobody disturbed. The runs of a test
live at the same time, each on a node of its own kind of trouble; the moments come from a seed.
"""

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import tiny
from submitit.core.utils import pickle_load

from results.evidence import Evidence
from results.records import Record
from slurm import cluster, traces
from slurm.job import Job
from slurm.lab import Lab
from slurm.profile import Profile

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("healthy_lab")]

ROOT = Path(__file__).resolve().parent.parent
EPOCHS = 300  # about 12 s on a core that has nothing else to do
LATEST = 6.0  # seconds after a life began until it is ended
PROFILE = Profile("lab", Path("lab.toml"))
EXPERIMENT = tiny.experiment(epochs=EPOCHS)
LONGER = tiny.experiment(epochs=3 * EPOCHS)


@dataclass
class Run:
    """A job on the lab, and what is done to it. `lab`: for the troubles of nodes and of the controller."""

    job: Job
    folder: Path
    lab: Lab
    node: int
    moments: random.Random
    keywords: dict[str, Any] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    kills: int = 0

    def submit(self) -> None:
        wanted = {"timeout_min": 10, "nodes": 1, "tasks_per_node": 1, "cpus_per_task": 1, "mem_gb": 2}
        wanted |= {"slurm_additional_parameters": {"nodelist": f"node{self.node}"}} | self.keywords
        logs = self.folder / "jobs"
        self.ids.append(
            cluster.submit_array([self.job], wanted, logs, name="chaos", profile=PROFILE, snapshot_root=ROOT)
        )

    @property
    def lives(self) -> int:
        return len(traces.lives(self.job.folder))

    def suffer(self, kill: Callable[["Run"], None], times: int, latest: float = LATEST) -> None:
        """`kill` it so many times, each time at a random moment of a new life; then let it end."""
        if not self.ids:
            self.submit()
        for number in range(times):
            until(lambda number=number: self.lives > number, 120, self.told)
            time.sleep(self.moments.uniform(0.0, latest))
            assert not self.job.done(), "it was done before it was killed: make it longer"
            kill(self)
            self.kills += 1
        self.finish()

    def finish(self) -> None:
        until(lambda: self.job.done() and self.ended(), 900, self.told)

    def ended(self) -> bool:
        return not slurm("squeue", "--noheader", "--jobs", self.ids[-1], check=False).strip()

    def told(self) -> str:
        logs = "\n".join(path.read_text()[-2000:] for path in sorted((self.folder / "jobs").glob("*_log.*")))
        return f"{self.lives} lives, {self.kills} kills\n{slurm('squeue', '--states=all', check=False)}\n{logs}"

    def processes(self) -> list[int]:
        """The Python processes of the step, as the host sees them."""
        return [
            int(path.parent.name)
            for path in Path("/proc").glob("[0-9]*/cmdline")
            for words in [words_of(path)]
            if words and Path(words[0]).name.startswith("python") and str(self.folder / "jobs") in words
        ]


def words_of(path: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return path.read_bytes().decode().split("\0")
    return []


def kill_9(run: Run) -> None:
    """The kernel's way; the job fails and is submitted again, as `retry` does."""
    for process in run.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, 9)
    until(run.ended, 60, run.told)
    run.submit()


def requeue(run: Run) -> None:
    slurm("scontrol", "requeue", run.ids[-1])


def signalled(run: Run) -> None:
    slurm("scancel", "--signal=USR2", run.ids[-1])


def signalled_twice(run: Run) -> None:
    """The second signal, and some more, come while the first one is being obeyed.

    A scancel that meets the job between two states would try again, and signal the next life: it is ended.
    """
    senders = []
    for pause in (0.0, 0.05, 0.3, 0.3):
        time.sleep(pause)
        senders.append(subprocess.Popen(["scancel", "--signal=USR2", run.ids[-1]], stderr=subprocess.DEVNULL))
    time.sleep(1.0)
    for sender in senders:
        sender.kill()
        sender.wait()


def preempted(run: Run) -> None:
    """A job of a better partition wants the whole node."""
    wanted = ("--partition=debug", "--exclusive", f"--nodelist=node{run.node}", "--output=/dev/null")
    slurm("sbatch", *wanted, "--wrap", "sleep 0.5")
    lives = run.lives
    until(lambda: run.lives > lives, 120, run.told)


def node_failed(run: Run) -> None:
    run.lab.fail_node(run.node)
    run.lab.start_node(run.node)


def controller_restarted(run: Run) -> None:
    """Nobody dies of it; the run is asked to save while nobody can requeue it, and has to insist until somebody can."""
    lives = run.lives
    run.lab.stop_controller()
    for process in run.processes():
        os.kill(process, signal.SIGUSR2)
    time.sleep(2.0)
    run.lab.start_controller()
    until(lambda: run.lives > lives, 60, run.told)


def until(condition: Callable[[], Any], limit: float, told: Callable[[], str]) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, f"not within {limit:.0f} s: {told()}"
        time.sleep(0.1)


def slurm(*command: str, check: bool = True) -> str:
    return subprocess.run(command, check=check, capture_output=True, text=True, timeout=60).stdout


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.digits(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> str:
    """SHA-256 of the weights of a run that nobody disturbed."""
    job = tiny.job(tmp_path_factory.mktemp("whole"), digits, experiment=EXPERIMENT)
    job()
    return sha_of(job)


def sha_of(job: Job) -> str:
    record = job.record(tiny.CROP)
    assert record is not None
    return str(record.checkpoint["sha256"])


def run_on(lab: Lab, folder: Path, digits: Path, name: str, node: int, **keywords: Any) -> Run:
    job = tiny.job(folder / name, digits, experiment=EXPERIMENT)
    return Run(job, folder / name, lab, node, random.Random(name), keywords)


def all_at_once(*troubles: Callable[[], None], meanwhile: Callable[[], object] = list) -> None:
    with ThreadPoolExecutor(len(troubles)) as pool:
        futures = [pool.submit(trouble) for trouble in troubles]
        meanwhile()  # here: a job's signals are the main thread's
        for future in futures:
            future.result()


def check(run: Run, sha: str, result: str = "success") -> None:
    """One valid record, the right bits, and submitit's own word for how the last submission ended."""
    evidence = Evidence.load(run.job.records)
    assert not evidence.problems
    (record,) = evidence.records.values()
    assert isinstance(record, Record)
    assert record.checkpoint["sha256"] == sha
    assert run.lives > run.kills
    (last,) = (run.folder / "jobs").glob(f"{run.ids[-1]}_0_result.pkl")
    assert pickle_load(last)[0] == result
    assert traces.failed(run.job.folder) is None


def obeyed(run: Run) -> int:
    """How often it asked to be requeued by itself, in submitit's words: a signal that is ignored leaves none."""
    return sum(log.read_text().count("Requeued job") for log in (run.folder / "jobs").glob("*_0_log.out"))


def report(runs: Sequence[Run]) -> None:
    for run in runs:
        print(f"{run.folder.name}: {run.kills} kills, {run.lives} lives")


def test_processes_and_jobs_killed_at_random_moments(lab: Lab, tmp_path: Path, digits: Path, undisturbed: str) -> None:
    killed = run_on(lab, tmp_path, digits, "kill-9", 1)
    requeued = run_on(lab, tmp_path, digits, "requeue", 1)
    asked = run_on(lab, tmp_path, digits, "usr2", 2)
    twice = run_on(lab, tmp_path, digits, "usr2-twice", 2)
    all_at_once(
        lambda: killed.suffer(kill_9, 3),
        lambda: requeued.suffer(requeue, 3),
        lambda: asked.suffer(signalled, 4),
        lambda: twice.suffer(signalled_twice, 2),
    )
    report(runs := (killed, requeued, asked, twice))
    assert sum(run.kills for run in runs) == 12
    for run in runs:
        check(run, undisturbed)


def test_preempted_timed_out_and_thrown_off_a_node(lab: Lab, tmp_path: Path, digits: Path, undisturbed: str) -> None:
    lesser = run_on(lab, tmp_path, digits, "preempted", 3, slurm_partition="scavenge")
    powerless = run_on(lab, tmp_path, digits, "node", 4)
    # SLURM signals 45 s before the limit of a minute: lives of about 15 s
    late = run_on(lab, tmp_path, digits, "time-limit", 1, timeout_min=1, slurm_signal_delay_s=45)
    # SLURM looks at limits twice a minute: a run that takes longer than that has to be stopped
    late.job = replace(late.job, experiment=LONGER)
    late.submit()
    alone = tiny.job(tmp_path / "alone", digits, experiment=LONGER)
    all_at_once(
        lambda: lesser.suffer(preempted, 3),
        lambda: powerless.suffer(node_failed, 3),
        late.finish,
        meanwhile=alone,
    )
    late.kills = late.lives - 1
    report((lesser, powerless, late))
    assert obeyed(lesser) >= 1
    assert late.kills >= 1
    check(late, sha_of(alone))
    for run in (lesser, powerless):
        check(run, undisturbed)


def test_the_controller_restarts_under_a_run(lab: Lab, tmp_path: Path, digits: Path, undisturbed: str) -> None:
    run = run_on(lab, tmp_path, digits, "controller", 1)
    run.suffer(controller_restarted, 2)
    report([run])
    assert obeyed(run) == run.kills
    check(run, undisturbed)


def test_an_array_signalled_again_and_again_while_elements_are_pending(
    lab: Lab, tmp_path: Path, digits: Path, undisturbed: str
) -> None:
    """SLURM 22.05 repeats the signal for 26 s: each element is requeued as often, none ends by an error."""
    runs = [run_on(lab, tmp_path, digits, f"element-{number}", 1) for number in range(3)]
    keywords = {"timeout_min": 10, "cpus_per_task": 1, "mem_gb": 2, "slurm_array_parallelism": 2}
    jobs = [run.job for run in runs]
    job_id = cluster.submit_array(jobs, keywords, tmp_path / "jobs", name="array", profile=PROFILE, snapshot_root=ROOT)
    for number, run in enumerate(runs):
        run.ids.append(f"{job_id}_{number}")
    until(lambda: all(run.lives for run in runs[:2]), 60, runs[0].told)
    time.sleep(2.0)
    slurm("scancel", "--signal=USR2", f"{job_id}_0")
    slurm("scancel", "--signal=USR2", f"{job_id}_1")
    for run in runs:
        until(run.job.done, 240, run.told)
    until(lambda: not slurm("squeue", "--noheader", "--jobs", job_id, check=False).strip(), 60, runs[0].told)
    for run in runs:
        run.kills = run.lives - 1
        record = run.job.record(tiny.CROP)
        assert record is not None
        assert record.checkpoint["sha256"] == undisturbed
        assert traces.failed(run.job.folder) is None
        assert pickle_load(tmp_path / "jobs" / f"{run.ids[-1]}_0_result.pkl")[0] == "success"
    report(runs)
    assert runs[0].kills >= 1
    assert runs[1].kills >= 1
