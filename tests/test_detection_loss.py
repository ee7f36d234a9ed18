"""SSD's loss against a loop over default boxes in plain Python; its gradients, its negatives, and half precision."""

from math import exp, fsum, log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from pyconv.detection import loss as module
from pyconv.detection.loss import hard_negatives, multibox_loss
from pyconv.detection.matching import Matched

Outputs = tuple[Tensor, Tensor, Matched]


def drawn(images: int, boxes: int, classes: int, seed: int = 0, most: float = 0.3) -> Outputs:
    """Random outputs; in each image another part, up to `most`, of the default boxes has learnt something."""
    rng = torch.Generator().manual_seed(seed)
    locations = 2 * torch.randn(images, boxes, 4, generator=rng, dtype=torch.float64)
    scores = 3 * torch.randn(images, boxes, classes, generator=rng, dtype=torch.float64)
    part = most * torch.rand(images, 1, generator=rng)
    labels = torch.randint(1, classes, (images, boxes), generator=rng)
    labels[torch.rand(images, boxes, generator=rng) >= part] = 0
    offsets = 2 * torch.randn(images, boxes, 4, generator=rng, dtype=torch.float64) * (labels > 0)[..., None]
    return locations, scores, Matched(labels, offsets)


def entropy(logits: list[float], label: int) -> float:
    largest = max(logits)
    return largest + log(fsum(exp(value - largest) for value in logits)) - logits[label]


def slowly(locations: Tensor, scores: Tensor, labels: Tensor, offsets: Tensor) -> tuple[float, set[int]]:
    """The loss of one image and its hard negatives."""
    rows, learnt = scores.tolist(), labels.tolist()
    positives = [place for place, label in enumerate(learnt) if label]
    negatives = sorted(
        (place for place, label in enumerate(learnt) if not label), key=lambda p: (-entropy(rows[p], 0), p)
    )
    hard = negatives[: 3 * len(positives)]
    if not positives:
        return 0.0, set()
    total = fsum(entropy(rows[place], learnt[place]) for place in positives + hard)
    apart = [abs(float(value)) for place in positives for value in locations[place] - offsets[place]]
    total += fsum(value**2 / 2 if value < 1 else value - 0.5 for value in apart)
    return total / len(positives), set(hard)


@given(
    st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 40), st.integers(2, 6), st.sampled_from([0.0, 0.3, 2.0])
)
def test_the_loss_is_that_of_a_loop(seed: int, images: int, boxes: int, classes: int, most: float) -> None:
    locations, scores, matched = drawn(images, boxes, classes, seed, most)
    found = multibox_loss(locations, scores, matched)
    negatives = hard_negatives(scores, matched.labels > 0)
    assert found.shape == (images,)
    for image in range(images):
        expected, hard = slowly(locations[image], scores[image], matched.labels[image], matched.offsets[image])
        assert float(found[image]) == pytest.approx(expected, rel=1e-12)
        assert set(negatives[image].nonzero()[:, 0].tolist()) == hard


def test_the_loss_of_all_default_boxes_is_that_of_the_formula_with_sorts() -> None:
    locations, scores, matched = (drawn(3, 8732, 81, most=0.02)[i] for i in range(3))
    found = multibox_loss(locations.float(), scores.float(), matched)
    assert found.dtype == torch.float32
    for image in range(3):
        positive = matched.labels[image] > 0
        each = functional.cross_entropy(scores[image], matched.labels[image], reduction="none")
        worst = each[~positive].sort(descending=True).values[: 3 * int(positive.sum())]
        apart = functional.smooth_l1_loss(locations[image], matched.offsets[image], reduction="none")[positive].sum()
        expected = (each[positive].sum() + worst.sum() + apart) / positive.sum()
        assert float(found[image]) == pytest.approx(float(expected), rel=1e-5)


def test_by_hand() -> None:
    """One positive of five, uniform logits of four classes: (4 ln 4 + 0.5 (1/2)^2 + 2 - 1/2) / 1."""
    labels = torch.tensor([[0, 2, 0, 0, 0]])
    offsets = torch.zeros(1, 5, 4)
    offsets[0, 1] = torch.tensor([0.5, -2, 0, 0])
    found = multibox_loss(torch.zeros(1, 5, 4), torch.zeros(1, 5, 4), Matched(labels, offsets))
    assert float(found) == pytest.approx(4 * log(4) + 0.125 + 1.5)


def test_gradients_are_those_of_differences() -> None:
    locations, scores, matched = drawn(3, 12, 4, seed=5)
    matched.labels[1] = 0
    assert (matched.labels > 0).sum(1).tolist() != [0, 0, 0]
    values = locations.requires_grad_(), scores.requires_grad_()
    assert torch.autograd.gradcheck(lambda *outputs: multibox_loss(*outputs, matched), values)


def test_only_what_is_counted_has_gradients() -> None:
    locations, scores, matched = drawn(4, 60, 5, seed=6)
    matched.labels[2] = 0
    positive = matched.labels > 0
    counted = positive | hard_negatives(scores, positive)
    outputs = locations.requires_grad_(), scores.requires_grad_()
    by_location, by_score = torch.autograd.grad(multibox_loss(*outputs, matched).sum(), outputs)
    assert torch.equal((by_location != 0).any(2), positive)
    assert torch.equal((by_score != 0).any(2), counted)
    assert not counted[2].any()


@pytest.mark.parametrize("images", [1, 3])
def test_images_without_boxes_have_loss_0_and_gradients_of_0(images: int) -> None:
    locations, scores, matched = drawn(images, 30, 5, most=0)
    outputs = locations.requires_grad_(), scores.requires_grad_()
    found = multibox_loss(*outputs, matched)
    assert found.tolist() == [0.0] * images
    for gradient in torch.autograd.grad(found.mean(), outputs):
        assert not gradient.any()


@given(st.integers(0, 2**32), st.integers(1, 50), st.integers(0, 50))
def test_there_are_three_negatives_for_a_positive_where_there_are_so_many(
    seed: int, boxes: int, positives: int
) -> None:
    """With logits of few values, so that many are equal: the first of them are taken."""
    rng = torch.Generator().manual_seed(seed)
    scores = torch.randint(2, (1, boxes, 3), generator=rng).float()
    positive = (torch.randperm(boxes, generator=rng) < positives)[None]
    found = hard_negatives(scores, positive)
    number = int(positive.sum())
    harm = functional.cross_entropy(scores[0], torch.zeros(boxes, dtype=torch.int64), reduction="none").tolist()
    order = sorted((~positive[0]).nonzero()[:, 0].tolist(), key=lambda place: (-harm[place], place))
    assert found[0].nonzero()[:, 0].tolist() == sorted(order[: 3 * number])
    assert int(found.sum()) == min(3 * number, boxes - number)


@given(st.integers(0, 2**32))
def test_the_order_of_the_default_boxes_is_of_no_account(seed: int) -> None:
    """Up to the order of the sums: 200 values in float64. Gradients go with their boxes."""
    locations, scores, matched = drawn(2, 50, 4, seed)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(seed))
    outputs = locations.requires_grad_(), scores.requires_grad_()
    moved = Matched(matched.labels[:, order], matched.offsets[:, order])
    one, other = multibox_loss(*outputs, matched), multibox_loss(*(values[:, order] for values in outputs), moved)
    torch.testing.assert_close(one, other, rtol=1e-13, atol=0)
    for gradients in zip(*(torch.autograd.grad(found.sum(), outputs) for found in (one, other)), strict=True):
        torch.testing.assert_close(*gradients, rtol=1e-13, atol=1e-16)


def test_every_run_and_every_part_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    locations, scores, matched = drawn(3, 200, 5, seed=7)
    outputs = locations.float(), (2 * scores).round().float(), matched
    found = multibox_loss(*outputs)
    assert torch.equal(multibox_loss(*outputs), found)
    monkeypatch.setattr(module, "ROWS_AT_ONCE", {"cpu": 7, "cuda": 7})
    assert torch.equal(multibox_loss(*outputs), found)


def test_an_image_has_the_same_loss_in_any_company() -> None:
    locations, scores, matched = drawn(4, 90, 5, seed=8)
    together = multibox_loss(locations, scores, matched)
    for image in range(4):
        own = slice(image, image + 1)
        alone = multibox_loss(locations[own], scores[own], Matched(matched.labels[own], matched.offsets[own]))
        torch.testing.assert_close(alone, together[own], rtol=1e-13, atol=0)


@pytest.mark.parametrize(("dtype", "largest"), [(torch.float16, 6e4), (torch.bfloat16, 1e30), (torch.float32, 1e30)])
def test_extreme_outputs_have_a_finite_loss_in_half_precision(dtype: torch.dtype, largest: float) -> None:
    locations, scores, matched = drawn(3, 8732, 81, seed=9, most=0.01)
    locations, scores = (values.sign().mul(largest).to(dtype).requires_grad_() for values in (locations, scores))
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        found = multibox_loss(locations, scores, Matched(matched.labels, matched.offsets.float()))
    assert found.dtype == torch.float32
    assert bool(found.isfinite().all())
    assert float(found.detach().min()) > largest
    gradients = torch.autograd.grad(found.mean(), (locations, scores))
    assert all(gradient.dtype == dtype and bool(gradient.isfinite().all()) for gradient in gradients)


def test_half_precision_is_float32_on_rounded_outputs() -> None:
    locations, scores, matched = drawn(2, 100, 6, seed=10)
    matched = Matched(matched.labels, matched.offsets.float())
    for dtype in (torch.float16, torch.bfloat16):
        rounded = locations.to(dtype), scores.to(dtype)
        with torch.autocast("cpu", dtype):
            found = multibox_loss(*rounded, matched)
        assert torch.equal(found, multibox_loss(*(values.float() for values in rounded), matched))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_that_has_diverged_is_not_taken_for_a_sound_one(value: float) -> None:
    """Also where what is not finite stands at one background box of many."""
    locations, scores, matched = drawn(2, 100, 5, seed=11)
    place = int((matched.labels[1] == 0).nonzero()[5])
    scores[1, place, 3] = value
    found = multibox_loss(locations, scores, matched)
    assert found.isfinite().tolist() == [True, False]


def test_negatives_without_any_loss_are_still_no_positives() -> None:
    scores = torch.tensor([0.0, -1e4]).expand(1, 6, 2)  # the background, beyond doubt
    positive = torch.tensor([[True, False, True, False, False, True]])
    assert hard_negatives(scores, positive).tolist() == [[False, True, False, True, True, False]]
