"""SSD's training transforms (Liu et al., ECCV 2016, section 2.2): random crop by IoU, flip, stretch, colour jitter.

As in NVIDIA's SSD300 example, whose values the recipe has: an accepted crop has the least IoU with every box (Liu et
al.'s own code: with some box). Crops end on whole pixels, and boxes follow them there.
"""

import random
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torchvision.transforms.v2 import functional

from pyconv.data.pixels import Box, Picture
from pyconv.recipe import CocoAugment

SIDES = (0.3, 1.0)
"""Of a crop, as shares of the image's."""
RATIO = (0.5, 2.0)
"""Width over height of a crop, both as shares: the network sees every image as a square."""
TRIES = 1
"""Crops that are tried before the least IoU is drawn anew, as in that example; Liu et al. try 50."""
SMALLEST = 2.0**-23
"""The least side of a box, as a share of the crop: float32 tells its ends apart."""
ADJUST = (functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation, functional.adjust_hue)
"""In the order of `CocoAugment.color_jitter`."""


@dataclass(frozen=True)
class View:
    """What the network sees of an image: a crop, mirrored or not, its colours adjusted in this order.

    `crop`: (left, top, width, height) in pixels. `colours`: (place in `ADJUST`, amount).
    """

    crop: Box
    flipped: bool
    colours: tuple[tuple[int, float], ...]


def random_view(size: tuple[int, int], boxes: np.ndarray, augment: CocoAugment, rng: random.Random) -> View:
    """A draw for an image of `size` (width, height) with `boxes` (g, 4), corners in pixels, each in the image."""
    crop = random_crop(size, boxes, augment.min_ious, rng)
    return View(crop, rng.random() < augment.flip, _random_colours(augment, rng))


def random_crop(size: tuple[int, int], boxes: np.ndarray, min_ious: tuple[float, ...], rng: random.Random) -> Box:
    """With equal chance the whole image, a crop of one of the least IoUs, or any crop; drawn anew until one is right.

    A crop is right when it has the least IoU with every box and holds the centre of one: the whole image always is.
    """
    width, height = size
    while True:
        least = rng.choice((None, *min_ious, 0.0))
        if least is None:
            return 0, 0, width, height
        for _ in range(TRIES):
            crop = _any_crop(size, rng)
            if crop and (iou(boxes, crop) >= least).all() and centred(boxes, crop).any():
                return crop


def iou(boxes: np.ndarray, crop: Box) -> np.ndarray:
    """Intersection over union of each box (g, 4), corners in pixels, with the crop: (g,)."""
    left, top, width, height = crop
    corners = np.array([left, top, left + width, top + height])
    shared = np.clip(np.minimum(boxes[:, 2:], corners[2:]) - np.maximum(boxes[:, :2], corners[:2]), 0, None).prod(1)
    return shared / ((boxes[:, 2:] - boxes[:, :2]).prod(1) + width * height - shared)


def centred(boxes: np.ndarray, crop: Box) -> np.ndarray:
    """Whether the centre of each box (g, 4), corners in pixels, is in the crop or on its border: bool (g,)."""
    left, top, width, height = crop
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    return ((centres >= (left, top)) & (centres <= (left + width, top + height))).all(1)


def placed(boxes: np.ndarray, labels: np.ndarray, view: View) -> tuple[np.ndarray, np.ndarray]:
    """The boxes whose centre is in a view, cut to it: float32 (k, 4), corners of the unit square; their labels.

    `boxes`: (g, 4), corners in pixels of the image; `labels`: (g,).
    """
    left, top, width, height = view.crop
    kept = centred(boxes, view.crop)
    corners = (boxes[kept] - (left, top, left, top)) / (width, height, width, height)
    if view.flipped:
        corners = np.stack([1 - corners[:, 2], corners[:, 1], 1 - corners[:, 0], corners[:, 3]], 1)
    near = np.clip(corners[:, :2].astype(np.float32), 0, 1 - SMALLEST)
    far = np.clip(corners[:, 2:].astype(np.float32), near + np.float32(SMALLEST), 1)
    return np.concatenate([near, far], 1), labels[kept]


def seen(picture: Picture, view: View, size: int) -> Tensor:
    """The pixels of a view, stretched to a square: uint8 (3, size, size). Only those of the crop are decoded."""
    pixels = picture.resized(view.crop, size).contiguous()  # adjusting is faster one colour after the other
    if view.flipped:
        pixels = pixels.flip(-1)
    for place, amount in view.colours:
        pixels = ADJUST[place](pixels, amount)
    return pixels


def _any_crop(size: tuple[int, int], rng: random.Random) -> Box | None:
    """A crop of any size and place; None where its ratio is not within `RATIO`."""
    shares = rng.uniform(*SIDES), rng.uniform(*SIDES)
    if not RATIO[0] <= shares[0] / shares[1] <= RATIO[1]:
        return None
    left, top = rng.uniform(0, 1 - shares[0]), rng.uniform(0, 1 - shares[1])
    (x, width), (y, height) = (
        _whole_pixels(start, start + share, side) for start, share, side in zip((left, top), shares, size, strict=True)
    )
    return x, y, width, height


def _whole_pixels(start: float, stop: float, side: int) -> tuple[int, int]:
    """First pixel and number of pixels, at least one, of a part of a side that is given in shares of it."""
    first = min(round(start * side), side - 1)
    return first, max(round(stop * side), first + 1) - first


def _random_colours(augment: CocoAugment, rng: random.Random) -> tuple[tuple[int, float], ...]:
    """The adjustments in any order. Factors: uniform, 1 +- strength and not negative; the hue's turn: +- strength."""
    drawn = []
    for place in rng.sample(range(len(ADJUST)), len(ADJUST)):
        strength = augment.color_jitter[place]
        low, high = (
            (-strength, strength) if ADJUST[place] is functional.adjust_hue else (max(0.0, 1 - strength), 1 + strength)
        )
        if strength:
            drawn.append((place, rng.uniform(low, high)))
    return tuple(drawn)
