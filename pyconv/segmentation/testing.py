"""How good a segmentation network is on a split, and the label maps that it gives."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from pyconv import confusion, ranks
from pyconv.data.ade20k import Scenes, read_scenes
from pyconv.data.split import DataError
from pyconv.files import publish
from pyconv.numerics import numerics
from pyconv.segmentation.labelling import Labeller
from pyconv.segmentation.windows import Sliding
from pyconv.tasks.values import Evaluation


def evaluate(
    model: nn.Module,
    *,
    data_root: Path,
    split: str = "val",
    crop: int = 473,
    resize: int = 512,
    scales: tuple[float, ...] = (1.0,),
    flip: bool = True,
    batch_size: int | None = None,
    device: torch.device | str = "cpu",
    workers: int = 0,
    predictions: Path | None = None,
) -> Evaluation:
    """miou and pixel_acc of `model` on a split, by the authors' sliding windows: long side `resize` times each scale.

    Standard errors are over the images (bootstrap). A class that is neither labelled nor predicted anywhere is left
    out of the mean. When torch.distributed runs, rank r takes every world_size-th image: each one is counted once and
    every rank gets the whole result, to the last pixel whatever their number. `batch_size`: windows of one image that
    pass the network together; None: by memory. `model` is left as it is. `predictions`: a folder for what is
    predicted, see `predict`.
    """
    if split == "test":
        raise ValueError("the test split has no label maps to measure with; `predict` writes what is predicted")
    scenes, test = read_scenes(data_root, split), Sliding(crop, resize, tuple(scales), flip)
    device, classes = torch.device(device), len(scenes.classes)
    matrix = torch.zeros(classes, classes, dtype=torch.int64, device=device)
    images = torch.zeros(len(scenes), classes, len(confusion.COUNTS), dtype=torch.int64, device=device)
    seen = torch.zeros(len(scenes), dtype=torch.int64, device=device)
    run = _Run(scenes, test, device, workers, batch_size, predictions)
    for index, predicted, labels in run.label(model):
        own = confusion.count(predicted, labels.to(device), classes)
        matrix += own
        images[index] = confusion.class_counts(own)
        seen[index] += 1
    matrix, images, seen = (ranks.sum_over(counts).cpu() for counts in (matrix, images, seen))
    assert bool((seen == 1).all()), "an image was not counted exactly once"
    return _evaluation(matrix, images, crop, scenes)


def predict(
    model: nn.Module,
    *,
    data_root: Path,
    split: str = "test",
    crop: int = 473,
    resize: int = 512,
    scales: tuple[float, ...] = (1.0,),
    flip: bool = True,
    batch_size: int | None = None,
    device: torch.device | str = "cpu",
    workers: int = 0,
    predictions: Path,
) -> int:
    """Write `predictions/<stem>.png` for every photograph of a split; how many, over all ranks.

    8 bits, one channel, the photograph's size, class numbers from 1: as the release's label maps and as its test
    server takes them. A file is complete or not there; one that stands already is replaced. Tested as by `evaluate`.
    """
    scenes, test = read_scenes(data_root, split), Sliding(crop, resize, tuple(scales), flip)
    run = _Run(scenes, test, torch.device(device), workers, batch_size, predictions)
    written = sum(1 for _ in run.label(model))
    return int(ranks.sum_over(torch.tensor(written, device=run.device)))


@dataclass(frozen=True)
class _Run:
    """This rank's share of a split, labelled image by image."""

    scenes: Scenes
    test: Sliding
    device: torch.device
    workers: int
    batch_size: int | None
    predictions: Path | None

    def label(self, model: nn.Module) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Number of an image, its predicted class numbers (H, W), and the true ones, empty in the test split."""
        classes = len(self.scenes.classes)
        if self.predictions is not None:
            self.predictions.mkdir(parents=True, exist_ok=True)
        labeller = Labeller(model, classes, self.test, device=self.device, batch_size=self.batch_size)
        for index, image, labels in self._images():
            predicted = self._labelled(labeller, index, image)
            if self.predictions is not None:
                _write(predicted, self.predictions / f"{self.scenes.stem(index)}.png")
            yield index, predicted, labels

    def _images(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Read ahead by the workers, one image at a time: they differ in size."""
        world = ranks.current()
        own = range(world.rank, len(self.scenes), world.size)
        pinned = self.device.type == "cuda"
        images = _Images(self.scenes)
        return iter(DataLoader(images, None, sampler=own, num_workers=self.workers, pin_memory=pinned))

    def _labelled(self, labeller: Labeller, index: int, image: Tensor) -> Tensor:
        try:
            with numerics(self.device, "fp32"):
                return labeller.label(image)
        except ValueError as error:
            raise DataError(f"{self.scenes.root / self.scenes.images[index]}: {error}") from error


@dataclass(frozen=True)
class _Images(Dataset[tuple[int, Tensor, Tensor]]):
    """Number, photograph uint8 (H, W, 3), class numbers uint8 (H, W) or, of the test split, nothing."""

    scenes: Scenes

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> tuple[int, Tensor, Tensor]:
        image = self.scenes.image(index)
        if not self.scenes.annotations:
            return index, torch.from_numpy(image), torch.empty(0, dtype=torch.uint8)
        labels = self.scenes.labels(index)
        if labels.shape != image.shape[:2]:
            (high, wide), (height, width) = labels.shape, image.shape[:2]
            raise DataError(
                f"{self.scenes.root / self.scenes.annotations[index]}: a label map of {wide}x{high} pixels for a "
                f"photograph of {width}x{height}; the same size is right"
            )
        return index, torch.from_numpy(image), torch.from_numpy(labels)


def _evaluation(matrix: Tensor, images: Tensor, crop: int, scenes: Scenes) -> Evaluation:
    try:
        scores = confusion.scores(matrix)
    except ValueError as error:
        raise DataError(f"{scenes.root}: {scenes.name}: {error}") from error
    errors = confusion.standard_errors(images)
    metrics = {name: (value, len(images), errors[name]) for name, value in scores.items()}
    counts = confusion.per_class(matrix)
    return Evaluation(metrics, len(images), len(scenes), (crop, crop), per_class=counts)


def _write(predicted: Tensor, path: Path) -> None:
    numbers = Image.fromarray(predicted.cpu().numpy() + np.uint8(1))
    publish(path, lambda file: numbers.save(file, "PNG"))
