"""Video recognition (appendix A.2, Tables 9 and 10): random clips, cross entropy, top-1 / top-5 error in percent.

Trained from scratch. Testing by the paper's protocol, 10 clips x 3 crops of a video, is `pyconv.video`.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from pyconv.architectures import Network
from pyconv.data.clip_sets import TestSet, TrainingSet
from pyconv.data.imagenet import normalise, stack
from pyconv.data.kinetics import VideoSplit, manifest, read_kinetics
from pyconv.data.sampling import Moment
from pyconv.recipe import KineticsAugment, Recipe
from pyconv.tasks.same_classes import check_same_classes
from pyconv.tasks.values import Loss, Selection
from pyconv.video.testing import evaluate, fitting, measure

__all__ = [
    "PREDICTS",
    "SELECTED_BY",
    "TESTED_BY",
    "VALIDATION_SPLIT",
    "collate",
    "evaluate",
    "loss",
    "manifest",
    "training_metrics",
    "training_set",
    "validate",
]

VALIDATION_SPLIT = "val"
SELECTED_BY = Selection("top1_err", "lower")
TESTED_BY = ("crop", "resize", "views", "frames", "frame_stride")
"""What of a protocol `evaluate` takes; clips are cut as in training, `frames` and `frame_stride` of the recipe."""
PREDICTS = False
"""Whether `evaluate` can keep what the network predicts."""

Batch = tuple[Tensor, Tensor]


def training_set(network: Network, recipe: Recipe, data_root: Path, *, seed: int) -> TrainingSet:
    """Random clips of `recipe.split`'s videos; refuses data and networks that do not fit the recipe."""
    augment = recipe.augment
    if not isinstance(augment, KineticsAugment):
        raise ValueError(f"{recipe.data}: augment must be a KineticsAugment, got {type(augment).__name__}")
    _check_augment(augment)
    videos = read_kinetics(data_root, recipe.split)
    fitting(network, videos)
    _held_out.cache_clear()  # a run looks once at what is there
    check_same_classes(videos, _held_out(data_root))
    return TrainingSet(videos, augment, seed)


def collate(samples: Sequence[tuple[Tensor, int]]) -> Batch:
    """Clips uint8 (N, 3, T, S, S), colours last in memory, and labels int64 (N,)."""
    return stack([clip for clip, _ in samples]), torch.tensor([label for _, label in samples])


def loss(model: nn.Module, batch: Batch, recipe: Recipe, moment: Moment) -> Loss:  # noqa: ARG001 - every task's
    """Cross entropy of a micro-batch on the model's device, in float32 whatever precision the network has."""
    clips, labels = batch
    logits = model(normalise(clips))
    return Loss(functional.cross_entropy(logits.float(), labels), (logits.argmax(1) == labels).sum())


def training_metrics(right: float) -> dict[str, float]:
    """Of the part of the training clips that were right."""
    return {"train_top1_err": 100 * (1 - right)}


def validate(
    model: nn.Module, recipe: Recipe, data_root: Path, *, device: torch.device, workers: int = 0
) -> dict[str, float]:
    """Errors on one clip a video, from its middle: the centre crop of the training size, the smallest short side.

    The quick look at an epoch, 30 times cheaper than the paper's protocol, whose numbers come from `evaluate`.
    """
    augment = recipe.augment
    assert isinstance(augment, KineticsAugment)
    clips = TestSet(
        _held_out(data_root),
        length=augment.frames,
        stride=augment.frame_stride,
        resize=augment.short_side[0],
        crop=augment.crop,
        views=(1, 1),
    )
    evaluation = measure(model, clips, device=device, workers=workers)
    return {name: value for name, (value, _, _) in evaluation.metrics.items()}


@lru_cache(1)
def _held_out(data_root: Path) -> VideoSplit:
    """The validation videos, read once a run: a file that comes into their folder later ends no training."""
    return read_kinetics(data_root, VALIDATION_SPLIT)


def _check_augment(augment: KineticsAugment) -> None:
    if min(augment.frames, augment.frame_stride) < 1:
        raise ValueError(
            f"frames and frame_stride must be at least 1, got {augment.frames!r} and {augment.frame_stride!r}"
        )
    low, high = augment.short_side
    if not 1 <= augment.crop <= low <= high:
        raise ValueError(
            f"a crop of {augment.crop} needs a short_side that ascends from {augment.crop}, got {(low, high)}"
        )
