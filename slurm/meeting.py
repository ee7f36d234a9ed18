"""How the ranks of a job find each other: rank 0's store, on every rank.

No port is agreed on beforehand: whichever it were, another program of the node may have it, and it would be the same
again after a requeue. Rank 0 takes the one that the system gives and tells it in a file of the unit's folder:

    meeting-<job>-<restart>.json    where rank 0 of this life awaits the others; gone when all are there
"""

import json
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pyconv.files import publish

if TYPE_CHECKING:
    from torch.distributed import TCPStore

    from slurm.distributed import Seat

T = TypeVar("T")

# Of one collective call, and of the ranks' meeting: longer than rank 0 may wait for the run's lock while the others
# wait for rank 0.
GROUP_TIMEOUT = timedelta(minutes=30)
REACH_TIMEOUT = timedelta(seconds=20)  # of one attempt to reach rank 0's store
LOOK_EVERY = 0.2  # seconds


class MeetingError(ConnectionError):
    """The ranks of a job did not find each other."""


@dataclass(frozen=True)
class Meeting:
    """Where rank 0 awaits the others. `token`: a key that its store has, and nothing else that may listen there."""

    host: str
    port: int
    token: str

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def meeting_file(seat: "Seat", folder: Path) -> Path:
    """Where rank 0 of this life says where it is."""
    return folder / f"meeting-{seat.job}-{seat.restart}.json"


def meet(seat: "Seat", folder: Path, patience: timedelta = GROUP_TIMEOUT) -> "TCPStore":
    """Rank 0's store, on every rank; rank 0 has it once all the others have. `folder`: shared by the nodes.

    A file that an earlier life of the same name has left is passed over: its store is gone. Raises MeetingError.
    """
    path = meeting_file(seat, folder)
    store = _awaited(seat, path, patience) if seat.rank == 0 else _found(seat, path, patience)
    store.set_timeout(GROUP_TIMEOUT)
    if seat.rank:
        store.set(_arrival(seat.rank), "")
    return store


def _awaited(seat: "Seat", path: Path, patience: timedelta) -> "TCPStore":
    """A store at which all the other ranks are."""
    from torch.distributed import TCPStore

    host, token = seat.nodes[0], uuid.uuid4().hex
    store = TCPStore(host, 0, is_master=True, timeout=REACH_TIMEOUT, wait_for_workers=False)
    store.set(token, "")
    meeting = Meeting(host, store.port, token)
    print(f"{seat.among}: awaits the others at {meeting}", flush=True)
    try:
        publish(path, lambda file: file.write(json.dumps(asdict(meeting)).encode()))
        for _ in _looks(patience):
            missing = [str(rank) for rank in range(1, seat.ranks) if not store.check([_arrival(rank)])]
            if not missing:
                return store
    finally:
        with suppress(OSError):  # whoever reads it later does not find this store
            path.unlink()
    raise MeetingError(f"{seat.among}: not come to {meeting} within {told(patience)}: rank {', '.join(missing)}")


def _found(seat: "Seat", path: Path, patience: timedelta) -> "TCPStore":
    """The store of rank 0, once it has said where it is."""
    why = ""
    for _ in _looks(patience):
        meeting = _read(path)
        if meeting is None:
            why = f"it did not write {path}: is that folder the same on every node?"
            continue
        try:
            return _reached(meeting)
        except (OSError, RuntimeError) as error:  # torch's errors of the network are RuntimeErrors
            why = f"it is not at {meeting}, as {path} says: {next(iter(str(error).splitlines()), '')}"
    raise MeetingError(f"{seat.among}: no rank 0 on {seat.nodes[0]} within {told(patience)}: {why}")


def _read(path: Path) -> Meeting | None:
    try:
        any(path.parent.iterdir())  # a network disk's client may remember that the file was not there
        return Meeting(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _reached(meeting: Meeting) -> "TCPStore":
    """The store of `meeting`. Raises OSError or RuntimeError when something else or nothing is there."""
    from torch.distributed import TCPStore

    limit = REACH_TIMEOUT.total_seconds()
    # A refusal is told at once here; the store would ask again until its time is over.
    socket.create_connection((meeting.host, meeting.port), limit).close()
    store = _within(limit, lambda: TCPStore(meeting.host, meeting.port, timeout=REACH_TIMEOUT, wait_for_workers=False))
    if not store.check([meeting.token]):
        raise MeetingError("that is another job's store")
    return store


def _within(limit: float, call: Callable[[], T]) -> T:
    """What `call` returns; TimeoutError after so many seconds, in which a store waits for a listener that is silent."""
    answer: Future[T] = Future()

    def ask() -> None:
        try:
            answer.set_result(call())
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        return answer.result(limit)
    except TimeoutError:
        raise TimeoutError(f"no answer within {limit:.0f} s") from None


def _looks(patience: timedelta) -> Iterator[None]:
    """Once, and again until the time is over."""
    deadline = time.monotonic() + patience.total_seconds()
    yield
    while time.monotonic() < deadline:
        time.sleep(LOOK_EVERY)
        yield


def _arrival(rank: int) -> str:
    """The key that says that a rank is at the store."""
    return f"arrived-{rank}"


def told(limit: timedelta) -> str:
    """For people."""
    seconds = limit.total_seconds()
    return f"{seconds / 60:.0f} minutes" if seconds >= 60 else f"{seconds:g} s"
