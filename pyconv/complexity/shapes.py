"""Shapes of a network's commonest operators by arithmetic, instead of by torch's own functions for the meta device.

Those are written in Python for torch's compiler, load it (a second) and take most of a count's time. What is not here
is asked of torch as usual, and so is what does not fit together, for torch's own error message.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten


def _like(x: Tensor, shape: Sequence[int] | None = None) -> Tensor:
    return torch.empty(x.shape if shape is None else shape, dtype=x.dtype, device="meta")


def _convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: list[int], padding: list[int], dilation: list[int],
    transposed: bool, _output_padding: list[int], groups: int, *_cudnn: bool,
) -> Any:  # fmt: skip
    """`(in + 2 padding - dilation (kernel - 1) - 1) // stride + 1` in every dimension."""
    dims, maps = x.dim() - 2, weight.shape[0]
    fits = x.shape[1] == weight.shape[1] * groups and maps % groups == 0 and (bias is None or bias.shape == (maps,))
    if transposed or not fits or {len(stride), len(padding), len(dilation)} != {dims}:
        return NotImplemented
    sizes = zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)
    output = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes]
    return _like(x, (x.shape[0], maps, *output)) if min(output) > 0 else NotImplemented


def _batch_norm(x: Tensor, *arguments: Any) -> Any:
    """Maps of the same shape; in eval mode no statistics of the batch."""
    training, values = arguments[4], [a for a in arguments[:4] if a is not None]
    if training or any(a.shape != x.shape[1:2] for a in values):
        return NotImplemented
    return _like(x), _like(x, (0,)), _like(x, (0,))


def _add(x: Any, y: Any, **named: Any) -> Any:
    return _like(x) if _alike(x, y) and not named else NotImplemented


def _gate(x: Any, y: Any) -> Any:
    """A number for each map, times the map."""
    gated = isinstance(x, Tensor) and isinstance(y, Tensor) and x.dtype == y.dtype
    fits = gated and x.dim() == y.dim() and all(b in (1, a) for a, b in zip(x.shape, y.shape, strict=True))
    return _like(x) if fits else NotImplemented


def _upsample(x: Tensor, size: list[int], *_align: Any) -> Any:
    return _like(x, (*x.shape[:2], *size))


def _cat(maps: list[Tensor], dim: int = 0) -> Any:
    first = maps[0]
    shape = [*first.shape[:dim], sum(x.shape[dim] for x in maps), *first.shape[dim + 1 :]]
    others = [(x.dtype, x.shape[:dim], x.shape[dim + 1 :]) for x in maps]
    return _like(first, shape) if dim >= 0 and len(set(others)) == 1 else NotImplemented


def _mean(x: Tensor, dims: list[int], keep: bool = False, **named: Any) -> Any:
    """Over the last dimensions, kept: the global average pool."""
    last = sorted(d % x.dim() for d in dims) == list(range(x.dim() - len(dims), x.dim()))
    return _like(x, (*x.shape[: -len(dims)], *[1] * len(dims))) if last and keep and not named else NotImplemented


def _product(a: Tensor, b: Tensor) -> Any:
    return _like(a, (a.shape[0], b.shape[1])) if a.shape[1] == b.shape[0] and a.dtype == b.dtype else NotImplemented


def _addmm(bias: Tensor, a: Tensor, b: Tensor, **named: Any) -> Any:
    return _product(a, b) if bias.shape == b.shape[1:] and not named else NotImplemented


def _alike(x: Any, y: Any) -> bool:
    return isinstance(x, Tensor) and isinstance(y, Tensor) and x.shape == y.shape and x.dtype == y.dtype


SHAPES: dict[Any, Callable[..., Any]] = {
    aten.convolution.default: _convolution,
    aten._convolution.default: _convolution,
    aten.native_batch_norm.default: _batch_norm,
    aten.add.Tensor: _add,
    aten.mul.Tensor: _gate,
    aten.cat.default: _cat,
    aten.mean.dim: _mean,
    aten.mm.default: _product,
    aten.addmm.default: _addmm,
    aten.relu.default: _like,
    aten.sigmoid.default: _like,
    aten.upsample_bilinear2d.default: _upsample,
}


class ShapesOnly(TorchDispatchMode):
    """Answers the operators of SHAPES with empty maps, all others as torch does; for meta tensors."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: torch would load its compiler only to keep it away from here."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        known = SHAPES.get(func)
        output = known(*args, **(kwargs or {})) if known else NotImplemented
        return func(*args, **(kwargs or {})) if output is NotImplemented else output
