"""Folders of runs and records on the lab, for tests that submit to it, and what they ask of it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tiny

from experiments.spec import Experiment
from pyconv.checkpoints import load_weights, weights_digest
from results.evidence import Evidence
from slurm import send
from slurm.job import run_folder, unit_folder
from slurm.live import Known, look
from slurm.plan import PlannedJob, unit_key
from slurm.profile import read as read_profile
from slurm.retry import wanted
from slurm.send import Order, Outcome, Wanted
from slurm.status import Board
from slurm.units import Unit, UnitState

PROFILE = """\
executor = "slurm"
[submitit]
timeout_min = 30
nodes = 1
tasks_per_node = 1
gpus_per_node = 1
mem_gb = 2
slurm_additional_parameters = {{ {more} }}
"""

JOBS, LINES = 15, 40  # the most that a failure shows of the queue and of each log
_RUNS: set[Path] = set()  # of every site of these tests


@dataclass(frozen=True)
class Site:
    """A folder of runs and records on the lab, for jobs of seconds."""

    order: Order

    def __post_init__(self) -> None:
        _RUNS.add(self.order.runs)

    def jobs(self, *experiments: Experiment) -> list[PlannedJob]:
        """Trainings, what each starts from before it, and a test of each."""
        found: dict[str, PlannedJob] = {}
        for own in experiments:
            needs = (unit_key(own.init, None),) if own.init else ()
            train = PlannedJob("train", own, None, (own.name,), "run", "not recorded", needs, mini=True)
            test = PlannedJob("test", own, tiny.CROP, (own.name,), "run", "not recorded", (train.key,), mini=True)
            found |= {train.key: train, test.key: test}
        return list(found.values())

    def plan(self, *experiments: Experiment) -> Callable[[Known], Wanted]:
        """As `pyconv submit` plans: without what is live or stands."""

        def planned(known: Known) -> Wanted:
            live, board, jobs = known.live(), self.board(known), []
            for job in self.jobs(*experiments):
                if job.key in live:
                    job = replace(job, action="running", job_id=live[job.key])
                elif board.state(Unit(job.experiment, job.protocol)).state in ("recorded", "trained"):
                    job = replace(job, action="recorded")
                jobs.append(job)
            open_ = {job.key for job in jobs if job.action != "recorded"}
            return Wanted([replace(job, needs=tuple(n for n in job.needs if n in open_)) for job in jobs])

        return planned

    def submit(self, *experiments: Experiment) -> Outcome:
        return send.send(self.order, self.plan(*experiments))

    def retry(self, *experiments: Experiment, **options: Any) -> Outcome:
        def planned(known: Known) -> Wanted:
            return wanted(self.plan(*experiments)(known).jobs, self.board(known), self.order.profile, **options)

        return send.send(self.order, planned)

    def board(self, known: Known | None = None) -> Board:
        return Board(self.evidence, self.order.runs, known or look(self.order.runs))

    def training(self, own: Experiment) -> UnitState:
        return self.board().state(Unit(own, None))

    def testing(self, own: Experiment) -> UnitState:
        return self.board().state(Unit(own, tiny.CROP))

    @property
    def evidence(self) -> Evidence:
        return Evidence.load(self.order.records)

    def recorded(self, *experiments: Experiment) -> bool:
        evidence = self.evidence
        return all(evidence.measurement(own, tiny.CROP) is not None for own in experiments)

    def traces(self, own: Experiment) -> Path:
        return unit_folder(self.order.runs, own, None)


def make_site(folder: Path, digits: Path, more: str = "", sections: str = "", **changes: Any) -> Site:
    """`more`: additional parameters of sbatch; `changes`: submitit's keywords; `sections`: more of the profile."""
    folder.mkdir(exist_ok=True)
    path = folder / "place.toml"
    kept = [line for line in PROFILE.format(more=more).splitlines() if line.partition(" = ")[0] not in changes]
    path.write_text("\n".join([*kept, *(f"{key} = {value}" for key, value in changes.items()), sections]))
    return Site(Order(read_profile(path), folder / "records", folder / "runs", {"digits": digits}))


def until(condition: Callable[[], Any], limit: float = 180.0, every: float = 0.2) -> Any:
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(every)
    raise AssertionError(f"not within {limit:.0f} s; the queue:\n{_queue()}\n{_failures()}")


def _queue() -> str:
    """This user's last jobs."""
    head, *jobs = slurm("squeue", "--me", "--states=all", "--sort=i").splitlines()
    return "\n".join([head, *jobs[-JOBS:]])


def _failures() -> str:
    """The ends of the logs of those of this user's last jobs that failed."""
    states = "FAILED,OUT_OF_MEMORY,NODE_FAIL,BOOT_FAIL,TIMEOUT"
    failed = slurm("squeue", "--me", "--noheader", f"--states={states}", "--format=%i", "--sort=i").split()
    names = [f"submissions/*/jobs/{job}_*_log.*" for job in failed[-JOBS:]]
    logs = [log for name in names for runs in _RUNS for log in sorted(runs.glob(name))]
    tails = [(log, log.read_text(errors="replace").splitlines()[-LINES:]) for log in logs]
    return "\n".join(line for log, tail in tails for line in (f"--- {log}", *tail))


def slurm(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def pyconv(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "slurm.cli", *arguments]
    return subprocess.run(command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, timeout=300)


def long(seed: int = 0, **changes: Any) -> Experiment:
    """A training of some 8 seconds, and a checkpoint an epoch: long enough to be hit."""
    return replace(tiny.experiment(150, seed=seed), **changes)


def kill_steps(runs: Path) -> None:
    """kill -9 of what the jobs of this test run."""
    pattern = f"submitit.core._submit {runs}"
    listed = subprocess.run(["pgrep", "-f", pattern], capture_output=True, text=True, check=True).stdout
    subprocess.run(["kill", "-9", *listed.split()], check=False)


def weights_of(runs: Path, own: Experiment) -> str:
    return weights_digest(load_weights(run_folder(runs, own) / "weights.pt"))


def uninterrupted(own: Experiment, folder: Path, digits: Path) -> str:
    job = replace(tiny.job(folder, digits), experiment=own)
    job()
    return weights_of(job.runs, own)
