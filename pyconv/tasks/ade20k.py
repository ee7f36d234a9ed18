"""Scene parsing (section 5 of the paper, Tables 5-7): random crops, two losses, and miou and pixel_acc in percent.

Trained as the authors did on semseg. Testing by the paper's protocol is `pyconv.segmentation`.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from pyconv import confusion, ranks
from pyconv.architectures import Network, SegNet
from pyconv.data.ade20k import IGNORE, Scenes, manifest, read_scenes
from pyconv.data.imagenet import normalise, stack
from pyconv.data.sampling import Moment
from pyconv.data.scene_sets import CentreCrops, TrainingSet
from pyconv.data.split import DataError
from pyconv.data.warping import TAPS
from pyconv.models.folded import folded
from pyconv.models.segmentation import SegNet as SegNetModule
from pyconv.numerics import numerics
from pyconv.recipe import Ade20kAugment, Recipe
from pyconv.segmentation import evaluate
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
SELECTED_BY = Selection("miou", "higher")
TESTED_BY = ("crop", "resize", "scales", "flip")
"""What of a protocol `evaluate` takes."""
PREDICTS = True
"""Whether `evaluate` can keep what the network predicts."""
VALIDATED_TOGETHER = 4
"""Crops: at 473 pixels and 150 classes their logits take half a gigabyte."""

Batch = tuple[Tensor, Tensor]


def training_set(network: Network, recipe: Recipe, data_root: Path, *, seed: int) -> TrainingSet:
    """The augmented photographs of `recipe.split`; refuses data and networks that do not fit the recipe."""
    if not isinstance(network, SegNet):
        raise ValueError(f"{network.name}: ADE20K's task trains a SegNet, a backbone with a segmentation head")
    augment = recipe.augment
    if not isinstance(augment, Ade20kAugment):
        raise ValueError(f"{recipe.data}: augment must be an Ade20kAugment, got {type(augment).__name__}")
    if recipe.auxiliary_weight and not network.auxiliary:
        raise ValueError(
            f"{network.name} has no auxiliary head for an auxiliary_weight of {recipe.auxiliary_weight:g}: use 0, or a "
            f"network with auxiliary=True"
        )
    _check_augment(augment)
    scenes = read_scenes(data_root, recipe.split)
    if not scenes.annotations:
        raise DataError(f"{data_root}: split {recipe.split} has no label maps to train with; use train or train+val")
    _check_classes(scenes, network.num_classes)
    return TrainingSet(scenes, augment, seed)


def collate(samples: Sequence[tuple[Tensor, Tensor]]) -> Batch:
    """Colours float32 (N, 3, H, W), 0-255, channels last in memory, and labels int64 (N, H, W)."""
    return stack([image for image, _ in samples]), torch.stack([labels for _, labels in samples]).long()


def collate_crops(samples: Sequence[tuple[Tensor, Tensor, int]]) -> tuple[Tensor, Tensor, Tensor]:
    """As `collate`, with the photographs' numbers (N,)."""
    return *collate([sample[:2] for sample in samples]), torch.tensor([sample[2] for sample in samples])


def loss(model: nn.Module, batch: Batch, recipe: Recipe, moment: Moment) -> Loss:  # noqa: ARG001 - every task's
    """CE(out) + auxiliary_weight * CE(aux), each the mean over the labelled pixels of the micro-batch.

    A micro-batch without any has the loss 0. As in semseg, where each GPU takes the mean over its own photographs,
    those with few labelled pixels count less within a micro-batch, and micro-batches count by how many photographs they
    hold: the gradient depends on how a batch is cut, and for a fixed cut not on the number of ranks.
    `correct`: the sum over photographs of the part of the labelled pixels that is right; 1 where none is labelled.
    """
    images, labels = normalise(batch[0].clone()), batch[1]  # in place, and the batch is the caller's
    outputs = model(images)
    mean = _cross_entropy(outputs["out"], labels)
    if "aux" in outputs:  # with a weight of 0 too: ranks wait for the gradients of all that a network gives
        mean = mean + recipe.auxiliary_weight * _cross_entropy(outputs["aux"], labels)
    return Loss(mean, _right(outputs["out"].detach(), labels).sum())


def training_metrics(right: float) -> dict[str, float]:
    """Of the part of the labelled pixels that was right, in the mean over photographs."""
    return {"train_pixel_acc": 100 * right}


def validate(
    model: nn.Module, recipe: Recipe, data_root: Path, *, device: torch.device, workers: int = 0
) -> dict[str, float]:
    """miou and pixel_acc of the validation split's centre crops, each photograph once over all ranks.

    The quick look at an epoch that semseg takes too: one crop of the training size from the middle of each photograph
    at its own size. Not the numbers of the paper's protocol, which come from `evaluate`.
    """
    assert isinstance(recipe.augment, Ade20kAugment)
    crops = CentreCrops(read_scenes(data_root, VALIDATION_SPLIT), recipe.augment.crop)
    classes, world = len(crops.scenes.classes), ranks.current()
    counts = torch.zeros(classes, classes, dtype=torch.int64, device=device)
    counted = torch.zeros(len(crops), dtype=torch.int64, device=device)
    loader = DataLoader(
        crops,
        VALIDATED_TOGETHER,
        sampler=range(world.rank, len(crops), world.size),
        num_workers=workers,
        collate_fn=collate_crops,
        pin_memory=device.type == "cuda",
    )
    network = _without_auxiliary(folded(model))
    with numerics(device, "fp32"), torch.inference_mode():
        for pixels, labels, numbers in loader:
            logits = network(normalise(pixels.to(device, non_blocking=True)))["out"]
            _check_logits(logits, crops.scenes)
            counts += confusion.count(logits.argmax(1), labels.to(device), classes)
            counted[numbers.to(device)] += 1
    assert bool((ranks.sum_over(counted) == 1).all()), "a photograph was not counted exactly once"
    return confusion.scores(ranks.sum_over(counts).cpu())


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean over labelled pixels in float32, whatever precision the network has; 0 where there are none."""
    # Summed in a second step: CUDA's kernel for a sum of pixels does not repeat itself to the bit.
    pixels = functional.cross_entropy(logits.float(), labels, ignore_index=IGNORE, reduction="none")
    return pixels.sum() / (labels != IGNORE).sum().clamp(min=1)


def _right(logits: Tensor, labels: Tensor) -> Tensor:
    """Of each photograph (N,) the part of its labelled pixels where the largest logit is right; 1 of none."""
    labelled = (labels != IGNORE).sum((1, 2))
    right = (logits.argmax(1) == labels).sum((1, 2))
    return torch.where(labelled > 0, right / labelled.clamp(min=1), 1.0)


def _without_auxiliary(network: nn.Module) -> nn.Module:
    """The network, of which only "out" is asked."""
    if isinstance(network, SegNetModule):
        network.aux = None
    return network


def _check_augment(augment: Ade20kAugment) -> None:
    if augment.blur_kernel not in TAPS:
        raise ValueError(f"blur_kernel must be one of {', '.join(map(str, TAPS))}, got {augment.blur_kernel!r}")
    if augment.ignore_label != IGNORE:
        raise ValueError(f"ignore_label must be {IGNORE}, what the reader gives, got {augment.ignore_label!r}")
    if augment.crop < 1 or not 0 < augment.scale[0] <= augment.scale[1]:
        raise ValueError(f"crop must be at least 1 and scale ascend from above 0, got {augment.crop}, {augment.scale}")


def _check_classes(scenes: Scenes, num_classes: int) -> None:
    if len(scenes.classes) != num_classes:
        raise DataError(
            f"{scenes.root}: {len(scenes.classes)} classes for a network of {num_classes}; build the network with "
            f"num_classes={len(scenes.classes)} or give the data set it is meant for"
        )


def _check_logits(logits: Tensor, scenes: Scenes) -> None:
    _check_classes(scenes, logits.shape[1])
    if not bool(torch.isfinite(logits).all()):
        raise ValueError(f"{scenes.root / scenes.name}: the network gives NaN or Inf; its weights are not usable")
