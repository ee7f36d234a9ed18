"""The confusion matrix of a segmentation: pixels of each class by what they were taken for, in whole numbers."""

import torch
from torch import Tensor


def count(predicted: Tensor, labels: Tensor, classes: int, ignore: int = 255) -> Tensor:
    """Labelled pixels as int64 (classes, classes): row = label, column = prediction; pixels of `ignore` left out."""
    labelled = labels != ignore
    pairs = labels[labelled].long() * classes + predicted[labelled].long()
    return torch.bincount(pairs, minlength=classes * classes).view(classes, classes)


def scores(confusion: Tensor) -> dict[str, float]:
    """miou and pixel_acc in percent; a class that is neither labelled nor predicted is left out of the mean.

    Raises `ValueError` where no pixel is labelled.
    """
    right, labelled, predicted = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    union = labelled + predicted - right
    if not bool(labelled.any()):
        raise ValueError("no pixel has a label, so there is nothing to measure: are these the right label maps?")
    ious = [100 * r / u for r, u in zip(right.tolist(), union.tolist(), strict=True) if u]
    return {"miou": sum(ious) / len(ious), "pixel_acc": 100 * int(right.sum()) / int(labelled.sum())}
