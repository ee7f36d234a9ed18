"""Jobs on this machine through submitit's local executor, at most so many at once; the truth is the record on disk.

submitit starts everything at once and tells only how a process ended. Here a job starts when a place is free, a job
that ended without its records is a failure whatever it returned, and one failure does not stop the others.
"""

import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slurm.console import Progress, duration
from slurm.job import Job, progress_of
from slurm.machine import cores, gpus
from slurm.profile import Profile, ProfileError

POLL = 0.2  # seconds between two looks at the children
TAIL = 12  # lines of a failed job's stderr that are shown
LOGS = "logs"


@dataclass(frozen=True)
class Outcome:
    """How one job ended. `ok`: all its records stand. `error`: the end of its stderr. `log`: where the rest is."""

    name: str
    job: Job
    ok: bool
    seconds: float
    error: str = ""
    log: Path | None = None


@dataclass
class _Live:
    name: str
    job: Job
    started: Any  # submitit's job
    gpus: tuple[int, ...]
    since: float = field(default_factory=time.monotonic)


def run(
    jobs: Mapping[str, Job],
    profile: Profile,
    *,
    needs: Mapping[str, str] | None = None,
    at_once: int | None = None,
    progress: Progress | None = None,
) -> list[Outcome]:
    """Run `jobs` (by the name a person knows them by) here and return how each ended, in the order they ended.

    `needs`: job -> the one that has to succeed before it starts.

    Ctrl-C and SIGTERM cancel the children and raise KeyboardInterrupt; checkpoints and written records stay.
    """
    dispatch = _Dispatch(jobs, profile, needs or {}, at_once, progress)
    with _sigterm_is_ctrl_c():
        try:
            return dispatch.run()
        finally:
            dispatch.cancel()


class _Dispatch:
    """The queue of one `run`: what waits, what lives, what ended."""

    def __init__(
        self,
        jobs: Mapping[str, Job],
        profile: Profile,
        needs: Mapping[str, str],
        at_once: int | None,
        progress: Progress | None,
    ) -> None:
        self.profile, self.needs, self.progress = profile, needs, progress
        self.waiting = deque(jobs.items())
        self.live: list[_Live] = []
        self.ended: list[Outcome] = []
        self.total = len(jobs)
        check_keywords(profile)
        self.free_gpus = list(gpus())
        self.gpus_per_job = int(profile.submitit.get("gpus_per_node", min(1, len(self.free_gpus))))
        if self.gpus_per_job > len(self.free_gpus):
            raise ProfileError(
                f"{profile.path}: gpus_per_node = {self.gpus_per_job}, but {len(self.free_gpus)} GPUs are visible here"
            )
        self.at_once = at_once or profile.jobs or self._capacity()

    def _capacity(self) -> int:
        if self.gpus_per_job:
            return len(self.free_gpus) // self.gpus_per_job
        return max(1, cores() // self.profile.threads)

    def run(self) -> list[Outcome]:
        while self.waiting or self.live:
            while self._room() and (ready := self._ready()) is not None:
                self._start(*ready)
            self._collect()
            self._tell()
            time.sleep(POLL)
        return self.ended

    def _room(self) -> bool:
        return len(self.live) < self.at_once and len(self.free_gpus) >= self.gpus_per_job

    def _ready(self) -> tuple[str, Job] | None:
        """The first job that waits for no other, taken out of the queue; one that waited for a failure ends here."""
        for name, job in list(self.waiting):
            first = self.needs.get(name)
            how = {outcome.name: outcome.ok for outcome in self.ended}.get(first or "")
            if first is None or how:
                self.waiting.remove((name, job))
                return name, job
            if how is False:
                self.waiting.remove((name, job))
                self._end(Outcome(name, job, False, 0.0, f"starts from {first}, which failed"))
        return None

    def cancel(self) -> None:
        """Stop what still lives; wait until it is gone.

        A terminal's Ctrl-C has reached the children too, and a second signal would break off their own clean-up.
        """
        if not self._gone(within=2.0):
            for live in self.live:
                live.started.cancel(check=False)
            self._gone(within=10.0)
        self.live.clear()

    def _gone(self, within: float) -> bool:
        deadline = time.monotonic() + within
        while any(not live.started.done() for live in self.live):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def _start(self, name: str, job: Job) -> None:
        taken = tuple(self.free_gpus[: self.gpus_per_job])
        try:
            started = submit(job, self.profile, taken)
        except OSError as error:
            self._end(Outcome(name, job, False, 0.0, f"could not be started: {error}"))
            return
        del self.free_gpus[: self.gpus_per_job]
        self.live.append(_Live(name, job, started, taken))

    def _collect(self) -> None:
        for live in [live for live in self.live if live.started.done()]:
            self.live.remove(live)
            self.free_gpus.extend(live.gpus)
            paths, seconds = live.started.paths, time.monotonic() - live.since
            if live.job.done():
                self._end(Outcome(live.name, live.job, True, seconds, log=paths.stdout))
                continue
            how = "ended" if paths.result_pickle.exists() else "died (killed, or out of memory?)"
            lacks = f"a record of {', '.join(p.key for p in live.job.missing())}" if live.job.protocols else "weights"
            words = [*tail(paths.stderr), f"{how} without {lacks}"]
            self._end(Outcome(live.name, live.job, False, seconds, "\n".join(words), paths.stderr))

    def _end(self, outcome: Outcome) -> None:
        self.ended.append(outcome)
        if self.progress is not None:
            self.progress.say(describe(outcome))

    def _tell(self) -> None:
        if self.progress is None:
            return
        parts = [(live.name, *progress_of(live.job)) for live in self.live]
        done = len(self.ended) + sum(0.95 * part for _, part, _ in parts)  # the rest is for start and test
        text = " | ".join(f"{name} {text}" for name, _, text in parts)
        self.progress.update(done, text)


def submit(job: Job, profile: Profile, visible_gpus: Sequence[int] = ()) -> Any:
    """Hand `job` to submitit's local executor: it starts now. Returns submitit's job."""
    import submitit

    folder = job.folder / LOGS
    folder.mkdir(parents=True, exist_ok=True)
    executor = submitit.LocalExecutor(folder)
    keywords = dict(profile.submitit) | {"gpus_per_node": len(visible_gpus), "visible_gpus": tuple(visible_gpus)}
    executor.update_parameters(**keywords)
    with _environment(job.threads), _stderr_to(folder / "controller.err"):
        return executor.submit(job)


def check_keywords(profile: Profile) -> None:
    """Let submitit validate the profile's [submitit] section. Raises ProfileError with submitit's own words."""
    import submitit

    try:
        submitit.AutoExecutor(folder=".", cluster="local").update_parameters(**profile.submitit)
    except (NameError, AssertionError, ValueError, TypeError) as error:
        raise ProfileError(f"{profile.path}: [submitit] {error}") from error


def describe(outcome: Outcome) -> str:
    """One line for a job that ended well; the end of its stderr and the path of the log for one that did not."""
    if outcome.ok:
        records = [record for protocol in outcome.job.protocols if (record := outcome.job.record(protocol))]
        numbers = [f"{key} {metric.value:.2f}" for record in records for key, metric in record.metrics.items()]
        how = "recorded" if outcome.job.protocols else "trained"
        return f"{outcome.name}: {how} after {duration(outcome.seconds)}" + (
            f": {', '.join(numbers)}" if numbers else ""
        )
    lines = [f"{outcome.name}: FAILED after {duration(outcome.seconds)}"]
    lines += [f"  | {line}" for line in outcome.error.splitlines()]
    return "\n".join([*lines, f"  log: {outcome.log}"] if outcome.log else lines)


def tail(path: Path, lines: int = TAIL) -> list[str]:
    """The last lines of a log that are not submitit's own; none when there is no log."""
    try:
        told = path.read_text(errors="replace").splitlines()
    except OSError:
        return []
    return [line for line in told if not line.startswith("submitit INFO")][-lines:]


@contextmanager
def _environment(threads: int) -> Iterator[None]:
    """What a child needs: this very code whatever folder it is started in, and its share of the cores.

    Without PYTHONSAFEPATH `python -m` looks into the current folder first: a `results/` of the user would hide ours.
    """
    root = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    wanted = {"PYTHONPATH": path, "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": str(threads)}
    before = {key: os.environ.get(key) for key in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value


@contextmanager
def _stderr_to(path: Path) -> Iterator[None]:
    """Children started inside have their stderr in `path`: submitit's controller would write on the person's screen."""
    sys.stderr.flush()
    screen = os.dup(2)
    try:
        with path.open("ab") as file:
            os.dup2(file.fileno(), 2)
        yield
    finally:
        os.dup2(screen, 2)
        os.close(screen)


@contextmanager
def _sigterm_is_ctrl_c() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt, and so does SIGINT where a shell's `&` had it ignored; children inherit it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
