"""Processes that die and hang: each task has its result or how it was lost, and the others go on."""

import os
import signal
import time
from pathlib import Path

import pytest

from pyconv.data.isolated import Lost, each


def act(task: str) -> str:
    """Do as told; a path is a file that is made by the first who dies of it."""
    if task == "die" or (task.startswith("/") and not Path(task).exists()):
        if task != "die":
            Path(task).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "abort":
        os.abort()
    if task == "hang":
        time.sleep(1000)
    if task == "raise":
        raise ValueError("as told")
    return task.upper()


def test_each_task_has_its_outcome_whatever_the_others_do(tmp_path: Path) -> None:
    once = str(tmp_path / "once")
    tasks = ["a", "die", "b", once, "hang", "abort", "c"]
    start = time.monotonic()
    outcomes = dict(each(act, tasks, 2, patience=2.0))
    expected = ["A", Lost.DIED, "B", once.upper(), Lost.SLOW, Lost.DIED, "C"]
    assert outcomes == dict(enumerate(expected))
    assert time.monotonic() - start < 60
    assert Path(once).exists()


def test_an_exception_is_raised_where_the_results_are_awaited() -> None:
    for workers in (0, 1):
        with pytest.raises(ValueError, match="as told"):
            list(each(act, ["a", "raise"], workers))


def test_without_processes_it_is_a_loop() -> None:
    assert list(each(act, ["a", "b"], 0)) == [(0, "A"), (1, "B")]
    assert list(each(act, [], 3)) == []
