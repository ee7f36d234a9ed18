"""What is tried again, and with what changed, follows from how it failed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny

from slurm.failures import CLASSES
from slurm.plan import PlannedJob
from slurm.profile import Profile
from slurm.retry import wanted
from slurm.submissions import Place, Sent, Submission
from slurm.units import Unit, UnitState

PROFILE = Profile("lab", Path("lab.toml"), executor="slurm", submitit={"timeout_min": 60, "mem_gb": 8})
OWN = tiny.experiment()
TRAINING = PlannedJob("train", OWN, None, ("table2/final",), "run", "not recorded")
TEST = PlannedJob("test", OWN, tiny.CROP, ("table2/final",), "run", "not recorded", (TRAINING.key,))


class Board:
    """States as a test wants them."""

    def __init__(self, *states: UnitState) -> None:
        self.states = {state.unit.key: state for state in states}

    def state(self, unit: Unit) -> UnitState:
        return self.states[unit.key]


def state(job: PlannedJob, failure: Any, attempts: int = 1, keywords: Any = None, **changes: Any) -> UnitState:
    submission = Submission(Path("s"), (), "lab", "abc", by="me", time=0)
    place = Place(submission, Sent("pyconv-x-0", (), {"mem_gb": 8} if keywords is None else keywords), 0)
    found = UnitState(Unit(job.experiment, job.protocol), "failed", "words", failure, attempts=attempts, place=place)
    return replace(found, **changes)


def again(found: UnitState, **options: Any) -> tuple[PlannedJob, Any]:
    result = wanted([TRAINING], Board(found), PROFILE, **options)  # type: ignore[arg-type]
    return result.jobs[0], result.changes.get(TRAINING.key)


@pytest.mark.parametrize("kind", CLASSES)
def test_each_class_is_tried_again_but_the_runs_own_errors(kind: str) -> None:
    job, _ = again(state(TRAINING, kind, done=0.5))
    assert job.action == ("blocked" if kind in ("own", "diverged") else "run")
    assert job.reason


@pytest.mark.parametrize("kind", ["own", "diverged"])
def test_an_own_error_is_tried_again_when_somebody_insists(kind: str) -> None:
    assert again(state(TRAINING, kind), own_errors=True)[0].action == "run"


@pytest.mark.parametrize(("attempts", "action"), [(1, "run"), (2, "run"), (3, "blocked")])
def test_out_of_memory_gets_twice_the_memory_twice(attempts: int, action: str) -> None:
    job, changes = again(state(TRAINING, "oom", attempts, {"mem_gb": 8 * 2 ** (attempts - 1)}))
    assert job.action == action
    if action == "run":
        assert changes == {"mem_gb": 8 * 2**attempts}


@pytest.mark.parametrize(
    ("failure", "keywords", "why", "words"),
    [
        ("oom", {}, "", "mem_gb"),
        ("oom", {"mem_gb": 8}, "OutOfMemoryError: CUDA out of memory", "micro_batch"),
        ("timeout", {}, "", "timeout_min"),
    ],
)
def test_what_would_fail_again_for_sure_is_told_instead(failure: str, keywords: Any, why: str, words: str) -> None:
    job, _ = again(state(TRAINING, failure, keywords=keywords, why=why))
    assert job.action == "blocked"
    assert words in job.reason


def test_failed_nodes_add_up() -> None:
    _, first = again(state(TRAINING, "node_fail", nodes="node3"))
    assert first == {"slurm_exclude": "node3"}
    _, second = again(state(TRAINING, "node_fail", 2, {"mem_gb": 8} | first, nodes="node1"))
    assert second == {"slurm_exclude": "node3,node1"}
    _, third = again(state(TRAINING, "preempted", 3, {"mem_gb": 8} | second, nodes="node2"))
    assert third == {"slurm_exclude": "node3,node1"}  # a preemption is not the node's fault


def test_memory_that_was_raised_stays_raised_until_the_profile_gives_more() -> None:
    assert again(state(TRAINING, "killed", 2, {"mem_gb": 16}))[1] == {"mem_gb": 16}
    assert again(state(TRAINING, "killed", 2, {"mem_gb": 4}))[1] == {}


def test_only_the_classes_that_were_asked_for() -> None:
    found = state(TRAINING, "killed")
    assert again(found, classes=("oom",))[0].action == "blocked"
    assert again(found, classes=("oom", "killed"))[0].action == "run"


@pytest.mark.parametrize("other", ["missing", "running", "queued", "recorded"])
def test_what_did_not_fail_is_left_alone(other: Any) -> None:
    job, _ = again(state(TRAINING, None, state=other))
    assert job.action == "blocked"
    assert "not failed" in job.reason


@pytest.mark.parametrize(("failure", "action"), [("killed", "run"), ("own", "blocked")])
def test_a_test_follows_its_training(failure: str, action: str) -> None:
    board = Board(state(TRAINING, failure), state(TEST, "blocked", state="blocked"))
    result = wanted([TRAINING, TEST], board, PROFILE)  # type: ignore[arg-type]
    assert [job.action for job in result.jobs] == [action, action]
