"""Being interrupted well: signals are obeyed once, where nothing is lost; a run has one process at a time.

submitit's handler of SIGUSR2 (a time limit is near, or preemption) requeues the job from rank 0. SLURM may send the
signal again while it does so, to every process of the job: a second handler would fail, and `scontrol`, killed by the
signal, would leave an error result for a job that goes on. So the first signal is the only one.
"""

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

Handler = Callable[[int, FrameType | None], object] | int | None
OBEYED = (signal.SIGINT, signal.SIGUSR2)  # Ctrl-C; submitit's signal before a time limit and on preemption
LOCK_PATIENCE = 600.0  # seconds: a node that was cut off is given up by SLURM and by network disks well before
REQUEUE_PATIENCE = 300.0  # seconds in which slurmctld may be restarted
END_PATIENCE = 600.0  # seconds that the other ranks wait for rank 0 to have requeued
RETRY_EVERY = 5.0


class LockedError(RuntimeError):
    """Another process is at this run, and stays."""


class Interrupts:
    """The signals of a job: obeyed at once, or inside `held` at its end and where `asked` is asked.

    `rank`: only the first one requeues; the others remember that they were asked.
    """

    def __init__(self, before: Mapping[int, Handler], rank: int = 0) -> None:
        self._before, self._rank, self._pid = before, rank, os.getpid()
        self._received: int | None = None
        self._held = False
        self.leaving = False

    def handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """What the signals call. SLURM signals the forked readers of images too: there it is their parent's."""
        if os.getpid() != self._pid or self.leaving:
            return
        self._received = number
        if not self._held:
            self._obey_if_first()

    def asked(self) -> bool:
        """Whether a signal has come."""
        return self._received is not None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside, signals wait: whoever is inside asks `asked`, saves and leaves. At the end they are obeyed."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self.asked():
            self._obey_if_first()

    def obey(self, patience: float = END_PATIENCE) -> None:
        """Do what the signal would have done: submitit's requeue, or KeyboardInterrupt.

        All of a rank's state is on disk. Ranks other than 0 wait for at most `patience` seconds to be ended by the
        requeue, without computing anything that would be computed again. Returns when nothing ended this process.
        """
        number = signal.SIGUSR2 if self._received is None else self._received
        handler = self._before[number]
        if not callable(handler):  # nobody requeues: what the signal does by itself
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
            signal.raise_signal(number)
            return
        if number != signal.SIGUSR2:
            handler(number, None)
            return
        self.leaving = True
        only_once()
        if self._rank:
            time.sleep(patience)
        else:
            _insist(lambda: handler(number, None))

    def _obey_if_first(self) -> None:
        if self._rank == 0 or self._received == signal.SIGINT:
            self.obey()


@contextmanager
def obeyed(rank: int = 0, afterwards: Callable[[], None] | None = None) -> Iterator[Interrupts]:
    """Inside, the signals of OBEYED go to the `Interrupts` that is given; afterwards they do what they did before.

    `afterwards`: called instead of restoring SIGUSR2's handler. It is never restored once it was obeyed.
    """
    before: dict[int, Handler] = {number: signal.getsignal(number) for number in OBEYED}
    interrupts = Interrupts(before, rank)
    for number in before:
        signal.signal(number, interrupts.handle)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, _restorable(before[signal.SIGINT]))
        if afterwards is not None:
            afterwards()
        elif not interrupts.leaving:
            signal.signal(signal.SIGUSR2, _restorable(before[signal.SIGUSR2]))


def only_once() -> None:
    """From now on SIGUSR2 is ignored, by this process and by those it starts (`scontrol requeue`)."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


@contextmanager
def alone(path: Path, who: str = "", patience: float = LOCK_PATIENCE) -> Iterator[None]:
    """Hold the lock file `path`, waiting until no other process does; a process that dies lets go.

    `who` is written into it. Raises LockedError after `patience` seconds. On disks without locks nobody waits: records
    are written once all the same.
    """
    with path.open("ab+", buffering=0) as file:
        try:
            _wait_for(file.fileno(), path, patience)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().decode(errors="replace") or "another process"
            raise LockedError(f"{path}: {holder} has been at this run for {patience:.0f} s; end it first") from None
        except OSError as error:
            print(f"{path}: cannot be locked ({error.strerror}); the first record will be kept", flush=True)
        with suppress(OSError):  # a full disk
            file.truncate(0)
            file.write(who.encode())
        yield


def _wait_for(handle: int, path: Path, patience: float) -> None:
    """Lock the file. Raises BlockingIOError when somebody else holds it all the time."""
    deadline, told = time.monotonic() + patience, False
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
        if not told:
            print(f"{path.parent}: another process is at this run; waiting for it", flush=True)
            told = True
        time.sleep(0.2)


def _insist(requeue: Callable[[], object]) -> None:
    """Call `requeue`, which ends this process; again while slurmctld does not answer."""
    deadline = time.monotonic() + REQUEUE_PATIENCE
    while True:
        try:
            requeue()
            return
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            if time.monotonic() > deadline:
                raise
            print(f"cannot requeue yet: {error}", flush=True)
        time.sleep(RETRY_EVERY)


def _restorable(handler: Handler) -> Handler:
    return signal.SIG_DFL if handler is None else handler
