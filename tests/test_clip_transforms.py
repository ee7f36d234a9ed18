"""The network sees what a textbook's resizing, cutting and mirroring give; sides, places, flips are drawn as told."""

import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyconv.data.clip_transforms import View, crops, random_view, scaled, seen
from pyconv.recipe import KineticsAugment
from tests.video_files import scene

AUGMENT = KineticsAugment()


def clip(height: int, width: int, count: int = 3) -> torch.Tensor:
    return torch.from_numpy(scene(count, height, width)).permute(0, 3, 1, 2)


def weights(old: int, new: int) -> np.ndarray:
    """Bilinear with antialiasing: a triangle over each new pixel's middle, as wide as an old pixel or a new one."""
    width = max(old / new, 1.0)
    middles = (np.arange(new) + 0.5) * old / new
    found = np.clip(1 - np.abs(np.arange(old) + 0.5 - middles[:, None]) / width, 0, None)
    return found / found.sum(1, keepdims=True)


def textbook(frames: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Frames resized to (width, height) in real numbers: float64 (T, 3, height, width)."""
    down, across = weights(frames.shape[2], size[1]), weights(frames.shape[3], size[0])
    return torch.from_numpy(np.einsum("yh,tchw,xw->tcyx", down, frames.double().numpy(), across, optimize=True))


def close(found: torch.Tensor, exact: torch.Tensor) -> bool:
    """Rounded twice, along rows and along columns: within 1 of the real value, and half of that on average."""
    off = (found - exact).abs()
    return found.shape == exact.shape and float(off.max()) < 1.05 and float(off.mean()) < 0.4


@given(st.integers(40, 90), st.integers(40, 90), st.integers())
@settings(max_examples=40, deadline=None)
def test_a_view_is_a_crop_of_the_frames_as_a_textbook_resizes_them(height: int, width: int, seed: int) -> None:
    augment = KineticsAugment(crop=32, short_side=(33, 60))
    frames, view = clip(height, width), random_view((width, height), augment, random.Random(seed))
    assert view.size[0] >= view.left + 32 > 31
    assert view.size[1] >= view.top + 32 > 31
    expected = textbook(frames, view.size)[:, :, view.top : view.top + 32, view.left : view.left + 32].transpose(0, 1)
    found = seen(frames, view)
    assert found.is_contiguous()
    assert close(found, expected.flip(3) if view.flipped else expected)


def test_short_sides_places_and_flips_are_drawn_uniformly() -> None:
    rng = random.Random(3)
    views = [random_view((340, 256), AUGMENT, rng) for _ in range(13_000)]
    sides = Counter(min(view.size) for view in views)
    assert sorted(sides) == [*range(256, 321)]
    assert sum((count - 200) ** 2 / 200 for count in sides.values()) < 105  # 64 degrees of freedom, p = 0.001
    assert abs(sum(view.flipped for view in views) - 6500) < 4 * 57
    tops = Counter(view.top for view in views if min(view.size) in (256, 257))
    assert {*range(33)} == {*tops} - {33}
    shares = np.array([view.left / (view.size[0] - 224) for view in views])
    assert np.abs(np.quantile(shares, [0.25, 0.5, 0.75]) - [0.25, 0.5, 0.75]).max() < 0.03


def test_a_turned_video_is_drawn_alike() -> None:
    for seed in range(20):
        wide, high = (random_view(size, AUGMENT, random.Random(seed)).size for size in ((340, 256), (256, 340)))
        assert wide == high[::-1]


def test_a_crop_as_large_as_the_frame_and_one_too_large() -> None:
    augment = replace(AUGMENT, crop=256, short_side=(256, 256), flip=0.0)
    assert random_view((256, 256), augment, random.Random(0)) == View((256, 256), 0, 0, 256)
    with pytest.raises(ValueError, match="a crop of 224 pixels does not fit into frames of 200 x 200"):
        random_view((300, 300), replace(AUGMENT, short_side=(200, 200)), random.Random(0))
    with pytest.raises(ValueError, match="does not fit"):
        crops(clip(40, 50), 32, 40, 3)


@given(st.integers(16, 500), st.integers(16, 500), st.integers(8, 320))
def test_proportions_are_kept(width: int, height: int, short: int) -> None:
    found = scaled((width, height), short)
    assert min(found) == short
    assert 0 <= max(found) - short * max(width, height) / min(width, height) + 1 <= 1 + 1e-9


@pytest.mark.parametrize(("height", "width"), [(48, 80), (80, 48), (64, 64)])
def test_three_crops_cover_the_long_side(height: int, width: int) -> None:
    frames = clip(height, width)
    found = crops(frames, 32, 32, 3)
    assert found.shape == (3, 3, 3, 32, 32)
    size = (53, 32) if width > height else (32, 53) if height > width else (32, 32)
    resized = textbook(frames, size)
    for square, place in zip(found, (0, (max(size) - 32 + 1) // 2, max(size) - 32), strict=True):
        left, top = (place, 0) if width > height else (0, place)
        assert close(square, resized[:, :, top : top + 32, left : left + 32].transpose(0, 1))
    covered = torch.zeros(max(size))
    for place in (0, (max(size) - 32 + 1) // 2, max(size) - 32):
        covered[place : place + 32] = 1
    assert covered.all()


def test_one_crop_lies_in_the_middle() -> None:
    frames = clip(48, 80)
    resized = textbook(frames, (66, 40))
    assert close(crops(frames, 40, 32, 1)[0], resized[:, :, 4:36, 17:49].transpose(0, 1))


def test_frames_are_treated_alike_and_none_is_changed() -> None:
    frames = clip(48, 80, 5)
    before, view = (
        frames.clone(),
        random_view((80, 48), KineticsAugment(crop=24, short_side=(30, 40)), random.Random(1)),
    )
    together = seen(frames, view)
    for number in range(5):
        assert torch.equal(seen(frames[number : number + 1], view)[:, 0], together[:, number])
    assert torch.equal(frames, before)
