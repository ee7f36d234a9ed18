"""How far a training run is, and what it measured on the way: all of it goes into checkpoints."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class StepReport:
    """A finished optimiser step, counted from 1, of `steps` in `epoch`. `loss`: mean over this rank's samples."""

    epoch: int
    step: int
    steps: int
    lr: float
    loss: float


class Diverged(RuntimeError):  # noqa: N818 - says what happened
    """The loss became NaN or Inf."""


@dataclass
class Progress:
    """`step` steps of `epoch` (both from 0) are done. `totals`: of this epoch: loss, right answers, samples.

    `history`: one entry a finished epoch. `timings`: seconds. `data`: name and manifests of the splits.
    """

    epoch: int = 0
    step: int = 0
    totals: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    history: list[dict[str, float]] = field(default_factory=list)
    timings: dict[str, float] = field(default_factory=lambda: {"train": 0.0, "validation": 0.0, "checkpoint": 0.0})
    data: dict[str, Any] = field(default_factory=dict)

    def add(self, totals: list[float]) -> None:
        """Count a step."""
        self.totals = [a + b for a, b in zip(self.totals, totals, strict=True)]

    def entry(self, totals: list[float], lr: float) -> dict[str, float]:
        """The epoch's entry in the history, of `totals` over all ranks."""
        loss, correct, samples = totals
        return {
            "epoch": self.epoch + 1,
            "lr": lr,
            "train_loss": loss / samples,
            "train_top1_err": 100 * (1 - correct / samples),
            "seconds": self.timings["train"] - sum(entry["seconds"] for entry in self.history),
        }

    def close_epoch(self, entry: dict[str, float]) -> None:
        """The next epoch begins."""
        self.history.append(entry)
        self.epoch, self.step, self.totals = self.epoch + 1, 0, [0.0, 0.0, 0.0]


class Watch:
    """Looks at each step's loss one step later, when it is there without waiting for the GPU."""

    def __init__(self, progress: Progress, on_step: Callable[[StepReport], None] | None) -> None:
        self.progress = progress
        self.on_step = on_step
        self.diverged: StepReport | None = None
        self._pending: tuple[StepReport, Tensor] | None = None

    def add(self, report: StepReport, totals: Tensor) -> None:
        """A step that was just launched; `totals` on the device: loss, right answers, samples."""
        self.settle()
        self._pending = report, totals

    def settle(self) -> None:
        """Count the step that is pending, and notice a loss that is no number."""
        if self._pending is None:
            return
        report, totals = self._pending[0], self._pending[1].tolist()
        self._pending = None
        self.progress.add(totals)
        report = replace(report, loss=totals[0] / max(totals[2], 1))
        if not isfinite(totals[0]):
            self.diverged = self.diverged or report
        elif self.on_step:
            self.on_step(report)

    def failure(self, epochs: int, lr: float) -> Diverged:
        """What to raise; this rank may not be the one that diverged."""
        at = self.diverged
        where = f"epoch {at.epoch} of {epochs}, step {at.step} of {at.steps}" if at else "another rank"
        return Diverged(
            f"the loss is {at.loss if at else 'NaN or Inf'} at {where}, lr {at.lr if at else lr:g}: the run has "
            f"diverged and goes on no further; a smaller lr or a longer warm-up is another recipe"
        )
