"""Jobs through submitit's real local executor: throttled, killed, resumed, refused; the record is the truth."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
import tiny

from results.evidence import Evidence
from slurm import profile, submit
from slurm.job import Job
from slurm.live import Known
from slurm.profile import ProfileError
from slurm.queue import Answer
from slurm.status import Board
from slurm.units import Unit

LOCAL = profile.read(profile.SHIPPED / "local.toml")
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # jobs of these tests cannot be imported by their children


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.digits(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def sha(tmp_path_factory: pytest.TempPathFactory, data: Path) -> str:
    """Of the weights of an uninterrupted run."""
    return recorded(replace(tiny.job(tmp_path_factory.mktemp("whole"), data), experiment=tiny.experiment(epochs=3)))


def recorded(job: Job) -> str:
    if job.missing():
        job()
    record = job.record(tiny.CROP)
    assert record is not None
    return str(record.checkpoint["sha256"])


class Liar(Job):
    """Ends well and leaves nothing."""

    def __call__(self) -> list[str]:
        return ["/records/that/are/not/there.json"]


class Killed(Job):
    """What the kernel does when memory ends."""

    def __call__(self) -> list[str]:
        os.kill(os.getpid(), signal.SIGKILL)
        return []


@dataclass(frozen=True)
class Slow(Job):
    """Like a node that goes slowly: time enough to interrupt it."""

    pause: float = 0.25

    def __call__(self) -> list[str]:
        from slurm import telling

        told = telling.Teller.step

        def step(teller: Any, report: Any) -> None:
            time.sleep(self.pause)
            told(teller, report)

        telling.Teller.step = step  # type: ignore[method-assign]
        telling.EVERY = 0.0
        return super().__call__()


def slow(folder: Path, data: Path) -> Slow:
    plain = tiny.job(folder, data)
    return Slow(
        tiny.experiment(epochs=3), plain.protocols, plain.records, plain.runs, plain.data, device="cpu", mini=True
    )


def until(condition: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_a_bad_job_fails_with_its_words_and_the_others_go_on(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here" / "results").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")  # a folder whose `results` must not hide ours
    good = tiny.job(tmp_path, data)
    lost = tiny.job(tmp_path, tmp_path / "nowhere", experiment=tiny.experiment(seed=1))
    liar = Liar(tiny.experiment(seed=2), (tiny.CROP,), good.records, good.runs, good.data)
    killed = Killed(tiny.experiment(seed=3), (tiny.CROP,), good.records, good.runs, good.data)
    jobs = {"lost": lost, "good": good, "liar": liar, "killed": killed}
    ended = {outcome.name: outcome for outcome in submit.run(jobs, LOCAL, at_once=4)}
    assert {name: outcome.ok for name, outcome in ended.items()} == {name: name == "good" for name in jobs}
    record = good.record(tiny.CROP)
    assert record is not None
    assert f"top1_err {record.metrics['top1_err'].value:.2f}" in submit.describe(ended["good"])
    assert "died (killed, or out of memory?) without a record of crop16" in submit.describe(ended["killed"])
    assert record.job["executor"] == "local"
    told = submit.describe(ended["lost"])
    assert "no such split" in told
    assert "nowhere does not exist" in told
    assert ended["lost"].log is not None
    assert str(ended["lost"].log) in told
    assert "DataError" in ended["lost"].log.read_text()
    assert "ended without a record of crop16" in submit.describe(ended["liar"])
    board = Board(Evidence.load(good.records), good.runs, Known({}, Answer()))
    state = board.state(Unit(lost.experiment, None))
    assert (state.state, state.failure) == ("failed", "own")
    assert "no such split" in state.why
    assert board.state(Unit(good.experiment, tiny.CROP)).state == "recorded"


@pytest.mark.parametrize("how", ["kill", "requeue"])
def test_killed_or_requeued_in_mid_run_the_weights_are_the_same_bits(
    how: str, tmp_path: Path, data: Path, sha: str
) -> None:
    job = slow(tmp_path, data)
    started = submit.submit(job, LOCAL)
    until(lambda: "epoch 2/3" in submit.progress_of(job)[1])
    if how == "kill":  # the power goes: no handler runs
        for child in children(started.job_id):
            os.kill(child, signal.SIGKILL)
        started.wait()
        assert job.missing()
        assert submit.run({"again": replace(job, pause=0)}, LOCAL)[0].ok
    else:  # a time limit is near: submitit's signal, requeue, second life
        for child in children(started.job_id):
            os.kill(child, signal.SIGUSR2)
        started.wait()
        words = started.paths.stdout.read_text()
        assert "stopped in epoch 2" in words
        assert "Requeued job" in started.paths.stderr.read_text() + words
    assert recorded(job) == sha
    assert len(Evidence.load(job.records).records) == 1


def children(pid: str) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", pid], capture_output=True, text=True, check=True).stdout
    return [int(line) for line in found.split()]


def test_two_at_once_from_two_shells_leave_one_record(tmp_path: Path, data: Path) -> None:
    first = tiny.job(tmp_path, data)
    elsewhere = replace(first, runs=tmp_path / "other-runs")  # another person's checkpoints
    ended = submit.run({"first": first, "same": replace(first), "elsewhere": elsewhere}, LOCAL, at_once=3)
    assert [outcome.ok for outcome in ended] == [True] * 3
    evidence = Evidence.load(first.records)
    assert len(evidence.records) == 1
    assert evidence.problems == ()


def test_no_more_than_so_many_live_at_once(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    live: list[int] = []
    most = []

    class Started:
        """Ends after the third look."""

        def __init__(self) -> None:
            self.looks = 0
            live.append(id(self))

        def done(self) -> bool:
            self.looks += 1
            if self.looks == 3:
                live.remove(id(self))
            return self.looks >= 3

        paths = type("Paths", (), {name: tmp_path / name for name in ("stdout", "stderr", "result_pickle")})

    def start(*_: object) -> Started:
        started = Started()
        most.append(len(live))
        return started

    monkeypatch.setattr(submit, "submit", start)
    monkeypatch.setattr(submit, "POLL", 0.0)
    jobs = {str(seed): tiny.job(tmp_path, data, experiment=tiny.experiment(seed=seed)) for seed in range(5)}
    ended = submit.run(jobs, LOCAL, at_once=2)
    assert max(most) == 2
    assert sorted(outcome.name for outcome in ended) == list("01234")
    assert not any(outcome.ok for outcome in ended)  # they ended, and left no record
    assert "without a record of crop16" in ended[0].error


def test_as_many_at_once_as_cores_or_gpus_carry(monkeypatch: pytest.MonkeyPatch) -> None:
    def capacity(cores: int, gpus: tuple[int, ...], **changes: Any) -> int:
        monkeypatch.setattr(submit, "cores", lambda: cores)
        monkeypatch.setattr(submit, "gpus", lambda: gpus)
        return submit._Dispatch({}, replace(LOCAL, **changes), {}, None, None).at_once

    assert capacity(8, ()) == 8
    assert capacity(8, (), threads=3) == 2
    assert capacity(1, (), threads=4) == 1
    assert capacity(64, (0, 1)) == 2
    assert capacity(64, (0, 1), submitit={"gpus_per_node": 2}) == 1
    assert capacity(64, (0, 1), jobs=5) == 5
    with pytest.raises(ProfileError, match="1 GPUs are visible"):
        capacity(64, (0,), submitit={"gpus_per_node": 2})


def test_a_keyword_that_submitit_does_not_know_is_refused_by_submitit(tmp_path: Path) -> None:
    wrong = replace(LOCAL, path=tmp_path / "mine.toml", submitit={"slurm_partitoin": "gpu"})
    with pytest.raises(ProfileError, match=r"mine\.toml.*partitoin.*[Vv]alid"):
        submit.check_keywords(wrong)
    with pytest.raises(ProfileError, match="timeout_min"):
        submit.check_keywords(replace(LOCAL, submitit={"timeout_min": "long"}))


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_ctrl_c_ends_the_children_and_the_next_call_goes_on(
    number: signal.Signals, tmp_path: Path, data: Path, sha: str
) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from pathlib import Path
        import test_submit_local as t
        try:
            t.submit.run({{"slow": t.slow(Path({str(tmp_path)!r}), Path({str(data)!r}))}}, t.LOCAL)
        except KeyboardInterrupt:
            sys.exit(130)
        """)
    )
    job = slow(tmp_path, data)
    with subprocess.Popen([sys.executable, program], start_new_session=True, stderr=subprocess.PIPE) as shell:
        until(lambda: "epoch 1/3" in submit.progress_of(job)[1])
        if number == signal.SIGINT:
            os.killpg(shell.pid, number)  # a terminal tells the children too
        else:
            os.kill(shell.pid, number)
        _, words = shell.communicate(timeout=30)
    assert shell.returncode == 130
    assert words == b""  # no traceback of the controller on the person's screen
    logs = job.folder / submit.LOGS
    until(lambda: not processes(str(logs)), 10)
    assert job.missing()
    assert submit.run({"again": replace(job, pause=0)}, LOCAL)[0].ok
    assert recorded(job) == sha


def processes(words: str) -> list[str]:
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if words in line]
