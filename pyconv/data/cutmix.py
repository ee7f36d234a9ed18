"""CutMix (Yun et al., ICCV 2019): a box of each image is replaced by the same box of another image of the batch.

The box has the area `1 - lambda` of the image, lambda ~ Beta(beta, beta), and is clipped at the borders; the labels
are mixed by the area that remains after clipping.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from pyconv.data.sampling import Moment, derive_seed

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class CutMix:
    """`box`: (top, bottom, left, right) in pixels. `kept`: the part of the image outside it, and its label's weight."""

    box: Box
    kept: float

    def mix(self, images: Tensor, partner: Tensor) -> Tensor:
        """Images (N, C, H, W) with the box of `images[partner]` pasted in."""
        top, bottom, left, right = self.box
        mixed = images.clone()
        mixed[:, :, top:bottom, left:right] = images[partner, :, top:bottom, left:right]
        return mixed


def draw_cutmix(moment: Moment, size: Sequence[int], *, probability: float, beta: float) -> CutMix | None:
    """The CutMix of a step for images of `size` (H, W), or None: one draw for all its micro-batches."""
    rng = random.Random(derive_seed("cutmix", moment.seed, moment.epoch, moment.step))
    if rng.random() >= probability:
        return None
    return cut(rng.betavariate(beta, beta), size, (rng.randrange(size[0]), rng.randrange(size[1])))


def cut(lam: float, size: Sequence[int], centre: Sequence[int]) -> CutMix:
    """The box of sides `sqrt(1 - lam)` times H and W around `centre`, clipped at the borders of the image."""
    sides = [int(length * sqrt(1 - lam)) for length in size]
    top, left = (max(middle - side // 2, 0) for middle, side in zip(centre, sides, strict=True))
    bottom, right = (min(middle + side // 2, length) for middle, side, length in zip(centre, sides, size, strict=True))
    return CutMix((top, bottom, left, right), 1 - (bottom - top) * (right - left) / (size[0] * size[1]))


def draw_partners(moment: Moment, images: int) -> Tensor:
    """Whose box each image of a micro-batch gets: a permutation of the micro-batch."""
    key = derive_seed("partner", moment.seed, moment.epoch, moment.step, moment.micro)
    return torch.randperm(images, generator=torch.Generator().manual_seed(key))
