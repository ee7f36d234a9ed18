"""Object detection (appendix A.1, Table 8): SSD's crops, its loss, and COCO's twelve numbers in percent.

Trained as NVIDIA's SSD300 for COCO, whose settings the paper shares. Testing is `pyconv.detection`.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from pyconv.architectures import Network
from pyconv.data.coco import manifest, read_coco
from pyconv.data.detection_sets import TrainingSet
from pyconv.data.imagenet import normalise, stack
from pyconv.data.sampling import Moment
from pyconv.detection.loss import multibox_loss
from pyconv.detection.matching import Matched, Targets, match
from pyconv.detection.testing import evaluate, fitting
from pyconv.models.ssd import default_boxes
from pyconv.recipe import CocoAugment, Recipe
from pyconv.tasks.values import Loss, Selection

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
SELECTED_BY = Selection("ap", "higher")
TESTED_BY = ("crop",)
"""What of a protocol `evaluate` takes: the image is stretched to the crop, whatever `resize` says."""
PREDICTS = True
"""Whether `evaluate` can keep what the network predicts."""

Batch = tuple[Tensor, Tensor, Tensor]


def training_set(network: Network, recipe: Recipe, data_root: Path, *, seed: int) -> TrainingSet:
    """The augmented images of `recipe.split` that show an object; refuses data and networks that do not fit."""
    augment = recipe.augment
    if not isinstance(augment, CocoAugment):
        raise ValueError(f"{recipe.data}: augment must be a CocoAugment, got {type(augment).__name__}")
    images = read_coco(data_root, recipe.split)
    fitting(network, images, augment.size)
    return TrainingSet(images, augment, seed)


def collate(samples: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Batch:
    """Images uint8 (N, 3, S, S), boxes float32 (N, G, 4), labels int64 (N, G): G of the fullest image, 0 for no box."""
    boxes = nn.utils.rnn.pad_sequence([sample[1] for sample in samples], batch_first=True)
    labels = nn.utils.rnn.pad_sequence([sample[2] for sample in samples], batch_first=True)
    return stack([sample[0] for sample in samples]), boxes, labels


def loss(model: nn.Module, batch: Batch, recipe: Recipe, moment: Moment) -> Loss:  # noqa: ARG001 - every task's
    """The mean over images of (SmoothL1 + cross entropy with 3:1 hard negatives) / positives (Liu et al., ECCV 2016).

    `correct`: the sum over images of the part of the positive default boxes whose class has the largest score.
    """
    pixels, boxes, labels = batch
    defaults = _defaults(pixels.shape[-1], pixels.device)
    matched = match(Targets(boxes, labels), defaults)
    locations, scores = model(normalise(pixels))
    return Loss(multibox_loss(locations, scores, matched).mean(), _right(scores.detach(), matched).sum())


def training_metrics(right: float) -> dict[str, float]:
    """Of the part of the positive default boxes whose class was right, in the mean over images."""
    return {"train_class_acc": 100 * right}


def validate(
    model: nn.Module, recipe: Recipe, data_root: Path, *, device: torch.device, workers: int = 0
) -> dict[str, float]:
    """COCO's twelve numbers on the validation split."""
    assert isinstance(recipe.augment, CocoAugment)
    size = recipe.augment.size
    evaluation = evaluate(model, data_root=data_root, crop=size, device=device, workers=workers, errors=False)
    return {name: value for name, (value, _, _) in evaluation.metrics.items()}


@lru_cache(4)
def _defaults(image_size: int, device: torch.device) -> Tensor:
    return default_boxes(image_size).to(device)


def _right(scores: Tensor, matched: Matched) -> Tensor:
    """Of each image (N,) the part of the positive default boxes whose class is right; 1 where there is none."""
    positive = matched.labels > 0
    right = (positive & (scores.argmax(-1) == matched.labels)).sum(1)
    return torch.where(positive.any(1), right / positive.sum(1).clamp(min=1), 1.0)
