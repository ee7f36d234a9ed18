"""Every way to fail has its class, and every class its policy."""

from typing import get_args

import pytest

from slurm.failures import CLASSES, POLICIES, ended
from slurm.queue import Seen
from slurm.traces import Failed, FailureKind

JOB = "17_3"


def seen(state: str, nodes: str = "node2") -> Seen:
    return Seen(JOB, "pyconv-x-0", state, nodes)


def failed(kind: FailureKind, job: str = JOB) -> Failed:
    return Failed(kind, "ValueError: no", "Traceback ...", job, "node1")


# What slurmstepd and srun of SLURM write into a job's stderr.
TIME = "slurmstepd: error: *** STEP 17.0 ON node1 CANCELLED AT 2026-11-24T09:00:00 DUE TO TIME LIMIT ***"
NODE = (
    "slurmstepd: error: *** JOB 17 ON node1 CANCELLED AT 2026-11-24T09:00:00 DUE TO NODE FAILURE, SEE SLURMCTLD LOG ***"
)
PREEMPTED = "slurmstepd: error: *** STEP 17.0 ON node1 CANCELLED AT 2026-11-24T09:00:00 DUE TO PREEMPTION ***"
SCANCEL = "slurmstepd: error: *** STEP 17.0 ON node1 CANCELLED AT 2026-11-24T09:00:00 ***"
OOM = "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=17.0. Some of your processes may have been killed"
MEMORY = "slurmstepd: error: Step 17.0 exceeded memory limit (70 > 64), being killed"
KILLED = "srun: error: node1: task 0: Killed"


@pytest.mark.parametrize(
    ("state", "log", "kind"),
    [
        ("OUT_OF_MEMORY", "", "oom"),
        ("FAILED", OOM, "oom"),
        ("FAILED", MEMORY, "oom"),
        ("FAILED", f"{OOM}\n{KILLED}", "oom"),
        ("TIMEOUT", "", "timeout"),
        ("FAILED", TIME, "timeout"),
        ("NODE_FAIL", "", "node_fail"),
        (None, NODE, "node_fail"),
        ("PREEMPTED", "", "preempted"),
        (None, PREEMPTED, "preempted"),
        ("CANCELLED", "", "cancelled"),
        (None, SCANCEL, "cancelled"),
        ("FAILED", KILLED, "killed"),
        ("FAILED", "", "unknown"),
        ("COMPLETED", "", "unknown"),
        (None, "", "unknown"),
    ],
)
def test_the_class_follows_from_slurms_words(state: str | None, log: str, kind: str) -> None:
    assert ended(seen(state) if state else None, None, log, JOB).kind == kind


@pytest.mark.parametrize("kind", sorted({*get_args(FailureKind)} - {"peer"}))
def test_what_the_job_itself_wrote_weighs_more(kind: FailureKind) -> None:
    end = ended(seen("FAILED"), failed(kind), KILLED, JOB)
    assert (end.kind, end.words, end.nodes) == (kind, "ValueError: no", "node1")


@pytest.mark.parametrize(
    ("state", "log", "kind", "nodes"),
    [
        ("NODE_FAIL", "", "node_fail", "node2"),
        ("OUT_OF_MEMORY", "", "oom", "node2"),
        ("FAILED", OOM, "oom", "node2"),
        (None, NODE, "node_fail", ""),
        ("TIMEOUT", "", "timeout", "node2"),
        ("PREEMPTED", "", "preempted", "node2"),
        ("CANCELLED", "", "cancelled", "node2"),
        ("FAILED", KILLED, "killed", "node2"),
        ("FAILED", "", "killed", "node2"),
        (None, "", "killed", "node1"),
    ],
)
def test_a_rank_that_lost_another_does_not_know_why_slurm_does(
    state: str | None, log: str, kind: str, nodes: str
) -> None:
    end = ended(seen(state) if state else None, failed("peer"), log, JOB)
    assert (end.kind, end.nodes) == (kind, nodes)


def test_a_node_that_failed_under_a_job_of_several_is_named_by_srun() -> None:
    log = f"srun: error: Node failure on node3\n{NODE}"
    assert ended(seen("NODE_FAIL", "node[2-3]"), failed("peer"), log, JOB).nodes == "node3"
    assert ended(seen("NODE_FAIL", "node[2-3]"), failed("peer"), NODE, JOB).nodes == "node[2-3]"


def test_an_earlier_jobs_error_is_not_this_ones() -> None:
    assert ended(seen("TIMEOUT"), failed("own", job="16_3"), "", JOB).kind == "timeout"


def test_completed_without_a_record_is_a_failure() -> None:
    assert "no record stands" in ended(seen("COMPLETED"), None, "", JOB).words


def test_a_dependent_of_a_failed_job_was_not_run() -> None:
    for state in (None, seen("CANCELLED"), Seen(JOB, "x", "PENDING", reason="DependencyNeverSatisfied")):
        end = ended(state, None, "", JOB, blocked_by="not run: the training of net failed")
        assert (end.kind, end.words) == ("blocked", "not run: the training of net failed")
    assert ended(seen("FAILED"), failed("own"), "", JOB, blocked_by="...").kind == "own"  # it did run


def test_every_class_has_a_policy_and_own_errors_are_never_retried_by_themselves() -> None:
    assert set(POLICIES) == set(CLASSES)
    assert {kind for kind, policy in POLICIES.items() if policy.attempts == 0} == {"own", "diverged"}
    assert POLICIES["node_fail"].exclude
    assert [kind for kind, policy in POLICIES.items() if policy.memory > 1] == ["oom"]
