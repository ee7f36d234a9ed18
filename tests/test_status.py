"""The record is the truth; a job's own word comes next; what SLURM says is a hint."""

import json
import time
from pathlib import Path
from typing import Any

import evidence
import pytest
import tiny

from experiments.spec import Experiment, family
from results.evidence import Evidence
from slurm import status, submissions, traces, weights
from slurm.job import run_folder, unit_folder
from slurm.live import Known
from slurm.queue import Answer, Seen
from slurm.status import Board
from slurm.submissions import Member, Sent, Submission
from slurm.traces import Failed, Life, Told
from slurm.units import RowState, Unit, UnitState

TRAINING = Unit(tiny.experiment(), None)
TEST = Unit(tiny.experiment(), tiny.CROP)
NOTHING = Evidence(Path())


@pytest.fixture(autouse=True)
def no_accounting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def sent(runs: Path, *units: Unit, job_id: str | None = "17", age: float = 0.0) -> Submission:
    """`units`, each in an array of its own: 17, 18, ..."""
    folder = submissions.new_folder(runs)
    arrays = []
    for number, unit in enumerate(units):
        where = unit_folder(runs, unit.experiment, unit.protocol)
        where.mkdir(parents=True, exist_ok=True)
        own = unit.experiment
        member = Member(unit.key, unit.kind, own.name, family(own), own.seed, ("table2/final",), where)
        name = submissions.array_name(folder, number)
        arrays.append(Sent(name, (member,), {}, job_id=job_id and str(int(job_id) + number)))
    made = Submission(folder, tuple(arrays), "lab", "abc", time=time.time() - age)
    made.jobs.mkdir(parents=True)
    return made


def board(runs: Path, *made: Submission, silence: str = "", **states: Any) -> Board:
    """`states`: j17="RUNNING", or ("PENDING", reason)."""
    jobs = {}
    for name, state in states.items():
        word, reason = state if isinstance(state, tuple) else (state, "")
        nodes = "" if word == "PENDING" else "node2"
        jobs[name[1:]] = Seen(name[1:], "pyconv-x-0", word, nodes, reason, time.time())
    return Board(NOTHING, runs, Known(submissions.places(made), Answer(jobs, silence)))


def finish(runs: Path, experiment: Experiment) -> None:
    """What a finished training leaves."""
    folder = run_folder(runs, experiment)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "weights.pt").write_bytes(b"1234")
    weights.write(folder, weights.Weights("weights.pt", "0" * 64, 4, [], {}, {}, [], {}, {}, {}))


def test_a_recorded_row_shows_its_numbers_whatever_slurm_says(tmp_path: Path) -> None:
    made = sent(tmp_path, TEST)
    record = evidence.measurement(TEST.experiment, tiny.CROP)
    known = board(tmp_path, made, j17="FAILED").known
    found = Board(Evidence(tmp_path, {"one": record}), tmp_path, known).state(TEST)
    assert found.state == "recorded"
    assert found.metric == {key: metric.value for key, metric in record.metrics.items()}
    assert found.metric


def test_never_submitted_is_missing(tmp_path: Path) -> None:
    assert board(tmp_path).state(TRAINING).state == "missing"


def test_a_run_by_hand_is_what_it_told_last(tmp_path: Path) -> None:
    folder, now = unit_folder(tmp_path, TRAINING.experiment, None), time.time()
    traces.tell(folder, Told(0.5, "epoch 1/2", job="4711", time=now - 2))
    assert board(tmp_path).state(TRAINING).state == "running"
    traces.fail(folder, Failed("own", "ValueError: no", "Traceback", "4711", "here", time=now - 1))
    found = board(tmp_path).state(TRAINING)
    assert (found.state, found.failure, found.job_id, found.nodes) == ("failed", "own", "4711", "here")
    assert "ValueError: no" in found.why
    traces.tell(folder, Told(0.6, "epoch 2/2", job="4712", time=now))  # it was started again
    assert board(tmp_path).state(TRAINING).state == "running"
    traces.tell(folder, Told(0.6, "epoch 2/2", job="4712", time=now - 2 * status.FRESH))
    (folder / traces.FAILURE).unlink()
    assert "interrupted" in board(tmp_path).state(TRAINING).why


def test_a_run_by_hand_that_fails_after_its_training_failed_in_its_test(tmp_path: Path) -> None:
    finish(tmp_path, TRAINING.experiment)
    traces.fail(run_folder(tmp_path, TRAINING.experiment), Failed("oom", "MemoryError", "Traceback", "4711", "here"))
    found = board(tmp_path)
    assert found.state(TRAINING).state == "trained"
    assert (found.state(TEST).state, found.state(TEST).failure) == ("failed", "oom")


@pytest.mark.parametrize(
    ("seen", "state", "why"),
    [
        ("RUNNING", "running", ""),
        ("COMPLETING", "running", "completing"),
        (("PENDING", "Priority"), "queued", "Priority"),
        (("PENDING", "Dependency"), "waiting", ""),
        ("NODE_FAIL", "running", "SLURM may requeue it"),
        ("FAILED", "failed", "SLURM: FAILED"),
        ("COMPLETED", "failed", "no record stands"),
        ("CANCELLED", "cancelled", "CANCELLED"),
    ],
)
def test_a_state_for_each_of_slurms(tmp_path: Path, seen: Any, state: str, why: str) -> None:
    found = board(tmp_path, sent(tmp_path, TRAINING), j17=seen).state(TRAINING)
    assert found.state == state
    assert why in found.why
    assert found.job_id == "17"


@pytest.mark.parametrize("seen", ["FAILED", "NODE_FAIL", "CANCELLED", "RUNNING"])
def test_what_stands_on_disk_is_believed_before_slurm(tmp_path: Path, seen: str) -> None:
    made = sent(tmp_path, TRAINING)
    finish(tmp_path, TRAINING.experiment)
    assert board(tmp_path, made, j17=seen).state(TRAINING).state == "trained"


def test_weights_of_the_wrong_size_are_no_training(tmp_path: Path) -> None:
    finish(tmp_path, TRAINING.experiment)
    (run_folder(tmp_path, TRAINING.experiment) / "weights.pt").write_bytes(b"123")
    assert board(tmp_path).state(TRAINING).state == "missing"


def accounting(tmp_path: Path, script: str) -> Path:
    """A sacct of our own; where it notes each call."""
    calls, command = tmp_path / "calls", tmp_path / "bin" / "sacct"
    command.write_text(f"#!/bin/sh\necho called >> {calls}\n{script}\n")
    command.chmod(0o755)
    return calls


def account_of(**states: str) -> str:
    """j17="RUNNING"."""
    lines = (f"{name[1:]}|pyconv-x-0|{state}|node3|2026-11-24T09:12:00" for name, state in states.items())
    return "\n".join(f"echo '{line}'" for line in lines)


def test_what_squeue_has_forgotten_is_asked_of_accounting_once(tmp_path: Path) -> None:
    calls = accounting(tmp_path, account_of(j17="TIMEOUT", j18="OUT_OF_MEMORY"))
    other = Unit(tiny.experiment(seed=1), None)
    found = board(tmp_path, sent(tmp_path, TRAINING, other))
    assert (found.state(TRAINING).failure, found.state(TRAINING).nodes) == ("timeout", "node3")
    assert found.state(other).failure == "oom"
    assert calls.read_text().split() == ["called"]
    assert found.silence == ""


@pytest.mark.parametrize("lagging", ["RUNNING", "PENDING", "REQUEUED", "COMPLETING"])
def test_accounting_that_lags_is_not_believed(tmp_path: Path, lagging: str) -> None:
    accounting(tmp_path, account_of(j17=lagging))
    made = sent(tmp_path, TRAINING)
    found = board(tmp_path, made).state(TRAINING)
    assert (found.state, found.failure) == ("unknown", None)
    assert "accounting lags" in found.why
    assert lagging in found.why
    log = made.jobs / "17_0_log.err"
    log.write_text("slurmstepd: error: *** STEP 17.0 ON node1 CANCELLED AT 2026-11-24T09:00:00 DUE TO TIME LIMIT ***\n")
    assert board(tmp_path, made).state(TRAINING).failure == "timeout"


def test_without_accounting_the_log_is_read_and_the_silence_told(tmp_path: Path) -> None:
    found = board(tmp_path, sent(tmp_path, TRAINING))
    assert found.state(TRAINING).state == "failed"
    assert found.silence == "sacct is not installed here"


def test_how_far_it_is_comes_from_the_job(tmp_path: Path) -> None:
    made = sent(tmp_path, TRAINING)
    folder, now = unit_folder(tmp_path, TRAINING.experiment, None), time.time()
    for restart in range(3):
        traces.add_life(folder, Life("17", restart, ("node2",)))
    # From 20% to 60% in 100 s: the other 40% take another 100 s.
    traces.tell(folder, Told(0.6, "epoch 6/10", 6, 10, {"top1_err": 31.25}, "17", now - 100, 0.2, now))
    found = board(tmp_path, made, j17="RUNNING").state(TRAINING)
    assert (found.epoch, found.epochs, found.restarts) == (6, 10, 2)
    assert found.metric == {"top1_err": 31.25}
    assert found.eta == pytest.approx(100)


def test_where_slurm_is_silent_the_jobs_own_word_counts_while_it_is_fresh(tmp_path: Path) -> None:
    made = sent(tmp_path, TRAINING)
    folder = unit_folder(tmp_path, TRAINING.experiment, None)
    found = board(tmp_path, made, silence="squeue did not answer").state(TRAINING)
    assert (found.state, found.why) == ("unknown", "squeue did not answer")
    traces.tell(folder, Told(0.5, "", job="17"))
    assert board(tmp_path, made, silence="squeue did not answer").state(TRAINING).state == "running"
    traces.tell(folder, Told(0.5, "", job="17", time=time.time() - 2 * status.FRESH))
    assert board(tmp_path, made, silence="squeue did not answer").state(TRAINING).state == "unknown"
    traces.tell(folder, Told(0.5, "", job="9"))  # an earlier job's
    assert board(tmp_path, made, silence="squeue did not answer").state(TRAINING).state == "unknown"


def test_a_test_whose_training_failed_says_which_and_why(tmp_path: Path) -> None:
    made = sent(tmp_path, TRAINING, TEST)
    folder = unit_folder(tmp_path, TRAINING.experiment, None)
    traces.fail(folder, Failed("diverged", "Diverged: the loss is nan", "Traceback", "17", "node2"))
    for seen in ("CANCELLED", ("PENDING", "DependencyNeverSatisfied"), ("PENDING", "Dependency")):
        found = board(tmp_path, made, j17="FAILED", j18=seen)
        assert found.state(TRAINING).failure == "diverged"
        assert found.state(TEST).state == "blocked"
        assert "imagenet-tiny-digits failed (diverged: Diverged: the loss is nan)" in found.state(TEST).why


def test_a_network_whose_backbone_failed_says_so(tmp_path: Path) -> None:
    later = Unit(tiny.experiment(init=TRAINING.experiment), None)
    made = sent(tmp_path, TRAINING, later)
    found = board(tmp_path, made, j17="TIMEOUT", j18="CANCELLED").state(later)
    assert found.state == "blocked"
    assert "failed (timeout" in found.why


def test_while_the_training_may_succeed_its_test_waits(tmp_path: Path) -> None:
    made = sent(tmp_path, TRAINING, TEST)
    found = board(tmp_path, made, j17="RUNNING", j18=("PENDING", "Dependency")).state(TEST)
    assert found.state == "waiting"
    assert "imagenet-tiny-digits (17, running)" in found.why


def test_a_submission_that_never_reached_sbatch_is_told(tmp_path: Path) -> None:
    assert board(tmp_path, sent(tmp_path, TRAINING, job_id=None)).state(TRAINING).state == "submitting"
    old = board(tmp_path, sent(tmp_path, TRAINING, job_id=None, age=3600)).state(TRAINING)
    assert old.state == "missing"
    assert "interrupted" in old.why


def test_the_last_submission_decides_and_all_are_counted(tmp_path: Path) -> None:
    first, second = sent(tmp_path, TRAINING), sent(tmp_path, TRAINING, job_id="27")
    found = board(tmp_path, first, second, j17="FAILED", j27="RUNNING").state(TRAINING)
    assert (found.state, found.job_id, found.attempts) == ("running", "27", 2)


def test_torn_traces_are_no_traces(tmp_path: Path) -> None:
    made = sent(tmp_path, TRAINING)
    folder = unit_folder(tmp_path, TRAINING.experiment, None)
    traces.tell(folder, Told(0.5, "epoch 5/10", 5, 10))
    whole = (folder / traces.PROGRESS).read_text()
    for end in range(0, len(whole) - 1, 5):
        (folder / traces.PROGRESS).write_text(whole[:end])
        (folder / traces.LIVES).write_text('{"job": "17", "restart": 0, "nodes": [], "time": 1}\n' + whole[:end])
        (folder / traces.FAILURE).write_text(whole[:end])
        assert board(tmp_path, made, j17="RUNNING").state(TRAINING).epoch == 0


def test_a_line_after_a_torn_one_is_read(tmp_path: Path) -> None:
    (tmp_path / traces.LIVES).write_text('{"job": "17", "rest')
    traces.add_life(tmp_path, Life("18", 1, ("node1", "node2")))
    assert [life.job for life in traces.lives(tmp_path)] == ["18"]
    assert json.loads((tmp_path / traces.LIVES).read_text().splitlines()[1])["nodes"] == ["node1", "node2"]


@pytest.mark.parametrize(
    ("states", "deciding"),
    [
        (("running", "waiting"), "running"),
        (("trained", "waiting"), "waiting"),
        (("failed", "blocked"), "failed"),
        (("trained", "recorded"), "recorded"),
        (("missing", "recorded"), "recorded"),  # the weights were deleted: nobody needs them
    ],
)
def test_the_first_undone_unit_decides_over_a_row(states: tuple[Any, Any], deciding: str) -> None:
    units = tuple(UnitState(unit, state) for unit, state in zip((TRAINING, TEST), states, strict=True))
    assert RowState("table2/final", 0, units).deciding.state == deciding
