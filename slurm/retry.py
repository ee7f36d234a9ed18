"""Which failed jobs are submitted again, and with what changed: by the policy of their class of failure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from slurm.failures import POLICIES
from slurm.plan import PlannedJob
from slurm.profile import Profile
from slurm.send import Wanted
from slurm.status import Board
from slurm.units import Unit, UnitState

FAILED = ("failed", "cancelled", "blocked", "unknown")


def wanted(
    jobs: Iterable[PlannedJob], board: Board, profile: Profile, *, classes: Sequence[str] = (), own_errors: bool = False
) -> Wanted:
    """`jobs` of a plan with those alone running that failed and may be tried again on `profile`.

    `classes`: only these (none: all). `own_errors`: those too that failed by themselves. A job whose parent is not
    tried again is not either.
    """
    result: list[PlannedJob] = []
    changes: dict[str, dict[str, Any]] = {}
    left_out: set[str] = set()
    for job in jobs:
        if job.action == "run":
            state = board.state(Unit(job.experiment, job.protocol))
            reason = _refusal(state, classes, own_errors) or _waits(job, left_out)
            if reason:
                left_out.add(job.key)
                job = replace(job, action="blocked", reason=reason)
            else:
                job = replace(job, reason=_again(state))
                changes[job.key] = _changes(state, profile.keywords(job.kind))
        result.append(job)
    return Wanted(tuple(result), changes)


def _refusal(state: UnitState, classes: Sequence[str], own_errors: bool) -> str:
    """Why this one is not tried again; "" when it is."""
    if state.state not in FAILED:
        return f"{state.state}, not failed ({state.why})" if state.why else f"{state.state}, not failed"
    kind = state.failure or "unknown"
    if classes and kind not in classes:
        return f"{kind}, not asked for"
    policy = POLICIES[kind]
    if policy.attempts == 0:
        return "" if own_errors else policy.advice
    if state.attempts >= policy.attempts:
        return f"{kind}: failed {state.attempts} times ({state.why}); look at `pyconv logs --failed` before `submit`"
    return _hopeless(state, kind)


def _hopeless(state: UnitState, kind: str) -> str:
    """Failures that come again however often: the same memory of the GPU, the same time for a first checkpoint."""
    if kind == "oom" and "CUDA" in state.why:
        return "oom of the GPU: set limits.micro_batch of the profile (the record tells what that changes)"
    if kind == "oom" and "mem_gb" not in state.keywords:
        return "oom, and the profile asks for no memory of its own: give it mem_gb"
    if kind == "timeout" and not state.done:
        return "timeout before its first checkpoint: raise timeout_min of the profile"
    return ""


def _waits(job: PlannedJob, left_out: set[str]) -> str:
    return "waits for a training that is not tried again" if left_out & set(job.needs) else ""


def _again(state: UnitState) -> str:
    kind = state.failure or "unknown"
    return f"{kind}, attempt {state.attempts + 1}: {POLICIES[kind].advice}"


def _changes(state: UnitState, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords beside those `asked` for by the profile: what earlier retries changed, and what this failure needs."""
    before, policy = state.keywords, POLICIES[state.failure or "unknown"]
    changes: dict[str, Any] = {}
    left_out = [before.get("slurm_exclude"), state.nodes if policy.exclude else None]
    if nodes := ",".join(filter(None, left_out)):
        changes["slurm_exclude"] = nodes
    memory = max(before.get("mem_gb", 0) * policy.memory, asked.get("mem_gb", 0))
    if memory > asked.get("mem_gb", 0):
        changes["mem_gb"] = memory
    return changes
