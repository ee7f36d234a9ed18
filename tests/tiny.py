"""A training of seconds: a narrow network on a few dozen of the real digits, as a job on this machine."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from experiments.spec import Experiment, Protocol
from pyconv.architectures import PYRAMIDS, ResNet, Stage
from pyconv.data import digits as packaged
from pyconv.recipe import ImageNetAugment, Recipe
from slurm.job import Job

TRAINED, TESTED = 40, 20  # images
CROP = Protocol("crop16", "digits", crop=16, resize=16, samples=TESTED)


def experiment(epochs: int = 2, **changes: Any) -> Experiment:
    """`changes`: of the experiment, e.g. seed."""
    stages = (Stage(1, 8, 8, 2, PYRAMIDS[1]), Stage(1, 8, 8, 2, PYRAMIDS[1]))
    network = ResNet("basic", stages, "stem", num_classes=10, name="tiny")
    recipe = Recipe(
        data="digits", epochs=epochs, batch_size=10, lr=0.01, augment=ImageNetAugment(crop=16, scale=(0.5, 1.0), flip=0)
    )
    return replace(Experiment("imagenet", network, recipe), **changes)


def digits(folder: Path) -> Path:
    """A few images of every class of the packaged digits, in ImageNet's layout, as `prepare` would write them."""
    images, labels = packaged.digits()
    held_out = np.arange(len(labels)) % packaged.HELD_OUT == packaged.HELD_OUT - 1
    for split, chosen, number in (("train", ~held_out, TRAINED), ("val", held_out, TESTED)):
        for label in range(10):
            of_class = folder / "digits" / split / str(label)
            of_class.mkdir(parents=True)
            for row in np.flatnonzero(chosen & (labels == label))[: number // 10]:
                Image.fromarray(images[row]).save(of_class / f"{row:04}.png", compress_level=0)
    return folder / "digits"


def job(folder: Path, data: Path, **changes: Any) -> Job:
    """A job with its records and runs below `folder`."""
    whole = Job(
        experiment(),
        (CROP,),
        records=folder / "records",
        runs=folder / "runs",
        data={"digits": data},
        device="cpu",
        mini=True,
    )
    return replace(whole, **changes)
