"""The one training loop: a network, a recipe and a seed in; weights, and the history of their making, out.

What a GPU node runs and what a laptop's CPU runs is this. Interrupted anywhere and resumed, the weights, the metrics
and the order of the samples are the same bits as uninterrupted (on the CPU, with the same number of threads; on a GPU
as far as its kernels repeat themselves): every random draw is a function of (seed, epoch, step or sample).
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from pyconv import checkpoints, ranks
from pyconv.architectures import Network
from pyconv.data.sampling import Batches, MicroBatch, Moment, derive_seed, epoch_order
from pyconv.execution import Execution, process_settings
from pyconv.models import build
from pyconv.optimisation import MicroLoss, Optimisation
from pyconv.progress import Diverged, Progress, Seen, StepReport, Watch
from pyconv.recipe import Recipe, micro_batch_size
from pyconv.tasks import task_of

__all__ = ["BEST", "WEIGHTS", "Diverged", "Execution", "Interrupted", "StepReport", "Trained", "train"]

WEIGHTS, BEST = "weights.pt", "best.pt"
_GO_ON, _STOP, _DIVERGED = 0, 1, 2


@dataclass(frozen=True)
class Trained:
    """`checkpoint`: the file of the weights, for `pyconv.checkpoints.load_weights`; `sha256`: of that file.

    `best`, `best_epoch`: the file of the weights of the epoch (from 1) whose validation was the best, the first one
    of equals; None where nothing was validated. `history`: one dict an epoch. `timings`: seconds. `data`: name and
    manifests of the splits. `deviations`: sentences, where the run had to leave its recipe.
    """

    checkpoint: Path
    sha256: str
    best: Path | None
    best_epoch: int | None
    history: list[dict[str, Any]]
    timings: dict[str, float]
    data: dict[str, Any]
    deviations: list[str]


class Interrupted(RuntimeError):  # noqa: N818 - an outcome, not an error
    """The run was asked to stop and can be resumed; all its state is in the checkpoint."""


def train(
    network: Network,
    recipe: Recipe,
    *,
    seed: int,
    data_root: Path,
    run_dir: Path,
    init_state: Mapping[str, Tensor] | None = None,
    execution: Execution | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    on_step: Callable[[StepReport], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    held: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Trained:
    """Train `network` by `recipe`, going on from the newest sound checkpoint in `run_dir` if there is one.

    `data_root`: the folder of the recipe's data set. `init_state`: weights to start from. When the caller has
    initialised torch.distributed, all ranks call this with the same arguments. `on_epoch` gets the epoch's entry of
    the history, `on_step` each step (both on rank 0). `should_stop` is asked before every step: True on any rank
    writes a checkpoint and raises `Interrupted`. `held` is entered from an epoch's first step until its checkpoint is
    written: elsewhere nothing is lost when the process ends at once. Raises `Diverged` when a loss is NaN or Inf,
    `ValueError` for data, networks, checkpoints and settings that do not fit.
    """
    execution = execution or Execution()
    with process_settings(recipe, execution):
        run = _Run(network, recipe, seed, Path(data_root), Path(run_dir), init_state, execution)
        run.listen(on_epoch, on_step, should_stop, held)
        try:
            while run.progress.epoch < recipe.epochs:
                run.train_epoch()
            return run.finish()
        finally:
            del run.loaded  # of readers that the collector of cycles ends, each is waited for: five seconds


class _Run:
    """One training run on this rank."""

    def __init__(
        self,
        network: Network,
        recipe: Recipe,
        seed: int,
        data_root: Path,
        run_dir: Path,
        init_state: Mapping[str, Tensor] | None,
        execution: Execution,
    ) -> None:
        self.recipe, self.seed, self.execution = recipe, seed, execution
        self.data_root, self.run_dir = data_root, run_dir
        self.world = ranks.current()
        self.task = task_of(recipe)
        self.samples = self.task.training_set(network, recipe, data_root, seed=seed)
        micro_batch, self.deviations = micro_batch_size(recipe, self.world.size, execution.micro_batch)
        self.batches = Batches(
            len(self.samples), recipe.batch_size, micro_batch, recipe.drop_last, self.world.rank, self.world.size
        )
        self.signals = ranks.signals()
        self.device = ranks.device(execution.device)
        model = build(network, seed=seed)
        initial = "" if init_state is None else checkpoints.start_from(model, init_state)
        self.key = checkpoints.identity(network, recipe, seed, initial)
        self.optimisation = Optimisation(model, recipe, self.device)
        self.progress = self._resume()
        self.loaded = self._loader()

    def listen(
        self,
        on_epoch: Callable[[dict[str, Any]], None] | None,
        on_step: Callable[[StepReport], None] | None,
        should_stop: Callable[[], bool] | None,
        held: Callable[[], AbstractContextManager[object]],
    ) -> None:
        """Who is told (by rank 0) and who is asked."""
        first = self.world.rank == 0
        self.on_epoch = on_epoch if first else None
        self.watch = Watch(self.progress, on_step if first else None)
        self.should_stop = should_stop or (lambda: False)
        self.held = held

    def train_epoch(self) -> None:
        """The steps of the current epoch that are not done yet, its validation, and its entry in the history."""
        progress = self.progress
        with self.held():
            self._steps()
            self.watch.settle()
            self._poll()
            ranks.share_buffers(self.optimisation.model)
            if self._due(self.execution.checkpoint_every):
                self._checkpoint()  # before the validation, so that nothing is lost if that is cut short
        entry = progress.entry(
            self._sum(progress.totals), self._seen(), self.optimisation.lr, self.task.training_metrics
        )
        if self.execution.validate_every and self._due(self.execution.validate_every):
            entry |= self._validate()
        progress.history.append(entry)
        if self.world.rank == 0 and progress.best_epoch(*self.task.SELECTED_BY) == entry["epoch"]:
            checkpoints.save_weights(self.run_dir / BEST, self.optimisation.model.state_dict(), self.key)
        progress.next_epoch()
        if self.on_epoch:
            self.on_epoch(entry)

    def _steps(self) -> None:
        for micro_batches in self._plan(self.progress.epoch, self.progress.step):
            self._poll()
            with self._timed("train"):
                self._step(micro_batches)

    def _plan(self, epoch: int, first: int) -> Iterator[list[MicroBatch]]:
        """This rank's micro-batches of each step of `epoch` from step `first` on."""
        order = epoch_order(len(self.samples), self.seed, epoch)
        return (self.batches.step(order, step) for step in range(first, self.batches.steps))

    def finish(self) -> Trained:
        """Write the weights."""
        path, digest = self.run_dir / WEIGHTS, ""
        if self.world.rank == 0:
            digest = checkpoints.save_weights(path, self.optimisation.model.state_dict(), self.key)
        digest = ranks.from_first(digest)
        at = self.progress
        best_epoch = at.best_epoch(*self.task.SELECTED_BY)
        best = None if best_epoch is None else self.run_dir / BEST
        return Trained(path, digest, best, best_epoch, at.history, at.timings, at.data, self.deviations)

    def _step(self, micro_batches: list[MicroBatch]) -> None:
        epoch, step, steps = self.progress.epoch, self.progress.step, self.batches.steps

        def loss_of(model: nn.Module, batch: Any, micro: MicroBatch) -> MicroLoss:
            self.progress.seen.add_micro_batch(len(micro.indices), batch[0].shape[-2:], counted=micro.share > 0)
            torch.manual_seed(derive_seed("forward", self.seed, epoch, step, micro.number))  # dropout
            moved = tuple(part.to(self.device, non_blocking=True) for part in batch)
            return self.task.loss(model, moved, self.recipe, Moment(self.seed, epoch, step, micro.number))

        self.optimisation.lr = self.recipe.lr_at(epoch * steps + step, steps)
        self.progress.seen.add_step(self.optimisation.lr)
        parts = ((micro, next(self.loaded)) for micro in micro_batches)
        totals = self.optimisation.step(parts, len(micro_batches), loss_of)
        self.progress.step += 1
        self.watch.add(StepReport(epoch + 1, step + 1, steps, self.optimisation.lr, 0.0), totals)

    def _poll(self) -> None:
        """Stop on every rank if any one has to."""
        own = _STOP if self.should_stop() else _GO_ON
        if own == _STOP:
            self.watch.settle()
        agreed = ranks.agree(_DIVERGED if self.watch.diverged else own, self.signals)
        if agreed == _DIVERGED:
            raise self.watch.failure(self.recipe.epochs, self.optimisation.lr)
        if agreed == _STOP:
            self.watch.settle()  # where another rank asked to stop
            ranks.share_buffers(self.optimisation.model)
            path, progress = self._checkpoint(), self.progress
            raise Interrupted(
                f"stopped in epoch {progress.epoch + 1} after step {progress.step} of {self.batches.steps}; "
                f"the same call goes on from {path or self.run_dir}"
            )

    def _due(self, every: int) -> bool:
        done = self.progress.epoch + 1
        return done == self.recipe.epochs or done % every == 0

    def _checkpoint(self) -> Path | None:
        progress, path = self.progress, None
        with self._timed("checkpoint"):
            state = asdict(replace(progress, totals=self._sum(progress.totals), seen=self._seen()))
            state["samples"] = len(self.samples)
            done = progress.epoch * self.batches.steps + progress.step
            if self.world.rank == 0:
                path = checkpoints.save(self.run_dir, done, state | self.optimisation.state_dict(), self.key)
            ranks.wait()
        return path

    def _resume(self) -> Progress:
        found = checkpoints.latest(self.run_dir, self.key, self.device)
        if found is None:
            return Progress(data=ranks.from_first(self._data() if self.world.rank == 0 else {}))
        path, state = found
        if state["samples"] != len(self.samples):
            raise ValueError(
                f"{path}: made with {state['samples']} training samples, {self.data_root} now has "
                f"{len(self.samples)}; give the same data, or another run_dir"
            )
        self.optimisation.load_state_dict(state)
        totals, seen = state["totals"], Seen(**state["seen"])
        if self.world.rank:  # they are of all ranks already
            totals, seen.batches = [0.0, 0.0, 0.0], [0] * len(seen.batches)
        kept = {name: state[name] for name in ("epoch", "step", "history", "timings", "data")}
        return Progress(totals=totals, seen=seen, **kept)

    def _loader(self) -> Iterator[Any]:
        """Every micro-batch that is left of the run: readers go on while an epoch is validated and the next begins."""
        return iter(
            DataLoader(
                self.samples,
                batch_sampler=_Visits(self),
                num_workers=self.execution.workers,
                collate_fn=self.task.collate,
                pin_memory=self.device.type == "cuda",
            )
        )

    def _validate(self) -> dict[str, float]:
        model, workers = self.optimisation.model, self.execution.workers
        with self._timed("validation"):
            return self.task.validate(model, self.recipe, self.data_root, device=self.device, workers=workers)

    def _sum(self, totals: list[float]) -> list[float]:
        return ranks.sum_over(torch.tensor(totals, dtype=torch.float64, device=self.device)).tolist()

    def _seen(self) -> Seen:
        """What the steps of this epoch were seen to do, over all ranks."""
        seen = self.progress.seen
        batches = ranks.sum_over(torch.tensor(seen.batches, device=self.device)).tolist()
        return replace(seen, batches=batches, norm_batch=ranks.agree(seen.norm_batch, self.signals))

    def _data(self) -> dict[str, Any]:
        splits = (self.recipe.split, self.task.VALIDATION_SPLIT)
        return {
            "name": self.recipe.data,
            "splits": {split: self.task.manifest(self.data_root, split) for split in splits},
        }

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.progress.timings[what] += time.perf_counter() - started


class _Visits:
    """The (epoch, index) of the samples of each micro-batch that is left of a run, in order."""

    def __init__(self, run: _Run) -> None:
        self.run = run

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        at = self.run.progress
        first = at.step
        for epoch in range(at.epoch, self.run.recipe.epochs):
            for step in self.run._plan(epoch, first):
                yield from ([(epoch, index) for index in micro.indices] for micro in step)
            first = 0
