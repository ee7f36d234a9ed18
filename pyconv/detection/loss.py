"""SSD's loss (Liu et al., ECCV 2016, equations 1 to 3), of each image on its own.

    L = (sum over positives of smooth_l1(locations - offsets)
         + cross entropy summed over positives and hard negatives) / positives

Positives are the default boxes that learn a box; hard negatives are the three times as many others, or all that there
are, that are worst as background. An image without positives has the loss 0, and passes back zeros.
"""

import torch
from torch import Tensor
from torch.nn import functional

from pyconv.detection.matching import Matched

NEGATIVES = 3
"""For each positive."""
ROWS_AT_ONCE = {"cpu": 4096, "cuda": 1 << 20}
"""Default boxes whose background loss is worked out together: on a processor what its cache holds."""


def multibox_loss(locations: Tensor, scores: Tensor, matched: Matched) -> Tensor:
    """The loss of each image (N,) from offsets (N, B, 4) and logits (N, B, C) that the network gives.

    In float32, or float64 where that comes in, whatever the precision of the network. Of equally bad negatives the
    first ones count. The gradient is zero but for the default boxes that are counted.
    """
    positive = matched.labels > 0
    counted = positive | hard_negatives(scores.detach(), positive)
    positives, chosen = _numbers(positive), _numbers(counted)
    wide = torch.promote_types(scores.dtype, torch.float32)
    entropy = functional.cross_entropy(_rows(scores, chosen).to(wide), _rows(matched.labels, chosen), reduction="none")
    apart = functional.smooth_l1_loss(
        _rows(locations, positives).to(wide), _rows(matched.offsets, positives).to(wide), reduction="none"
    )
    total = _by_image(entropy, counted) + _by_image(apart.sum(1), positive)
    return total / positive.sum(1).clamp(min=1)


def hard_negatives(scores: Tensor, positive: Tensor) -> Tensor:
    """The default boxes (N, B), 3 for each positive, that are worst as background; of equals the first."""
    harm = _background_loss(scores).masked_fill_(positive, -torch.inf)
    found = positive.sum(1, keepdim=True)
    wanted = torch.minimum(NEGATIVES * found, positive.shape[1] - found)
    most = int(wanted.max()) if len(wanted) else 0
    if not most:
        return torch.zeros_like(positive)
    largest = harm.topk(most, dim=1).values  # their values only: which of equals it names is not defined
    least = largest.gather(1, (wanted - 1).clamp(min=0))
    above, equal = harm > least, harm == least
    missing = wanted - above.sum(1, keepdim=True)
    return above | (equal & (equal.cumsum(1) <= missing))


def _background_loss(scores: Tensor) -> Tensor:
    """-log softmax(scores)[..., 0] in float32 or more: (N, B) from (N, B, C); Inf for NaN."""
    rows = scores.flatten(0, 1)
    at_once = ROWS_AT_ONCE.get(rows.device.type, ROWS_AT_ONCE["cuda"])
    wide = torch.promote_types(scores.dtype, torch.float32)
    parts = [part.log_softmax(1, dtype=wide)[:, 0].neg() for part in rows.split(at_once)]
    # NaN is worse than anything: it is counted, and the loss is NaN too.
    return torch.cat(parts).nan_to_num_(torch.inf, torch.inf, -torch.inf).view(scores.shape[:2])


def _numbers(mask: Tensor) -> Tensor:
    """Of the True ones of (N, B), counted over the whole batch."""
    return mask.flatten().nonzero()[:, 0]


def _rows(values: Tensor, numbers: Tensor) -> Tensor:
    return values.flatten(0, 1).index_select(0, numbers)


def _by_image(values: Tensor, mask: Tensor) -> Tensor:
    """`values` of the True ones of `mask` (N, B), summed in each row, in one order on every run: (N,)."""
    return torch.zeros(mask.shape, dtype=values.dtype, device=values.device).masked_scatter(mask, values).sum(1)
