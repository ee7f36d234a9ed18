"""A training step and a test pass of PyConvResNet-50 end to end: JPEG files in, weights or errors out.

The authors' way: eager, NCHW, PIL and ImageFolder, one after the other in one process, torch's default SGD. Ours is
what `pyconv.train` and `evaluate` do: channels last, fused SGD, crops decoded by a reader beside it,
batch norms folded for the test. Same network, batch, threads and photographs.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

from pyconv.architectures import pyconvresnet
from pyconv.bench import feeding, photographs
from pyconv.bench.paired import Comparison, compare
from pyconv.data.imagenet import TrainingSet
from pyconv.data.manifest import read_split
from pyconv.data.sampling import MicroBatch, Moment
from pyconv.optimisation import Optimisation
from pyconv.recipe import ImageNetAugment, Recipe
from pyconv.tasks import imagenet
from pyconv.tasks.values import Loss

AIM = 1.5
BATCH = feeding.BATCH
AUGMENT = ImageNetAugment(crop=224)
RECIPE = Recipe("photographs", 90, BATCH, 0.1, AUGMENT, batch_norm_batch=BATCH)


def bench(rounds: int = 5) -> list[Comparison]:
    """A training step of 32 images and a test pass over 64."""
    network = replace(pyconvresnet(50), num_classes=photographs.CLASSES)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        photographs.write(root, 2 * BATCH)
        plain, own = network.build(seed=0), network.build(seed=0)
        steps = _authors_step(plain, root), _our_step(own, root)
        training = compare(f"training step, {BATCH} images", BATCH, *steps, rounds)
        passes = _authors_test(plain, root), _our_test(own, root)
        testing = compare(f"test pass, {2 * BATCH} images", 2 * BATCH, *passes, rounds)
    return [training, testing]


def _authors_step(model: nn.Module, root: Path) -> Callable[[], None]:
    batches = _for_ever(feeding.authors_training(root, workers=0))
    sgd = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)

    def step() -> None:
        images, labels = next(batches)
        model.train()
        loss = functional.cross_entropy(model(images), labels)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        loss.item()

    return step


def _our_step(model: nn.Module, root: Path) -> Callable[[], None]:
    own = Optimisation(model, RECIPE, torch.device("cpu"))
    own.lr = RECIPE.lr
    images = TrainingSet(read_split(root, "train"), AUGMENT, seed=0)
    visits = [[(epoch, start + i) for i in range(BATCH)] for epoch in range(1000) for start in (0, BATCH)]
    batches = iter(DataLoader(images, batch_sampler=visits, collate_fn=imagenet.collate, num_workers=1))
    micro = MicroBatch(0, tuple(range(BATCH)), 1.0)

    def loss_of(model: nn.Module, batch: Any, micro: MicroBatch) -> Loss:
        return imagenet.loss(model, batch, RECIPE, Moment(0, 0, 0, micro.number))

    def step() -> None:
        own.step([(micro, next(batches))], 1, loss_of).tolist()

    return step


def _authors_test(model: nn.Module, root: Path) -> Callable[[], None]:
    def test() -> None:
        model.eval()
        right = 0
        with torch.no_grad():
            for images, labels in feeding.authors_test(root):
                right += int((model(images).argmax(1) == labels).sum())

    return test


def _our_test(model: nn.Module, root: Path) -> Callable[[], object]:
    return lambda: imagenet.evaluate(model, data_root=root, batch_size=BATCH, workers=1)


def _for_ever(loader: Any) -> Iterator[Any]:
    while True:
        yield from loader
