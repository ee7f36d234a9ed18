"""How fast one core feeds a network: JPEG file to normalised batch, the authors' way (PIL, ImageFolder) and ours.

RandomResizedCrop(224), flip, normalise. "On one core": one process does everything, the normalisation too, which a GPU
would do for us. "By one worker": a process reads as in a training, ours hands on bytes that are normalised elsewhere.
Test images are compared as well: there both sides use PIL, because half a point hangs on its pixels.
"""

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from pyconv.bench import photographs
from pyconv.bench.paired import Comparison, compare
from pyconv.data.imagenet import MEAN, STD, TestSet, TrainingSet, normalise
from pyconv.data.manifest import read_split
from pyconv.data.pixels import PARTIAL
from pyconv.recipe import ImageNetAugment
from pyconv.tasks.imagenet import collate, collate_test

BATCH = 32
AIM = 2.0


def bench(images: int = 256, rounds: int = 7) -> tuple[list[Comparison], float]:
    """Training images on one core and by one worker, test images on one core; and the mean size of a file in bytes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            size = photographs.write(root, images)
            found = [
                compare(name, images, _drain(plain), _drain(ours), rounds)
                for name, plain, ours in (
                    ("training images, on one core", authors_training(root, 0), our_training(root, 0)),
                    ("training images, by one worker", authors_training(root, 1), our_training(root, 1)),
                    ("test images, on one core", authors_test(root), our_test(root)),
                )
            ]
    finally:
        torch.set_num_threads(threads)
    return found, size


def decoder() -> str:
    """Whether crops are decoded alone here."""
    return "built" if PARTIAL is not None else "not built (no libjpeg-turbo headers): whole images are decoded"


def authors_training(root: Path, workers: int) -> Iterable[Any]:
    """As the released script: PIL images to float tensors, normalised image by image."""
    crops = [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip()]
    images = ImageFolder(root / "train", _to_tensor(crops))
    return DataLoader(images, BATCH, shuffle=True, num_workers=workers, persistent_workers=bool(workers))


def authors_test(root: Path) -> Iterable[Any]:
    """As the released script: short side to 256, centre 224."""
    crops = [transforms.Resize(256), transforms.CenterCrop(224)]
    return DataLoader(ImageFolder(root / "val", _to_tensor(crops)), BATCH)


def our_training(root: Path, workers: int) -> Iterable[Any]:
    """As `pyconv.train` reads."""
    images = TrainingSet(read_split(root, "train"), ImageNetAugment(crop=224), seed=0)
    order = torch.randperm(len(images)).tolist()
    visits = [[(0, index) for index in order[start : start + BATCH]] for start in range(0, len(order), BATCH)]
    return DataLoader(
        images,
        batch_sampler=visits,
        collate_fn=collate,
        num_workers=workers,
        persistent_workers=bool(workers),
    )


def our_test(root: Path) -> Iterable[Any]:
    """As `pyconv.tasks.imagenet.evaluate` reads."""
    return DataLoader(TestSet(read_split(root, "val"), 224, 256), BATCH, collate_fn=collate_test)


def _drain(loader: Iterable[Any]) -> Callable[[], None]:
    def all_of_it() -> None:
        for pixels, *_ in loader:
            if pixels.dtype == torch.uint8:
                normalise(pixels)

    return all_of_it


def _to_tensor(before: list[Any]) -> Any:
    return transforms.Compose([*before, transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
