"""SSD's transforms: boxes go where their pixels go, crops are what was asked for, colours are a textbook's.

The picture of `coordinates` says of each pixel where it comes from; overlaps are counted pixel by pixel.
"""

import colorsys
import io
import random
from dataclasses import replace
from math import log
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from pyconv.data.detection_transforms import ADJUST, View, iou, placed, random_crop, random_view, seen
from pyconv.data.pixels import Box, Picture
from pyconv.recipe import CocoAugment

STILL = CocoAugment(color_jitter=(0.0, 0.0, 0.0, 0.0))
STEP = 4  # levels between neighbours, in pictures of at most 63 pixels a side: a level of rounding is a quarter pixel

Boxes = np.ndarray


def picture(pixels: np.ndarray) -> Picture:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return Picture(file.getvalue(), "a picture")


def coordinates(size: tuple[int, int]) -> Picture:
    """Red is the column times `STEP`, green the row times `STEP`."""
    width, height = size
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = np.arange(width) * STEP, np.arange(height)[:, None] * STEP
    return picture(pixels)


@st.composite
def scenes(draw: st.DrawFn, longest: int = 63) -> tuple[tuple[int, int], Boxes]:
    """A size (width, height) and 1 to 5 boxes with an area in it: corners, float64."""
    size = draw(st.integers(1, longest)), draw(st.integers(1, longest))
    boxes = []
    for _ in range(draw(st.integers(1, 5))):
        (left, right), (top, bottom) = (
            sorted(draw(st.tuples(*[st.floats(0, side) | st.integers(0, side)] * 2))) for side in size
        )
        assume(left < right and top < bottom)
        boxes.append([left, top, right, bottom])
    return size, np.array(boxes, np.float64)


class Asking(random.Random):
    """Asks for one least IoU, and for the whole image when that was not to be had so many times."""

    least: float = 0.0
    patience = 60

    def choice(self, options: Any) -> Any:
        self.options, self.patience = options, self.patience - 1
        return self.least if self.patience > 0 else None


def asking(least: float, seed: int) -> Asking:
    rng = Asking(seed)
    rng.least = least
    return rng


def counted_iou(box: Boxes, crop: Box) -> float:
    """Of boxes that end on whole pixels, pixel by pixel."""
    left, top, width, height = crop
    in_crop = {(x, y) for x in range(left, left + width) for y in range(top, top + height)}
    in_box = {(x, y) for x in range(int(box[0]), int(box[2])) for y in range(int(box[1]), int(box[3]))}
    return len(in_crop & in_box) / len(in_crop | in_box)


@given(scenes(20), st.data())
def test_overlaps_are_those_of_their_pixels(scene: tuple[tuple[int, int], Boxes], data: st.DataObject) -> None:
    (width, height), boxes = scene
    whole = np.concatenate([np.floor(boxes[:, :2]), np.ceil(boxes[:, 2:])], 1)
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    crop = left, top, data.draw(st.integers(1, width - left)), data.draw(st.integers(1, height - top))
    assert iou(whole, crop) == pytest.approx([counted_iou(box, crop) for box in whole], rel=1e-12)


@settings(max_examples=100)
@given(scenes(), st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 0.9]), st.integers(0, 2**32))
def test_an_accepted_crop_has_the_least_iou_with_every_box_and_holds_a_centre(
    scene: tuple[tuple[int, int], Boxes], least: float, seed: int
) -> None:
    (width, height), boxes = scene
    whole = np.concatenate([np.floor(boxes[:, :2]), np.ceil(boxes[:, 2:])], 1)
    rng = asking(least, seed)
    left, top, w, h = random_crop((width, height), whole, (0.1, 0.3, 0.5, 0.7, 0.9), rng)
    assert rng.options == (None, 0.1, 0.3, 0.5, 0.7, 0.9, 0.0)  # with equal chance
    assert 0 <= left < left + w <= width
    assert 0 <= top < top + h <= height
    centres = (whole[:, :2] + whole[:, 2:]) / 2
    assert any(left <= x <= left + w and top <= y <= top + h for x, y in centres)
    if rng.patience > 0:  # not the whole image for want of another
        assert min(counted_iou(box, (left, top, w, h)) for box in whole) >= least - 1e-12
        assert w >= 0.3 * width - 1
        assert h >= 0.3 * height - 1


def test_the_whole_image_and_each_least_iou_are_had_where_they_can_be() -> None:
    """A box that fills the picture: a crop's IoU with it is the crop's area, so that of a least IoU is above it."""
    boxes, size = np.array([[0.0, 0, 400, 300]]), (400, 300)
    rng = random.Random(0)
    areas = [w * h / 120_000 for _, _, w, h in (random_crop(size, boxes, (0.7, 0.9), rng) for _ in range(2000))]
    assert min(areas) < 0.2
    assert 0.3 < np.mean(np.array(areas) == 1) < 0.75
    assert any(0.7 < area < 0.9 for area in areas)


def test_crops_reach_every_border_and_every_pixel() -> None:
    rng = asking(0.0, 0)
    rng.patience = 10**6
    crops = np.array([random_crop((7, 5), np.array([[0.0, 0, 7, 5]]), (), rng) for _ in range(1500)])
    assert set(crops[:, 0]) == set(range(4))  # the centre, (3.5, 2.5), is in each
    assert set(crops[:, 0] + crops[:, 2]) == set(range(4, 8))
    assert set(crops[:, 1]) == set(range(3))
    assert set(crops[:, 1] + crops[:, 3]) == set(range(3, 6))


def test_sides_of_a_crop_are_uniform_where_their_ratio_is_right() -> None:
    """Against the definition, drawn without a rounding: pairs of shares whose ratio is between 1/2 and 2."""
    size, rng, slow = (4000, 3000), asking(0.0, 0), np.random.default_rng(1)
    rng.patience = 10**6
    crops = np.array([random_crop(size, np.array([[0.0, 0, 4000, 3000]]), (), rng) for _ in range(2500)])
    shares = slow.uniform(0.3, 1, (40_000, 2))
    inside = slow.uniform(0, 1, (40_000, 2)) * (1 - shares)
    right = (
        (abs(np.log(shares[:, 0] / shares[:, 1])) <= log(2)) & (inside < 0.5).all(1) & (inside + shares > 0.5).all(1)
    )
    for axis in (0, 1):
        for found, expected in (
            (crops[:, 2 + axis] / size[axis], shares[right, axis]),
            (crops[:, axis] / size[axis], inside[right, axis]),
        ):
            parts = np.linspace(0, 1, 9)
            assert np.quantile(found, parts) == pytest.approx(np.quantile(expected, parts), abs=0.03)
    ratios = crops[:, 2] / 4000 / (crops[:, 3] / 3000)
    assert 0.499 < ratios.min() < 0.51
    assert 1.96 < ratios.max() < 2.002


@settings(max_examples=150)
@given(scenes(), st.integers(0, 2**32))
def test_boxes_stay_in_the_unit_square_with_an_area_and_their_labels(
    scene: tuple[tuple[int, int], Boxes], seed: int
) -> None:
    size, boxes = scene
    view = random_view(size, boxes, STILL, random.Random(seed))
    found, labels = placed(boxes, np.arange(len(boxes)), view)
    assert (found.dtype, found.shape) == (np.float32, (len(labels), 4))
    assert len(labels) >= 1
    assert ((found >= 0) & (found <= 1)).all()
    assert (found[:, 2:] > found[:, :2]).all()
    left, top, width, height = view.crop
    kept = []
    for number, (x1, y1, x2, y2) in enumerate(boxes):
        if not (left <= (x1 + x2) / 2 <= left + width and top <= (y1 + y2) / 2 <= top + height):
            continue
        ends = [(min(max(x, left), left + width) - left) / width for x in (x1, x2)]
        ends = sorted(1 - end for end in ends) if view.flipped else ends
        rows = [(min(max(y, top), top + height) - top) / height for y in (y1, y2)]
        assert found[len(kept)] == pytest.approx([ends[0], rows[0], ends[1], rows[1]], abs=1e-6)
        kept.append(number)
    assert labels.tolist() == kept


@given(st.integers(1, 5000), st.floats(0, 1), st.floats(5e-324, 1e-3), st.booleans())
def test_a_box_does_not_vanish_however_small(side: int, place: float, extent: float, flipped: bool) -> None:
    near = place * side
    far = min(near + extent, side)
    assume(far > near)
    box = np.array([[near, near, far, far]])
    found, _ = placed(box, np.ones(1), View((0, 0, side, side), flipped, ()))
    assert len(found) == 1
    assert (found[:, 2:] > found[:, :2]).all()
    assert ((found >= 0) & (found <= 1)).all()


@settings(max_examples=150)
@given(scenes(), st.integers(0, 2**32), st.integers(1, 50))
def test_boxes_follow_their_pixels_to_half_a_pixel(scene: tuple[tuple[int, int], Boxes], seed: int, size: int) -> None:
    """Of the picture's pixels or of the view's, whichever are larger; and a quarter, a level of rounding."""
    extent, boxes = scene
    view = random_view(extent, boxes, replace(STILL, size=size), random.Random(seed))
    pixels = seen(coordinates(extent), view, size).numpy().astype(float)
    assert pixels.shape == (3, size, size)
    found, labels = placed(boxes, np.arange(len(boxes)), view)
    centres = (np.arange(size) + 0.5) / size
    for axis in (0, 1):
        told = pixels[axis].mean(axis) / STEP + 0.5  # the ramp is the same in every row, or column
        assert np.ptp(pixels[axis], axis=axis).max() <= 1
        near = 0.5 * max(1, view.crop[2 + axis] / size) + 0.25
        for box, number in zip(found, labels, strict=True):
            low, high = boxes[number, axis], boxes[number, axis + 2]
            within = (centres >= box[axis]) & (centres <= box[axis + 2])
            assert (abs(np.clip(told, low, high) - told)[within] <= near).all()
            assert (np.minimum(told - low, high - told)[~within] <= near).all()


@given(scenes(30), st.integers(0, 2**32))
def test_a_mirrored_view_is_the_mirror_of_the_view(scene: tuple[tuple[int, int], Boxes], seed: int) -> None:
    size, boxes = scene
    view = replace(random_view(size, boxes, STILL, random.Random(seed)), flipped=False)
    mirrored = replace(view, flipped=True)
    assert (seen(coordinates(size), mirrored, 17).numpy() == seen(coordinates(size), view, 17).numpy()[..., ::-1]).all()
    (plain, _), (found, _) = (placed(boxes, np.arange(len(boxes)), one) for one in (view, mirrored))
    assert found == pytest.approx(np.stack([1 - plain[:, 2], plain[:, 1], 1 - plain[:, 0], plain[:, 3]], 1), abs=3e-7)


def grey(colour: Any) -> float:
    """ITU-R 601's luma."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def textbook(pixels: np.ndarray, place: int, amount: float) -> np.ndarray:
    """One adjustment of float pixels (H, W, 3), 0-255, colour after colour."""
    found = np.empty_like(pixels)
    mean = np.mean([grey(colour) for row in pixels for colour in row])
    for row, column in np.ndindex(pixels.shape[:2]):
        colour = pixels[row, column]
        if place == 3:
            hue, saturation, value = colorsys.rgb_to_hsv(*(colour / 255))
            found[row, column] = np.array(colorsys.hsv_to_rgb((hue + amount) % 1, saturation, value)) * 255
        else:
            other = (0.0, mean, grey(colour))[place]
            found[row, column] = np.clip(amount * colour + (1 - amount) * other, 0, 255)
    return found


@given(st.integers(0, 2**32), st.integers(0, 3), st.floats(0.5, 1.5), st.floats(-0.05, 0.05))
def test_colours_are_adjusted_as_a_slow_textbook_does(seed: int, place: int, factor: float, turn: float) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    amount = turn if place == 3 else factor
    found = seen(picture(pixels), View((0, 0, 5, 5), False, ((place, amount),)), 5).numpy().transpose(1, 2, 0)
    # Levels are cut off, not rounded, and the grey of contrast and saturation is itself a whole level.
    assert np.abs(found - textbook(pixels.astype(float), place, amount)).max() < 2.01


def test_colours_are_adjusted_in_the_order_of_the_view() -> None:
    pixels = np.full((4, 4, 3), (200, 100, 40), np.uint8)
    bright_first, bright_last = (
        seen(picture(pixels), View((0, 0, 4, 4), False, order), 4)[:, 0, 0].tolist()
        for order in (((0, 1.5), (2, 0.0)), ((2, 0.0), (0, 1.5)))
    )
    assert bright_first == pytest.approx([grey((255, 150, 60))] * 3, abs=1)
    assert bright_last == pytest.approx([1.5 * grey((200, 100, 40))] * 3, abs=1.5)


def test_draws_are_spread_as_the_recipe_says() -> None:
    n, augment, boxes = 3000, CocoAugment(), np.array([[10.0, 10, 90, 90]])
    drawn = [random_view((100, 100), boxes, augment, random.Random(seed)) for seed in range(n)]
    assert np.mean([view.flipped for view in drawn]) == pytest.approx(0.5, abs=5 * 0.5 / n**0.5)
    for place, strength in enumerate(augment.color_jitter):
        amounts = [dict(view.colours)[place] - (place != 3) for view in drawn]
        parts = np.linspace(-1, 1, 5) * strength
        assert np.quantile(amounts, [0, 0.25, 0.5, 0.75, 1]) == pytest.approx(parts, abs=0.08 * strength)
        for turn in range(4):
            share = np.mean([view.colours[turn][0] == place for view in drawn])
            assert share == pytest.approx(0.25, abs=5 * (3 / 16 / n) ** 0.5)
    assert all(random_view((9, 9), boxes / 12, STILL, random.Random(seed)).colours == () for seed in range(20))
    assert len(ADJUST) == len(augment.color_jitter)


def test_an_adjustment_alone_that_could_turn_negative_does_not() -> None:
    augment = CocoAugment(color_jitter=(2.0, 0.0, 0.0, 0.0))
    views = [random_view((9, 9), np.array([[0.0, 0, 9, 9]]), augment, random.Random(seed)) for seed in range(200)]
    factors = [amount for view in views for _, amount in view.colours]
    assert len(factors) == 200
    assert 0 <= min(factors) < 0.1
    assert 2.8 < max(factors) <= 3
