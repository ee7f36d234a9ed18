"""From what the network gives to detections: softmax, threshold, suppression in each class, the best of all.

As NVIDIA's SSD300 example tests: of each class at most `limit` boxes enter the suppression, and `limit` leave an image.
Boxes are not cut to the image. Only what passes the threshold, some hundred of 8,732 x 80, is decoded and looked at.
An IoU of exactly `overlap` does not suppress, as in the paper's own code (in NVIDIA's it does).
"""

from dataclasses import dataclass
from math import inf, log

import torch
from torch import Tensor
from torchvision.ops import nms

from pyconv.detection.boxes import decode

SLACK = 0.01
"""Of logits: far more than their rounding."""


@dataclass(frozen=True, eq=False)
class Detections:
    """What is found in an image: corners float32 (K, 4), scores float32 (K,), falling, labels int64 (K,) from 1."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.scores)


@torch.no_grad()
def detect(
    locations: Tensor,
    scores: Tensor,
    defaults: Tensor,
    *,
    threshold: float = 0.05,
    overlap: float = 0.5,
    limit: int = 200,
) -> list[Detections]:
    """The detections of each image from offsets (N, B, 4) and logits (N, B, C), on the processor.

    Kept are probabilities above `threshold`; a box goes when its IoU with a better one of its class that stays is above
    `overlap`. Equal scores stand in the order of labels, then of default boxes. Raises `ValueError` for NaN and Inf.
    """
    if not (0 <= threshold < 1 and 0 <= overlap <= 1 and limit >= 1):
        raise ValueError(
            f"threshold must be from 0 to below 1, overlap from 0 to 1 and limit 1 or more, got {threshold:g}, "
            f"{overlap:g} and {limit}"
        )
    found = []  # image by image: what a processor's cache holds
    for number, (offsets, logits) in enumerate(zip(locations, scores, strict=True)):
        # Half precision: its rounding is the network's, all that follows is in float32.
        offsets, logits = (values.to(torch.promote_types(values.dtype, torch.float32)) for values in (offsets, logits))
        largest = logits[:, 1:].amax(1)  # NaN and Inf show in it
        if not all(bool(values.isfinite().all()) for values in (offsets, logits[:, 0], largest)):
            raise ValueError(f"image {number} of the batch: the network gives NaN or Inf; its weights are not usable")
        place, label, score = _candidates(logits, largest, threshold)
        boxes = decode(offsets[place], defaults[place])
        found.append(_suppressed(boxes.cpu(), score.cpu(), label.cpu(), overlap, limit))
    return found


def _candidates(logits: Tensor, largest: Tensor, threshold: float) -> tuple[Tensor, Tensor, Tensor]:
    """Default box, label and probability of all above `threshold` but the background's, by default box and label.

    p_c > t needs s_c - s_0 > ln(t / (1 - t)), by which nearly all default boxes are out before any exponential.
    """
    least = log(threshold / (1 - threshold)) - SLACK if threshold else -inf
    rows = (largest - logits[:, 0] > least).nonzero()[:, 0]
    probabilities = logits[rows].softmax(1)
    row, other = (probabilities[:, 1:] > threshold).nonzero(as_tuple=True)
    return rows[row], other + 1, probabilities[row, other + 1]


def _suppressed(boxes: Tensor, scores: Tensor, labels: Tensor, overlap: float, limit: int) -> Detections:
    """What stays of the `limit` best of each class, the best `limit` of all."""
    order = scores.argsort(descending=True, stable=True)
    order = order[labels[order].argsort(stable=True)]
    numbers = labels.bincount()
    rank = torch.arange(len(order)) - (numbers.cumsum(0) - numbers)[labels[order]]
    order = order[rank < limit]
    stays = order[nms(_apart(boxes[order], labels[order]), scores[order].double(), overlap)[:limit]]
    return Detections(boxes[stays], scores[stays], labels[stays])


def _apart(boxes: Tensor, labels: Tensor) -> Tensor:
    """The boxes in float64, moved so that those of one class meet no others: one suppression does for all classes.

    By whole numbers of images, which a float64 takes without rounding a float32 corner of 1e-6 or more.
    """
    span = 2 * boxes.abs().amax(0).max().ceil() + 1 if len(boxes) else 1
    return boxes.double() + (labels * span)[:, None]
