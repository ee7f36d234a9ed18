"""What the network sees of a clip (appendix A.2): short side resized, cropped, mirrored, all its frames alike."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from pyconv.data.clips import spread
from pyconv.recipe import KineticsAugment


@dataclass(frozen=True)
class View:
    """A square of `side` pixels at `left`, `top` of frames that were resized to `size` (width, height)."""

    size: tuple[int, int]
    left: int
    top: int
    side: int
    flipped: bool = False


def random_view(size: tuple[int, int], augment: KineticsAugment, rng: random.Random) -> View:
    """A draw for frames of `size` (width, height): the short side, from whole numbers, the place, and the flip."""
    width, height = resized = scaled(size, rng.randint(*augment.short_side))
    side = _fitting(augment.crop, resized)
    left, top = rng.randint(0, width - side), rng.randint(0, height - side)
    return View(resized, left, top, side, rng.random() < augment.flip)


def seen(frames: Tensor, view: View) -> Tensor:
    """The pixels of a view of frames uint8 (T, 3, H, W): uint8 (3, T, side, side)."""
    resized = _resized(frames, view.size)
    pixels = resized[:, :, view.top : view.top + view.side, view.left : view.left + view.side]
    return (pixels.flip(-1) if view.flipped else pixels).transpose(0, 1).contiguous()


def crops(frames: Tensor, resize: int, crop: int, count: int) -> Tensor:
    """`count` squares spread along the longer side of frames uint8 (T, 3, H, W): uint8 (count, 3, T, crop, crop).

    Of frames whose short side is resized to `resize`: left, middle and right, or top, middle and bottom, if there are
    three. Along the short side they lie in the middle.
    """
    width, height = scaled((frames.shape[3], frames.shape[2]), resize)
    side = _fitting(crop, (width, height))
    resized = _resized(frames, (width, height))
    squares = [
        resized[:, :, top : top + side, left : left + side].transpose(0, 1)
        for left, top in _places(width - side, height - side, count)
    ]
    return torch.stack(squares)


def scaled(size: tuple[int, int], short: int) -> tuple[int, int]:
    """(width, height) with the short side `short` and the other in proportion, rounded down as torchvision does."""
    least = min(size)
    width, height = (short * side // least for side in size)
    return width, height


def _places(across: int, down: int, count: int) -> Iterator[tuple[int, int]]:
    """(left, top) of squares with so much room across and down, of which one is as good as none."""
    if across >= down:
        return ((left, down // 2) for left in spread(across, count))
    return ((across // 2, top) for top in spread(down, count))


def _fitting(crop: int, size: tuple[int, int]) -> int:
    if crop > min(size):
        raise ValueError(f"a crop of {crop} pixels does not fit into frames of {size[0]} x {size[1]}; resize to more")
    return crop


def _resized(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, antialiased where it shrinks: uint8 (T, 3, height, width)."""
    return functional.resize(frames, [size[1], size[0]], antialias=True)
