"""Photographs and label maps under one transform: a slow textbook, laws of windows, and coordinates in pictures.

The textbook computes the whole picture pixel by pixel in float64, in semseg's order, with OpenCV's positions of pixels.
"""

import pickle
import random
from collections.abc import Iterator
from dataclasses import replace
from math import cos, floor, radians, sin
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from pyconv.data import DataError
from pyconv.data.ade20k import IGNORE, read_scenes
from pyconv.data.scene_sets import CentreCrops, TrainingSet
from pyconv.data.scene_transforms import MEAN_COLOUR, View, centre_view, random_view, seen
from pyconv.data.warping import TAPS, resized_size
from pyconv.recipe import Ade20kAugment

PLAIN = View(scale=1.0, degrees=0.0, taps=(), flipped=False, top=0, left=0, crop=1)
NEAR = 1e-6
"""So close to the border between two pixels rounding may decide which one is the nearest."""

sizes = st.tuples(st.integers(1, 22), st.integers(1, 22))
views = st.builds(
    View,
    scale=st.one_of(st.sampled_from([0.5, 1.0, 1.01, 2.0]), st.floats(0.5, 2.0)),
    degrees=st.one_of(st.just(0.0), st.floats(-10, 10)),
    taps=st.sampled_from([(), TAPS[5], TAPS[3]]),
    flipped=st.booleans(),
    top=st.integers(-8, 30),
    left=st.integers(-8, 30),
    crop=st.integers(1, 24),
)


def noise(size: tuple[int, int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (*size, 3), dtype=np.uint8), rng.integers(0, 150, size, dtype=np.uint8)


class Textbook:
    """Whole pictures as lists of rows; `sure`: where the nearest pixel is not a matter of rounding."""

    def __init__(self, image: np.ndarray, labels: np.ndarray) -> None:
        self.image, self.labels = image.astype(np.float64), labels
        self.sure = np.ones(labels.shape, dtype=bool)

    def pixels(self) -> Iterator[tuple[int, int]]:
        height, width = self.labels.shape
        return ((row, column) for row in range(height) for column in range(width))

    def mix(self, row: float, column: float, outside: np.ndarray | None = None) -> np.ndarray:
        """Bilinear; beyond the border the colour is `outside`, or that of the border."""
        height, width = self.labels.shape
        total = np.zeros(3)
        for y, x in ((y, x) for y in (floor(row), floor(row) + 1) for x in (floor(column), floor(column) + 1)):
            weight = (1 - abs(row - y)) * (1 - abs(column - x))
            if outside is None or (0 <= y < height and 0 <= x < width):
                total += weight * self.image[min(max(y, 0), height - 1), min(max(x, 0), width - 1)]
            else:
                total += weight * outside
        return total

    def scale(self, factor: float) -> None:
        size = tuple(max(1, round(side * factor)) for side in self.labels.shape)
        if size == self.labels.shape:
            return
        image, labels, sure = np.zeros((*size, 3)), np.zeros(size, np.uint8), np.ones(size, dtype=bool)
        for row, column in np.ndindex(*size):
            image[row, column] = self.mix((row + 0.5) / factor - 0.5, (column + 0.5) / factor - 0.5)
            y, x = row / factor, column / factor
            labels[row, column] = self.labels[
                tuple(min(floor(a), n - 1) for a, n in zip((y, x), self.labels.shape, strict=True))
            ]
            sure[row, column] = all(abs(a - round(a)) > NEAR or a == 0 for a in (y, x))
        self.image, self.labels, self.sure = image, labels, sure

    def rotate(self, degrees: float) -> None:
        height, width = self.labels.shape
        angle = radians(degrees)
        # What turns counter-clockwise on the screen, where rows count downwards.
        turn = np.array([[cos(angle), sin(angle)], [-sin(angle), cos(angle)]])
        centre = np.array([width / 2, height / 2])
        image, labels, sure = self.image.copy(), self.labels.copy(), self.sure.copy()
        for row, column in self.pixels():
            x, y = np.linalg.solve(turn, np.array([column, row]) - centre) + centre
            image[row, column] = self.mix(y, x, MEAN_COLOUR)
            at = round(y), round(x)
            inside = 0 <= at[0] < height and 0 <= at[1] < width
            labels[row, column] = self.labels[at] if inside else IGNORE
            sure[row, column] = (not inside or self.sure[at]) and all(abs(a % 1 - 0.5) > NEAR for a in (y, x))
        self.image, self.labels, self.sure = image, labels, sure

    def blur(self, taps: tuple[float, ...]) -> None:
        reach = len(taps) // 2
        wide = np.pad(self.image, ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
        for row, column in self.pixels():
            part = wide[row : row + len(taps), column : column + len(taps)]
            self.image[row, column] = sum(
                taps[y] * taps[x] * part[y, x] for y in range(len(taps)) for x in range(len(taps))
            )

    def flip(self) -> None:
        self.image, self.labels, self.sure = self.image[:, ::-1], self.labels[:, ::-1], self.sure[:, ::-1]

    def crop(self, top: int, left: int, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        image = np.tile(MEAN_COLOUR, (side, side, 1))
        labels, sure = np.full((side, side), IGNORE), np.ones((side, side), dtype=bool)
        for row, column in self.pixels():
            place = row - top, column - left
            if min(place) >= 0 and max(place) < side:
                image[place], labels[place] = self.image[row, column], self.labels[row, column]
                sure[place] = self.sure[row, column]
        return image, labels, sure


@settings(max_examples=60)
@given(sizes, views)
@example((22, 21), View(1.9, -9.5, TAPS[5], True, 1, 2, 20))
@example((1, 1), View(0.5, 10.0, TAPS[5], True, -3, -2, 6))
@example((1, 22), View(0.5, 0.0, TAPS[5], False, 0, 0, 11))
@example((1, 1), View(0.5, 2e-308, (), False, 0, 0, 1))
def test_a_view_is_what_a_slow_textbook_shows(size: tuple[int, int], view: View) -> None:
    image, labels = noise(size)
    slow = Textbook(image, labels)
    slow.scale(view.scale)
    if view.degrees:
        slow.rotate(view.degrees)
    if view.taps:
        slow.blur(view.taps)
    if view.flipped:
        slow.flip()
    expected, numbers, sure = slow.crop(view.top, view.left, view.crop)
    colours, found = seen(image, labels, view)
    assert (colours.dtype, colours.shape) == (np.float32, (view.crop, view.crop, 3))
    assert (found.dtype, found.shape) == (np.uint8, (view.crop, view.crop))
    # Shares of pixels are float32: off by 1e-7, and times 255 levels, in two steps.
    assert np.abs(colours - expected).max() < 2e-3
    assert (found == numbers)[sure].all()


@settings(max_examples=150)
@given(st.tuples(st.integers(1, 90), st.integers(1, 90)), views)
def test_a_crop_has_the_bits_of_the_whole_picture(size: tuple[int, int], view: View) -> None:
    """The picture is cropped before it is rotated and blurred, and nobody can tell."""
    image, labels = noise(size)
    height, width = resized_size(size, view.scale)
    whole = replace(view, top=-10, left=-10, crop=max(height, width, 60) + 20)
    colours, numbers = seen(image, labels, whole)
    place = tuple(slice(start + 10, start + 10 + view.crop) for start in (view.top, view.left))
    crop_colours, crop_numbers = seen(image, labels, view)
    assert np.array_equal(crop_colours, colours[place])
    assert np.array_equal(crop_numbers, numbers[place])


def coordinates(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A picture that says where each pixel comes from: red the column, green the row; the labels say the same.

    Blue is 255 everywhere, so that one sees where something from outside was mixed in.
    """
    height, width = size
    image = np.full((height, width, 3), 255, dtype=np.uint8)
    image[..., 0], image[..., 1] = np.arange(width)[None], np.arange(height)[:, None]
    return image, np.arange(height * width, dtype=np.uint8).reshape(size)


def apart(size: tuple[int, int], view: View) -> tuple[np.ndarray, np.ndarray]:
    """How far colours and labels disagree about where a pixel comes from, and the pixels of which both tell."""
    colours, numbers = seen(*coordinates(size), view)
    both = (numbers != IGNORE) & (abs(colours[..., 2] - 255) < 1e-2)
    row, column = np.divmod(numbers.astype(int), size[1])
    return np.maximum(abs(colours[..., 0] - column), abs(colours[..., 1] - row)), both


small = st.tuples(st.integers(1, 15), st.integers(1, 16))  # at most 240 pixels: one label each


@given(small, views)
def test_flip_and_crop_move_both_exactly(size: tuple[int, int], view: View) -> None:
    view = replace(PLAIN, flipped=view.flipped, top=view.top, left=view.left, crop=view.crop)
    distance, both = apart(size, view)
    assert (distance[both] == 0).all()
    colours, numbers = seen(*coordinates(size), view)
    assert np.array_equal(numbers == IGNORE, (colours == MEAN_COLOUR.astype(np.float32)).all(2))
    rows, columns = (np.arange(view.crop) + start for start in (view.top, view.left))
    assert int(both.sum()) == sum(0 <= r < size[0] for r in rows) * sum(0 <= c < size[1] for c in columns)


@given(small, st.floats(-10, 10), views)
def test_rotation_moves_both_to_half_a_pixel(size: tuple[int, int], degrees: float, view: View) -> None:
    distance, both = apart(size, replace(PLAIN, degrees=degrees, top=view.top, left=view.left, crop=view.crop))
    assert (distance[both] <= 0.5 + 1e-4).all()


@given(small, st.floats(0.5, 2), views)
def test_scaling_moves_both_as_opencv_does(size: tuple[int, int], scale: float, view: View) -> None:
    """The nearest pixel is floor(i / s), the bilinear position (i + 1/2) / s - 1/2: at most that is between them."""
    distance, both = apart(size, replace(PLAIN, scale=scale, top=view.top, left=view.left, crop=view.crop))
    assert (distance[both] <= 1 + max(0.5 / scale - 0.5, 0) + 1e-4).all()


@given(small, views)
def test_all_together_move_both(size: tuple[int, int], view: View) -> None:
    distance, both = apart(size, view)
    scaling, rotation = 1 + max(0.5 / view.scale - 0.5, 0), 0.5 / view.scale
    # Of a ramp a blur changes the border pixels alone, where it is mirrored: by sum(tap * distance) to one side.
    mirrored = 2 * sum(tap * abs(n - len(view.taps) // 2) for n, tap in enumerate(view.taps)) / view.scale
    assert (distance[both] <= scaling + rotation + mirrored + 1e-3).all()


def test_rotation_is_counter_clockwise_about_half_the_sides() -> None:
    """A bright spot right of (20.5, 20.5) goes up."""
    image, labels = np.zeros((41, 41, 3), np.uint8), np.zeros((41, 41), np.uint8)
    image[19:22, 35:38], labels[19:22, 35:38] = 255, 7
    colours, numbers = seen(image, labels, replace(PLAIN, degrees=10.0, top=3, left=3, crop=35))
    right, down, angle = 36 - 20.5, 20 - 20.5, radians(10)
    expected = (20.5 - sin(angle) * right + cos(angle) * down, 20.5 + cos(angle) * right + sin(angle) * down)
    for bright in (numbers == 7, colours[..., 0] > 127):
        assert np.argwhere(bright).mean(0) + 3 == pytest.approx(expected, abs=0.4)


def test_one_colour_stays_that_colour_and_outside_is_the_mean() -> None:
    image, labels = np.full((30, 40, 3), 77, np.uint8), np.full((30, 40), 3, np.uint8)
    colours, numbers = seen(image, labels, View(1.3, 7.0, TAPS[5], True, 10, 15, 12))
    assert (colours == 77).all()
    assert (numbers == 3).all()
    colours, numbers = seen(image, labels, replace(PLAIN, top=-20, left=-20, crop=20))
    assert np.array_equal(colours, np.broadcast_to(MEAN_COLOUR.astype(np.float32), (20, 20, 3)))
    assert (numbers == IGNORE).all()


def test_sides_are_rounded_to_even_and_never_vanish() -> None:
    assert [resized_size((side, 1), 0.5)[0] for side in (1, 2, 3, 5, 7)] == [1, 1, 2, 2, 4]
    assert resized_size((512, 683), 2.0) == (1024, 1366)


def test_draws_are_spread_as_the_recipe_says() -> None:
    augment, n = Ade20kAugment(crop=100), 4000
    drawn = [random_view((150, 180), augment, random.Random(seed)) for seed in range(n)]
    for what, share in (("degrees", 0.5), ("taps", 0.5), ("flipped", 0.5)):
        assert sum(bool(getattr(view, what)) for view in drawn) / n == pytest.approx(share, abs=5 * 0.5 / n**0.5)
    scales, degrees = [v.scale for v in drawn], [v.degrees for v in drawn if v.degrees]
    assert np.quantile(scales, [0, 0.25, 0.5, 0.75, 1]) == pytest.approx([0.5, 0.875, 1.25, 1.625, 2], abs=0.06)
    assert np.quantile(degrees, [0, 0.25, 0.5, 0.75, 1]) == pytest.approx([-10, -5, 0, 5, 10], abs=0.8)
    for view in drawn:
        for side, start in zip(resized_size((150, 180), view.scale), (view.top, view.left), strict=True):
            padding = max(100 - side, 0)
            assert start == -(padding // 2) if padding else 0 <= start <= side - 100
    starts = [v.left / (resized_size((150, 180), v.scale)[1] - 100) for v in drawn if v.scale > 1]
    assert np.quantile(starts, [0, 0.25, 0.5, 0.75, 1]) == pytest.approx([0, 0.25, 0.5, 0.75, 1], abs=0.06)
    assert {v.taps for v in drawn} == {(), (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)}


@given(small, st.integers(1, 20))
def test_the_middle_of_a_photograph(size: tuple[int, int], crop: int) -> None:
    image, labels = coordinates(size)
    _, numbers = seen(image, labels, centre_view(size, crop))
    padding = [(max(crop - side, 0) // 2, -(-max(crop - side, 0) // 2)) for side in size]
    padded = np.pad(labels, padding, constant_values=IGNORE)
    top, left = ((side - crop) // 2 for side in padded.shape)
    assert np.array_equal(numbers, padded[top : top + crop, left : left + crop])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    for split, number in (("training", 3), ("validation", 2)):
        for kind in ("images", "annotations"):
            (folder / kind / split).mkdir(parents=True)
        for index in range(number):
            image, labels = noise((30 + index, 41), index)
            Image.fromarray(image).save(folder / "images" / split / f"{index}.jpg")
            Image.fromarray(labels).save(folder / "annotations" / split / f"{index}.png")
    return folder


def test_an_item_is_a_function_of_seed_epoch_and_index(root: Path) -> None:
    scenes, augment = read_scenes(root, "train"), Ade20kAugment(crop=33)
    items, again = TrainingSet(scenes, augment, 5), pickle.loads(pickle.dumps(TrainingSet(scenes, augment, 5)))
    first = {visit: items[visit] for visit in ((0, 0), (0, 1), (1, 0))}
    for visit in reversed(first):
        assert all(torch.equal(a, b) for a, b in zip(first[visit], again[visit], strict=True))
    image, labels = first[0, 0]
    assert (image.shape, image.dtype, labels.shape, labels.dtype) == ((3, 33, 33), torch.float32, (33, 33), torch.uint8)
    assert not torch.equal(image, first[1, 0][0])
    assert not torch.equal(image, TrainingSet(scenes, augment, 6)[0, 0][0])
    still = Ade20kAugment(crop=41, scale=(1, 1), rotation_prob=0, blur_prob=0, flip=0)
    image, labels = TrainingSet(scenes, still, 5)[0, 1]
    assert np.array_equal(image[:, 5:36].permute(1, 2, 0).numpy(), scenes.image(1).astype(np.float32))
    assert np.array_equal(labels[5:36].numpy(), scenes.labels(1))


def test_centre_crops_are_numbered(root: Path) -> None:
    crops = CentreCrops(read_scenes(root, "val"), 20)
    image, labels, number = crops[1]
    assert (len(crops), number, tuple(image.shape)) == (2, 1, (3, 20, 20))
    assert np.array_equal(labels.numpy(), crops.scenes.labels(1)[5:25, 10:30])


def test_a_label_map_of_another_size_is_named(tmp_path: Path) -> None:
    for kind, size in (("images/training/a.jpg", (20, 30, 3)), ("annotations/training/a.png", (20, 31))):
        (tmp_path / kind).parent.mkdir(parents=True)
        Image.fromarray(np.zeros(size, np.uint8)).save(tmp_path / kind)
    items = TrainingSet(read_scenes(tmp_path, "train"), Ade20kAugment(), 0)
    with pytest.raises(DataError, match=r"a\.png: 31 x 20 labels for a photograph of 30 x 20 pixels"):
        items[0, 0]
