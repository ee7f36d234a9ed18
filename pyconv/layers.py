"""Pyramidal convolution (arXiv 2006.11538, section 3, Equation 1) as `torch.nn` modules, 2-D and 3-D from one code.

The numbers of a pyramid live in `pyconv.pyramid`; here they become grouped convolutions.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from pyconv.formulations import planner
from pyconv.formulations.kept import Kept
from pyconv.formulations.layer import compute, is_plain
from pyconv.formulations.pooled import MaxPool2d, MaxPool3d
from pyconv.pyramid import PYRAMIDS, Level, Pyramid

__all__ = ["PYRAMIDS", "PyConv", "Pyramid", "batch_norm", "conv", "max_pool", "require_variance", "spatial_conv"]

Size = int | Sequence[int]

_CONV: dict[int, Callable[..., nn.Conv2d | nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
_BATCH_NORM: dict[int, Callable[..., nn.BatchNorm2d | nn.BatchNorm3d]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


class PyConv(nn.Module):
    """`y = concat over levels i of conv(x; K_i x K_i, groups G_i)`: Figure 2(b), Equation 1.

    `levels[i]` is the grouped convolution of the pyramid's level i + 1; their outputs are concatenated level 1 (the
    smallest kernel) first, as in the authors' released code. `stride` and `dilation` are an int or one number a
    dimension; every level is padded by `dilation * (K_i // 2)`, so all give maps of one size.

    Shapes: (N, in_channels, H, W) -> (N, out_channels, H', W') with H' = ceil(H / stride), or the same with T first
    for 3-D. `dims` is needed only for a pyramid of int kernels in 3-D. Raises `ValueError` naming the level and the
    valid group numbers when the pyramid does not fit the channels.

    `formulation`: how the levels are computed, always to the same sums (`pyconv.formulations`). "auto" measures once
    what is fastest for the input's size, "fixed" decides by a rule, "reference" is the line above; or one by name. None
    takes the environment's PYCONV_FORMULATION, else "auto", which in runs that must repeat themselves to the bit
    (`pyconv.numerics`) means "reference" in training and "fixed" in tests. `kept`: of a folded copy, whose weights no
    longer change, what was made of them (`pyconv.formulations.kept`).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        pyramid: Pyramid,
        stride: Size = 1,
        dilation: Size = 1,
        bias: bool = False,
        *,
        dims: int | None = None,
        formulation: str | None = None,
    ) -> None:
        super().__init__()
        dims = _dims(pyramid, dims)
        self.formulation = formulation if formulation is None else planner.checked(formulation)
        levels = pyramid.levels(in_channels, out_channels, dims)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.pyramid = pyramid
        self.levels = nn.ModuleList(_level_conv(level, stride, dilation, bias) for level in levels)
        self.kept: Kept | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, ...) -> (N, out_channels, ...), level 1 first."""
        found = self._planned(x)
        return torch.cat([level(x) for level in self.levels], dim=1) if found is None else found

    def activated(self, x: Tensor) -> Tensor:
        """The ReLU of what `forward` gives, for testing: written at once where that can be."""
        found = self._planned(x, relu=True)
        return torch.relu_(self(x)) if found is None else found

    def _planned(self, x: Tensor, *, relu: bool = False) -> Tensor | None:
        policy = planner.policy_now(self.formulation)
        if policy == planner.REFERENCE or not is_plain(x, self.levels):
            return None
        return compute(x, self.levels, policy, relu=relu, kept=self.kept)


def spatial_conv(
    in_channels: int,
    out_channels: int,
    pyramid: Pyramid,
    stride: Size = 1,
    dilation: Size = 1,
    bias: bool = False,
    *,
    dims: int | None = None,
) -> nn.Module:
    """A `PyConv`, or the plain (grouped) convolution that a pyramid of one level is: ResNet stays exactly ResNet."""
    if len(pyramid.kernels) > 1:
        return PyConv(in_channels, out_channels, pyramid, stride, dilation, bias, dims=dims)
    (level,) = pyramid.levels(in_channels, out_channels, _dims(pyramid, dims))
    return _level_conv(level, stride, dilation, bias)


def conv(
    in_channels: int,
    out_channels: int,
    kernel: Size = 1,
    stride: Size = 1,
    *,
    dilation: Size = 1,
    bias: bool = False,
    dims: int = 2,
) -> nn.Conv2d | nn.Conv3d:
    """A convolution padded by `dilation * (kernel // 2)`: maps shrink by the stride only."""
    sizes = _numbers("kernel", kernel, dims)
    return _level_conv(Level(sizes, in_channels, out_channels, groups=1), stride, dilation, bias)


def batch_norm(channels: int, dims: int = 2) -> nn.BatchNorm2d | nn.BatchNorm3d:
    """Batch normalisation of images (`dims` 2) or clips (3)."""
    return _BATCH_NORM[dims](channels)


def max_pool(stride: Size, dims: int = 2) -> nn.MaxPool2d | nn.MaxPool3d:
    """The 3x3 max pool of the paper, padded by 1; for clips 1x3x3, or 3x3x3 where time is strided too (Table 9)."""
    strides = _numbers("stride", stride, dims)
    if dims == 2:
        return MaxPool2d(3, stride=strides, padding=1)  # an int kernel: the paper's counter told it from a tuple
    kernel = (3 if strides[0] > 1 else 1, 3, 3)
    return MaxPool3d(kernel, stride=strides, padding=tuple(k // 2 for k in kernel))


def require_variance(norm: nn.Module, values: int) -> None:
    """Raise `ValueError` where `norm`, in training, would see `values` = 1 a map: a 1x1 map of one image."""
    # A SyncBatchNorm is no BatchNorm2d: its statistics span the batches of all processes.
    if isinstance(norm, nn.BatchNorm2d) and norm.training and values == 1:
        raise ValueError(
            "a 1x1 map of one image is a single value, of which batch norm has no variance: "
            "train with at least 2 images a batch, or convert to SyncBatchNorm"
        )


def _dims(pyramid: Pyramid, dims: int | None) -> int:
    dims = dims or pyramid.dims or 2
    if dims not in _CONV:
        raise ValueError(f"dims must be 2 (images) or 3 (clips), got {dims}")
    return dims


def _level_conv(level: Level, stride: Size, dilation: Size, bias: bool) -> nn.Conv2d | nn.Conv3d:
    dims = len(level.kernel)
    dilations = _numbers("dilation", dilation, dims)
    return _CONV[dims](
        level.in_channels,
        level.out_channels,
        level.kernel,
        stride=_numbers("stride", stride, dims),
        padding=tuple(d * (k // 2) for d, k in zip(dilations, level.kernel, strict=True)),
        dilation=dilations,
        groups=level.groups,
        bias=bias,
    )


def _numbers(name: str, value: Size, dims: int) -> tuple[int, ...]:
    numbers = (value,) * dims if isinstance(value, int) else tuple(value)
    if len(numbers) != dims or any(not isinstance(n, int) or n < 1 for n in numbers):
        raise ValueError(f"{name} must be a positive integer or {dims} of them, got {value!r}")
    return numbers
