"""Stand-in until the testing half of the task is there."""

from typing import Any

from pyconv.tasks.values import Evaluation


def evaluate(*_: Any, **__: Any) -> Evaluation:
    """Not here yet."""
    raise NotImplementedError("the testing half of the task is another piece of work")
