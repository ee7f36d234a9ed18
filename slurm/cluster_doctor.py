"""Is this SLURM cluster fit for a profile? What can be asked from a login node; `node_doctor` asks from a node.

Nothing here waits for ever: a command that hangs is told and ends the examination, because all others would hang too.
"""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from slurm import cluster, node_doctor
from slurm.asked import Told, ask, words
from slurm.doctor import Check
from slurm.profile import Profile

NEEDED = ("sbatch", "squeue", "scontrol", "scancel", "srun", "sinfo")
Kind = Literal["train", "test"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_ANSWERED = "is UP"


@dataclass(frozen=True)
class Partition:
    """What the nodes of a partition (or of several) allow. `minutes`: longest job, None for no limit.

    `gpus`: of the node that has most of the asked type.
    """

    name: str
    minutes: float | None
    nodes: int
    gpus: int


def examine(place: Profile, records: Path, runs: Path, wait: float) -> Iterator[Check]:
    """Every check in an order in which each needs those before it; it ends early where the rest could not succeed.

    `wait`: seconds that the job on the nodes may spend in the queue.
    """
    for question in (commands, controller, queue):
        check = question()
        yield check
        if check.state == "problem":
            return
    yield accounting()
    accepted = [submission(place, kind, runs) for kind in KINDS]
    yield from accepted
    found = partition(place)
    if isinstance(found, Check):
        yield found
        return
    yield time_limit(place, found)
    yield gpus(place, found)
    if accepted[0].state != "problem":
        yield from node_doctor.examine(place, found.nodes, records, runs, wait)


def commands() -> Check:
    """SLURM's commands, and their version."""
    missing = [command for command in NEEDED if shutil.which(command) is None]
    if missing:
        advice = "run this on a login node of the cluster, or load SLURM's module there"
        return Check("slurm commands", "problem", f"not on PATH: {', '.join(missing)}", advice)
    told = ask("sbatch", "--version")
    if told.failed:
        return Check("slurm commands", "problem", told.failed, "ask whether SLURM is configured here (SLURM_CONF)")
    return Check("slurm commands", "ok", told.text.strip())


def controller() -> Check:
    """slurmctld, by `scontrol ping`."""
    told = ask("scontrol", "ping")
    answer = told.text.strip().splitlines()
    if told.failed or not any(_ANSWERED in line for line in answer):
        found = told.failed or "; ".join(answer) or "scontrol ping said nothing"
        return Check("controller", "problem", found, "nothing can be submitted until slurmctld answers: ask the admins")
    return Check("controller", "ok", next(line for line in answer if _ANSWERED in line))


def queue() -> Check:
    """squeue, which `pyconv status` asks."""
    told = ask("squeue", "--noheader", "--me", "--format=%i")
    if told.failed:
        return Check("queue", "problem", told.failed, "status and submit need squeue: try again, or ask the admins")
    return Check("queue", "ok", f"{len(told.text.split())} jobs of yours")


def accounting() -> Check:
    """sacct, which pyconv can do without."""
    advice = "status then forgets jobs some minutes after their end; records are the truth anyway"
    if shutil.which("sacct") is None:
        return Check("accounting", "note", "no sacct here", advice)
    told = ask("sacct", "--noheader", "--allocations", "--format=JobID")
    return (
        Check("accounting", "note", told.failed, advice) if told.failed else Check("accounting", "ok", "sacct answers")
    )


def submission(place: Profile, kind: Kind, runs: Path) -> Check:
    """A job of this kind as `submit` would send it, by `sbatch --test-only`: partition, account, QOS, resources."""
    text = cluster.script(
        1, place.keywords(kind), runs, name="pyconv-doctor", profile=place, snapshot_root=node_doctor.CODE
    )
    told = ask("sbatch", "--test-only", text=text)
    if told.failed:
        advice = f"correct [{'test] or [' if kind == 'test' else ''}submitit] of {place.path}"
        return Check(f"sbatch {kind}", "problem", told.failed, advice)
    return Check(f"sbatch {kind}", "ok", re.sub(r"^sbatch: Job \d+ ", "", words(told.complaint)) or "accepted")


def partition(place: Profile) -> Partition | Check:
    """The profile's partition, or the cluster's default one; a Check when sinfo does not tell."""
    name = place.keywords("train").get("slurm_partition")
    chosen = [f"--partition={name}"] if name else []
    told: Told = ask("sinfo", "--noheader", *chosen, "--format=%P|%l|%D|%G")
    found = None if told.failed else partition_in(told.text, name, place.gpu_type)
    if found is None:
        why = told.failed or f"sinfo shows no partition {name or 'that is the default one'}"
        return Check("partition", "problem", why, f"name one under [submitit] slurm_partition of {place.path}")
    return found


def time_limit(place: Profile, found: Partition) -> Check:
    """The longest job of the profile against the partition's MaxTime."""
    asked = max(place.time_min or 0, *(int(place.keywords(kind)["timeout_min"]) for kind in KINDS))
    told = f"{asked} min asked, {found.name} allows {'any time' if found.minutes is None else f'{found.minutes:g} min'}"
    if found.minutes is None or asked <= found.minutes:
        return Check("time limit", "ok", told)
    advice = f"lower timeout_min and limits.time_min of {place.path}: a training saves, is requeued and goes on"
    return Check("time limit", "problem", told, advice)


def gpus(place: Profile, found: Partition) -> Check:
    """The GPUs a job asks for on one node against those that the partition's nodes have."""
    asked = max(place.gpus_of(kind) // int(place.keywords(kind)["nodes"]) for kind in KINDS)
    kind = f" of type {place.gpu_type}" if place.gpu_type else ""
    told = f"{asked} a node asked, nodes of {found.name} have {found.gpus}{kind}"
    if asked <= found.gpus:
        return Check("gpus of nodes", "ok", told)
    advice = f"lower gpus_per_node, or correct [gpu] type or the partition, in {place.path}"
    return Check("gpus of nodes", "problem", told, advice)


def partition_in(text: str, names: str | None, kind: str | None) -> Partition | None:
    """From lines `%P|%l|%D|%G` of sinfo, one for each sort of nodes: the partitions `names`, or the default one (*)."""
    rows = [line.strip().split("|", 3) for line in text.splitlines() if line.count("|") >= 3]
    wanted = names.split(",") if names else []
    own = [row for row in rows if (row[0].rstrip("*") in wanted if names else row[0].endswith("*"))]
    if not own:
        return None
    limits = [minutes_in(row[1]) for row in own]
    return Partition(
        name=names or own[0][0].rstrip("*"),
        minutes=None if None in limits else max(limit for limit in limits if limit is not None),
        nodes=sum(int(row[2]) for row in own),
        gpus=max(gpus_in(row[3], kind) for row in own),
    )


def minutes_in(text: str) -> float | None:
    """`1-00:00:00` -> 1440, `30:00` -> 30; None for `infinite` and `n/a`."""
    days, dash, clock = text.rpartition("-")
    parts = clock.split(":")
    if not all(part.isdigit() for part in parts):
        return None
    hours, minutes, seconds = ["0"] * (3 - len(parts)) + parts
    return (int(days) if dash else 0) * 1440 + int(hours) * 60 + int(minutes) + int(seconds) / 60


def gpus_in(gres: str, kind: str | None) -> int:
    """`gpu:h100:8(S:0-1),gpu:a100:2` -> 8 of kind h100, 10 of any; 0 for `(null)`."""
    items = (item.split(":") for item in re.sub(r"\([^)]*\)", "", gres).split(","))
    return sum(
        int(parts[-1])
        for parts in items
        if parts[0] == "gpu" and parts[-1].isdigit() and (kind is None or parts[1:-1] == [kind])
    )
