"""What was handed to SLURM, by whom and when: the intent is written before sbatch is called, the id right after.

    <runs>/submissions/lock                     held by whoever submits, cancels or retries
    <runs>/submissions/<id>/submission.json     what is submitted: arrays and their members
    <runs>/submissions/<id>/<number>.job        SLURM's id of that array, once sbatch has answered
    <runs>/submissions/<id>/jobs/               submitit's scripts, pickles and logs

A process that dies between sbatch and the second file leaves an array whose job name is in the first: `adopt` finds
it in the queue. So nothing that SLURM accepted is forgotten and nothing is submitted twice.
"""

import errno
import fcntl
import getpass
import json
import os
import re
import socket
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from results.files import write_over
from slurm.arrays import AT_ONCE, element_id
from slurm.sharing import shared

FOLDER = "submissions"
_INTENT = "submission.json"


class SubmissionError(RuntimeError):
    """What keeps jobs from being submitted: says what, and that nothing was lost."""


@dataclass(frozen=True)
class Member:
    """A unit in an array. `key`: `slurm.plan.unit_key`. `folder`: where its traces are."""

    key: str
    kind: str
    name: str
    family: str
    seed: int
    rows: tuple[str, ...]
    folder: Path


@dataclass(frozen=True)
class Sent:
    """An array. `name`: SLURM's job name, unique. `job_id`: None until sbatch has answered. `gpus`: of one job.

    `for_room`: it waits for arrays whose GPUs it needs (`slurm.room`).
    """

    name: str
    members: tuple[Member, ...]
    keywords: Mapping[str, Any]
    dependency: str = ""
    job_id: str | None = None
    gpus: int = 0
    for_room: bool = False

    def most_gpus(self, live: int) -> int:
        """What so many `live` ones of its jobs hold at once."""
        return self.gpus * min(live, self.keywords.get(AT_ONCE, live))

    def member_id(self, index: int) -> str | None:
        """SLURM's id of one member."""
        return None if self.job_id is None else element_id(self.job_id, len(self.members), index)


@dataclass(frozen=True)
class Submission:
    """One `pyconv submit` or `retry`. `snapshot`: id of its code. `time`: seconds since 1970."""

    folder: Path
    arrays: tuple[Sent, ...]
    profile: str
    snapshot: str
    by: str = field(default_factory=lambda: f"{getpass.getuser()}@{socket.gethostname()}")
    time: float = field(default_factory=time.time)

    @property
    def jobs(self) -> Path:
        """Where submitit keeps scripts, pickles and logs."""
        return self.folder / "jobs"


@dataclass(frozen=True)
class Place:
    """Where a unit stands in what was submitted."""

    submission: Submission
    array: Sent
    index: int

    @property
    def member(self) -> Member:
        """The unit."""
        return self.array.members[self.index]

    @property
    def job_id(self) -> str | None:
        """SLURM's id of it."""
        return self.array.member_id(self.index)

    def log(self, ending: str, rank: int = 0) -> Path:
        """submitit's log of a rank; `ending`: out or err."""
        return self.submission.jobs / f"{self.job_id}_{rank}_log.{ending}"


def new_folder(runs: Path) -> Path:
    """A name for a submission that nobody else has and that sorts by time."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    return runs.absolute() / FOLDER / f"{stamp}-{uuid.uuid4().hex[:8]}"


def array_name(folder: Path, number: int) -> str:
    """SLURM's job name of an array: who sees it in squeue finds its folder by it."""
    return f"pyconv-{folder.name.rpartition('-')[2]}-{number}"


def begin(submission: Submission) -> None:
    """Write what is about to be submitted. Raises OSError, then nothing was."""
    content = asdict(submission) | {"folder": None}
    for array in content["arrays"]:
        array["members"] = [member | {"folder": str(member["folder"])} for member in array["members"]]
    submission.jobs.mkdir(parents=True)
    write_over(submission.folder / _INTENT, json.dumps(content))


def confirm(submission: Submission, number: int, job_id: str) -> None:
    """Write SLURM's id of array `number`."""
    write_over(submission.folder / f"{number}.job", job_id + "\n")


def load(runs: Path) -> tuple[list[Submission], list[str]]:
    """Every submission, the oldest first, and what could not be read of them, in words."""
    found, problems = [], []
    for folder in sorted((runs.absolute() / FOLDER).glob("*-*")):
        try:
            found.append(_read(folder))
        except FileNotFoundError:  # its writer has only just begun, or was interrupted before it submitted anything
            continue
        except (OSError, ValueError, KeyError, TypeError) as error:
            problems.append(f"{folder / _INTENT}: cannot be read ({error}); its jobs are not known here")
    return found, problems


def places(submissions: Iterable[Submission]) -> dict[str, list[Place]]:
    """Where each unit was submitted, the oldest first."""
    found: dict[str, list[Place]] = {}
    for submission in submissions:
        for array in submission.arrays:
            for index, member in enumerate(array.members):
                found.setdefault(member.key, []).append(Place(submission, array, index))
    return found


def adopt(submissions: Iterable[Submission], ids: Mapping[str, str]) -> list[Submission]:
    """The same with the ids of arrays that SLURM knows by name and whose submitter died before it could write them.

    `ids`: job name -> SLURM's id.
    """
    whole = []
    for submission in submissions:
        arrays = []
        for number, array in enumerate(submission.arrays):
            if array.job_id is None and array.name in ids:
                with suppress(OSError):  # a full disk: SLURM's queue remembers it for the next look
                    confirm(submission, number, ids[array.name])
                array = replace(array, job_id=ids[array.name])
            arrays.append(array)
        whole.append(replace(submission, arrays=tuple(arrays)))
    return whole


@contextmanager
def alone(runs: Path, wait: float = 600.0) -> Iterator[None]:
    """One submitter at a time for one runs folder, on any machine and for any person that shares it.

    A process that dies lets go. Raises SubmissionError when another holds it for longer than `wait` seconds, the disk
    cannot lock, or the folder is somebody else's.
    """
    path = runs.absolute() / FOLDER / "lock"
    with shared(runs):
        handle = _opened(path)
        try:
            _lock(handle, path, wait)
            yield
        finally:
            os.close(handle)


def _opened(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError as error:
        raise SubmissionError(
            f"{path}: {error.strerror}; a runs folder that several people share is writable by their group "
            "(chmod -R g+rwX, and g+s on its folders); nothing was submitted"
        ) from error


def _lock(handle: int, path: Path, wait: float) -> None:
    deadline = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise SubmissionError(
                    f"{path}: held by another pyconv for {wait:.0f} s; nothing was submitted"
                ) from None
            time.sleep(0.05)
        except OSError as error:
            if error.errno == errno.EINTR:
                continue
            raise SubmissionError(
                f"{path}: this disk cannot lock files ({error.strerror}), so two people could submit the same job; "
                "choose a runs folder on one that can (--runs DIR, or `runs` of the profile); nothing was submitted"
            ) from error


def _read(folder: Path) -> Submission:
    content = json.loads((folder / _INTENT).read_text())
    arrays = tuple(_sent(folder, number, array) for number, array in enumerate(content.pop("arrays")))
    return Submission(**(content | {"folder": folder, "arrays": arrays}))


def _sent(folder: Path, number: int, content: dict[str, Any]) -> Sent:
    members = tuple(
        Member(**(member | {"rows": tuple(member["rows"]), "folder": Path(member["folder"])}))
        for member in content.pop("members")
    )
    return Sent(**(content | {"members": members, "job_id": _job_id(folder / f"{number}.job")}))


def _job_id(path: Path) -> str | None:
    """The id in the file; None before sbatch has answered."""
    try:
        text = path.read_text().strip()
    except FileNotFoundError:
        return None
    return text if re.fullmatch(r"\d+", text) else None
