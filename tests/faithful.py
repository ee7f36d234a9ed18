"""What a run that kept to its recipe leaves in its record."""

from typing import Any

from evidence import CROP, SHA, measurement

from experiments.recipes import imagenet
from experiments.spec import Experiment, Protocol
from pyconv.architectures import resnet
from pyconv.recipe import Recipe
from results.records import Record

TRAINED = 1_281_167  # images of ImageNet's training split
EXPERIMENT = imagenet(resnet(50))


def history(recipe: Recipe, samples: int) -> list[dict[str, Any]]:
    """What a faithful run logs, simulated step by step and image by image."""
    entries = []
    sizes = [
        len(range(start, min(start + recipe.batch_size, samples))) for start in range(0, samples, recipe.batch_size)
    ]
    if recipe.drop_last and sizes[-1] < recipe.batch_size:
        sizes.pop()
    for epoch in range(recipe.epochs):
        lrs: list[list[float]] = []
        for step in range(len(sizes)):
            lr = recipe.lr_at(epoch * len(sizes) + step, len(sizes))
            if lrs and lrs[-1][0] == lr:
                lrs[-1][1] += 1
            else:
                lrs.append([lr, 1])
        entries.append(
            {
                "epoch": epoch + 1,
                "lr": lrs[-1][0],
                "steps": len(sizes),
                "samples": sum(sizes),
                "batch": [min(sizes), max(sizes)],
                "norm_batch": max(max(cut(size, recipe.batch_norm_batch or size)) for size in set(sizes)),
                "input": [getattr(recipe.augment, "crop", 300)] * 2,
                "lrs": lrs,
            }
        )
    return entries


def cut(size: int, micro: int) -> list[int]:
    """A batch in micro-batches; an image that would be alone goes with those before it."""
    parts = [micro] * (size // micro) + ([size % micro] if size % micro else [])
    if len(parts) > 1 and parts[-1] == 1:
        parts[-2:] = [parts[-2] + 1]
    return parts


def faithful(
    experiment: Experiment = EXPERIMENT, protocol: Protocol = CROP, samples: int = TRAINED, **changes: Any
) -> Record:
    """The record of a run that kept to its recipe."""
    counted = protocol.samples or 50_000
    manifest = {"classes": 1000, "sha256": SHA}
    splits = {
        experiment.recipe.split: {"samples": samples, **manifest},
        protocol.split: {"samples": counted, **manifest},
    }
    kept = {
        "history": history(experiment.recipe, samples),
        "data": {"name": protocol.data, "splits": splits},
        "observed": {"input": [protocol.crop, protocol.crop]},
    }
    return measurement(experiment, protocol, **{**kept, **changes})
