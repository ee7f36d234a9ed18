"""What SLURM says about jobs: one call of squeue for all of them, one of sacct for those that squeue has forgotten.

Its word is a hint: a job that SLURM calls COMPLETED without a record did not succeed, and one that it calls NODE_FAIL
may be back in a second. A command that is missing, hangs or fails gives an answer that says so.
"""

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from slurm import asked

_FIELDS = "%i|%j|%T|%N|%e|%r"
ENDED = frozenset(
    {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED"}
    | {"NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"}
)
# SLURM puts a requeued job back within seconds of these; until then it looks ended.
COMES_BACK = frozenset({"NODE_FAIL", "PREEMPTED", "BOOT_FAIL"})
GRACE = 60.0  # seconds


@dataclass(frozen=True)
class Seen:
    """A job as SLURM shows it. `id`: `17` or `17_3`. `reason`: why it is pending. `ended`: seconds since 1970."""

    id: str
    name: str
    state: str
    nodes: str = ""
    reason: str = ""
    ended: float | None = None
    source: Literal["squeue", "sacct"] = "squeue"

    @property
    def live(self) -> bool:
        """It waits, runs, or may be about to be requeued."""
        if self.state not in ENDED:
            return True
        return self.state in COMES_BACK and self.ended is not None and time.time() - self.ended < GRACE

    @property
    def doomed(self) -> bool:
        """It waits for a job that can no longer succeed."""
        return self.state == "PENDING" and self.reason == "DependencyNeverSatisfied"


@dataclass(frozen=True)
class Answer:
    """Jobs by id; `silence`: why nothing is known, "" when SLURM answered."""

    jobs: Mapping[str, Seen] = field(default_factory=dict)
    silence: str = ""

    def ids(self) -> dict[str, str]:
        """Job name -> SLURM's id (of the array as a whole)."""
        return {seen.name: seen.id.partition("_")[0] for seen in self.jobs.values()}


def ask(names: Iterable[str]) -> Answer:
    """What squeue shows of the arrays with these job names, element by element, those that ended lately included."""
    wanted = sorted(set(names))
    if not wanted:
        return Answer()
    told = _run(
        ["squeue", "--noheader", "--array", "--states=all", f"--format={_FIELDS}", f"--name={','.join(wanted)}"]
    )
    if isinstance(told, Answer):
        return told
    rows = (line.strip().split("|") for line in told.splitlines())
    seen = [
        Seen(row[0], row[1], row[2], "" if row[3].startswith("(") else row[3], _reason(row[5]), _seconds(row[4]))
        for row in rows
        if len(row) == 6
    ]
    return Answer({job.id: job for job in seen})


def account(ids: Iterable[str]) -> Answer:
    """What sacct keeps of jobs that squeue has forgotten; silent on clusters without accounting."""
    ids = list(ids)
    wanted = sorted({job_id.partition("_")[0] for job_id in ids}, key=int)
    if not wanted:
        return Answer()
    fields = "--format=JobID,JobName,State,NodeList,End"
    told = _run(["sacct", "--noheader", "--parsable2", "--allocations", fields, f"--jobs={','.join(wanted)}"])
    if isinstance(told, Answer):
        return told
    rows = (line.strip().split("|") for line in told.splitlines())
    seen = [
        Seen(element, row[1], row[2].split(" ")[0], row[3].replace("None assigned", ""), "", _seconds(row[4]), "sacct")
        for row in rows
        if len(row) == 5
        for element in _elements(row[0])
    ]
    return Answer({**_of_whole_arrays(seen, ids), **{job.id: job for job in seen}})


def _of_whole_arrays(seen: Iterable[Seen], ids: Iterable[str]) -> dict[str, Seen]:
    """What stands for an array as a whole, for each element that was asked for.

    Accounting keeps one that was cancelled at once in the form in which it knew it at that moment: a line for each
    element, one for `17_[0-7]`, or one for `17` where it had not heard of the array before it ended.
    """
    whole = {job.id: job for job in seen if "_" not in job.id}
    arrays = {job_id: whole.get(job_id.partition("_")[0]) for job_id in ids if "_" in job_id}
    return {job_id: replace(job, id=job_id) for job_id, job in arrays.items() if job is not None}


def _elements(job_id: str) -> list[str]:
    """`17_[0-2,5%4]` (elements that never started share a line, cancelled ones too) -> `17_0`, `17_1`, `17_2`, `17_5`.

    Of a list that SLURM has cut short, what stands there.
    """
    array, bracket, inside = job_id.partition("_[")
    if not bracket:
        return [job_id]
    parts = (re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part) for part in inside.rstrip("]").split("%")[0].split(","))
    spans = (range(int(p[1]), int(p[2] or p[1]) + 1, int(p[3] or 1)) for p in parts if p is not None)
    return [f"{array}_{number}" for span in spans for number in span]


def _run(command: list[str]) -> "str | Answer":
    told = asked.ask(*command)
    return Answer(silence=told.failed) if told.failed else told.text


def _reason(text: str) -> str:
    return "" if text == "None" else text


def _seconds(stamp: str) -> float | None:
    try:
        return time.mktime(time.strptime(stamp, "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return None
