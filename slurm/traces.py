"""What a job leaves beside its checkpoints for people and for `status`: hints, never evidence.

In the folder of its unit (`Job.unit_folder`):

    lives.jsonl      one line each time the job began: when, which SLURM job, its how manieth restart, where
    progress.json    how far it is, rewritten about once a second
    failure.json     why its last life ended with an error
    lock             held by the process that is at it
    meeting-*.json   where rank 0 awaits the other ranks (`slurm.meeting`)

Everything is readable at any moment, whoever was interrupted while writing it: a torn line or file reads as nothing.
"""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

from results.files import write_over

LIVES, PROGRESS, FAILURE, LOCK = "lives.jsonl", "progress.json", "failure.json", "lock"
FailureKind = Literal["oom", "diverged", "disk", "peer", "own"]
_T = TypeVar("_T")


@dataclass(frozen=True)
class Life:
    """A start of the job. `job`: SLURM's or submitit's id, "" for a person's own call; `nodes`: where its ranks are.

    `time`: seconds since 1970.
    """

    job: str
    restart: int
    nodes: tuple[str, ...]
    time: float = field(default_factory=time.time)


@dataclass(frozen=True)
class Told:
    """How far a job is. `done`: 0 to 1. `metric`: the last validation's, by name. `time`: when this was written.

    `started`, `started_at`: when this life began and what was `done` then, from which the end can be guessed.
    """

    done: float
    text: str
    epoch: int = 0
    epochs: int = 0
    metric: dict[str, float] = field(default_factory=dict)
    job: str = ""
    started: float = field(default_factory=time.time)
    started_at: float = 0.0
    time: float = field(default_factory=time.time)

    def remaining(self) -> float | None:
        """Seconds until the end at the pace of this life; None before there is a pace."""
        gained = self.done - self.started_at
        return (1 - self.done) * (self.time - self.started) / gained if gained > 0 else None


@dataclass(frozen=True)
class Failed:
    """The error that ended a life. `node`: where. `snapshot`: of the code that failed.

    `kind`: whose fault it is ("peer": of a process that died elsewhere, or is in the way).
    """

    kind: FailureKind
    error: str
    traceback: str
    job: str
    node: str
    snapshot: str = ""
    time: float = field(default_factory=time.time)


def add_life(folder: Path, life: Life) -> None:
    """One more line in `lives.jsonl`, in one write, after whatever a torn line left."""
    line = json.dumps(asdict(life)) + "\n"
    path = folder / LIVES
    torn = path.exists() and not path.read_bytes().endswith(b"\n") and path.stat().st_size > 0
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        os.write(handle, ("\n" * torn + line).encode())
    finally:
        os.close(handle)


def lives(folder: Path) -> tuple[Life, ...]:
    """Every start that is readable, the oldest first."""
    return tuple(_lives(folder))


def tell(folder: Path, told: Told) -> None:
    """Rewrite `progress.json`."""
    write_over(folder / PROGRESS, json.dumps(asdict(told)))


def told(folder: Path) -> Told | None:
    """What was last told, None when nothing readable was."""
    return _value(Told, _read(folder / PROGRESS))


def fail(folder: Path, failed: Failed) -> None:
    """Keep why this life ended."""
    write_over(folder / FAILURE, json.dumps(asdict(failed)))


def failed(folder: Path) -> Failed | None:
    """Why the last life that ended with an error did, None when none is known."""
    return _value(Failed, _read(folder / FAILURE))


def _lives(folder: Path) -> Iterator[Life]:
    try:
        lines = (folder / LIVES).read_text(errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        if (life := _value(Life, line)) is not None:
            yield Life(life.job, life.restart, tuple(life.nodes), life.time)


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _value(kind: type[_T], text: str) -> _T | None:
    """The dataclass `kind` from its JSON; None for anything else. Fields of other versions are passed over."""
    try:
        content: Any = json.loads(text)
        known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
        return kind(**{key: value for key, value in content.items() if key in known})
    except (ValueError, TypeError, AttributeError):
        return None
