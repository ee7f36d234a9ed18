"""Why a job ended without its record, and what `retry` does about it: one policy for each class of failure.

Evidence is asked in this order: what the job itself wrote, SLURM's state, SLURM's words in the job's log. A rank that
wrote that it lost another one ("peer") does not know why: there SLURM is asked first. An own error is never retried
blindly: the same code on the same data fails again.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from slurm.queue import Seen
from slurm.traces import Failed

Class = Literal[
    "oom",
    "timeout",
    "node_fail",
    "preempted",
    "killed",
    "disk",
    "diverged",
    "own",
    "cancelled",
    "blocked",
    "unknown",
]
CLASSES: tuple[str, ...] = get_args(Class)
READ = 65_536  # bytes of a log's end that are looked at


@dataclass(frozen=True)
class Ended:
    """How a unit's last job ended. `nodes`: where, as SLURM writes them; of a node's failure that node where known."""

    kind: Class
    words: str
    nodes: str = ""


@dataclass(frozen=True)
class Policy:
    """What `retry` does. `attempts`: submissions of one unit in all, counting the first; 0: never by itself.

    `exclude`: the node it failed on. `memory`: factor on the memory asked for.
    """

    attempts: int
    advice: str
    exclude: bool = False
    memory: float = 1.0


POLICIES: Mapping[Class, Policy] = {
    "oom": Policy(3, "twice the memory (mem_gb), at most twice", memory=2.0),
    "timeout": Policy(1000, "again: it goes on from its last checkpoint"),
    "node_fail": Policy(10, "again, without that node", exclude=True),
    "preempted": Policy(1000, "again: it goes on from its last checkpoint"),
    "killed": Policy(5, "again: it goes on from its last checkpoint"),
    "disk": Policy(5, "again, once there is room"),
    "diverged": Policy(0, "not retried: the same run diverges again; another lr or warm-up is another recipe"),
    "own": Policy(
        0, "not retried with the same code: read `pyconv logs --failed`, mend, then submit (or --own-errors)"
    ),
    "cancelled": Policy(1000, "again: somebody cancelled it"),
    "blocked": Policy(1000, "again, after what it waits for"),
    "unknown": Policy(3, "again, at most twice"),
}

_STATES: Mapping[str, Class] = {
    "OUT_OF_MEMORY": "oom",
    "TIMEOUT": "timeout",
    "DEADLINE": "timeout",
    "NODE_FAIL": "node_fail",
    "BOOT_FAIL": "node_fail",
    "PREEMPTED": "preempted",
    "CANCELLED": "cancelled",
    "REVOKED": "cancelled",
}
# SLURM's and the kernel's words in a log, the weightiest first.
_LOG: tuple[tuple[str, Class], ...] = (
    (r"oom[-_]kill|Out Of Memory|exceeded memory limit|OverMemoryKill", "oom"),
    (r"DUE TO TIME LIMIT", "timeout"),
    (r"DUE TO NODE FAILURE", "node_fail"),
    (r"DUE TO PREEMPTION", "preempted"),
    (r"exit code 137|task \d+: Killed|tasks? [\d,-]+: Killed|Killed\b", "killed"),
    (r"CANCELLED AT", "cancelled"),
)

_NODE_LOST = r"srun: error: Node failure on (\S+)"  # the one of a job's several that failed: the others are sound


def ended(seen: Seen | None, failed: Failed | None, log: str, job_id: str | None, blocked_by: str = "") -> Ended:
    """The class of a job that is no longer live and left no record. `failed`: what the unit's folder holds.

    `log`: the end of its stderr. `blocked_by`: words about a parent that did not succeed, "" when all did.
    """
    lost = re.search(_NODE_LOST, log)
    nodes = lost.group(1) if lost else seen.nodes if seen else ""
    if blocked_by and (seen is None or seen.doomed or seen.state in ("CANCELLED", "PENDING")):
        return Ended("blocked", blocked_by)
    told = failed if failed is not None and failed.job == job_id else None
    if told is not None and told.kind != "peer":
        return Ended(told.kind, told.error, told.node or nodes)
    if seen is not None and seen.state in _STATES:
        return Ended(_STATES[seen.state], f"SLURM: {seen.state}", nodes)
    for pattern, kind in _LOG:
        if found := re.search(f".*(?:{pattern}).*", log):
            return Ended(kind, found.group().strip(), nodes)
    if told is not None:
        return Ended("killed", told.error, nodes or told.node)
    if seen is None:
        return Ended("unknown", "it left the queue without a record, and SLURM has forgotten it", nodes)
    if seen.state == "COMPLETED":
        return Ended("unknown", "SLURM calls it COMPLETED, but no record stands", nodes)
    last = next((line for line in reversed(log.splitlines()) if line.strip()), "no words in its log")
    return Ended("unknown", f"SLURM: {seen.state}; {last.strip()}", nodes)


def log_end(path: Path) -> str:
    """The end of a log; "" when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - READ))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
