"""Videos as tensors: a random clip of each to train, all the views of each to test."""

import random
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset

from pyconv.data import video
from pyconv.data.clip_transforms import crops, random_view, seen
from pyconv.data.clips import random_clip, uniform_clips
from pyconv.data.kinetics import VideoSplit
from pyconv.data.sampling import derive_seed
from pyconv.recipe import KineticsAugment

AT_ONCE = 256 * 2**20
"""Bytes of decoded frames that a worker holds at most while it cuts the views of a video: 340 x 256 fit as a whole."""


@dataclass(frozen=True)
class TrainingSet(Dataset[tuple[Tensor, int]]):
    """Random clips of a split: item (epoch, index) is a function of (seed, epoch, index) alone.

    An item: pixels uint8 (3, T, S, S) and the label. Only the frames from the nearest key frame on are decoded.
    """

    split: VideoSplit
    augment: KineticsAugment
    seed: int

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, visit: tuple[int, int]) -> tuple[Tensor, int]:
        epoch, index = visit
        facts = self.split.facts(index)
        rng = random.Random(derive_seed("sample", self.seed, epoch, index))
        numbers = random_clip(facts.frames, self.augment.frames, self.augment.frame_stride, rng)
        view = random_view((facts.width, facts.height), self.augment, rng)
        return seen(video.frames(self.split.path(index), numbers, facts), view), self.split.label(index)


@dataclass(frozen=True)
class TestSet(Dataset[tuple[Tensor, int, int]]):
    """All views of each video, with its label and number: uint8 (v, 3, T, crop, crop), one clip's views together.

    `views`: clips at most, spread evenly over the video, and crops of each; v is smaller where fewer clips fit.
    """

    __test__ = False  # not a class of tests

    split: VideoSplit
    length: int
    stride: int
    resize: int
    crop: int
    views: tuple[int, int] = (10, 3)

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
        facts = self.split.facts(index)
        clips = uniform_clips(facts.frames, self.length, self.stride, self.views[0])
        numbers = sorted({number for clip in clips for number in clip})  # clips overlap: each frame is decoded once
        squares = self._squares(index, numbers)
        places = {number: place for place, number in enumerate(numbers)}
        chosen = torch.tensor([[places[number] for number in clip] for clip in clips])
        # (crops, 3, clips, T, S, S) -> (clips, crops, 3, T, S, S) -> one clip's views together
        views = squares[:, :, chosen].permute(2, 0, 1, 3, 4, 5).flatten(0, 1)
        return views.contiguous(), self.split.label(index), index

    def _squares(self, index: int, numbers: list[int]) -> Tensor:
        """The crops of these frames, ascending: uint8 (crops, 3, frames, crop, crop)."""
        path, facts = self.split.path(index), self.split.facts(index)
        count = max(1, AT_ONCE // (3 * facts.height * facts.width))
        parts = [
            crops(video.frames(path, numbers[start : start + count], facts), self.resize, self.crop, self.views[1])
            for start in range(0, len(numbers), count)
        ]
        return torch.cat(parts, 2)
