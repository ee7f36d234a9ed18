"""What a life of a job says while it lives, and why it ended: for people and `status`, never evidence.

A full disk must not end a training because of a hint: what cannot be told is passed over.
"""

import contextlib
import errno
import re
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slurm import traces
from slurm.distributed import Seat
from slurm.interrupts import LockedError
from slurm.traces import Failed, FailureKind, Life, Told

if TYPE_CHECKING:
    from pyconv.progress import StepReport

EVERY = 1.0  # seconds between two writes of the progress
_NOT_METRICS = ("epoch", "lr", "train_loss", "train_top1_err", "train_pixel_acc", "train_class_acc", "seconds")
_SHORT = {
    "top1_err": "err",
    "miou": "IoU",
    "ap": "AP",
}  # how the last validation is told while the next epoch is trained
_FULL = (errno.ENOSPC, errno.EDQUOT)
_CPU_OUT_OF_MEMORY = "DefaultCPUAllocator"
# What the survivors see of a rank or a reader of images that was killed: gloo and torch tell it in words only.
_LOST = re.compile(r"gloo/transport|DataLoader worker .*(killed by signal|exited unexpectedly)", re.DOTALL)


def begin(folder: Path, seat: Seat) -> None:
    """One more life, unless the disk refuses."""
    with contextlib.suppress(OSError):
        traces.add_life(folder, Life(seat.job or "", seat.restart, seat.nodes))


class Teller:
    """Says how far a life is: a line an epoch on stdout, and `progress.json` for whoever watches."""

    def __init__(self, folder: Path, job: str | None, epochs: int = 0) -> None:
        self._folder, self._job, self._epochs = folder, job or "", epochs
        self._written, self._last = 0.0, ""
        self._metric: dict[str, float] = {}
        self._started: tuple[float, float] | None = None

    def step(self, report: "StepReport") -> None:
        """A step of the training is done."""
        if time.monotonic() - self._written >= EVERY:
            done = (report.epoch - 1 + report.step / report.steps) / self._epochs
            self.say(done, f"epoch {report.epoch}/{self._epochs}{self._last}", report.epoch)

    def epoch(self, entry: Mapping[str, Any]) -> None:
        """An epoch is done: its entry in the history."""
        epoch = round(entry["epoch"])
        numbers = {key: value for key, value in entry.items() if isinstance(value, float)}
        told = ", ".join(f"{key} {value:.4g}" for key, value in numbers.items())
        print(f"epoch {epoch}/{self._epochs}: {told}", flush=True)
        self._metric = {key: value for key, value in numbers.items() if key not in _NOT_METRICS} or self._metric
        for key, word in _SHORT.items():
            if key in entry:
                self._last = f" {entry[key]:.1f}% {word}"
        self.say(epoch / self._epochs, f"epoch {epoch}/{self._epochs}{self._last}", epoch)

    def say(self, done: float, text: str, epoch: int = 0) -> None:
        """Rewrite the progress. `done`: 0 to 1."""
        self._written = time.monotonic()
        if self._started is None:
            self._started = time.time(), done
        told = Told(done, text, epoch, self._epochs, self._metric, self._job, *self._started)
        with contextlib.suppress(OSError):
            traces.tell(self._folder, told)


def kind(error: BaseException) -> FailureKind:
    """Whose fault an error is: of the memory, the recipe, the disk, of another process, or of the code and its data."""
    for cause in _causes(error):
        if isinstance(cause, MemoryError) or _is(cause, "torch", "OutOfMemoryError"):
            return "oom"
        if isinstance(cause, RuntimeError) and _CPU_OUT_OF_MEMORY in str(cause):
            return "oom"
        if _is(cause, "pyconv.progress", "Diverged"):
            return "diverged"
        if isinstance(cause, OSError) and cause.errno in _FULL:
            return "disk"
        if _of_another(cause):
            return "peer"
    return "own"


def fail(folder: Path, seat: Seat, error: BaseException, snapshot: str, before: Failed | None) -> None:
    """Keep why this life ended, unless another rank was first: the others fail because one did.

    A rank that only lost another one gives way to whoever knows more, in whatever order they end. `before`: what an
    earlier life has left. The error itself is never hidden by a disk that refuses this.
    """
    whose, told = kind(error), traces.failed(folder)
    if told is not None and told != before and (told.kind != "peer" or whose == "peer"):
        return
    words = traceback.format_exception(error)
    what = f"{type(error).__name__}: {error}"
    try:
        traces.fail(folder, Failed(whose, what, "".join(words), seat.job or "", seat.node, snapshot))
    except OSError as refused:
        print(f"why this job ended could not be kept: {refused}", file=sys.stderr, flush=True)


def _of_another(error: BaseException) -> bool:
    """Whether `error` says that a process other than this one is gone or in the way."""
    if isinstance(error, ConnectionError | LockedError) or _is(error, "torch.distributed", "DistError"):
        return True
    return isinstance(error, RuntimeError) and _LOST.search(str(error)) is not None


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _is(error: BaseException, module: str, name: str) -> bool:
    """Whether `error` is of a class in a module that this process has loaded: torch is not loaded for this."""
    wanted = getattr(sys.modules.get(module), name, None)
    return wanted is not None and isinstance(error, wanted)
