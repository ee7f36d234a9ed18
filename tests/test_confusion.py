"""Confusion matrices: exact whole numbers, against loops over pixels, torchmetrics and hand-made corner cases."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics.functional import classification

from pyconv import confusion
from results.classes import segmentation_metrics


def drawn(classes: int = 5, pixels: int = 4000, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Predictions that are often right, labels of which some are to be ignored, both 8 bits."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, (2, pixels // 2), dtype=np.uint8)
    predicted = np.where(rng.random(labels.shape) < 0.6, labels, rng.integers(0, classes, labels.shape, dtype=np.uint8))
    labels[rng.random(labels.shape) < 0.1] = 255
    return torch.from_numpy(predicted), torch.from_numpy(labels)


def slowly(predicted: Tensor, labels: Tensor, classes: int) -> list[list[int]]:
    matrix = [[0] * classes for _ in range(classes)]
    for column, row in zip(predicted.flatten().tolist(), labels.flatten().tolist(), strict=True):
        if row != 255:
            matrix[row][column] += 1
    return matrix


def slow_scores(matrix: list[list[int]]) -> dict[str, float]:
    ious, right = [], 0
    for number in range(len(matrix)):
        hit = matrix[number][number]
        union = sum(matrix[number]) + sum(row[number] for row in matrix) - hit
        right += hit
        if union:
            ious.append(hit / union)
    return {"miou": 100 * sum(ious) / len(ious), "pixel_acc": 100 * right / sum(map(sum, matrix))}


@pytest.mark.parametrize("classes", [2, 5, 150])
def test_counts_and_scores_are_those_of_a_loop_over_pixels(classes: int) -> None:
    predicted, labels = drawn(classes)
    matrix = confusion.count(predicted, labels, classes)
    assert matrix.dtype == torch.int64
    assert matrix.tolist() == slowly(predicted, labels, classes)
    assert confusion.scores(matrix) == pytest.approx(slow_scores(matrix.tolist()), rel=1e-12)


def test_scores_are_torchmetrics() -> None:
    predicted, labels = (tensor.long() for tensor in drawn(7))
    matrix = confusion.count(predicted, labels, 7)
    theirs = classification.multiclass_confusion_matrix(predicted, labels, 7, ignore_index=255)
    assert torch.equal(matrix, theirs)
    asked = {"num_classes": 7, "ignore_index": 255}
    jaccard = classification.multiclass_jaccard_index(predicted, labels, **asked)
    accuracy = classification.multiclass_accuracy(predicted, labels, average="micro", **asked)
    assert confusion.scores(matrix) == pytest.approx({"miou": 100 * float(jaccard), "pixel_acc": 100 * float(accuracy)})


def test_what_a_record_keeps_gives_the_same_scores() -> None:
    matrix = confusion.count(*drawn(), 5)
    assert segmentation_metrics(confusion.per_class(matrix)) == pytest.approx(confusion.scores(matrix), rel=1e-12)


def test_a_class_that_occurs_nowhere_is_left_out_and_one_that_is_only_predicted_counts_as_0() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    absent = confusion.count(torch.tensor([0, 0, 1, 0]), labels, 3)
    assert confusion.scores(absent) == pytest.approx({"miou": 100 * (2 / 3 + 1 / 2) / 2, "pixel_acc": 75.0})
    invented = confusion.count(torch.tensor([0, 0, 1, 2]), labels, 3)
    assert confusion.scores(invented) == pytest.approx({"miou": 100 * (1 + 1 / 2 + 0) / 3, "pixel_acc": 75.0})
    assert confusion.per_class(invented) == {"intersection": [2, 1, 0], "predicted": [2, 1, 1], "labelled": [2, 2, 0]}


def test_one_pixel_right_or_wrong() -> None:
    one = torch.tensor([[1]])
    assert confusion.scores(confusion.count(one, one, 3)) == {"miou": 100.0, "pixel_acc": 100.0}
    assert confusion.scores(confusion.count(one, one - 1, 3)) == {"miou": 0.0, "pixel_acc": 0.0}


def test_where_every_pixel_is_ignored_there_is_no_score() -> None:
    ignored = torch.full((3, 3), 255)
    matrix = confusion.count(torch.zeros_like(ignored), ignored, 4)
    assert not matrix.any()
    with pytest.raises(ValueError, match="no pixel is labelled"):
        confusion.scores(matrix)


def test_numbers_that_are_no_classes_are_refused_but_not_below_what_is_ignored() -> None:
    labels = torch.tensor([0, 2, 255])
    assert int(confusion.count(torch.tensor([0, 1, 77]), labels, 3).sum()) == 2
    with pytest.raises(ValueError, match="prediction 3 is no class; 0 to 2 is right"):
        confusion.count(torch.tensor([0, 3, 0]), labels, 3)
    with pytest.raises(ValueError, match="label 3 is no class"):
        confusion.count(labels[:1], torch.tensor([3]), 3)
    with pytest.raises(ValueError, match=r"predictions of \(1,\) for labels of \(3,\)"):
        confusion.count(labels[:1], labels, 3)


def test_matrices_of_parts_add_up_to_that_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    predicted, labels = drawn()
    whole = confusion.count(predicted, labels, 5)
    monkeypatch.setattr(confusion, "PIXELS_AT_ONCE", 7)
    assert torch.equal(confusion.count(predicted, labels, 5), whole)
    assert torch.equal(sum(confusion.count(predicted[row], labels[row], 5) for row in range(2)), whole)


def images_of(number: int, seed: int = 0) -> Tensor:
    counts = [confusion.class_counts(confusion.count(*drawn(4, 60, seed + image), 4)) for image in range(number)]
    return torch.stack(counts)


def test_a_standard_error_is_the_spread_of_scores_of_images_drawn_again() -> None:
    images = images_of(12)
    found = confusion.standard_errors(images, draws=300, seed=3)
    drawn_again = torch.randint(12, (300, 12), generator=torch.Generator().manual_seed(3)).tolist()
    names = confusion.COUNTS
    scores = []
    for numbers in drawn_again:
        totals = np.sum([images[number].numpy() for number in numbers], axis=0)
        scores.append(segmentation_metrics({name: totals[:, i].tolist() for i, name in enumerate(names)}))
    for metric, error in found.items():
        assert error == pytest.approx(np.std([score[metric] for score in scores], ddof=1))
    assert found == confusion.standard_errors(images, draws=300, seed=3)


def test_the_bootstrap_of_a_proportion_is_its_binomial_error() -> None:
    """One pixel an image: pixel accuracy is a proportion, whose standard error is sqrt(p (1 - p) / n)."""
    right = torch.arange(400) < 300
    images = torch.zeros(400, 2, 3, dtype=torch.int64)
    images[:, 0, 2] = 1
    images[right, 0, 0] = images[right, 0, 1] = 1
    images[~right, 1, 1] = 1
    error = confusion.standard_errors(images)["pixel_acc"]
    assert error == pytest.approx(100 * (0.75 * 0.25 / 400) ** 0.5, rel=0.1)  # 1000 draws know it to 2.2%


def test_images_without_a_labelled_pixel_do_not_spoil_the_error() -> None:
    images = torch.cat([images_of(1), torch.zeros(1, 4, 3, dtype=torch.int64)])
    of_one_image = {"miou": 0.0, "pixel_acc": 0.0}
    assert confusion.standard_errors(images) == pytest.approx(of_one_image, abs=1e-9)
    assert confusion.standard_errors(images_of(1)) == {"miou": None, "pixel_acc": None}
