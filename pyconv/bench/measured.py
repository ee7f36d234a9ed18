"""Two sides that were timed (or weighed) in turn, the goal for their ratio, and whether both computed the same."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log, sqrt
from statistics import median

import torch
from torch import Tensor, nn

from pyconv.bench.paired import Comparison
from pyconv.formulations import winograd

ROUNDING = 2.0**-24
"""Of float32, relative."""
LARGEST = 6.0
"""Standard deviations: beyond them lies one of 500 million values."""
NOISE = 2.0**-14
"""Of a network's images, much more than rounding and little enough to grow in proportion."""
WINOGRAD = 100
"""Terms for one of a dense 3x3, which ours may compute by Winograd's: its rounding is about ten times larger."""


@dataclass(frozen=True)
class Agreement:
    """The largest difference of two sides' outputs in units of the outputs' size, and what float32 allows.

    `gradients`: the same of the gradient of the weights where it is largest, by norms; None of an inference.
    """

    outputs: float
    outputs_bound: float
    gradients: float | None = None
    gradients_bound: float = 0.0

    @property
    def met(self) -> bool:
        """Whether both sides compute the same but for rounding."""
        learnt = self.gradients is None or self.gradients <= self.gradients_bound
        return self.outputs <= self.outputs_bound and learnt

    def line(self) -> str:
        """For people."""
        told = f"{self.outputs:.1e} (bound {self.outputs_bound:.1e})"
        return told if self.gradients is None else f"{told}; {self.gradients:.1e} (bound {self.gradients_bound:.1e})"


def terms(model: nn.Module) -> int:
    """Summed up for one value of each convolution and linear layer, over all of them."""
    found = 0
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d, nn.Linear)):
            found += module.weight[0].numel() * (WINOGRAD if _may_be_winograd(module) else 1)
    return found


def _may_be_winograd(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (3, 3)
        and module.stride == (1, 1)
        and module.groups == 1
        and winograd.compiled() is not None
    )


def growth(model: nn.Module, x: Tensor) -> float:
    """How many times more than its images a network's outputs change, in units of their size, by a little noise.

    In training batch norms take away the mean of ReLUs and enlarge errors with the rest, layer by layer: some hundred
    times in a fresh ResNet-50, once in a linear network.
    """
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(2)) * NOISE
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        outputs = []
        for each in (x, x + noise):
            torch.manual_seed(0)  # the same dropout
            outputs.append(logits(model(each)))
    return _norm(outputs[1] - outputs[0]) / _norm(outputs[0]) / (_norm(noise) / _norm(x))


def logits(outputs: Tensor | dict[str, Tensor]) -> Tensor:
    """Without those of an auxiliary head."""
    return outputs["out"] if isinstance(outputs, dict) else outputs


def inference_agreement(plain: Tensor, ours: Tensor, terms: int) -> Agreement:
    """Of both sides' outputs; `terms` of both.

    A sum of n terms of either sign, rounded n times, is wrong by about sqrt(n) roundings of its size; layers pass such
    errors on in proportion, and errors add up as independent ones do: sqrt(terms) roundings at the outputs, 6 times
    that at most.
    """
    return Agreement(_outputs_apart(plain, ours), LARGEST * ROUNDING * sqrt(terms))


def training_agreement(
    plain: Sequence[Tensor], ours: Sequence[Tensor], terms: int, activations: int, growth: float
) -> Agreement:
    """Of [outputs, gradient, gradient, ...] of a step, with so many ReLUs on the way.

    The errors of an inference, grown by batch norms. A value within d of 0 in units of its size, d the error, gives a
    ReLU another gradient: of normal values 0.8 d, of the half that has a gradient 1.6 d; so gradients differ by
    sqrt(1.6 d) of their size a ReLU, where d grows evenly from layer to layer: (growth - 1) / ln(growth) on average.
    """
    error, growth = ROUNDING * sqrt(terms), max(growth, 1.0)
    average = (growth - 1) / log(growth) if growth > 1 else 1.0
    apart = max(_norm(a - b) / _norm(a) for a, b in zip(plain[1:], ours[1:], strict=True) if a.ndim > 1)
    bound = sqrt(1.6 * error * average * activations)
    return Agreement(_outputs_apart(plain[0], ours[0]), LARGEST * error * growth, apart, bound)


def _outputs_apart(plain: Tensor, ours: Tensor) -> float:
    return float((plain - ours).abs().max() / plain.square().mean().sqrt())


def _norm(values: Tensor) -> float:
    return float(values.double().norm())


@dataclass(frozen=True)
class Measured:
    """The ratio of the first side to the second, asked to be at least or, `at_most`, at most the goal, if any."""

    comparison: Comparison
    sides: tuple[str, str]
    goal: float | None
    at_most: bool
    agreement: Agreement | None = None
    unit: str = "s"

    @property
    def met(self) -> bool:
        """Whether the goal is reached, by sides that compute the same."""
        ratio, goal = self.comparison.ratio, self.goal
        reached = goal is None or (ratio <= goal if self.at_most else ratio >= goal)
        return reached and (self.agreement is None or self.agreement.met)

    def report(self) -> dict[str, object]:
        """As plain values."""
        ratios = self.comparison.ratios
        values = zip(self.sides, (self.comparison.plain, self.comparison.ours), strict=True)
        differing = self.agreement
        return {
            "name": self.comparison.name,
            "sides": {side: list(each) for side, each in values},
            "unit": self.unit,
            "ratio": self.comparison.ratio,
            "ratio_range": [min(ratios), max(ratios)],
            "rounds": len(ratios),
            "goal": {"at_most" if self.at_most else "at_least": self.goal},
            "met": self.met,
            "agreement": None if differing is None else {**vars(differing), "met": differing.met},
        }

    def line(self) -> list[str]:
        """For a table."""
        ratios = self.comparison.ratios
        digits = 3 if self.unit == "s" else 0
        first, second = (
            f"{side} {median(each):.{digits}f} {self.unit}"
            for side, each in zip(self.sides, (self.comparison.plain, self.comparison.ours), strict=True)
        )
        return [
            self.comparison.name,
            first,
            second,
            f"{self.comparison.ratio:.2f}",
            f"{min(ratios):.2f}-{max(ratios):.2f}",
            self._asked(),
            "" if self.agreement is None else self.agreement.line(),
        ]

    def missed(self) -> str:
        """What is told of a goal that is not reached, or of sides that differ; else nothing."""
        if self.met:
            return ""
        what = f"{self.comparison.name}, {self.sides[0]} : {self.sides[1]}"
        if self.agreement is not None and not self.agreement.met:
            return f"{what}: the sides differ by {self.agreement.line()}"
        return f"{what}: {self.comparison.ratio:.3f} misses the goal of {self._asked()}"

    def _asked(self) -> str:
        return "" if self.goal is None else f"{'<=' if self.at_most else '>='} {self.goal:g}"


HEADER = ("", "first side", "second side", "ratio", "range", "goal", "outputs differ by; gradients by")


def text(measured: Iterable[Measured], style: str = "simple") -> str:
    """The table, in a style of tabulate's, and a line for each goal that is missed."""
    from tabulate import tabulate  # only where a table is shown

    measured = list(measured)
    alignment = ("left", *["right"] * 5, "left")
    lines = [one.line() for one in measured]
    table = tabulate(lines, HEADER, tablefmt=style, colalign=alignment, disable_numparse=True)
    missed = [f"missed: {told}" for one in measured if (told := one.missed())]
    return "\n".join([str(table), *missed])
