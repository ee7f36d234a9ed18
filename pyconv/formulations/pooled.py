"""`y = max over the 3x3 window of x`, padded by 1, with torch's bits and one byte a window kept for the gradient.

    dx at a pixel = sum, in order of position, of dy of the windows whose maximum lies there

of which there are at most 4 at stride 2 and 9 at stride 1; of equal maxima the first counts, of values that are not
numbers the last. Outputs and gradients are torch's to the bit (but for which of several NaNs a sum of gradients keeps),
so it takes part whatever the policy. `_pooled.c`: float32 and float64 on a processor, channels last; anything else is
torch's.
"""

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from pyconv.formulations.call import CHANNELS_LAST
from pyconv.formulations.layer import hooked, is_plain

_FORWARDS = (nn.MaxPool2d.forward, nn.MaxPool3d.forward)
_TYPES = (torch.float32, torch.float64)
_VECTOR = 16  # channels of any of torch's vectors

Strides = tuple[int, ...]


@cache
def compiled() -> Any:
    """The extension; None where there was no compiler when this was installed."""
    try:
        return import_module("pyconv.formulations._pooled")
    except ImportError:
        return None


class _Pooled:
    """Computes by the extension what fits it.

    Not in `forward`: that is torch's own, by which counters of FLOPs know the layer. Hooks see torch's, too.
    """

    def __call__(self, x: Tensor, *others: Any, **options: Any) -> Any:
        assert isinstance(self, (nn.MaxPool2d, nn.MaxPool3d))
        if others or options or not _fits(self, x):
            return super().__call__(x, *others, **options)  # type: ignore[misc]
        return _max_pool(x, _sides(self.stride, x.ndim - 2)[-2:])


class MaxPool2d(_Pooled, nn.MaxPool2d):
    """Torch's, faster where it is 3x3 and padded by 1."""


class MaxPool3d(_Pooled, nn.MaxPool3d):
    """Torch's, faster where it is 1x3x3, padded by 0 in time and 1 in space."""


def _fits(pool: nn.MaxPool2d | nn.MaxPool3d, x: Tensor) -> bool:
    if hooked(pool) or pool._compiled_call_impl is not None:
        return False
    if type(pool).forward not in _FORWARDS or "forward" in vars(pool):  # somebody put another in its place
        return False
    if compiled() is None or not is_plain(x, ()) or torch._C._len_torch_function_stack():
        return False
    if x.dtype not in _TYPES or x.device.type != "cpu" or not x.numel() or not _lies_channels_last(x):
        return False
    dims = 2 if isinstance(pool, nn.MaxPool2d) else 3
    if x.ndim != dims + 2 or pool.return_indices or pool.ceil_mode:
        return False
    # Torch's 3-D kernel loses the frame of a window of -inf in those channels that fill no vector.
    if dims == 3 and x.shape[1] % _VECTOR:
        return False
    kernel, padding, stride, dilation = (
        _sides(each, dims) for each in (pool.kernel_size, pool.padding, pool.stride, pool.dilation)
    )
    window = kernel == (1, 3, 3)[-dims:] and padding == (0, 1, 1)[-dims:] and dilation == (1, 1, 1)[-dims:]
    return window and stride[:-2] in ((), (1,)) and all(each in (1, 2) for each in stride[-2:])


def _sides(given: int | Sequence[int], dims: int) -> tuple[int, ...]:
    return (given,) * dims if isinstance(given, int) else tuple(given)


def _lies_channels_last(x: Tensor) -> bool:
    """Whether torch, too, takes it for channels last: in no order at once that is another."""
    if x.ndim not in CHANNELS_LAST or x.is_contiguous():
        return False
    stride, expected = x.shape[1], [1]
    for side in reversed(x.shape[2:]):
        expected.insert(1, stride)
        stride *= side
    return x.stride() == (stride, *expected)


def _max_pool(x: Tensor, strides: Strides) -> Tensor:
    if torch.is_grad_enabled() and x.requires_grad:
        found: Tensor = _MaxPool.apply(x, strides)
        return found
    return _forward(x, strides, keep=False)[0]


def _forward(x: Tensor, strides: Strides, *, keep: bool) -> tuple[Tensor, Tensor | None]:
    """The maxima and, with `keep`, their taps: 3 * row + column in the window."""
    height, width = ((side - 1) // stride + 1 for side, stride in zip(x.shape[-2:], strides, strict=True))
    shape, layout = (*x.shape[:-2], height, width), CHANNELS_LAST[x.ndim]
    y = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)
    taps = torch.empty(shape, dtype=torch.uint8, device=x.device, memory_format=layout) if keep else None
    compiled().forward(
        x.dtype == torch.float64, x.data_ptr(), y.data_ptr(), 0 if taps is None else taps.data_ptr(),
        _maps(x.shape), strides, torch.get_num_threads(),
    )  # fmt: skip
    return y, taps


def _maps(shape: torch.Size) -> tuple[int, int, int, int]:
    """Images or frames, height, width, channels."""
    return shape[0] * (shape[2] if len(shape) == 5 else 1), shape[-2], shape[-1], shape[1]


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, strides: Strides) -> Tensor:
        y, taps = _forward(x, strides, keep=True)
        ctx.save_for_backward(taps)
        ctx.shape, ctx.strides = x.shape, strides
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (taps,) = ctx.saved_tensors
        if is_plain(grad, ()) and torch._C._dispatch_keys(grad).has(torch._C.DispatchKey.CPU):  # in no batch
            return _Gathered.apply(grad, taps, ctx.shape, ctx.strides), None
        positions = _positions(taps, ctx.shape, ctx.strides)
        zeros = torch.zeros(ctx.shape, dtype=grad.dtype, device=grad.device).flatten(-2)
        return zeros.scatter_add(-1, positions, grad.reshape(positions.shape)).reshape(ctx.shape), None


class _Gathered(torch.autograd.Function):
    """The gradient, which is linear: its own gradient takes from each window's tap."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, taps: Tensor, shape: torch.Size, strides: Strides) -> Tensor:
        layout = CHANNELS_LAST[len(shape)]
        grad, taps = grad.contiguous(memory_format=layout), taps.contiguous(memory_format=layout)
        dx = torch.empty(shape, dtype=grad.dtype, device=grad.device, memory_format=layout)
        compiled().backward(
            grad.dtype == torch.float64, grad.data_ptr(), taps.data_ptr(), dx.data_ptr(), _maps(shape), strides,
            torch.get_num_threads(),
        )  # fmt: skip
        ctx.save_for_backward(taps)
        ctx.shape, ctx.strides = shape, strides
        return dx

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (taps,) = ctx.saved_tensors
        positions = _positions(taps, ctx.shape, ctx.strides)
        return grad.flatten(-2).gather(-1, positions).unflatten(-1, taps.shape[-2:]), None, None, None


def _positions(taps: Tensor, shape: torch.Size, strides: Strides) -> Tensor:
    """Of each window, where in its map, read row by row, its maximum lies."""
    rows, columns = (torch.arange(n, device=taps.device) * s - 1 for n, s in zip(taps.shape[-2:], strides, strict=True))
    found: Tensor = (rows[:, None] + taps // 3) * shape[-1] + columns + taps % 3
    return found.flatten(-2)
