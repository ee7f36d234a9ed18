"""A dense 3x3 by Winograd's F(4x4, 3x3), `_winograd.c`: a quarter of the multiplications where whole tiles fit.

For float32 and float64 on a processor, channels last in memory (Lavin and Gray, CVPR 2016). Equal to the convolution
but for rounding, about ten times larger; a value that is not finite spreads over its tile of 4x4. The bits do not
depend on the number of threads.
"""

from functools import cache
from importlib import import_module
from math import ceil
from typing import Any

import torch
from torch import Tensor

from pyconv.formulations import direct, library
from pyconv.formulations.call import Call
from pyconv.formulations.direct import empty, kind, placed
from pyconv.formulations.kept import Kept

NAME = "winograd"
TILE, POINTS = 4, 36
PANEL = 32
"""Output maps that lie together in transformed weights, at most: two of the widest vectors."""
MULTIPLE = 16
"""Of maps in and out: whole vectors."""
FEWEST_MAPS = 64
"""With fewer, moving the tiles takes what the multiplications save."""
WORTH = 0.5
"""Of the convolution's multiplications: whole tiles lie mostly outside of small maps with wide dilations."""
TYPES = (torch.float32, torch.float64)


@cache
def compiled() -> Any:
    """The extension; None where there was no compiler when this was installed."""
    try:
        return import_module("pyconv.formulations._winograd")
    except ImportError:
        return None


def fits(x: Tensor, weight: Tensor, call: Call) -> bool:
    """Whether it is a dense 3x3 of stride 1 that keeps the size, of maps that fill whole vectors."""
    if (
        compiled() is None
        or direct.instructions() is None
        or x.ndim != 4
        or x.device.type != "cpu"
        or x.dtype not in TYPES
    ):
        return False
    if weight.device != x.device or weight.dtype != x.dtype or not library.fits(x, weight, call):
        return False
    return (
        tuple(weight.shape[2:]) == (3, 3)
        and call.groups == 1
        and call.stride == (1, 1)
        and call.padding == call.dilation
        and call.dilation[0] == call.dilation[1]
        and x.shape[1] % MULTIPLE == len(weight) % MULTIPLE == 0
        and min(x.shape[2:]) > 0
    )


def products(size: tuple[int, ...], dilation: int) -> float:
    """How many multiplications it takes of those of the convolution itself, by size of its maps: 0.25 at best."""
    tiles = [dilation * ceil(ceil(side / dilation) / TILE) for side in size]
    return POINTS * tiles[0] * tiles[1] / (9 * size[0] * size[1])


def worth(x: Tensor, weight: Tensor, call: Call) -> bool:
    """Whether it fits and is faster for certain: enough maps, and tiles that do not lie mostly outside.

    By numbers of maps, sizes and dilations alone, so that no measurement and no batch size decides.
    """
    return (
        fits(x, weight, call)
        and min(weight.shape[:2]) >= FEWEST_MAPS
        and products(tuple(x.shape[2:]), call.dilation[0]) <= WORTH
    )


def transformed(weight: Tensor) -> Tensor:
    """`G w G'` of every kernel, for `forward_into`."""
    maps, channels = weight.shape[:2]
    out = torch.empty(POINTS * channels * (-(-maps // PANEL) * PANEL), dtype=weight.dtype)
    threads = torch.get_num_threads()
    compiled().weights(*kind(weight), weight.data_ptr(), weight.stride(), out.data_ptr(), channels, maps, threads)
    return out


def kept(store: Kept, number: int, weight: Tensor) -> Tensor:
    """`transformed(weight)`, once."""
    return store.get(number, weight, (NAME, direct.instructions()), lambda: transformed(weight))


def forward(x: Tensor, weight: Tensor, bias: Tensor | None, call: Call) -> Tensor:
    """(N, in, H, W) -> (N, out, H, W)."""
    out = empty(x, len(weight), tuple(x.shape[2:]))
    forward_into(out, 0, x, weight, bias, call)
    return out


def forward_into(
    out: Tensor,
    first: int,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    call: Call,
    *,
    relu: bool = False,
    add: bool = False,
    laid_out: Tensor | None = None,
) -> None:
    """Maps `first` and on of `out`, which is channels last, or, `add`, added to what is there.

    `relu`: negative ones as 0. `laid_out`: `transformed(weight)`, where it is at hand.
    """
    x, bias = placed(x), None if bias is None else bias.contiguous()
    given = (weight.data_ptr(), weight.stride(), _address(laid_out), _address(bias), relu, add)
    numbers = _geometry(x, x.shape[1], len(weight), call, x.shape[1], out.shape[1])
    place, threads = out.data_ptr() + first * out.element_size(), torch.get_num_threads()
    compiled().forward(*kind(x), x.data_ptr(), *given, place, numbers, threads)


def input_gradient(grad: Tensor, x: Tensor, weight: Tensor, call: Call) -> Tensor:
    """Of the loss by `x`."""
    out = empty(x, x.shape[1], tuple(x.shape[2:]))
    input_gradient_into(out, placed(grad), 0, weight, call, add=False)
    return out


def input_gradient_into(out: Tensor, grad: Tensor, first: int, weight: Tensor, call: Call, *, add: bool) -> None:
    """Write it to `out`, or add it; the level's outputs are the maps `first` and on of `grad`; both channels last."""
    across, along, down, right = weight.stride()
    last = weight.data_ptr() + 2 * (down + right) * weight.element_size()
    given = (
        last,
        (along, across, -down, -right),
        0,
        0,
        False,
        add,
    )  # the kernels turned round, maps in and out exchanged
    numbers = _geometry(out, len(weight), out.shape[1], call, grad.shape[1], out.shape[1])
    place, threads = grad.data_ptr() + first * grad.element_size(), torch.get_num_threads()
    compiled().forward(*kind(out), place, *given, out.data_ptr(), numbers, threads)


def weight_gradient(grad: Tensor, x: Tensor, weight: Tensor, call: Call) -> Tensor:
    """Of the loss by `weight`."""
    return weight_gradient_of(placed(grad), 0, x, weight, call)


def weight_gradient_of(grad: Tensor, first: int, x: Tensor, weight: Tensor, call: Call) -> Tensor:
    """The level's outputs are the maps `first` and on of `grad`, which is channels last."""
    x, out = placed(x), torch.empty_like(weight)
    place = grad.data_ptr() + first * grad.element_size()
    numbers = _geometry(x, x.shape[1], len(weight), call, x.shape[1], grad.shape[1])
    threads = torch.get_num_threads()
    compiled().weight_gradient(*kind(x), x.data_ptr(), place, out.data_ptr(), out.stride(), numbers, threads)
    return out


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _geometry(x: Tensor, channels: int, maps: int, call: Call, x_pitch: int, y_pitch: int) -> tuple[int, ...]:
    """The fields of the C side's Geometry; the pitches: how many maps a pixel has in memory."""
    return (len(x), *x.shape[2:], channels, maps, call.dilation[0], x_pitch, y_pitch)
