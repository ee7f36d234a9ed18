"""How a network is trained: the optimiser's schedule and the augmentation, as values (section 6 and the appendix).

Nothing here knows torch. Everything in a `Recipe` changes the weights; how a run is executed (workers, GPUs, micro
batches) stands elsewhere.
"""

from dataclasses import dataclass
from math import cos, pi
from typing import Literal, get_args

Schedule = Literal["step", "cosine", "poly"]
Precision = Literal["fp32", "amp"]


@dataclass(frozen=True)
class ImageNetAugment:
    """RandomResizedCrop + flip (Szegedy et al., CVPR 2015; the authors' script has no colour jitter), and CutMix.

    `crop`: pixels. `scale`, `ratio`: of the area and sides of the crop. `flip`: probability. `cutmix_prob`,
    `cutmix_beta`: probability per batch and Beta(beta, beta) (Yun et al., ICCV 2019; 1.0 and 1.0 for ImageNet there,
    not stated in the paper).
    """

    crop: int = 224
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    cutmix_prob: float = 0.0
    cutmix_beta: float = 1.0


@dataclass(frozen=True)
class Ade20kAugment:
    """semseg's transforms as in the authors' released configuration: scale, rotation, blur, flip, crop with padding."""

    crop: int = 473
    scale: tuple[float, float] = (0.5, 2.0)
    rotation: float = 10.0
    rotation_prob: float = 0.5
    blur_kernel: int = 5
    blur_prob: float = 0.5
    flip: float = 0.5
    ignore_label: int = 255


@dataclass(frozen=True)
class CocoAugment:
    """SSD's random crop by IoU, colour jitter, flip, resize (Liu et al., ECCV 2016)."""

    size: int = 300
    min_ious: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    color_jitter: tuple[float, float, float, float] = (0.125, 0.5, 0.5, 0.05)
    flip: float = 0.5


@dataclass(frozen=True)
class KineticsAugment:
    """Clips of 16 frames, short side drawn from 256-320, random 224 crop, flip (appendix A.2).

    `frame_stride` 4 reads "we also skip four frames" as every fourth frame, the reading of Wang et al. (CVPR 2018),
    whom the paper follows; 5 is the other reading.
    """

    crop: int = 224
    frames: int = 16
    frame_stride: int = 4
    short_side: tuple[int, int] = (256, 320)
    flip: float = 0.5


Augment = ImageNetAugment | Ade20kAugment | CocoAugment | KineticsAugment


@dataclass(frozen=True)
class Recipe:
    """SGD with momentum: `lr_at(step)` over `epochs` of `data`/`split` at the **global** `batch_size`.

    `milestones`: epochs (counted from 0, may be fractions) at whose start a step schedule multiplies by `gamma`.
    `poly_power`: of the poly schedule, per iteration. `warmup_epochs`: linear from lr / steps up to lr.
    `batch_norm_batch`: images that share one batch-norm statistic (0: the whole batch, synchronised).
    `decay_norm_and_bias`: weight decay on batch norms and biases too. `head_lr_factor`: of everything but the backbone.
    """

    data: str
    epochs: int
    batch_size: int
    lr: float
    augment: Augment
    split: str = "train"
    schedule: Schedule = "step"
    milestones: tuple[float, ...] = ()
    gamma: float = 0.1
    poly_power: float = 0.9
    warmup_epochs: float = 0.0
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    decay_norm_and_bias: bool = True
    head_lr_factor: float = 1.0
    auxiliary_weight: float = 0.0
    batch_norm_batch: int = 32
    precision: Precision = "fp32"
    drop_last: bool = False

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ValueError(f"{name} must be a positive integer, got {getattr(self, name)!r}")
        if not self.lr > 0:
            raise ValueError(f"lr must be positive, got {self.lr!r}")
        for name, choices in (("schedule", get_args(Schedule)), ("precision", get_args(Precision))):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}; got {getattr(self, name)!r}")
        if not isinstance(self.augment, get_args(Augment)):
            valid = ", ".join(kind.__name__ for kind in get_args(Augment))
            raise ValueError(f"augment must be one of {valid}; got {self.augment!r}")
        if self.milestones and self.schedule != "step":
            raise ValueError(f"milestones are of the step schedule, not of {self.schedule!r}: leave them out")
        if list(self.milestones) != sorted(self.milestones):
            raise ValueError(f"milestones must ascend, got {self.milestones}")
        if self.milestones and not 0 < self.milestones[0] <= self.milestones[-1] < self.epochs:
            raise ValueError(f"milestones must lie within the {self.epochs} epochs, got {self.milestones}")

    def lr_at(self, step: int, steps_per_epoch: int) -> float:
        """The learning rate of optimiser step `step` (from 0), of a run with `steps_per_epoch` steps an epoch.

        step: `lr * gamma^(milestones passed)`. cosine: `lr / 2 * (1 + cos(pi * epoch / epochs))` with whole epochs
        passed. poly: `lr * (1 - step / steps)^power`. The first `warmup_epochs` climb linearly to that value.
        Raises `ValueError` for a step outside the run.
        """
        steps = self.epochs * steps_per_epoch
        if not 0 <= step <= steps:
            raise ValueError(f"step {step} is outside this run of {self.epochs} x {steps_per_epoch} = {steps} steps")
        epoch = step // steps_per_epoch
        if self.schedule == "step":
            lr = self.lr * self.gamma ** sum(step >= m * steps_per_epoch for m in self.milestones)
        elif self.schedule == "cosine":
            lr = self.lr / 2 * (1 + cos(pi * epoch / self.epochs))
        else:
            lr = self.lr * (1 - step / steps) ** self.poly_power
        warmup_steps = self.warmup_epochs * steps_per_epoch
        return lr * (step + 1) / warmup_steps if step + 1 < warmup_steps else lr


def micro_batch_size(recipe: Recipe, world_size: int, limit: int | None) -> tuple[int, list[str]]:
    """Samples that pass through the network together on one rank, and what of the recipe that leaves unkept.

    The recipe's batch-norm batch, or this rank's part of the batch when statistics are synchronised; at most `limit`
    (memory). The global batch is kept in any case, by accumulation.
    """
    if limit is not None and limit < 2:
        raise ValueError(f"micro_batch must be at least 2, of one image batch norm has no variance; got {limit}")
    per_rank = -(-recipe.batch_size // world_size)
    wanted = min(recipe.batch_norm_batch, recipe.batch_size) or per_rank
    size = min(wanted, limit or wanted)
    if size == wanted:
        return size, []
    over = recipe.batch_norm_batch or recipe.batch_size
    return size, [f"batch norm over {size} samples (micro_batch) instead of the recipe's {over}"]
