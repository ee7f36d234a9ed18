"""Which default box learns which real box (Liu et al., ECCV 2016, section 2.2).

    default box b learns box g   if g is b's best box and IoU(g, b) > 0.5,
                                 or if b is given to g: every box gets one default box of its own

The default boxes that are given away follow the largest IoUs: of all pairs in an image the best one is taken, its box
and its default box are out, and so on. Where no two boxes of an image want the same default box, as nearly always, each
gets its best one. Otherwise the other one gets its next best, as in the paper's own code, and is not lost.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pyconv.detection.boxes import FARTHEST, encode, iou, to_centres, to_corners

OVERLAP = 0.5
PAIRS_AT_ONCE = {"cpu": 1 << 18, "cuda": 1 << 24}
"""Of a box and a default box, whose IoU is worked out together: on a processor a megabyte, for its cache."""


@dataclass(frozen=True, eq=False)
class Targets:
    """The boxes of a batch: corners float32 (N, G, 4) and labels int64 (N, G) from 1, 0 where there is no box."""

    boxes: Tensor
    labels: Tensor


@dataclass(frozen=True, eq=False)
class Matched:
    """What each default box learns: labels int64 (N, B), 0 the background; offsets float32 (N, B, 4), there 0."""

    labels: Tensor
    offsets: Tensor


@torch.no_grad()
def match(targets: Targets, defaults: Tensor) -> Matched:
    """Give the boxes of `targets` to `defaults`, centres (B, 4).

    Of equal IoUs the first box and the first default box count. A box that overlaps no default box, as one without an
    area, takes the one whose centre is nearest. Raises `ValueError` for a box that is NaN or far off the image
    and for an image of more boxes than default boxes.
    """
    images, slots = targets.labels.nonzero(as_tuple=True)
    boxes, labels = targets.boxes[images, slots], targets.labels[images, slots]
    _check(images, boxes, shape := (len(targets.labels), len(defaults)))
    looked = _Overlaps(boxes, defaults)
    learnt = _above(looked, images, shape)
    learnt[images, _given(looked, images, shape)] = torch.arange(len(boxes), device=boxes.device)
    image, place = (learnt >= 0).nonzero(as_tuple=True)
    box = learnt[image, place]
    matched = Matched(labels.new_zeros(shape), boxes.new_zeros(*shape, 4))
    matched.labels[image, place] = labels[box]
    matched.offsets[image, place] = encode(boxes[box], defaults[place])
    return matched


class _Overlaps:
    """What is asked of the IoUs of the boxes (K,) of a whole batch with all default boxes, looked at in parts.

    `row`, `place`, `above`: box, default box and IoU of all pairs above 0.5, few; `best`: of each box its best one.
    """

    def __init__(self, boxes: Tensor, defaults: Tensor) -> None:
        self.boxes, self.defaults = boxes, defaults
        self.corners = to_corners(defaults)
        at_once = max(1, PAIRS_AT_ONCE.get(boxes.device.type, PAIRS_AT_ONCE["cuda"]) // len(defaults))
        parts = [self._part(start, boxes[start : start + at_once]) for start in range(0, max(1, len(boxes)), at_once)]
        row, place, above, most, best = (torch.cat(part) for part in zip(*parts, strict=True))
        self.row, self.place, self.above = row, place, above
        self.lonely = most <= 0
        lonely = self.lonely.nonzero()[:, 0]
        self.best = best.index_copy(0, lonely, self.liking(lonely).argmax(1))

    def _part(self, start: int, boxes: Tensor) -> tuple[Tensor, ...]:
        overlap = iou(boxes, self.corners)
        row, place = (overlap > OVERLAP).nonzero(as_tuple=True)
        most, best = overlap.max(1)
        return row + start, place, overlap[row, place], most, best

    def liking(self, rows: Tensor, places: Tensor | None = None) -> Tensor:
        """IoU of some boxes (R,) with some default boxes (P,), or all: (R, P).

        Boxes that overlap none like the nearest most: minus the squared distance of the centres.
        """
        corners, defaults = (v if places is None else v[places] for v in (self.corners, self.defaults))
        apart = to_centres(self.boxes[rows])[:, None, :2] - defaults[:, :2]
        return torch.where(self.lonely[rows, None], -apart.square().sum(-1), iou(self.boxes[rows], corners))


def _above(looked: _Overlaps, images: Tensor, shape: tuple[int, int]) -> Tensor:
    """Of each default box (N, B) the box, of those of all images, that it shares most with, above 0.5; or -1."""
    target = images[looked.row] * shape[1] + looked.place
    most = looked.above.new_zeros(shape[0] * shape[1]).scatter_reduce_(0, target, looked.above, "amax")
    best = looked.above == most[target]
    none = len(images)
    first = images.new_full((shape[0] * shape[1],), none)
    first.scatter_reduce_(0, target[best], looked.row[best], "amin")
    return first.masked_fill_(first == none, -1).view(shape)


def _given(looked: _Overlaps, images: Tensor, shape: tuple[int, int]) -> Tensor:
    """Of each box (K,) the default box it is given.

    In each round all boxes without one ask for the best that is free in their image, and each asked default box goes to
    the one that likes it most of all that are still without: the pairs that a sorted list of all would give, by rounds
    of the whole batch. Nearly always there is only one.
    """
    given = torch.full_like(images, -1)
    free = torch.ones(shape, dtype=torch.bool, device=images.device)
    without = torch.arange(len(images), device=images.device)
    wanted = looked.best
    while len(without):
        stranger = images[without, None] != images[without]
        rivals = looked.liking(without, wanted).masked_fill(stranger, -torch.inf)
        won = rivals.argmax(0) == torch.arange(len(without), device=images.device)
        given[without[won]] = wanted[won]
        free[images[without[won]], wanted[won]] = False
        without = without[~won]
        wanted = looked.liking(without).masked_fill(~free[images[without]], -torch.inf).argmax(1)
    return given


def _check(images: Tensor, boxes: Tensor, shape: tuple[int, int]) -> None:
    near = (boxes.abs() <= FARTHEST).all(1)  # NaN is not
    if not bool(near.all()):
        wrong = int(near.logical_not().nonzero()[0])
        raise ValueError(
            f"image {int(images[wrong])} of the batch: the box {boxes[wrong].tolist()} is NaN or far off the image; "
            "corners in units of the image side are right"
        )
    counts = torch.bincount(images, minlength=shape[0])
    if len(images) and int(counts.max()) > shape[1]:
        raise ValueError(
            f"image {int(counts.argmax())} of the batch has {int(counts.max())} boxes for {shape[1]} default boxes"
        )
