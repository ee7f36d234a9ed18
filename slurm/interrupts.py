"""Being interrupted well: signals are obeyed between two steps of the training; a run has one process at a time."""

import fcntl
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

Handler = Callable[[int, FrameType | None], object] | int | None
OBEYED = (signal.SIGINT, signal.SIGUSR2)  # Ctrl-C; submitit's signal before a time limit and on preemption


class Stop:
    """A signal that waits for the end of the optimiser's step, so that the checkpoint holds everything up to there."""

    def __init__(self, before: Mapping[int, Handler]) -> None:
        self._before = before
        self._received: int | None = None

    def handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """What the signals call: only remember."""
        self._received = number

    def asked(self) -> bool:
        """Whether to stop after this step."""
        return self._received is not None

    def go_on(self) -> None:
        """Do what the signal would have done at once: submitit's requeue, or KeyboardInterrupt."""
        handler = self._before.get(self._received) if self._received is not None else None
        if callable(handler):
            handler(self._received or 0, None)


@contextmanager
def between_steps() -> Iterator[Stop]:
    """Inside, the signals of OBEYED only set the `Stop` that is given; afterwards they do what they did before."""
    before: dict[int, Handler] = {number: signal.getsignal(number) for number in OBEYED}
    stop = Stop(before)
    for number in before:
        signal.signal(number, stop.handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, waiting until no other process does; a process that dies lets go.

    On disks without locks nobody waits: records are written once all the same.
    """
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{path.parent}: another process is at this run; waiting for it", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            print(f"{path}: cannot be locked ({error.strerror}); the first record will be kept", flush=True)
        yield
