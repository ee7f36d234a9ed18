"""Crops of photographs with their label maps as tensors: random ones to train, the middle ones to look at an epoch."""

import random
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from pyconv.data.ade20k import Scenes
from pyconv.data.sampling import derive_seed
from pyconv.data.scene_transforms import View, centre_view, random_view, seen
from pyconv.data.split import DataError
from pyconv.recipe import Ade20kAugment


@dataclass(frozen=True)
class TrainingSet(Dataset[tuple[Tensor, Tensor]]):
    """Random views of a split: item (epoch, index) is a function of (seed, epoch, index) alone.

    An item: colours float32 (3, crop, crop), 0-255, and labels uint8 (crop, crop).
    """

    scenes: Scenes
    augment: Ade20kAugment
    seed: int

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, visit: tuple[int, int]) -> tuple[Tensor, Tensor]:
        epoch, index = visit
        image, labels = _read(self.scenes, index)
        rng = random.Random(derive_seed("sample", self.seed, epoch, index))
        height, width = labels.shape
        return _tensors(image, labels, random_view((height, width), self.augment, rng))


@dataclass(frozen=True)
class CentreCrops(Dataset[tuple[Tensor, Tensor, int]]):
    """The middle of every photograph of a split at its own size, padded where it is smaller; with its number."""

    scenes: Scenes
    crop: int

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, int]:
        image, labels = _read(self.scenes, index)
        height, width = labels.shape
        return *_tensors(image, labels, centre_view((height, width), self.crop)), index


def _read(scenes: Scenes, index: int) -> tuple[np.ndarray, np.ndarray]:
    image, labels = scenes.image(index), scenes.labels(index)
    if image.shape[:2] != labels.shape:
        raise DataError(
            f"{scenes.root / scenes.annotations[index]}: {labels.shape[1]} x {labels.shape[0]} labels for a photograph "
            f"of {image.shape[1]} x {image.shape[0]} pixels; they must be of one size"
        )
    return image, labels


def _tensors(image: np.ndarray, labels: np.ndarray, view: View) -> tuple[Tensor, Tensor]:
    colours, numbers = seen(image, labels, view)
    return torch.from_numpy(colours).permute(2, 0, 1), torch.from_numpy(numbers)
