"""Signals are obeyed once, where nothing is lost; a run has one process at a time."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slurm import interrupts
from slurm.interrupts import Interrupts, LockedError, alone, obeyed


class Left(BaseException):
    """What submitit's handler does at its end: it leaves."""


@pytest.fixture
def requeues() -> Iterator[list[int]]:
    """Signals that a handler in the place of submitit's was called with; it leaves, as that one does."""
    seen: list[int] = []

    def requeue(number: int, _: object) -> None:
        seen.append(number)
        raise Left

    before = signal.signal(signal.SIGUSR2, requeue)
    yield seen
    signal.signal(signal.SIGUSR2, before)


def job(work: Callable[[Interrupts], object]) -> None:
    """A job that does `work`."""
    with obeyed() as stop:
        work(stop)


def test_outside_of_steps_a_signal_is_obeyed_at_once(requeues: list[int]) -> None:
    def work(_: Interrupts) -> None:
        signal.raise_signal(signal.SIGUSR2)
        pytest.fail("went on")

    with pytest.raises(Left):
        job(work)
    assert requeues == [signal.SIGUSR2]


def test_inside_steps_it_waits_for_their_end(requeues: list[int]) -> None:
    done = []

    def work(stop: Interrupts) -> None:
        with stop.held():
            assert not stop.asked()
            signal.raise_signal(signal.SIGUSR2)
            assert stop.asked()
            done.append("the step")
        done.append("more")

    with pytest.raises(Left):
        job(work)
    assert done == ["the step"]
    assert requeues == [signal.SIGUSR2]


def test_the_first_signal_is_the_only_one(requeues: list[int]) -> None:
    def work(stop: Interrupts) -> None:
        try:
            signal.raise_signal(signal.SIGUSR2)
        finally:
            for _ in range(3):  # while the interpreter ends
                signal.raise_signal(signal.SIGUSR2)
            stop.handle(signal.SIGUSR2, None)  # one that was on its way already

    with pytest.raises(Left):
        job(work)
    signal.raise_signal(signal.SIGUSR2)
    assert requeues == [signal.SIGUSR2]


def test_the_process_that_requeues_does_not_die_of_the_second_signal() -> None:
    """As `scontrol requeue` on a node: the signal goes to every process of the job, this child too."""
    ended = []

    def requeue(*_: object) -> None:
        words = "import os, signal; os.kill(os.getpid(), signal.SIGUSR2); print('requeued')"
        ended.append(subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=False))
        raise Left

    before = signal.signal(signal.SIGUSR2, requeue)
    try:
        with pytest.raises(Left), obeyed():
            signal.raise_signal(signal.SIGUSR2)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert [(one.returncode, one.stdout) for one in ended] == [(0, "requeued\n")]


def test_other_ranks_wait_and_requeue_nothing(requeues: list[int]) -> None:
    with obeyed(rank=1) as stop:
        signal.raise_signal(signal.SIGUSR2)
        assert stop.asked()  # remembered until all ranks agree
        started = time.monotonic()
        stop.obey(patience=0.3)
        assert time.monotonic() - started >= 0.3
    assert requeues == []


def test_rank_0_requeues_when_only_another_rank_was_signalled(requeues: list[int]) -> None:
    with pytest.raises(Left), obeyed(rank=0) as stop:
        stop.obey()
    assert requeues == [signal.SIGUSR2]


def test_a_forked_reader_of_images_leaves_the_signal_to_its_parent(requeues: list[int]) -> None:
    with obeyed() as stop:
        child = os.fork()
        if child == 0:
            try:
                signal.raise_signal(signal.SIGUSR2)
                os._exit(7 if not stop.asked() and not requeues else 1)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 7
    assert requeues == []


def test_a_controller_that_does_not_answer_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "RETRY_EVERY", 0.01)
    asked = []

    def requeue(*_: object) -> None:
        asked.append(1)
        if len(asked) < 3:
            raise subprocess.CalledProcessError(1, ["scontrol", "requeue", "7"])
        raise Left

    before = signal.signal(signal.SIGUSR2, requeue)
    try:
        with pytest.raises(Left), obeyed():
            signal.raise_signal(signal.SIGUSR2)
        monkeypatch.setattr(interrupts, "REQUEUE_PATIENCE", 0.0)
        asked.clear()
        signal.signal(signal.SIGUSR2, requeue)
        with pytest.raises(subprocess.CalledProcessError), obeyed():
            signal.raise_signal(signal.SIGUSR2)
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_handlers_are_what_they_were_afterwards(requeues: list[int]) -> None:
    before = [signal.getsignal(number) for number in interrupts.OBEYED]
    with obeyed():
        assert [signal.getsignal(number) for number in interrupts.OBEYED] != before
    assert [signal.getsignal(number) for number in interrupts.OBEYED] == before
    assert requeues == []


def test_ctrl_c_is_a_keyboard_interrupt_between_steps() -> None:
    def work(stop: Interrupts) -> None:
        with stop.held():
            signal.raise_signal(signal.SIGINT)
            assert stop.asked()

    with pytest.raises(KeyboardInterrupt):
        job(work)


def test_a_lock_is_let_go(tmp_path: Path) -> None:
    for _ in range(2):
        with alone(tmp_path / "lock"):
            pass


def test_a_lock_that_stays_names_its_holder(tmp_path: Path) -> None:
    with alone(tmp_path / "lock", "job 7 on node1"):
        with pytest.raises(LockedError, match="job 7 on node1 has been at this run"), alone(tmp_path / "lock", "", 0.3):
            pytest.fail("two at once")
        assert (tmp_path / "lock").read_text() == "job 7 on node1"


def test_a_life_that_is_killed_with_the_lock_lets_go(tmp_path: Path) -> None:
    words = (
        "import sys, time; from pathlib import Path; from slurm.interrupts import alone\n"
        f"with alone(Path({str(tmp_path / 'lock')!r}), 'the old life'):\n"
        "    print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", words], stdout=subprocess.PIPE, text=True) as old:
        assert old.stdout is not None
        assert old.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match="the old life"), alone(tmp_path / "lock", "", 0.0):
            pytest.fail("two at once")
        old.kill()
        with alone(tmp_path / "lock", "the new life", 5.0):
            assert (tmp_path / "lock").read_text() == "the new life"
