"""What the tasks give: a loss, and how good a network is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from torch import Tensor


@dataclass(frozen=True)
class Loss:
    """Of a micro-batch, both scalars. `mean`: over its samples. `correct`: how much of them is right, 0 to 1 each."""

    mean: Tensor
    correct: Tensor


class Selection(NamedTuple):
    """The validation metric by which an epoch is the best one, and which values of it are."""

    metric: str
    better: Literal["lower", "higher"]


@dataclass(frozen=True)
class Evaluation:
    """`metrics`: name -> (value in percent, samples, standard error in percent or None).

    `samples` were counted of `expected`. `input`: height and width of what entered the network. `correct`: metric ->
    one bool an image, in the order of the split's files, so that two networks can be compared in pairs (McNemar).
    `per_class`: of segmentation, name -> one whole number of pixels a class.
    """

    metrics: dict[str, tuple[float, int, float | None]]
    samples: int
    expected: int
    input: tuple[int, int]
    correct: Mapping[str, Tensor] = field(default_factory=dict)
    per_class: Mapping[str, list[int]] = field(default_factory=dict)
