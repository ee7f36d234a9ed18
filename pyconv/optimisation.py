"""SGD with momentum as a recipe says, one global batch a step: accumulation, mixed precision, and several ranks.

However a batch is cut into micro-batches and dealt to ranks, the gradient is that of their losses, weighted by their
samples: of a loss that is a mean over samples, that of the whole batch. Batch norms see one micro-batch at a time (or,
synchronised, the whole batch).
"""

import warnings
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from pyconv import ranks
from pyconv.data.sampling import MicroBatch
from pyconv.recipe import Recipe


class MicroLoss(Protocol):
    """What a task's loss gives for a micro-batch: its mean, and the (weighted) number of right answers."""

    @property
    def mean(self) -> Tensor: ...  # noqa: D102
    @property
    def correct(self) -> Tensor: ...  # noqa: D102


LossOf = Callable[[nn.Module, Any, MicroBatch], MicroLoss]


class Optimisation:
    """A network, its SGD and its gradient scaler.

    Precision "amp": float16 with a gradient scaler on CUDA; bfloat16, which needs none, on the CPU. The running
    statistics of batch norms are taken from the first micro-batch of each step, as on the authors' eight GPUs, of
    which the first one's are kept: so they do not depend on the number of ranks.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, device: torch.device) -> None:
        self.device = device
        self.world = ranks.current()
        self.model = _placed(_synchronised(model, recipe, device), device)
        self.amp = recipe.precision == "amp"
        self.sgd = torch.optim.SGD(
            parameter_groups(self.model, recipe),
            recipe.lr,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            fused=True,
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.amp and device.type == "cuda")
        self._norms = [module for module in self.model.modules() if isinstance(module, _BatchNorm)]
        # Buffers are shared when they are needed (validation, checkpoints): training mode never reads them.
        self._parallel = _parallel(self.model, device) if self.world.size > 1 else self.model

    @property
    def lr(self) -> float:
        """The optimiser's learning rate, without a head's factor."""
        group = self.sgd.param_groups[0]
        return group["lr"] / group["lr_factor"]

    @lr.setter
    def lr(self, lr: float) -> None:
        for group in self.sgd.param_groups:
            group["lr"] = lr * group["lr_factor"]

    def step(self, micro_batches: Iterable[tuple[MicroBatch, Any]], count: int, loss_of: LossOf) -> Tensor:
        """One optimiser step over this rank's `count` micro-batches.

        Gives, on the device, [sum of the loss over its samples, right answers, samples].
        """
        self.sgd.zero_grad(set_to_none=True)
        totals = torch.zeros(3, dtype=torch.float64, device=self.device)
        for position, (micro, batch) in enumerate(micro_batches, start=1):
            with self._gradients_stay_here(position < count):
                totals += self._accumulate(micro, batch, loss_of)
        self.scaler.step(self.sgd)
        self.scaler.update()
        return totals

    def state_dict(self) -> dict[str, Any]:
        """Weights, buffers, momentum and scale: all that the next step depends on."""
        return {
            "model": dict(self.model.state_dict()),
            "sgd": self.sgd.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`."""
        self.model.load_state_dict(state["model"])
        self.sgd.load_state_dict(state["sgd"])
        self.scaler.load_state_dict(state["scaler"])

    def _accumulate(self, micro: MicroBatch, batch: Any, loss_of: LossOf) -> Tensor:
        for norm in self._norms:
            norm.track_running_stats = micro.number == 0
        self._parallel.train()
        dtype = torch.float16 if self.device.type == "cuda" else torch.bfloat16
        with torch.autocast(self.device.type, dtype, enabled=self.amp):
            loss = loss_of(self._parallel, batch, micro)
        # DistributedDataParallel averages over ranks; the shares already add up to one.
        self.scaler.scale(loss.mean * (micro.share * self.world.size)).backward()
        for norm in self._norms:
            norm.track_running_stats = True
        mean, correct = loss.mean.detach().double(), loss.correct.detach().double()
        samples = torch.full_like(mean, len(micro.indices))
        return torch.stack([mean * samples, correct, samples]) * (micro.share > 0)

    def _gradients_stay_here(self, more_follow: bool) -> AbstractContextManager[None]:
        if more_follow and isinstance(self._parallel, DistributedDataParallel):
            return self._parallel.no_sync()
        return nullcontext()


def parameter_groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Parameters by weight decay (none on batch norms and biases unless `decay_norm_and_bias`) and learning rate.

    Everything outside `model.backbone` (where there is none: the classifier `model.fc`) learns at `head_lr_factor`
    times the rate, its group's `lr_factor`.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    has_backbone = hasattr(model, "backbone")
    for name, parameter in model.named_parameters():
        decay = recipe.weight_decay if parameter.ndim > 1 or recipe.decay_norm_and_bias else 0.0
        head = not name.startswith("backbone.") if has_backbone else name.startswith("fc.")
        factor = recipe.head_lr_factor if head else 1.0
        groups.setdefault((decay, factor), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, "lr_factor": factor}
        for (decay, factor), parameters in groups.items()
    ]


def _synchronised(model: nn.Module, recipe: Recipe, device: torch.device) -> nn.Module:
    if recipe.batch_norm_batch or ranks.current().size == 1:
        return model
    if device.type != "cuda":
        raise ValueError(
            "batch_norm_batch=0 (statistics over the whole batch) on several ranks needs GPUs: torch has no "
            "synchronised batch norm on the CPU; use one rank or a recipe with batch_norm_batch > 0"
        )
    return nn.SyncBatchNorm.convert_sync_batchnorm(model)


def _parallel(model: nn.Module, device: torch.device) -> DistributedDataParallel:
    """Gradients averaged over ranks, summed in the same order in every step of every life of a run.

    `find_unused_parameters` is for that order: without it the buckets of the first step after a start are arranged in
    another way than those of all later steps, and a resumed run would differ in the last bits.
    """
    warnings.filterwarnings("ignore", message="find_unused_parameters=True was specified")
    return DistributedDataParallel(
        model,
        device_ids=[device] if device.type == "cuda" else None,
        broadcast_buffers=False,
        find_unused_parameters=True,
    )


def _placed(model: nn.Module, device: torch.device) -> nn.Module:
    # As the images or clips are: otherwise every convolution converts its weights anew in every step.
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    most = max(parameter.ndim for parameter in model.parameters())
    return model.to(device).to(memory_format=formats[most]) if most in formats else model.to(device)
