"""The confusion matrix of a segmentation, exact whole numbers, and what follows from it.

    IoU of class c = n_cc / (sum_j n_cj + sum_i n_ic - n_cc), n_ij pixels of class i that were predicted as class j
    miou           = mean IoU over the classes that are labelled or predicted anywhere
    pixel_acc      = sum_c n_cc / sum n

Both in percent, of labelled pixels only, summed over images before anything is divided (Long et al., CVPR 2015).
"""

from collections.abc import Mapping

import torch
from torch import Tensor

COUNTS = ("intersection", "predicted", "labelled")
PIXELS_AT_ONCE = 1 << 22
"""Class numbers are widened to int64 in parts of so many, so that a huge image does not need eight times its memory."""
DRAWS = 1000


def count(predicted: Tensor, labels: Tensor, classes: int, ignore: int = 255) -> Tensor:
    """Pixels of each (label, prediction): int64 (classes, classes), rows labels, columns predictions.

    Both of one shape, whole numbers; pixels labelled `ignore` are left out, whatever is predicted there. Raises
    `ValueError` for another number than a class's.
    """
    if predicted.shape != labels.shape:
        raise ValueError(f"predictions of {tuple(predicted.shape)} for labels of {tuple(labels.shape)}: not the same")
    matrix = torch.zeros(classes * classes, dtype=torch.int64, device=labels.device)
    parts = (tensor.reshape(-1).split(PIXELS_AT_ONCE) for tensor in (predicted, labels))
    for column, row in zip(*parts, strict=True):
        kept = row != ignore
        row, column = row[kept].long(), column[kept].long()
        _check("label", row, classes)
        _check("prediction", column, classes)
        matrix += torch.bincount(row * classes + column, minlength=classes * classes)
    return matrix.view(classes, classes)


def per_class(confusion: Tensor) -> dict[str, list[int]]:
    """Of each class the pixels that are right, predicted and labelled, as a record keeps them."""
    return {name: counts.tolist() for name, counts in zip(COUNTS, class_counts(confusion).unbind(1), strict=True)}


def class_counts(confusion: Tensor) -> Tensor:
    """`COUNTS` of each class: int64 (classes, 3). Sums over images as the matrix does, and is all that scores need."""
    return torch.stack([confusion.diagonal(), confusion.sum(0), confusion.sum(1)], dim=1)


def scores(confusion: Tensor) -> dict[str, float]:
    """miou and pixel_acc in percent. Raises `ValueError` where no pixel is labelled: there is nothing to score."""
    if not int(confusion.sum()):
        raise ValueError("no pixel is labelled, all are to be ignored: there is nothing to score")
    return {name: float(value) for name, value in _scores(class_counts(confusion).double()).items()}


def standard_errors(images: Tensor, draws: int = DRAWS, seed: int = 0) -> dict[str, float | None]:
    """Bootstrap standard errors of miou and pixel_acc in percent (Efron, 1979): images drawn again with replacement.

    `images`: `class_counts` of each, int64 (images, classes, 3). The same `seed` draws the same; of a single image
    nothing can be said: None. A draw of images without a labelled pixel has no score and is left out.
    """
    number = len(images)
    if number < 2:
        return dict.fromkeys(("miou", "pixel_acc"))
    drawn = torch.randint(number, (draws, number), generator=torch.Generator().manual_seed(seed))
    times = torch.zeros(draws, number, dtype=torch.float64)
    times.scatter_add_(1, drawn, torch.ones_like(times))
    totals = (times @ images.flatten(1).double()).view(draws, *images.shape[1:])  # whole numbers below 2^53: exact
    totals = totals[totals[..., 2].sum(-1) > 0]
    return {name: float(values.std()) if len(values) > 1 else None for name, values in _scores(totals).items()}


def _scores(counts: Tensor) -> Mapping[str, Tensor]:
    """miou and pixel_acc of float64 (..., classes, 3)."""
    right, predicted, labelled = counts.unbind(-1)
    union = predicted + labelled - right
    iou = right / union.clamp(min=1)  # an absent class: 0 / 1, and it is not among those that are divided by
    return {
        "miou": 100 * iou.sum(-1) / (union > 0).sum(-1),
        "pixel_acc": 100 * right.sum(-1) / labelled.sum(-1),
    }


def _check(kind: str, numbers: Tensor, classes: int) -> None:
    wrong = (numbers < 0) | (numbers >= classes)
    if bool(wrong.any()):
        raise ValueError(f"{kind} {int(numbers[wrong][0])} is no class; 0 to {classes - 1} is right")
