"""A function in processes of its own that may die or hang: what happens to one task is not another's concern.

A decoder of a damaged file can crash the process it runs in, or never come back. An ordinary pool is broken by the
first and waits for ever for the second.
"""

import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from enum import Enum
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

PATIENCE = 300.0
"""Seconds that a task may take: a video of ten seconds takes one."""
TRIES = 2
"""A process may be ended from outside, by a kernel short of memory: a task is blamed for the second death."""
_STARTING = 300.0  # seconds until a process is there: it imports from what may be a busy disk

Task = TypeVar("Task")
Result = TypeVar("Result")


class Lost(Enum):
    """Why there is no result: the process died, or took too long and was ended."""

    DIED = "died"
    SLOW = "slow"


def each(
    function: Callable[[Task], Result], tasks: Sequence[Task], workers: int, patience: float = PATIENCE
) -> Iterator[tuple[int, Result | Lost]]:
    """(number of the task, its result or how it was lost), as they come. An exception of `function` is raised here.

    `workers`: so many processes; 0: in this one, unprotected. `patience`: seconds a task.
    """
    if workers == 0:
        yield from ((number, function(task)) for number, task in enumerate(tasks))
        return
    waiting = deque((number, 1) for number in range(len(tasks)))
    crew = [_Worker(function) for _ in range(min(workers, len(tasks)))]
    try:
        while waiting or any(worker.number is not None for worker in crew):
            for worker in crew:
                if waiting and worker.deadline is None:
                    number, tried = waiting.popleft()
                    worker.give(number, tried, tasks[number], patience)
            for place, outcome in _heard(crew):
                at, tried = crew[place].number, crew[place].tried
                if isinstance(outcome, Lost):
                    crew[place] = crew[place].replaced()
                else:
                    crew[place].rest()
                if at is not None and outcome is Lost.DIED and tried < TRIES:
                    waiting.appendleft((at, tried + 1))
                elif at is not None:
                    yield at, outcome
    finally:
        for worker in crew:
            worker.end()


class _Worker(Generic[Task, Result]):
    """A process and what it is at: the task's `number`, and how often it is `tried`; idle without a `deadline`."""

    def __init__(self, function: Callable[[Task], Result]) -> None:
        context = multiprocessing.get_context("spawn")
        self.function, self.tried = function, 0
        self.number: int | None = None
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(function, theirs), daemon=True)
        self.process.start()
        theirs.close()  # the pipe ends when the process does
        self.deadline: float | None = time.monotonic() + _STARTING

    def give(self, number: int, tried: int, task: Task, patience: float) -> None:
        """Let it work on a task."""
        self.number, self.tried, self.deadline = number, tried, time.monotonic() + patience
        with suppress(OSError):  # it died at rest: no answer will say so
            self.connection.send(task)

    def outcome(self) -> Result | Lost:
        """What it sent, once there is something to read. Raises what the function raised."""
        try:
            done, content = self.connection.recv()
        except (EOFError, OSError):
            return Lost.DIED
        if not done:
            raise content
        return content

    def rest(self) -> None:
        """It is idle."""
        self.number, self.deadline = None, None

    def replaced(self) -> "_Worker[Task, Result]":
        """Another in its place, this one ended."""
        self.end()
        if self.number is None:
            raise RuntimeError("a process that is to look at files does not start; what it wrote stands above")
        return _Worker(self.function)

    def end(self) -> None:
        """Whatever it is at."""
        self.connection.close()
        self.process.kill()
        self.process.join()


def _heard(crew: Sequence[_Worker[Any, Any]]) -> Iterator[tuple[int, Any]]:
    """(place, outcome) of those that sent something, died or took too long; waits for the first of them."""
    awaited = {place: worker for place, worker in enumerate(crew) if worker.deadline is not None}
    first = min(worker.deadline for worker in awaited.values() if worker.deadline is not None)
    answered = wait([worker.connection for worker in awaited.values()], max(0.0, first - time.monotonic()))
    now = time.monotonic()
    for place, worker in awaited.items():
        if worker.connection in answered:
            yield place, worker.outcome()
        elif worker.deadline is not None and worker.deadline <= now:
            yield place, Lost.SLOW


def _work(function: Callable[[Any], Any], connection: Connection) -> None:
    """In the process: say that it is there, then answer task by task until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one who asks ends it
    with suppress(EOFError, OSError):
        connection.send((True, None))
        while True:
            task = connection.recv()
            try:
                answer = True, function(task)
            except Exception as error:  # raised where the results are awaited
                answer = False, error
            connection.send(answer)
