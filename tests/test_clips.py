"""Clips lie within the video, their frames a stride apart, their starts everywhere alike; short videos are looped."""

import random
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyconv.data.clips import random_clip, spread, uniform_clips

SIZES = st.tuples(st.integers(1, 400), st.integers(1, 20), st.integers(1, 8))
"""Frames, length, stride."""


def check(clip: tuple[int, ...], frames: int, length: int, stride: int) -> None:
    assert len(clip) == length
    if frames > (length - 1) * stride:
        assert 0 <= clip[0] <= clip[-1] < frames
        assert all(b - a == stride for a, b in pairwise(clip))
    else:
        assert clip == tuple(place * stride % frames for place in range(length))


@given(SIZES, st.integers())
def test_a_random_clip(sizes: tuple[int, int, int], seed: int) -> None:
    clip = random_clip(*sizes, random.Random(seed))
    check(clip, *sizes)
    assert clip == random_clip(*sizes, random.Random(seed))


@given(SIZES, st.integers(1, 15))
def test_uniform_clips(sizes: tuple[int, int, int], most: int) -> None:
    frames, length, stride = sizes
    clips = uniform_clips(*sizes, most)
    for clip in clips:
        check(clip, *sizes)
    starts, last = [clip[0] for clip in clips], max(0, frames - (length - 1) * stride - 1)
    assert len(starts) == min(most, last + 1)
    assert starts == sorted(set(starts))
    if most > 1:
        assert (starts[0], starts[-1]) == (0, last)
    ideal = [place * last / max(1, len(starts) - 1) for place in range(len(starts))] if len(starts) > 1 else [last / 2]
    assert max(abs(a - b) for a, b in zip(starts, ideal, strict=True)) <= 0.5


def test_every_start_is_equally_likely() -> None:
    rng, draws = random.Random(1), 40_000
    counts = Counter(random_clip(100, 16, 4, rng)[0] for _ in range(draws))
    assert sorted(counts) == [*range(40)]  # 100 - 60 starts
    expected = draws / 40
    chi_square = sum((count - expected) ** 2 / expected for count in counts.values())
    assert chi_square < 73  # 39 degrees of freedom: exceeded with probability 0.0008


def test_the_papers_clips_of_ten_seconds() -> None:
    clips = uniform_clips(300, 16, 4, 10)
    assert [clip[0] for clip in clips] == [0, 27, 53, 80, 106, 133, 159, 186, 212, 239]
    assert clips[-1][-1] == 299
    assert uniform_clips(300, 16, 5, 10)[-1] == tuple(range(224, 300, 5))  # the other reading of "skip four frames"
    assert uniform_clips(300, 16, 4, 1) == [tuple(range(119, 180, 4))]


@pytest.mark.parametrize(("frames", "clips"), [(60, 1), (61, 1), (62, 2), (70, 10), (71, 10)])
def test_a_video_with_fewer_starts_has_fewer_clips(frames: int, clips: int) -> None:
    assert len(uniform_clips(frames, 16, 4, 10)) == clips


def test_a_short_video_is_looped() -> None:
    assert uniform_clips(7, 5, 3, 10) == [(0, 3, 6, 2, 5)]
    assert random_clip(1, 4, 4, random.Random(0)) == (0, 0, 0, 0)


def test_nonsense_is_refused() -> None:
    for sizes in ((0, 16, 4), (10, 0, 4), (10, 16, 0)):
        with pytest.raises(ValueError, match="must be positive"):
            uniform_clips(*sizes, 10)
    with pytest.raises(ValueError, match="at least 1 clip"):
        uniform_clips(10, 16, 4, 0)


@given(st.integers(0, 1000), st.integers(2, 30))
def test_spread_numbers_take_both_ends_and_even_steps(last: int, count: int) -> None:
    numbers = spread(last, count)
    assert (numbers[0], numbers[-1], len(numbers)) == (0, last, count)
    steps = [b - a for a, b in pairwise(numbers)]
    assert max(steps) - min(steps) <= 1
