"""Bilinear resize of maps that are too large to be resized as a whole: some rows at a time, each the same numbers.

    out(y) = (1 - t) in(floor v) + t in(floor v + 1), v = (y + 1/2) h / H - 1/2 within 0 .. h - 1, t = v - floor v

Half-pixel centres and repeated edges, as cv2's INTER_LINEAR; along x the same.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Bilinear:
    """`values` (h, w, channels), float32, at `height` x `width`."""

    def __init__(self, height: int, width: int, values: Tensor) -> None:
        self.values = values
        self.down = _neighbours(height, values.shape[0], values.device)
        self.along = _neighbours(width, values.shape[1], values.device)

    def rows(self, rows: slice) -> Tensor:
        """(rows, width, channels) of the resized map."""
        first, second, weight = (each[rows] for each in self.down)
        between = torch.lerp(self.values[first], self.values[second], weight[:, None, None])
        first, second, weight = self.along
        return torch.lerp(between[:, first], between[:, second], weight[:, None])


class _Neighbours(NamedTuple):
    first: Tensor
    second: Tensor
    weight: Tensor


def _neighbours(size: int, own: int, device: torch.device) -> _Neighbours:
    """For each of `size` pixels the two of `own` around it, and the weight of the second."""
    centres = ((torch.arange(size, dtype=torch.float64) + 0.5) * own / size - 0.5).clamp(0, own - 1)
    first = centres.floor().long()
    second = (first + 1).clamp(max=own - 1)
    return _Neighbours(*(each.to(device) for each in (first, second, (centres - first).float())))
