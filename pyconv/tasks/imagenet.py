"""Image classification (section 6.1 of the paper): training images, the loss, and top-1 / top-5 error in percent.

A task is a module with the same few functions: `training_set`, `collate`, `loss`, `training_metrics`, `validate`,
`evaluate`, `manifest`, and the constants `VALIDATION_SPLIT`, `SELECTED_BY`, `TESTED_BY`, `PREDICTS`.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from pyconv import ranks
from pyconv.architectures import Network, ResNet
from pyconv.data.cutmix import draw_cutmix, draw_partners
from pyconv.data.imagenet import TestSet, TrainingSet, normalise, stack
from pyconv.data.manifest import DataError, Split, manifest, read_split
from pyconv.data.sampling import Moment
from pyconv.models.folded import folded
from pyconv.numerics import numerics
from pyconv.recipe import ImageNetAugment, Recipe
from pyconv.tasks.error_rates import Tally
from pyconv.tasks.same_classes import check_same_classes
from pyconv.tasks.values import Evaluation, Loss, Selection

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
TESTED_BY = ("crop", "resize")
"""What of a protocol `evaluate` takes."""
PREDICTS = False
"""Whether `evaluate` can keep what the network predicts."""
TEST_RATIO = 256 / 224
"""Short side over crop in the authors' test."""

Batch = tuple[Tensor, Tensor]


def training_set(network: Network, recipe: Recipe, data_root: Path, *, seed: int) -> TrainingSet:
    """The augmented images of `recipe.split`; refuses data whose classes are not the network's."""
    if not isinstance(network, ResNet) or network.dims != 2:
        raise ValueError(f"{network.name}: ImageNet's task trains a 2-D classifier, a ResNet of dims=2")
    if not isinstance(recipe.augment, ImageNetAugment):
        raise ValueError(f"{recipe.data}: augment must be an ImageNetAugment, got {type(recipe.augment).__name__}")
    split = read_split(data_root, recipe.split)
    _check_classes(split, network.num_classes)
    check_same_classes(split, read_split(data_root, VALIDATION_SPLIT))
    return TrainingSet(split, recipe.augment, seed)


def collate(samples: Sequence[tuple[Tensor, int]]) -> Batch:
    """Images uint8 (N, 3, H, W) and labels int64 (N,)."""
    return stack([image for image, _ in samples]), torch.tensor([label for _, label in samples])


def collate_test(samples: Sequence[tuple[Tensor, int, int]]) -> tuple[Tensor, Tensor, Tensor]:
    """Images uint8 (N, 3, H, W), labels int64 (N,) and the images' numbers (N,)."""
    labels, numbers = (torch.tensor([sample[place] for sample in samples]) for place in (1, 2))
    return stack([sample[0] for sample in samples]), labels, numbers


def loss(model: nn.Module, batch: Batch, recipe: Recipe, moment: Moment) -> Loss:
    """Cross entropy of a micro-batch on the model's device; with CutMix `kept * CE(own) + (1 - kept) * CE(partner)`."""
    assert isinstance(recipe.augment, ImageNetAugment)
    images, labels = normalise(batch[0]), batch[1]
    mixing = draw_cutmix(
        moment, images.shape[-2:], probability=recipe.augment.cutmix_prob, beta=recipe.augment.cutmix_beta
    )
    if mixing is None:
        return _cross_entropy(model(images), labels)
    partner = draw_partners(moment, len(images)).to(images.device)
    logits = model(mixing.mix(images, partner))
    own, other = _cross_entropy(logits, labels), _cross_entropy(logits, labels[partner])
    kept = mixing.kept
    return Loss(kept * own.mean + (1 - kept) * other.mean, kept * own.correct + (1 - kept) * other.correct)


def training_metrics(right: float) -> dict[str, float]:
    """Of the part of the training images that were right."""
    return {"train_top1_err": 100 * (1 - right)}


def validate(
    model: nn.Module, recipe: Recipe, data_root: Path, *, device: torch.device, workers: int = 0
) -> dict[str, float]:
    """Errors on the validation split at the training crop, resized as the authors do for theirs (224: 256).

    A recipe that trains on whole images, without random crops, is validated on whole images.
    """
    assert isinstance(recipe.augment, ImageNetAugment)
    crop = recipe.augment.crop
    resize = crop if recipe.augment.scale == (1, 1) else round(crop * TEST_RATIO)
    evaluation = evaluate(model, data_root=data_root, crop=crop, resize=resize, device=device, workers=workers)
    return {name: value for name, (value, _, _) in evaluation.metrics.items()}


def evaluate(
    model: nn.Module,
    *,
    data_root: Path,
    split: str = VALIDATION_SPLIT,
    crop: int = 224,
    resize: int = 256,
    batch_size: int = 250,
    device: torch.device | str = "cpu",
    workers: int = 0,
) -> Evaluation:
    """top1_err and top5_err of `model` on a split: short side to `resize`, centre `crop`, eval mode, float32.

    When torch.distributed runs, rank r takes every world_size-th image: each one is counted once and every rank gets
    the whole result. `batch_size` is a rank's and changes speed only. `model` is left as it is: a copy with folded
    batch norms is tested, the same function up to float32's rounding.
    """
    images = TestSet(read_split(data_root, split), crop, resize)
    world = ranks.current()
    device = torch.device(device)
    tally = Tally(len(images), device)
    sizes: set[tuple[int, int]] = set()
    own = range(world.rank, len(images), world.size)
    loader = DataLoader(
        images,
        batch_size,
        sampler=own,
        num_workers=workers,
        collate_fn=collate_test,
        pin_memory=device.type == "cuda",
    )
    network = folded(model)
    with numerics(device, "fp32"), torch.inference_mode():
        for pixels, labels, numbers in loader:
            entering = normalise(pixels.to(device, non_blocking=True))
            sizes.add((entering.shape[-2], entering.shape[-1]))
            logits = network(entering)
            _check_logits(logits, images.split)
            tally.add(numbers.to(device), logits, labels.to(device))
    (size,) = ranks.from_first(sizes)  # rank 0 has an image whenever there is one
    return tally.evaluation(size)


def _cross_entropy(logits: Tensor, labels: Tensor) -> Loss:
    return Loss(functional.cross_entropy(logits.float(), labels), (logits.argmax(1) == labels).sum())


def _check_classes(split: Split, num_classes: int) -> None:
    if len(split.classes) != num_classes:
        raise DataError(
            f"{split.root / split.name}: {len(split.classes)} class folders for a network of {num_classes} classes; "
            f"build the network with num_classes={len(split.classes)} or give the data set it is meant for"
        )


def _check_logits(logits: Tensor, split: Split) -> None:
    if logits.shape[1] != len(split.classes):
        _check_classes(split, logits.shape[1])
    if not bool(torch.isfinite(logits).all()):
        raise ValueError(f"{split.root / split.name}: the network gives NaN or Inf; its weights are not usable")
