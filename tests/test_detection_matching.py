"""Matching against a list of all pairs in exact fractions, sorted; what it guarantees; and what it refuses."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pyconv.detection import matching
from pyconv.detection.boxes import decode, encode, iou, to_corners
from pyconv.detection.matching import Matched, Targets, match
from pyconv.models import default_boxes

GRID = 8
Corners = tuple[int, ...]

on_grid = st.tuples(*[st.integers(0, GRID)] * 4).map(lambda v: (min(v[::2]), min(v[1::2]), max(v[::2]), max(v[1::2])))
with_area = on_grid.filter(lambda v: v[0] < v[2] and v[1] < v[3])
batches = st.lists(st.lists(on_grid, max_size=5), min_size=1, max_size=3)


def targets_of(images: list[list[Corners]]) -> Targets:
    """Box i of an image has label 10 + i; padding, wherever it stands, has boxes too."""
    slots = max(map(len, images)) + 1
    boxes, labels = torch.ones(len(images), slots, 4, dtype=torch.float64), torch.zeros(len(images), slots).long()
    for number, image in enumerate(images):
        for place, corners in enumerate(image):
            at = place + 1 if number % 2 else place
            boxes[number, at] = torch.tensor(corners, dtype=torch.float64) / GRID
            labels[number, at] = 10 + place
    return Targets(boxes, labels)


def centres_of(corners: list[Corners]) -> Tensor:
    left, top, right, bottom = torch.tensor(corners, dtype=torch.float64).T / GRID
    return torch.stack([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top], dim=1)


def fraction(a: Corners, b: Corners) -> Fraction:
    width, height = (max(0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1))
    areas = [(v[2] - v[0]) * (v[3] - v[1]) for v in (a, b)]
    either = sum(areas) - width * height
    return Fraction(width * height, either) if either else Fraction(0)


def nearness(a: Corners, b: Corners) -> Fraction:
    return -sum(Fraction(a[i] + a[i + 2] - b[i] - b[i + 2], 2 * GRID) ** 2 for i in (0, 1))


def slowly(image: list[Corners], defaults: list[Corners]) -> list[int | None]:
    """The box of each default box, or None."""
    overlap = [[fraction(box, default) for default in defaults] for box in image]
    liking = [
        row if max(row) > 0 else [nearness(box, default) for default in defaults]
        for box, row in zip(image, overlap, strict=True)
    ]
    learnt: list[int | None] = []
    for place in range(len(defaults)):
        best = max(range(len(image)), key=lambda box: (overlap[box][place], -box), default=None)
        learnt.append(best if best is not None and overlap[best][place] > Fraction(1, 2) else None)
    pairs = sorted((-liking[box][place], box, place) for box in range(len(image)) for place in range(len(defaults)))
    boxes, places = set(range(len(image))), set(range(len(defaults)))
    for _, box, place in pairs:
        if box in boxes and place in places:
            boxes.remove(box)
            places.remove(place)
            learnt[place] = box
    return learnt


@given(batches, st.lists(with_area, min_size=5, max_size=9))
def test_matching_is_that_of_a_sorted_list_of_all_pairs(images: list[list[Corners]], defaults: list[Corners]) -> None:
    centres, targets = centres_of(defaults), targets_of(images)
    found = match(targets, centres)
    assert found.labels.dtype == torch.int64
    for number, image in enumerate(images):
        learnt = slowly(image, defaults)
        assert found.labels[number].tolist() == [0 if box is None else 10 + box for box in learnt]
        for place, box in enumerate(learnt):
            corners = torch.zeros(4) if box is None else torch.tensor(image[box], dtype=torch.float64) / GRID
            expected = torch.zeros(4).double() if box is None else encode(corners, centres[place])
            assert torch.equal(found.offsets[number, place], expected)


def test_parts_and_the_whole_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    targets, defaults = drawn(images=4, most=9), default_boxes()
    whole = match(targets, defaults)
    for at_once in (1, 3 * len(defaults)):
        monkeypatch.setattr(matching, "PAIRS_AT_ONCE", {"cpu": at_once, "cuda": at_once})
        assert same(match(targets, defaults), whole)


def drawn(images: int, most: int, seed: int = 0) -> Targets:
    """Boxes of 2% to all of the side, from none to `most` an image."""
    rng = torch.Generator().manual_seed(seed)
    sizes = torch.rand(images, most, 2, generator=rng).square() * 0.98 + 0.02
    middles = sizes / 2 + torch.rand(images, most, 2, generator=rng) * (1 - sizes)
    numbers = torch.randint(most + 1, (images, 1), generator=rng)
    labels = torch.randint(1, 81, (images, most), generator=rng) * (torch.arange(most) < numbers)
    return Targets(to_corners(torch.cat([middles, sizes], dim=2)), labels)


def same(one: Matched, other: Matched) -> bool:
    return torch.equal(one.labels, other.labels) and torch.equal(one.offsets, other.offsets)


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 30))
def test_what_is_guaranteed_with_the_default_boxes(seed: int, most: int) -> None:
    """Every box is learnt, also of thirty; above 0.5 every default box learns; offsets lead back to a box."""
    targets, defaults = drawn(2, most, seed), default_boxes()
    found = match(targets, defaults)
    for boxes, labels, learnt, offsets in zip(targets.boxes, targets.labels, found.labels, found.offsets, strict=True):
        real, positive = labels > 0, learnt > 0
        again = decode(offsets[positive], defaults[positive])
        apart = (boxes[real][:, None] - again).abs().amax(-1)
        assert bool((apart < 1e-5).any(0).all())
        assert bool((apart < 1e-5).any(1).all())
        above = (iou(boxes[real], to_corners(defaults)) > 0.5).any(0)
        assert bool(positive[above].all())
        assert int((positive & ~above).sum()) <= int(real.sum())
        assert bool((offsets[~positive] == 0).all())


def test_exactly_a_half_is_not_above() -> None:
    """The second default box is half of the box and no more; the first is the box."""
    targets = targets_of([[(0, 0, 8, 8)]])
    assert match(targets, centres_of([(0, 0, 8, 8), (0, 0, 8, 4)])).labels.tolist() == [[10, 0]]
    assert match(targets, centres_of([(0, 0, 8, 4), (0, 0, 8, 3)])).labels.tolist() == [[10, 0]]  # its best in any case


def test_two_boxes_that_want_one_default_box_both_have_one() -> None:
    """Also twice the same box: the first gets the best, the second its next best, and so a third."""
    image, defaults = [(2, 2, 6, 6)] * 3, [(0, 0, 2, 2), (2, 2, 6, 6), (2, 2, 6, 7), (2, 2, 7, 7)]
    assert match(targets_of([image]), centres_of(defaults)).labels.tolist() == [[0, 10, 11, 12]]


def test_a_better_pair_comes_first_though_another_box_asked_before() -> None:
    """Box 1 loses default box 1 to box 0 and then takes 2, which it likes better than box 2 does that asked first."""
    image = [(0, 0, 8, 4), (0, 0, 8, 5), (0, 4, 8, 8)]
    defaults = [(0, 6, 8, 8), (0, 0, 8, 4), (0, 2, 8, 6)]
    assert slowly(image, defaults) == [2, 0, 1]
    assert match(targets_of([image]), centres_of(defaults)).labels.tolist() == [[12, 10, 11]]


def test_boxes_without_an_area_take_what_is_nearest() -> None:
    targets = Targets(torch.tensor([[[0.7, 0.2, 0.7, 0.4], [0.1, 0.9, 0.1, 0.9]]]), torch.tensor([[3, 4]]))
    defaults = default_boxes()
    found = match(targets, defaults)
    positive = found.labels[0] > 0
    assert bool(found.offsets.isfinite().all())
    assert sorted(found.labels[0][positive].tolist()) == [3, 4]
    apart = (defaults[positive, :2] - torch.tensor([[0.7, 0.3], [0.1, 0.9]])).abs()
    assert float(apart.max()) <= 4 / 300 + 1e-6  # half a cell of the 38x38 map


def test_images_without_boxes_and_batches_without_any() -> None:
    defaults = default_boxes()
    one = drawn(1, 3, seed=1)
    both = Targets(torch.cat([one.boxes, one.boxes]), torch.cat([torch.zeros_like(one.labels), one.labels]))
    found = match(both, defaults)
    assert not found.labels[0].any()
    assert not found.offsets[0].any()
    assert torch.equal(found.labels[1:], match(one, defaults).labels)
    for slots in (0, 3):
        empty = match(Targets(torch.zeros(2, slots, 4), torch.zeros(2, slots, dtype=torch.int64)), defaults)
        assert (tuple(empty.labels.shape), tuple(empty.offsets.shape)) == ((2, 8732), (2, 8732, 4))
        assert not empty.labels.any()


def test_padding_and_company_change_nothing() -> None:
    defaults, batch = default_boxes(), drawn(5, 6, seed=2)
    whole = match(batch, defaults)
    for number in range(5):
        real = batch.labels[number] > 0
        alone = match(Targets(batch.boxes[number, real][None], batch.labels[number, real][None]), defaults)
        assert same(alone, Matched(whole.labels[number, None], whole.offsets[number, None]))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30, 1001.0])
def test_a_box_that_is_no_box_is_refused(value: float) -> None:
    targets = drawn(3, 4, seed=3)
    targets.labels[2, 1] = 7
    targets.boxes[2, 1, 2:] = value
    with pytest.raises(ValueError, match=r"image 2 of the batch: the box \[.*\] is NaN or far off"):
        match(targets, default_boxes())
    targets.labels[2, 1] = 0  # of no interest where there is no box
    match(targets, default_boxes())


def test_more_boxes_than_default_boxes_are_refused() -> None:
    with pytest.raises(ValueError, match="image 1 of the batch has 3 boxes for 2 default boxes"):
        match(targets_of([[], [(0, 0, 1, 1)] * 3]), centres_of([(0, 0, 8, 8)] * 2))
