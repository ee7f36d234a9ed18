"""Images with their boxes as tensors: random views to train, whole images to test, all stretched to one square."""

import random
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from pyconv.data.coco import CocoSplit, clipped
from pyconv.data.contents import read
from pyconv.data.detection_transforms import placed, random_view, seen
from pyconv.data.pixels import Picture
from pyconv.data.sampling import derive_seed
from pyconv.data.split import DataError
from pyconv.recipe import CocoAugment


@dataclass(frozen=True)
class TrainingSet(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Random views of the trainable images: item (epoch, index) is a function of (seed, epoch, index) alone.

    `index`: a place in `split.trainable`. An item: pixels uint8 (3, S, S), boxes float32 (g, 4), corners in units
    of the square's side, and labels int64 (g,), with g >= 1.
    """

    split: CocoSplit
    augment: CocoAugment
    seed: int

    def __len__(self) -> int:
        return len(self.split.trainable)

    def __getitem__(self, visit: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        epoch, index = visit
        image = int(self.split.trainable[index])
        picture = picture_of(self.split, image)
        boxes, labels = objects(self.split, image)
        rng = random.Random(derive_seed("sample", self.seed, epoch, index))
        view = random_view(picture.size, boxes, self.augment, rng)
        corners, numbers = placed(boxes, labels, view)
        return seen(picture, view, self.augment.size), torch.from_numpy(corners), torch.from_numpy(numbers)


@dataclass(frozen=True)
class TestSet(Dataset[tuple[Tensor, int]]):
    """All images of a split as they are, with their numbers: pixels uint8 (3, size, size), index."""

    __test__ = False  # not a class of tests

    split: CocoSplit
    size: int

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        picture = picture_of(self.split, index)
        return picture.resized((0, 0, *picture.size), self.size), index


def objects(split: CocoSplit, image: int) -> tuple[np.ndarray, np.ndarray]:
    """What is to be learnt of image `image`: boxes float64 (g, 4), corners in pixels, cut to it, and labels int64 (g,).

    Without crowds, which stand for many objects, and without what has no area in the image.
    """
    told = split.annotations(image)
    boxes = clipped(told.boxes, split.sizes[image])
    usable = ~told.crowd & (boxes[:, 2:] > boxes[:, :2]).all(1)
    return boxes[usable], told.labels[usable]


def picture_of(split: CocoSplit, image: int) -> Picture:
    """Image `image`, of which nothing is decoded yet. Raises `DataError` naming the file when it is of another size."""
    path = split.path(image)
    picture = Picture(read(path), path)
    height, width = split.sizes[image].tolist()
    if picture.size != (width, height):
        found = f"{picture.size[0]} x {picture.size[1]}"
        raise DataError(f"{path}: {found} pixels, the annotations say {width} x {height}; replace the file")
    return picture
