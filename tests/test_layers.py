"""PyConv against `torch.nn.functional` level by level, and against a dense convolution with block-diagonal weights."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyconv import PYRAMIDS, PyConv, Pyramid, pyconv_flops, pyconv_params
from pyconv.layers import conv, max_pool, spatial_conv
from pyconv.pyramid import VIDEO_PYRAMIDS

PLAIN: dict[int, Callable[..., Tensor]] = {2: F.conv2d, 3: F.conv3d}

CASES = [
    pytest.param(PYRAMIDS[4], 32, 64, 1, 1, None, (11, 9), id="four levels"),
    pytest.param(PYRAMIDS[3], 16, 32, 2, 1, None, (12, 13), id="stride 2"),
    pytest.param(PYRAMIDS[2], 8, 16, 1, 4, None, (15, 14), id="dilation 4"),
    pytest.param(PYRAMIDS[5], 16, 128, (1, 2), (2, 1), None, (10, 11), id="stride and dilation a dimension"),
    pytest.param(Pyramid((1, (3, 3)), groups=(2, 1), split=(1, 3)), 4, 8, 1, 1, None, (5, 6), id="int and tuple"),
    pytest.param(VIDEO_PYRAMIDS[4], 16, 64, (1, 2, 2), 1, None, (5, 9, 10), id="video"),
    pytest.param(VIDEO_PYRAMIDS[3], 8, 32, (2, 2, 2), 1, None, (6, 8, 7), id="video, time strided"),
    pytest.param(PYRAMIDS[2], 8, 16, 2, 1, 3, (5, 6, 7), id="cubes"),
]


def filled(layer: PyConv) -> PyConv:
    """Double precision; every weight and bias drawn."""
    generator = torch.Generator().manual_seed(0)
    layer.double()
    for parameter in layer.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return layer


def block_diagonal(level: nn.Conv2d, size: int) -> Tensor:
    """The dense (out, in, size, size) weight of a grouped, undilated level: zeros between groups and around."""
    out_channels, in_group, kernel, _ = level.weight.shape
    dense = torch.zeros(out_channels, level.in_channels, size, size, dtype=torch.float64)
    start = (size - kernel) // 2
    for o in range(out_channels):
        group = o // (out_channels // level.groups)
        inputs = slice(group * in_group, (group + 1) * in_group)
        dense[o, inputs, start : start + kernel, start : start + kernel] = level.weight[o]
    return dense


@pytest.mark.parametrize(("pyramid", "in_channels", "out_channels", "stride", "dilation", "dims", "size"), CASES)
def test_pyconv_is_its_levels_side_by_side_level_1_first(
    pyramid: Pyramid, in_channels: int, out_channels: int, stride, dilation, dims, size: tuple[int, ...]
) -> None:
    layer = filled(PyConv(in_channels, out_channels, pyramid, stride, dilation, bias=True, dims=dims))
    x = torch.randn(2, in_channels, *size, dtype=torch.float64)
    dilations = (dilation,) * len(size) if isinstance(dilation, int) else dilation
    expected = []
    for level, groups in zip(layer.levels, pyramid.groups, strict=True):
        padding = [d * (k - 1) // 2 for k, d in zip(level.weight.shape[2:], dilations, strict=True)]
        expected.append(PLAIN[len(size)](x, level.weight, level.bias, stride, padding, dilation, groups))
    assert torch.equal(layer(x), torch.cat(expected, dim=1))
    strides = (stride,) * len(size) if isinstance(stride, int) else stride
    assert layer(x).shape[2:] == tuple(-(-n // s) for n, s in zip(size, strides, strict=True))


def test_pyconv_is_one_dense_convolution_with_block_diagonal_weights() -> None:
    layer = filled(PyConv(16, 64, PYRAMIDS[4], stride=2))
    x = torch.randn(2, 16, 13, 12, dtype=torch.float64)
    dense = torch.cat([block_diagonal(level, size=9) for level in layer.levels])
    torch.testing.assert_close(layer(x), F.conv2d(x, dense, stride=2, padding=4), rtol=1e-12, atol=1e-12)


def test_a_video_pyconv_of_flat_kernels_is_the_image_pyconv_frame_by_frame() -> None:
    flat = Pyramid(((1, 3, 3), (1, 5, 5)), groups=(1, 4))
    video, image = filled(PyConv(8, 16, flat)), filled(PyConv(8, 16, PYRAMIDS[2]))
    for clip_level, level in zip(video.levels, image.levels, strict=True):
        clip_level.weight.data = level.weight.data.unsqueeze(2)
    x = torch.randn(2, 8, 3, 9, 9, dtype=torch.float64)
    frames = torch.stack([image(x[:, :, t]) for t in range(3)], dim=2)
    torch.testing.assert_close(video(x), frames, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("levels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("bias", [False, True])
def test_the_module_has_the_parameters_of_equation_1(levels: int, bias: bool) -> None:
    layer = PyConv(64, 64, PYRAMIDS[levels], bias=bias)
    assert sum(p.numel() for p in layer.parameters()) == pyconv_params(PYRAMIDS[levels], 64, 64, bias=bias)


def test_the_module_does_the_multiply_adds_of_equation_1() -> None:
    x = torch.ones(1, 64, 7, 5)
    layer = PyConv(64, 64, PYRAMIDS[4])
    taps = 0
    for level in layer.levels:
        taps += level(x).numel() * level.weight[0].numel()  # each output is a sum over one filter
    assert taps == pyconv_flops(PYRAMIDS[4], 64, 64, (7, 5))


def test_gradients_reach_every_level_as_finite_differences_say() -> None:
    layer = filled(PyConv(4, 8, Pyramid((1, 3), groups=(1, 2)), stride=2))
    x = torch.randn(1, 4, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,))


def test_one_level_is_a_plain_convolution() -> None:
    layer = spatial_conv(16, 32, Pyramid((5,), groups=(4,)), stride=2, dilation=2, bias=True)
    assert type(layer) is nn.Conv2d
    assert (layer.kernel_size, layer.padding, layer.stride, layer.dilation) == ((5, 5), (4, 4), (2, 2), (2, 2))
    assert layer.groups == 4
    assert layer.bias is not None
    assert type(spatial_conv(16, 32, VIDEO_PYRAMIDS[1])) is nn.Conv3d
    assert type(spatial_conv(16, 32, PYRAMIDS[1], dims=3)) is nn.Conv3d
    assert type(spatial_conv(16, 32, PYRAMIDS[2])) is PyConv


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((64, 64, Pyramid((3, 5), groups=(1, 3))), r"level 2 \(kernel 5\).*valid groups: 1, 2, 4, 8, 16, 32"),
        ((64, 66, PYRAMIDS[4]), "use a multiple of 4"),
        ((64, 64, PYRAMIDS[4], 0), "stride must be a positive integer or 2 of them, got 0"),
        ((64, 64, PYRAMIDS[4], (1, 2, 2)), "stride must be a positive integer or 2 of them"),
        ((64, 64, VIDEO_PYRAMIDS[4], 1, (1, 2)), "dilation must be a positive integer or 3 of them"),
        ((64, 64, Pyramid(((3,),))), r"dims must be 2 \(images\) or 3 \(clips\), got 1"),
    ],
)
def test_what_does_not_fit_is_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PyConv(*arguments)
    with pytest.raises(ValueError, match=message):
        spatial_conv(*arguments)


def test_convolutions_and_pools_keep_the_size_but_for_the_stride() -> None:
    x = torch.zeros(1, 4, 9, 8)
    assert conv(4, 2, 3, dilation=3)(x).shape == (1, 2, 9, 8)
    assert max_pool(1)(x).shape == (1, 4, 9, 8)
    assert max_pool(2)(x).shape == (1, 4, 5, 4)
    clip = torch.zeros(1, 4, 6, 9, 8)
    assert max_pool((1, 2, 2), dims=3)(clip).shape == (1, 4, 6, 5, 4)
    assert max_pool((2, 2, 2), dims=3)(clip).shape == (1, 4, 3, 5, 4)


def test_clips_are_pooled_over_time_only_where_time_is_strided() -> None:
    clip = torch.randn(1, 4, 6, 9, 8)
    frames = torch.stack([F.max_pool2d(clip[:, :, t], 3, 2, 1) for t in range(6)], dim=2)
    assert torch.equal(max_pool((1, 2, 2), dims=3)(clip), frames)
    over_time = [frames[:, :, max(t - 1, 0) : t + 2].amax(dim=2) for t in (0, 2, 4)]
    assert torch.equal(max_pool((2, 2, 2), dims=3)(clip), torch.stack(over_time, dim=2))
