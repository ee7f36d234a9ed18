"""Overlaps by counting cells and by hand, notations and offsets as inverses of each other, degenerate boxes."""

from math import exp, inf, log, nextafter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import box_iou

from pyconv.detection.boxes import FARTHEST, SMALLEST, VARIANCES, decode, encode, iou, to_centres, to_corners
from pyconv.models import default_boxes

ULP = 2.0**-23
"""Of float32 numbers between 1 and 2."""
GRID = 12

on_grid = st.tuples(*[st.integers(0, GRID)] * 4)
sides = st.floats(2.0**-9, 1, width=32)
middles = st.floats(0, 1, width=32)
centres = st.tuples(middles, middles, sides, sides)


def cells(box: tuple[int, ...]) -> set[tuple[int, int]]:
    """The squares of the grid that lie in a box."""
    left, top, right, bottom = box
    return {(x, y) for x in range(left, right) for y in range(top, bottom)}


@given(st.lists(on_grid, max_size=4), st.lists(on_grid, max_size=4))
def test_iou_counts_cells(first: list[tuple[int, ...]], second: list[tuple[int, ...]]) -> None:
    a, b = (
        [(min(x), min(y), max(x), max(y)) for x, y in ((v[::2], v[1::2]) for v in boxes)] for boxes in (first, second)
    )
    found = iou(*(torch.tensor(boxes, dtype=torch.float64).view(-1, 4) / GRID for boxes in (a, b)))
    assert found.shape == (len(a), len(b))
    for i, one in enumerate(a):
        for j, other in enumerate(b):
            either = cells(one) | cells(other)
            expected = len(cells(one) & cells(other)) / len(either) if either else 0
            assert float(found[i, j]) == pytest.approx(expected, abs=1e-14)


def test_iou_is_torchvisions_where_there_are_areas() -> None:
    rng = torch.Generator().manual_seed(0)
    a, b = (torch.rand(n, 2, 2, generator=rng).sort(1).values.flatten(1) for n in (40, 60))
    assert torch.equal(iou(a, b), box_iou(a, b))
    assert torch.equal(iou(a, b), iou(b, a).T)
    assert iou(a, a).diagonal().tolist() == [1.0] * 40


def test_boxes_without_an_area_overlap_nothing() -> None:
    boxes = torch.tensor([[0.2, 0.2, 0.2, 0.6], [0.3, 0.3, 0.3, 0.3], [0.0, 0.0, 1.0, 1.0]])
    expected = torch.zeros(3, 3)
    expected[2, 2] = 1
    assert torch.equal(iou(boxes, boxes), expected)
    tiny = torch.tensor([[0.5, 0.5, 0.5 + 2e-7, 0.5 + 2e-7]])
    assert float(iou(tiny, tiny)) == 1


def test_notations_by_hand() -> None:
    corners, middle = torch.tensor([0.25, 0.5, 0.75, 0.625]), torch.tensor([0.5, 0.5625, 0.5, 0.125])
    assert torch.equal(to_centres(corners), middle)
    assert torch.equal(to_corners(middle), corners)
    batch = corners.expand(2, 3, 4)
    assert torch.equal(to_centres(batch), middle.expand(2, 3, 4))


@given(centres)
def test_notations_are_inverses(box: tuple[float, ...]) -> None:
    """Corners, at most 1.5 in size, are rounded by half an ulp, 2^-24; sums and differences of two by another one."""
    boxes = torch.tensor(box)
    torch.testing.assert_close(to_centres(to_corners(boxes)), boxes, rtol=0, atol=2 * ULP)


def test_encode_by_hand() -> None:
    default, box = torch.tensor([0.5, 0.5, 0.2, 0.4]), to_corners(torch.tensor([0.6, 0.4, 0.4, 0.2]))
    expected = [0.1 / 0.2 / 0.1, -0.1 / 0.4 / 0.1, log(2) / 0.2, log(0.5) / 0.2]
    assert encode(box, default).tolist() == pytest.approx(expected, rel=1e-5)
    assert decode(torch.tensor(expected), default).tolist() == pytest.approx(box.tolist(), rel=1e-5)
    assert VARIANCES == (0.1, 0.2)


def slack(box: Tensor, default: Tensor) -> Tensor:
    """What rounding may move the sides of a box that is encoded and decoded again, from the formula.

    With u = ulp / 2 the relative error of an operation. Centres: (c - d) / (0.1 s) and back are five operations on
    |c - d|, one on c and two in c itself. Sizes: ln(w / s) / 0.2 and back are errors of 4 u |ln| + u in the logarithm,
    and so relative ones of w, with the rounding of exp (2 u), of w and of its product with s 4 u more. A corner's two
    operations round 1.5 twice. Everything is doubled: the law is the order of size, not the last u.
    """
    u = ULP / 2
    apart = (box[..., :2] - default[..., :2]).abs()
    logarithm = (box[..., 2:] / default[..., 2:]).log().abs()
    middle = u * (5 * apart + 3)
    size = u * (4 * logarithm + 5) * box[..., 2:] + u  # a width is a difference of corners: u of 1 is lost before
    return 2 * (middle + size / 2 + 1.5 * u).max(-1).values


@given(st.lists(st.tuples(centres, centres), min_size=1, max_size=20))
def test_decode_undoes_encode(pairs: list[tuple[tuple[float, ...], tuple[float, ...]]]) -> None:
    box, default = (torch.tensor(values) for values in zip(*pairs, strict=True))
    corners = to_corners(box)
    again = decode(encode(corners, default), default)
    assert bool(((again - corners).abs().amax(-1) <= slack(box, default)).all())


@given(st.lists(st.tuples(*[st.floats(-8, 8, width=32)] * 4), min_size=1, max_size=2))
def test_encode_undoes_decode(offsets: list[tuple[float, ...]]) -> None:
    """In float64, at all default boxes. A relative error e of a size is e / 0.2 in its offset; sizes are > 0.014."""
    expected, default = torch.tensor(offsets, dtype=torch.float64)[:, None], default_boxes().double()
    found = encode(decode(expected, default), default)
    assert float((found - expected).abs().max()) < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_size_of_zero_has_a_finite_offset(dtype: torch.dtype) -> None:
    default = torch.tensor([0.5, 0.5, 0.25, 0.5], dtype=dtype)
    point = torch.tensor([0.5, 0.5, 0.5, 0.5], dtype=dtype)
    found = encode(point, default)
    assert found.tolist() == pytest.approx([0, 0, log(SMALLEST / 0.25) / 0.2, log(SMALLEST / 0.5) / 0.2], rel=1e-5)
    assert torch.equal(encode(torch.tensor([0.5, 0.5, 0.4, 0.4], dtype=dtype), default)[2:], found[2:])  # turned over


def test_offsets_without_bounds_give_boxes_with_bounds() -> None:
    default = torch.tensor([0.5, 0.5, 0.25, 0.5])
    largest = torch.finfo(torch.float32).max
    found = decode(torch.tensor([[largest] * 4, [-largest] * 4]), default)
    assert bool(found.isfinite().all())
    assert to_centres(found)[0].tolist() == pytest.approx([0.5 + 250, 0.5 + 500, 250, 500])
    assert found[1].tolist() == pytest.approx([0.5 - 250, 0.5 - 500] * 2)
    just = nextafter(log(FARTHEST) / 0.2, -inf)
    assert float(to_centres(decode(torch.tensor([0, 0, just, 0]), default))[2]) == pytest.approx(0.25 * exp(0.2 * just))
