"""Boxes of detection: their overlap, their two notations, and their offsets from default boxes (Liu et al., ECCV 2016).

    t = ((cx - d_cx) / (0.1 d_w), (cy - d_cy) / (0.1 d_h), ln(w / d_w) / 0.2, ln(h / d_h) / 0.2)

"Corners" are left, top, right, bottom; "centres", and so the default boxes d, centre x, centre y, width, height. All in
units of the image side, in the last dimension of tensors of any shape.
"""

from math import log

import torch
from torch import Tensor

VARIANCES = (0.1, 0.2)
"""Of centres and of sizes: offsets are divided by them."""
SMALLEST = 1e-6
"""What a smaller width or height is encoded as, so that one of zero has a logarithm: 1/1000 pixel of 1,000."""
FARTHEST = 1000.0
"""A box is decoded to at most so many sizes of its default box, and so many away: off the image, but finite."""


def iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU = |a & b| / (|a| + |b| - |a & b|) of every pair of corners (N, 4), (M, 4): (N, M); 0 of two empty boxes."""
    # Each coordinate by itself, close together in memory: (N, M, 2) or strides of four take four times as long.
    left, top, right, bottom = (values[:, None] for values in a.t().contiguous())
    b_left, b_top, b_right, b_bottom = b.t().contiguous()
    width = torch.minimum(right, b_right).sub_(torch.maximum(left, b_left)).clamp_(min=0)
    both = torch.minimum(bottom, b_bottom).sub_(torch.maximum(top, b_top)).clamp_(min=0).mul_(width)
    either = torch.add(area(a)[:, None], area(b)).sub_(both)
    return both.div_(either.clamp_(min=torch.finfo(either.dtype).tiny))


def area(corners: Tensor) -> Tensor:
    """Width times height; of (..., 4) corners (...)."""
    return (corners[..., 2] - corners[..., 0]) * (corners[..., 3] - corners[..., 1])


def to_corners(centres: Tensor) -> Tensor:
    """(cx, cy, w, h) -> (cx - w/2, cy - h/2, cx + w/2, cy + h/2)."""
    middle, half = centres[..., :2], centres[..., 2:] / 2
    return torch.cat([middle - half, middle + half], dim=-1)


def to_centres(corners: Tensor) -> Tensor:
    """(l, t, r, b) -> ((l + r) / 2, (t + b) / 2, r - l, b - t)."""
    first, second = corners[..., :2], corners[..., 2:]
    return torch.cat([(first + second) / 2, second - first], dim=-1)


def encode(corners: Tensor, defaults: Tensor) -> Tensor:
    """The offsets (..., 4) that `decode` turns into `corners`; widths and heights below `SMALLEST` count as that."""
    centres = to_centres(corners)
    middle = (centres[..., :2] - defaults[..., :2]) / (VARIANCES[0] * defaults[..., 2:])
    size = (centres[..., 2:].clamp(min=SMALLEST) / defaults[..., 2:]).log() / VARIANCES[1]
    return torch.cat([middle, size], dim=-1)


def decode(offsets: Tensor, defaults: Tensor) -> Tensor:
    """Corners (..., 4) of the boxes at `offsets` (..., 4) from `defaults`; not cut to the image."""
    moved = (offsets[..., :2] * VARIANCES[0]).clamp(-FARTHEST, FARTHEST)
    times = (offsets[..., 2:] * VARIANCES[1]).clamp(max=log(FARTHEST)).exp()
    sizes = defaults[..., 2:]
    return to_corners(torch.cat([moved * sizes + defaults[..., :2], times * sizes], dim=-1))
