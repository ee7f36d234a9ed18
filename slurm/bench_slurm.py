"""How long plan, submit and status take for a thousand jobs, beside SLURM's own time for the same jobs.

All of it happens on a disposable cluster of its own, where the jobs are held: nothing is trained. Each side is a
process that this one starts and times: `pyconv` as a person calls it, and bare sbatch and squeue.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from slurm.console import duration
from slurm.lab import Lab
from slurm.lab.ports import free_ports

TARGET = "table2"
SEEDS = 63  # of eight rows, a training and a test each: 1,008 jobs
AIM = 2.0  # seconds beyond SLURM's own
PROFILE = """\
executor = "slurm"
[submitit]
timeout_min = 60
nodes = 1
gpus_per_node = 8
tasks_per_node = 8
slurm_additional_parameters = { hold = true }
"""


@dataclass(frozen=True)
class Timing:
    """Seconds of one verb for `jobs` jobs, `slurm`: of SLURM's own commands for the same jobs."""

    verb: str
    jobs: int
    seconds: float
    slurm: float

    @property
    def own(self) -> float:
        """What is ours of it."""
        return self.seconds - self.slurm


def bench(seeds: int = SEEDS, *, accounting: bool = True) -> list[Timing]:
    """Plan, submit, submit again and status of `seeds` seeds of Table 2, on a cluster made and removed for it."""
    with tempfile.TemporaryDirectory(prefix="pyconv-bench-") as name:
        lab = Lab(Path(name) / "lab", port=free_ports(), accounting=accounting)
        lab.install()
        lab.up()
        try:
            return _measured(Path(name), seeds, os.environ | lab.environment())
        finally:
            lab.down()


def report(timings: Sequence[Timing]) -> dict[str, Any]:
    """Plain values for `--json`."""
    return {"aim_seconds": AIM, "timings": [{**asdict(timing), "own": timing.own} for timing in timings]}


def text(timings: Sequence[Timing]) -> str:
    """A line a verb."""
    lines = [f"{'verb':<14} {'jobs':>5} {'seconds':>8} {'SLURM own':>10} {'ours':>6}"]
    lines += [
        f"{timing.verb:<14} {timing.jobs:>5} {timing.seconds:>8.2f} {timing.slurm:>10.2f} {timing.own:>6.2f}"
        for timing in timings
    ]
    within = sum(timing.own < AIM for timing in timings)
    return "\n".join([*lines, f"{within} of {len(timings)} within {duration(AIM)} beyond SLURM's own time"])


def _measured(folder: Path, seeds: int, environment: dict[str, str]) -> list[Timing]:
    profile = folder / "bench.toml"
    profile.write_text(PROFILE)
    data = folder / "imagenet"
    for split in ("train", "val"):
        (data / split).mkdir(parents=True)
    places = ["--runs", str(folder / "runs"), "--records", str(folder / "records"), "--profile", str(profile)]
    chosen = [TARGET, "--seeds", ",".join(map(str, range(seeds))), *places]
    (folder / "records").mkdir()

    def timed(command: Sequence[str]) -> tuple[float, str]:
        began = perf_counter()
        done = subprocess.run(command, env=environment, cwd=folder, check=True, capture_output=True, text=True)
        return perf_counter() - began, done.stdout

    def pyconv(*arguments: str) -> tuple[float, str]:
        return timed([sys.executable, "-m", "slurm.cli", *arguments])

    plan, told = pyconv("plan", *chosen, "--json")
    jobs = len(json.loads(told)["jobs"])
    bare = _bare_sbatch(jobs, timed)
    submit, _ = pyconv("submit", *chosen, "--yes", "--data", f"imagenet={data}")
    queue, listed = timed(["squeue", "--noheader", "--array", "--states=all"])
    assert len(listed.splitlines()) >= jobs, f"{jobs} jobs were planned, {len(listed.splitlines())} are queued"
    again, _ = pyconv("submit", *chosen, "--yes", "--data", f"imagenet={data}")
    status, _ = pyconv("status", *chosen)
    return [
        Timing("plan", jobs, plan, queue),
        Timing("submit", jobs, submit, bare + queue),
        Timing("submit again", jobs, again, queue),
        Timing("status", jobs, status, queue),
    ]


def _bare_sbatch(jobs: int, timed: Any) -> float:
    """Seconds of plain sbatch for as many held jobs in two arrays, taken out of the queue afterwards."""
    command = ["sbatch", "--hold", f"--array=0-{jobs // 2 - 1}", "--parsable", "--wrap", "true"]
    first, told = timed(command)
    second, more = timed([*command, f"--dependency=aftercorr:{told.strip()}"])
    timed(["scancel", told.strip(), more.strip()])
    return float(first + second)
