"""Equation 1 by hand, the group rule as a law, and what a wrong pyramid is told."""

from math import gcd

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyconv import PYRAMIDS, Pyramid, pyconv_flops, pyconv_params
from pyconv.pyramid import HG_PYRAMIDS, VIDEO_PYRAMIDS


def test_equation_1_by_hand_for_the_first_stage_of_pyconvresnet() -> None:
    # Figure 4: 64 -> 16 maps a level; K^2 * FM_i / G * FM_o = 9*64*16 + 25*16*16 + 49*8*16 + 81*4*16
    assert pyconv_params(PYRAMIDS[4], 64, 64) == 9216 + 6400 + 6272 + 5184
    assert pyconv_flops(PYRAMIDS[4], 64, 64, (56, 56)) == 27072 * 56 * 56


def test_one_level_is_the_standard_convolution() -> None:
    assert pyconv_params(PYRAMIDS[1], 512, 512) == 9 * 512 * 512
    assert pyconv_params(PYRAMIDS[1], 512, 256, bias=True) == 9 * 512 * 256 + 256


def test_equation_1_for_the_video_pyramid_counts_the_temporal_taps() -> None:
    by_hand = (27 * 64 + 75 * 16 + 5 * 49 * 8 + 7 * 81 * 4) * 16
    assert pyconv_params(VIDEO_PYRAMIDS[4], 64, 64) == by_hand
    assert pyconv_flops(VIDEO_PYRAMIDS[4], 64, 64, (16, 56, 56)) == by_hand * 16 * 56 * 56


@pytest.mark.parametrize(
    ("pyramid", "channels", "levels"),
    [  # Table 1 and facts of the five-level row: (kernel, output maps, groups), level 1 first
        (PYRAMIDS[4], 64, [(3, 16, 1), (5, 16, 4), (7, 16, 8), (9, 16, 16)]),
        (PYRAMIDS[3], 128, [(3, 32, 1), (5, 32, 4), (7, 64, 8)]),
        (PYRAMIDS[2], 256, [(3, 128, 1), (5, 128, 4)]),
        (PYRAMIDS[1], 512, [(3, 512, 1)]),
        (PYRAMIDS[5], 64, [(3, 8, 1), (5, 8, 4), (7, 16, 8), (9, 16, 16), (11, 16, 16)]),
        (HG_PYRAMIDS[0], 128, [(3, 32, 32), (5, 32, 32), (7, 32, 32), (9, 32, 32)]),
        (HG_PYRAMIDS[1], 256, [(3, 64, 32), (5, 64, 64), (7, 128, 64)]),
        (HG_PYRAMIDS[2], 512, [(3, 256, 32), (5, 256, 64)]),
        (HG_PYRAMIDS[3], 1024, [(3, 1024, 32)]),
    ],
)
def test_the_pyramids_of_table_1(pyramid: Pyramid, channels: int, levels: list[tuple[int, int, int]]) -> None:
    found = [(level.kernel[0], level.out_channels, level.groups) for level in pyramid.levels(channels, channels)]
    assert found == levels


def test_equal_splits_are_one_pyramid() -> None:
    assert Pyramid((3, 5), split=(2, 2)) == Pyramid((3, 5)) == Pyramid((3, 5), groups=(1, 1), split=(1, 1))
    assert Pyramid((3, 5, 7), split=(16, 16, 32)) == Pyramid((3, 5, 7), split=(1, 1, 2))


def test_top_keeps_the_largest_kernel_with_its_groups() -> None:
    assert PYRAMIDS[4].top() == Pyramid((9,), groups=(16,))


ODD_KERNELS = st.lists(st.integers(0, 6).map(lambda n: 2 * n + 1), min_size=1, max_size=5, unique=True).map(
    lambda kernels: tuple(sorted(kernels))
)


@settings(deadline=None)  # shared machines are slow now and then
@given(kernels=ODD_KERNELS, per_level=st.integers(1, 48), in_channels=st.integers(1, 512))
def test_the_group_rule_takes_the_closest_valid_divisor(
    kernels: tuple[int, ...], per_level: int, in_channels: int
) -> None:
    pyramid = Pyramid.from_rule(in_channels, per_level * len(kernels), kernels)
    for kernel, groups in zip(pyramid.kernels, pyramid.groups, strict=True):
        assert isinstance(kernel, int)
        wanted = kernel**2 / kernels[0] ** 2
        assert in_channels % groups == 0
        assert per_level % groups == 0
        for other in range(1, gcd(in_channels, per_level) + 1):
            if in_channels % other == 0 and per_level % other == 0:
                distance, own = abs(other - wanted), abs(groups - wanted)
                assert own < distance or (own == distance and groups <= other)


def test_the_group_rule_by_hand() -> None:
    # Ratios 1, 2.8, 5.4, 9 among the divisors of 64 and 16: 1, 2 (|2.8-2| < |2.8-4|), 4, 8.
    assert Pyramid.from_rule(64, 64, (3, 5, 7, 9)).groups == (1, 2, 4, 8)
    # Among the divisors of 12 and 6: 1, 2 or 3 -> 3, 6.
    assert Pyramid.from_rule(12, 18, (3, 5, 7)).groups == (1, 3, 6)
    # Ratio 9 between 6 and 12, equally close: the smaller, which keeps more connections.
    assert Pyramid.from_rule(12, 24, (1, 3)).groups == (1, 6)


@settings(deadline=None)  # shared machines are slow now and then
@given(kernels=ODD_KERNELS, per_level=st.integers(1, 48), in_channels=st.integers(1, 512))
def test_more_groups_never_cost_more(kernels: tuple[int, ...], per_level: int, in_channels: int) -> None:
    out_channels = per_level * len(kernels)
    by_rule = Pyramid.from_rule(in_channels, out_channels, kernels)
    dense = pyconv_params(Pyramid(kernels), in_channels, out_channels)
    assert pyconv_params(by_rule, in_channels, out_channels) <= dense


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernels": ()}, "at least one level"),
        ({"kernels": (3, 4)}, "level 2: kernel 4 must be odd"),
        ({"kernels": (3, -1)}, "level 2"),
        ({"kernels": (3, 5), "groups": (1,)}, "1 entries for 2 levels"),
        ({"kernels": (3, 5), "groups": (1, 0)}, "level 2: groups must be a positive integer, got 0"),
        ({"kernels": (3, 5), "split": (1, 1, 2)}, "3 entries for 2 levels"),
        ({"kernels": (3, 5), "split": (0, 1)}, "level 1: split must be a positive integer"),
        ({"kernels": ((3, 3), (3, 5, 5))}, "mix dimensions"),
    ],
)
def test_a_wrong_pyramid_is_refused_naming_the_level(arguments: dict[str, tuple[int, ...]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Pyramid(**arguments)


@pytest.mark.parametrize(
    ("pyramid", "in_channels", "out_channels", "message"),
    [
        (Pyramid((3, 5), groups=(1, 3)), 64, 64, r"level 2 \(kernel 5\).*groups=3.*valid groups: 1, 2, 4, 8, 16, 32$"),
        (PYRAMIDS[4], 64, 32, r"level 4 \(kernel 9\).*8 output maps; valid groups: 1, 2, 4, 8$"),
        (PYRAMIDS[4], 24, 64, r"level 4 \(kernel 9\).*24 input maps.*valid groups: 1, 2, 4, 8$"),
        (PYRAMIDS[3], 64, 66, "out_channels=66 cannot be split 1:1:2 over 3 levels: use a multiple of 4"),
        (PYRAMIDS[1], 0, 64, "in_channels must be a positive integer, got 0"),
        (PYRAMIDS[1], 64, -4, "out_channels must be a positive integer, got -4"),
    ],
)
def test_a_pyramid_that_does_not_fit_is_refused_with_the_valid_numbers(
    pyramid: Pyramid, in_channels: int, out_channels: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        pyramid.levels(in_channels, out_channels)


def test_a_video_pyramid_is_not_for_images() -> None:
    with pytest.raises(ValueError, match=r"level 1: kernel .* has 3 dimensions, the convolution 2"):
        VIDEO_PYRAMIDS[4].levels(64, 64, dims=2)
