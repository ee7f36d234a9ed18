"""Standard errors of COCO's twelve numbers by the delete-a-group jackknife over images (Kott, J. Off. Stat. 2001).

    se^2 = (G - 1) / G * sum over g of (value without group g - mean of these values)^2

An average precision is no mean over images, so it has no binomial error: the numbers are computed anew without each of
G groups of images in turn. With `GROUPS` groups the error itself is known to about a sixth (1 / sqrt(2 (G - 1))).
"""

from collections.abc import Sequence
from math import sqrt

from pyconv.data.coco import CocoSplit
from pyconv.data.sampling import epoch_order
from pyconv.detection.scores import Found, Scoring

GROUPS = 20


def standard_errors(split: CocoSplit, found: Sequence[Found]) -> dict[str, float]:
    """Of the numbers of `pyconv.detection.scores.METRICS`, in percent: of the choice of images, not of the training.

    Those that some group of images alone makes possible have none, nor has anything of fewer than two images. The
    groups are the same for any two networks. Takes as long as `GROUPS` times `scores`.
    """
    images = epoch_order(len(split), 0, 0)
    groups = min(GROUPS, len(images))
    if groups < 2:
        return {}
    scoring = Scoring(split, found)
    without = [scoring.numbers(sorted(set(images) - set(images[group::groups]))) for group in range(groups)]
    return {name: _error([one[name] for one in without]) for name in without[0] if all(name in one for one in without)}


def _error(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return sqrt((len(values) - 1) / len(values) * sum((value - mean) ** 2 for value in values))
