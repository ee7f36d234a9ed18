"""The job that submitit pickles and calls on a node: its work, where its traces and its evidence are, how it lives.

The evidence is the record on disk (of a training: its weights); what a job returns or how it exits is a hint. A job
that begins and finds itself done ends at once, in whatever life it is.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from experiments.spec import Experiment, Protocol, resolved
from results.records import Record, RecordError, read, record_path
from slurm import distributed, telling, traces, weights
from slurm.distributed import Seat
from slurm.interrupts import Interrupts, alone, obeyed, only_once
from slurm.sharing import shared
from slurm.weights import TRAINED, WeightsError

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

__all__ = [
    "TRAINED",
    "Job",
    "Part",
    "predictions_folder",
    "progress_of",
    "recorded",
    "run_folder",
    "trained",
    "unit_folder",
]

Part = Literal["all", "train", "test"]
# Seconds in which an error that follows a signal may turn out to be the end of this process: other ranks and readers
# of images die of the same signal.
SIGNAL_PATIENCE = 30.0


@dataclass(frozen=True)
class Job:
    """`experiment` trained below `runs` and tested by `protocols`, its records written below `records`.

    `part`: both, or one of them; a test never trains. `data`: name -> folder. How it is executed, not what it computes:
    `threads`, `workers`, `micro_batch`, `device`, and in epochs `checkpoint_every`, `validate_every`. `snapshot`: id of
    the code; `code`: its provenance, which is asked of git when None.
    """

    experiment: Experiment
    protocols: tuple[Protocol, ...]
    records: Path
    runs: Path
    data: Mapping[str, Path] = field(default_factory=dict)
    threads: int = 1
    workers: int = 0
    micro_batch: int | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    checkpoint_every: int = 1
    validate_every: int = 1
    mini: bool = False
    part: Part = "all"
    snapshot: str = ""
    code: Mapping[str, Any] | None = None

    @property
    def folder(self) -> Path:
        """Checkpoints and weights of this run: `<runs>/<name>-<family>/seed-<s>`."""
        return run_folder(self.runs, self.experiment)

    @property
    def unit_folder(self) -> Path:
        """Where this job's traces are: its run's folder, of a test `tests/<protocol>` in it."""
        return self.folder.joinpath(*_within_run(self.protocols if self.part == "test" else ()))

    def missing(self) -> tuple[Protocol, ...]:
        """The protocols without a valid, complete record."""
        return tuple(p for p in self.protocols if self.record(p) is None)

    def done(self) -> bool:
        """Whether nothing is left to do: weights that are sound, or all records."""
        if self.part != "train":
            return not self.missing()
        try:
            weights.sound(self.folder)
        except WeightsError:
            return False
        return True

    def record(self, protocol: Protocol) -> Record | None:
        """The valid, complete record that stands on disk, if one does."""
        return recorded(record_path(self.records, self.experiment, protocol), protocol)

    def __call__(self) -> list[str]:
        """Do what is left of this job's part, going on from the last checkpoint; returns where the records stand."""
        with shared(self.runs):
            return self._called()

    def _called(self) -> list[str]:
        seat = distributed.seat()
        self.unit_folder.mkdir(parents=True, exist_ok=True)
        # In a job of submitit nothing follows this call but the end of the process, which needs no second life.
        afterwards = None if seat.executor is None else only_once
        with obeyed(seat.rank, afterwards) as interrupts, _failure_kept(self, seat, interrupts):
            if seat.rank == 0:
                telling.begin(self.unit_folder, seat)
            if seat.ranks == 1 and self.done():
                print("everything is done already", flush=True)
            else:
                _live(self, seat, interrupts)
        return [str(record_path(self.records, self.experiment, p)) for p in self.protocols]

    def checkpoint(self) -> "DelayedSubmission":
        """What submitit requeues: the same value, because the training's own checkpoint says where to go on."""
        from submitit.helpers import DelayedSubmission

        if "SUBMITIT_EXECUTOR" in os.environ:  # a signal in the instant before `__call__` may be doubled as well
            only_once()
        return DelayedSubmission(self)


def recorded(path: Path, protocol: Protocol) -> Record | None:
    """The valid, complete record of a test by `protocol` at `path`, if one stands there."""
    if not path.exists():
        return None
    try:
        record = read(path)
    except RecordError:
        return None
    right = isinstance(record, Record) and record.complete and record.protocol == resolved(protocol)
    return record if right and isinstance(record, Record) else None


def run_folder(runs: Path, experiment: Experiment) -> Path:
    """Named as the records are, so that a run and its evidence are found by the same words."""
    return record_path(runs, experiment, Protocol("weights", experiment.recipe.data)).parent


def predictions_folder(run: Path, protocol: Protocol) -> Path:
    """Where a test keeps what the network of the folder `run` predicts, for tasks that can."""
    return run / "predictions" / protocol.key


def unit_folder(runs: Path, experiment: Experiment, protocol: Protocol | None) -> Path:
    """Where the traces of a training (`protocol` None) or of a test are."""
    return run_folder(runs, experiment).joinpath(*_within_run(() if protocol is None else (protocol,)))


def trained(runs: Path, experiment: Experiment) -> bool:
    """Whether the weights of `experiment` stand below `runs`, by their size: cheap, for plans and status."""
    return weights.standing(run_folder(runs, experiment))


def progress_of(job: Job) -> tuple[float, str]:
    """How much of the training is done (0 to 1) and `epoch 3/10 4.1% err`; for people, not evidence."""
    told = traces.told(job.unit_folder)
    return (0.0, "starting") if told is None else (told.done, told.text)


def _within_run(tests: tuple[Protocol, ...]) -> tuple[str, ...]:
    return ("tests", "+".join(protocol.key for protocol in tests)) if tests else ()


def _live(job: Job, seat: Seat, interrupts: Interrupts) -> None:
    """One life: rank 0 takes the run's lock while the others wait for it, then all of them work."""
    lock = alone(job.unit_folder / traces.LOCK, str(seat)) if seat.rank == 0 else nullcontext()
    with lock:
        if seat.ranks == 1 and job.done():  # by the process that was waited for
            return
        from slurm.measure import work  # here and not at the top: the command line makes jobs, without torch

        with distributed.joined(seat, job.device, job.unit_folder):
            work(job, seat, interrupts)


@contextmanager
def _failure_kept(job: Job, seat: Seat, interrupts: Interrupts) -> Iterator[None]:
    """An error that ends this life is told beside its run, and goes on to submitit."""
    before = traces.failed(job.unit_folder)
    try:
        yield
    except Exception as error:
        if interrupts.asked() and not interrupts.leaving and telling.kind(error) in ("own", "peer"):
            interrupts.obey(SIGNAL_PATIENCE)
        telling.fail(job.unit_folder, seat, error, job.snapshot, before)
        raise
