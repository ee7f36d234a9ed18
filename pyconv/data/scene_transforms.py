"""Photographs and label maps under one transform: to train as semseg does (Zhao et al., on which the authors built).

In its order: scale, rotation, blur, flip, crop. Both move together; the photograph is interpolated, of the label map
the nearest pixel is taken. Beyond the borders is ImageNet's mean colour, and `IGNORE`. What of the picture does not end
in the crop is not computed. No torch here.
"""

import random
from dataclasses import dataclass, replace

import numpy as np

from pyconv.data.ade20k import IGNORE
from pyconv.data.warping import (
    TAPS,
    Rotation,
    Window,
    blurred,
    framed,
    nearest,
    resized,
    resized_size,
    rotated,
)
from pyconv.recipe import Ade20kAugment

MEAN_COLOUR = np.array([0.485, 0.456, 0.406], dtype=np.float64) * 255
"""RGB, 0-255: it becomes 0 when the network's input is normalised."""


@dataclass(frozen=True)
class View:
    """What a crop shows of a photograph: `scale`, then `degrees` (counter-clockwise), blur, flip, then the crop.

    `taps`: of the blur, empty for none. `top`, `left`: the crop's first row and column in the scaled picture, negative
    where it begins in the padding.
    """

    scale: float
    degrees: float
    taps: tuple[float, ...]
    flipped: bool
    top: int
    left: int
    crop: int


def random_view(size: tuple[int, int], augment: Ade20kAugment, rng: random.Random) -> View:
    """A draw for a photograph of `size` (height, width): each value uniform in its range."""
    scale = rng.uniform(*augment.scale)
    turned, degrees = rng.random() < augment.rotation_prob, rng.uniform(-augment.rotation, augment.rotation)
    taps = TAPS[augment.blur_kernel] if rng.random() < augment.blur_prob else ()
    flipped = rng.random() < augment.flip
    height, width = resized_size(size, scale)
    top, left = (_random_start(side, augment.crop, rng) for side in (height, width))
    return View(scale, degrees if turned else 0.0, taps, flipped, top, left, augment.crop)


def centre_view(size: tuple[int, int], crop: int) -> View:
    """The middle of a photograph as it is, or all of it in the middle of the padding; the odd pixel is at the end."""
    top, left = ((side - crop) // 2 if side >= crop else -((crop - side) // 2) for side in size)
    return View(1.0, 0.0, (), False, top, left, crop)


def seen(image: np.ndarray, labels: np.ndarray, view: View) -> tuple[np.ndarray, np.ndarray]:
    """A photograph uint8 (H, W, 3) and its label map uint8 (H, W) in a view.

    Gives colours float32 (crop, crop, 3), 0-255 and not rounded, and labels uint8 (crop, crop).
    """
    size = resized_size(labels.shape, view.scale)
    if size == labels.shape:  # then OpenCV takes the picture as it is
        view = replace(view, scale=1.0)
    window = range(view.top, view.top + view.crop), range(view.left, view.left + view.crop)
    if view.flipped:  # the crop lies in the flipped picture: this is where it lies in the other one
        window = window[0], range(size[1] - window[1].stop, size[1] - window[1].start)
    colours = _colours(image, view, size, window)
    numbers = _numbers(labels, view, size, window)
    if view.flipped:
        colours, numbers = colours[:, :, ::-1], numbers[:, ::-1]
    return np.ascontiguousarray(colours.transpose(1, 2, 0)), np.ascontiguousarray(numbers)


def _random_start(side: int, crop: int, rng: random.Random) -> int:
    """Anywhere inside; a side shorter than the crop lies in the middle, the odd pixel of padding at the end."""
    return rng.randint(0, side - crop) if side >= crop else -((crop - side) // 2)


def _colours(image: np.ndarray, view: View, size: tuple[int, int], window: Window) -> np.ndarray:
    def scaled(part: Window) -> np.ndarray:
        return resized(image, view.scale, part)

    def turned(part: Window) -> np.ndarray:
        return rotated(scaled, Rotation(view.degrees, size), part, MEAN_COLOUR) if view.degrees else scaled(part)

    def smoothed(part: Window) -> np.ndarray:
        return blurred(turned, size, view.taps, part) if view.taps else turned(part)

    return framed(smoothed, size, window, MEAN_COLOUR)


def _numbers(labels: np.ndarray, view: View, size: tuple[int, int], window: Window) -> np.ndarray:
    rows, columns = np.asarray(window[0])[:, None], np.asarray(window[1])[None]
    inside = _within(rows, columns, size)
    if view.degrees:
        row, column = Rotation(view.degrees, size).sources(*window)
        rows, columns = np.rint(row).astype(np.intp), np.rint(column).astype(np.intp)
        inside &= _within(rows, columns, size)
    row_of, column_of = (nearest(side, view.scale, scaled) for side, scaled in zip(labels.shape, size, strict=True))
    places = (row_of * labels.shape[1]).take(rows, mode="clip") + column_of.take(columns, mode="clip")
    return np.where(inside, labels.ravel().take(places), np.uint8(IGNORE))


def _within(rows: np.ndarray, columns: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return (rows >= 0) & (rows < size[0]) & (columns >= 0) & (columns < size[1])
