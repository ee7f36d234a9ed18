"""Rectangles of a resized, rotated or blurred picture, each pixel as if the whole picture had been computed.

Every value depends on where it lies in the whole picture and on nothing else, so a rectangle has the bits of the same
rectangle of the whole. Pixel positions are OpenCV's, as in the code the paper's segmentation was trained with. Colours
are float32 (3, H, W), not rounded in between. No torch here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, floor, radians, sin

import numpy as np

Window = tuple[range, range]
"""Rows and columns of a picture; may reach beyond it where a function says so."""
Colours = Callable[[Window], np.ndarray]
"""The colours of a window that lies within a picture."""

BAND = 32
"""Rows that are rotated at a time: what is in between stays in a processor's cache."""
TAPS = {1: (1.0,), 3: (0.25, 0.5, 0.25), 5: (0.0625, 0.25, 0.375, 0.25, 0.0625)}
"""OpenCV's Gaussian kernels of a size without a sigma: binomial coefficients (of 5: sigma 1)."""


@dataclass(frozen=True)
class Rotation:
    """By `degrees` counter-clockwise about (width / 2, height / 2), of a picture of `size` (height, width)."""

    degrees: float
    size: tuple[int, int]

    def sources(self, rows: Sequence[int], columns: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Row and column, as fractions, of what comes to lie on each pixel of `rows` x `columns`.

        What is more than a pixel outside is moved to a pixel outside, which has the same colour.
        """
        (height, width), angle = self.size, radians(self.degrees)
        down = np.asarray(rows)[:, None] - height / 2
        right = np.asarray(columns)[None] - width / 2
        row = (height / 2 + cos(angle) * down) + sin(angle) * right
        column = (width / 2 + cos(angle) * right) - sin(angle) * down
        return np.clip(row, -1, height), np.clip(column, -1, width)


def resized_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """Height and width times `scale`, to the nearest whole number (halves to even), at least 1."""
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def resized(image: np.ndarray, scale: float, window: Window) -> np.ndarray:
    """`window` of uint8 (H, W, 3) resized by `scale`: bilinear between pixel centres, not smoothed when it shrinks."""
    rows, columns = (
        _between(pixels, scale, side) for pixels, side in zip(window, (image.shape[0], image.shape[1]), strict=True)
    )
    top, left = rows.low[0], columns.low[0]
    part = image[top : rows.high[-1] + 1, left : columns.high[-1] + 1]
    colours = np.ascontiguousarray(part.transpose(2, 0, 1), dtype=np.float32)
    wide = _mixed(colours.take(columns.low - left, 2), colours.take(columns.high - left, 2), columns.share)
    return _mixed(wide.take(rows.low - top, 1), wide.take(rows.high - top, 1), rows.share[:, None])


def nearest(side: int, scale: float, resized_side: int) -> np.ndarray:
    """Which of the `side` rows (or columns) of a label map is each one of the map resized by `scale`."""
    return np.minimum(np.floor(np.arange(resized_side) * (1 / scale)).astype(np.intp), side - 1)


def rotated(colours: Colours, rotation: Rotation, window: Window, outside: np.ndarray) -> np.ndarray:
    """`window` of a rotated picture: bilinear; beyond its borders it has the colour `outside`."""
    rows, columns = window
    corners = rotation.sources([rows[0], rows[-1]], [columns[0], columns[-1]])  # the extremes: sources are monotone
    needed = tuple(range(floor(found.min()), floor(found.max()) + 2) for found in corners)
    source = framed(colours, rotation.size, (needed[0], needed[1]), outside)
    result = np.empty((3, len(rows), len(columns)), dtype=np.float32)
    for start in range(0, len(rows), BAND):
        row, column = rotation.sources(rows[start : start + BAND], columns)
        result[:, start : start + BAND] = _bilinear(source, (needed[0].start, needed[1].start), row, column)
    return result


def blurred(colours: Colours, size: tuple[int, int], taps: tuple[float, ...], window: Window) -> np.ndarray:
    """`window` of a blurred picture of `size`: `taps` down and across; at its borders it is mirrored (c b | a b c)."""
    reach = len(taps) // 2
    wide = [range(pixels.start - reach, pixels.stop + reach) for pixels in window]
    inside = [range(max(pixels.start, 0), min(pixels.stop, side)) for pixels, side in zip(wide, size, strict=True)]
    source = colours((inside[0], inside[1]))
    rows, columns = (
        _mirrored(np.asarray(pixels), side) - start.start
        for pixels, side, start in zip(wide, size, inside, strict=True)
    )
    source = source.take(rows, 1)
    down = _weighted([source[:, n : n + len(window[0])] for n in range(len(taps))], taps)
    down = down.take(columns, 2)
    return _weighted([down[:, :, n : n + len(window[1])] for n in range(len(taps))], taps)


def framed(colours: Colours, size: tuple[int, int], window: Window, outside: np.ndarray) -> np.ndarray:
    """`window` of a picture of `size` that has the colour `outside` beyond its borders."""
    result = np.empty((3, len(window[0]), len(window[1])), dtype=np.float32)
    result[:] = outside[:, None, None]
    rows, columns = (
        range(max(pixels.start, 0), min(pixels.stop, side)) for pixels, side in zip(window, size, strict=True)
    )
    if rows and columns:
        top, left = window[0].start, window[1].start
        place = slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)
        result[:, place[0], place[1]] = colours((rows, columns))
    return result


def _bilinear(source: np.ndarray, start: tuple[int, int], row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """The colours (3, H, W) at `row` and `column` (H, W), of which `source` has those from `start` on."""
    above, before = np.floor(row), np.floor(column)
    down, right = (row - above).astype(np.float32), (column - before).astype(np.float32)
    top, left = above.astype(np.intp) - start[0], before.astype(np.intp) - start[1]  # whole numbers: no rounding
    stride, flat = source.shape[2], source.reshape(3, -1)
    corner = top * stride + left
    upper = _mixed(flat.take(corner, 1), flat.take(corner + 1, 1), right)
    lower = _mixed(flat.take(corner + stride, 1), flat.take(corner + stride + 1, 1), right)
    return _mixed(upper, lower, down)


@dataclass(frozen=True)
class _Between:
    """Pixels that lie between pixels `low` and `high` of another picture, `share` of the way."""

    low: np.ndarray
    high: np.ndarray
    share: np.ndarray


def _between(pixels: range, scale: float, side: int) -> _Between:
    at = np.clip((np.asarray(pixels) + 0.5) * (1 / scale) - 0.5, 0, side - 1)
    low = np.floor(at).astype(np.intp)
    return _Between(low, np.minimum(low + 1, side - 1), (at - low).astype(np.float32))


def _mixed(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """`first + share * (second - first)`: exact where both are equal. Overwrites `second`."""
    second -= first
    second *= share
    second += first
    return second


def _weighted(parts: list[np.ndarray], taps: tuple[float, ...]) -> np.ndarray:
    result = parts[0] * taps[0]
    for part, tap in zip(parts[1:], taps[1:], strict=True):
        result += part * tap
    return result


def _mirrored(pixels: np.ndarray, side: int) -> np.ndarray:
    if side == 1:
        return np.zeros_like(pixels)
    period = 2 * (side - 1)
    folded = pixels % period
    return np.minimum(folded, period - folded)
