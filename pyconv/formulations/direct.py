"""A level computed by `_direct.c`: vectors over input maps, so that few maps a group cost nothing.

For float32 and float64 on a processor, channels last in memory. The bits do not depend on the number of threads.
"""

from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from pyconv.formulations import library
from pyconv.formulations.call import CHANNELS_LAST, Call, channels_last

NAME = "direct"
LARGEST_KERNEL = 31
MOST_MAPS = 64
"""Output maps of a group, at most: with more a library's kernels are better, and buffers here would be large."""
_BYTES = {torch.float32: 4, torch.float64: 8}
_VECTOR = {"plain": 16, "avx2": 32, "avx512": 64}


@cache
def compiled() -> Any:
    """The extension; None where there was no compiler when this was installed."""
    try:
        return import_module("pyconv.formulations._direct")
    except ImportError:
        return None


@cache
def instructions() -> str | None:
    """The best instruction set that is compiled in and that this processor has: avx512, avx2, plain; None without."""
    return compiled().instructions()[-1] if compiled() is not None else None


def fits(x: Tensor, weight: Tensor, call: Call) -> bool:
    """Whether groups fill whole vectors, or whole groups fill a vector."""
    own = instructions()
    if own is None or x.device.type != "cpu" or x.dtype not in _BYTES:
        return False
    if weight.device != x.device or weight.dtype != x.dtype or not library.fits(x, weight, call):
        return False
    lanes, maps = _VECTOR[own] // _BYTES[x.dtype], weight.shape[1]
    fills = maps % lanes == 0 or (lanes % maps == 0 and x.shape[1] % lanes == 0)
    return (
        fills
        and (maps > 1 or len(weight) == call.groups)  # lanes of groups of one map hold one output each
        and len(weight) // call.groups <= MOST_MAPS
        and max(weight.shape[2:]) <= LARGEST_KERNEL
        and call.stride[-1] <= 2
        and min(call.output_size(x, weight)) > 0
    )


def forward(x: Tensor, weight: Tensor, bias: Tensor | None, call: Call) -> Tensor:
    """(N, in, ...) -> (N, out, ...)."""
    out = empty(x, len(weight), call.output_size(x, weight))
    forward_into(out, 0, x, weight, bias, call)
    return out


def forward_into(
    out: Tensor, first: int, x: Tensor, weight: Tensor, bias: Tensor | None, call: Call, *, relu: bool = False
) -> None:
    """Maps `first` and on of `out`, which is channels last; `relu`: negative ones as 0."""
    x, bias = placed(x), None if bias is None else bias.contiguous()
    place = out.data_ptr() + first * out.element_size()
    numbers = _geometry(out, first, x, weight, call)
    at = 0 if bias is None else bias.data_ptr()
    threads = torch.get_num_threads()
    compiled().forward(*kind(x), x.data_ptr(), weight.data_ptr(), at, relu, place, numbers, threads)


def input_gradient(grad: Tensor, x: Tensor, weight: Tensor, call: Call) -> Tensor:
    """Of the loss by `x`."""
    out = empty(x, x.shape[1], tuple(x.shape[2:]))
    input_gradient_into(out, placed(grad), 0, weight, call, add=False)
    return out


def input_gradient_into(out: Tensor, grad: Tensor, first: int, weight: Tensor, call: Call, *, add: bool) -> None:
    """Write it to `out`, or add it; the level's outputs are the maps `first` and on of `grad`; both channels last."""
    place = grad.data_ptr() + first * grad.element_size()
    numbers = _geometry(grad, first, out, weight, call)
    threads = torch.get_num_threads()
    compiled().input_gradient(*kind(out), place, weight.data_ptr(), out.data_ptr(), numbers, add, threads)


def weight_gradient(grad: Tensor, x: Tensor, weight: Tensor, call: Call) -> Tensor:
    """Of the loss by `weight`."""
    return weight_gradient_of(placed(grad), 0, x, weight, call)


def weight_gradient_of(grad: Tensor, first: int, x: Tensor, weight: Tensor, call: Call) -> Tensor:
    """The level's outputs are the maps `first` and on of `grad`, which is channels last."""
    x, out = placed(x), torch.empty_like(weight)
    place = grad.data_ptr() + first * grad.element_size()
    numbers = _geometry(grad, first, x, out, call)
    compiled().weight_gradient(*kind(x), x.data_ptr(), place, out.data_ptr(), numbers, torch.get_num_threads())
    return out


def empty(x: Tensor, maps: int, size: tuple[int, ...]) -> Tensor:
    """Channels last, as `x` otherwise."""
    memory = CHANNELS_LAST[x.ndim]
    return torch.empty(len(x), maps, *size, dtype=x.dtype, device=x.device, memory_format=memory)


def placed(x: Tensor) -> Tensor:
    """Channels last in memory."""
    return x if channels_last(x) else x.contiguous(memory_format=CHANNELS_LAST[x.ndim])


def kind(x: Tensor) -> tuple[str | None, bool]:
    """Which of the C side's loops: instruction set, and whether in float64."""
    return instructions(), x.dtype == torch.float64


def _geometry(out: Tensor, first: int, x: Tensor, weight: Tensor, call: Call) -> tuple[int, ...]:
    """The fields of the C side's Geometry, images as clips of one frame."""

    def three(numbers: tuple[int, ...], without: int) -> tuple[int, ...]:
        return (without,) * (3 - len(numbers)) + tuple(numbers)

    return (
        len(x), *three(tuple(x.shape[2:]), 1), x.shape[1], len(weight), call.groups,
        *three(tuple(weight.shape[2:]), 1), *three(call.stride, 1), *three(call.padding, 0), *three(call.dilation, 1),
        *three(tuple(out.shape[2:]), 1), out.shape[1], first,
        *weight.stride()[:2], *three(tuple(weight.stride()[2:]), 0),
    )  # fmt: skip
