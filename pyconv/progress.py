"""How far a training run is, and what it measured on the way: all of it goes into checkpoints."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any, Literal

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
class Seen:
    """What the steps of an epoch were seen to do, for the check of a finished log against its recipe.

    `lrs`: [learning rate, steps] run by run. `batches`: the samples of each step: of this rank, or of all when they
    were summed. `norm_batch`: most samples of one micro-batch. `input`: [height, width] of the network's input.
    """

    lrs: list[list[float]] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    norm_batch: int = 0
    input: list[int] = field(default_factory=list)

    def add_step(self, lr: float) -> None:
        """An optimiser step begins, at the optimiser's learning rate."""
        if self.lrs and self.lrs[-1][0] == lr:
            self.lrs[-1][1] += 1
        else:
            self.lrs.append([lr, 1])
        self.batches.append(0)

    def add_micro_batch(self, samples: int, size: Iterable[int], *, counted: bool) -> None:
        """A micro-batch of the step goes into the network; not `counted`: it only keeps the ranks in step."""
        self.batches[-1] += samples * counted
        self.norm_batch = max(self.norm_batch, samples)
        self.input = list(size)

    def entry(self) -> dict[str, Any]:
        """The epoch's part of the history; `batches` are over all ranks."""
        return {
            "steps": len(self.batches),
            "samples": sum(self.batches),
            "batch": [min(self.batches), max(self.batches)],
            "norm_batch": self.norm_batch,
            "input": self.input,
            "lrs": self.lrs,
        }


@dataclass
class Progress:
    """`step` steps of `epoch` (both from 0) are done. `totals`: of this epoch: loss, right answers, samples.

    `history`: one entry a finished epoch. `timings`: seconds. `data`: name and manifests of the splits. `seen`: of this
    epoch.
    """

    epoch: int = 0
    step: int = 0
    totals: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    history: list[dict[str, Any]] = field(default_factory=list)
    timings: dict[str, float] = field(default_factory=lambda: {"train": 0.0, "validation": 0.0, "checkpoint": 0.0})
    data: dict[str, Any] = field(default_factory=dict)
    seen: Seen = field(default_factory=Seen)

    def add(self, totals: list[float]) -> None:
        """Count a step."""
        self.totals = [a + b for a, b in zip(self.totals, totals, strict=True)]

    def entry(
        self, totals: list[float], seen: Seen, lr: float, metrics: Callable[[float], dict[str, float]]
    ) -> dict[str, Any]:
        """The epoch's entry in the history, of `totals` and what was `seen` over all ranks.

        `metrics`: the task's, of the part that was right.
        """
        loss, correct, samples = totals
        return {
            "epoch": self.epoch + 1,
            "lr": lr,
            "train_loss": loss / samples,
            **metrics(correct / samples),
            "seconds": self.timings["train"] - sum(entry["seconds"] for entry in self.history),
            **seen.entry(),
        }

    def best_epoch(self, metric: str, better: Literal["lower", "higher"]) -> int | None:
        """The first epoch of the history, from 1, with the best `metric`; None where none has it."""
        validated = [entry for entry in self.history if metric in entry]
        sign = 1 if better == "lower" else -1
        return min(validated, key=lambda entry: sign * entry[metric])["epoch"] if validated else None

    def next_epoch(self) -> None:
        """The next epoch begins."""
        self.epoch, self.step, self.totals, self.seen = self.epoch + 1, 0, [0.0, 0.0, 0.0], Seen()


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
