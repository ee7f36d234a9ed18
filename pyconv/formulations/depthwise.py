"""A level as a depthwise convolution whose outputs are added up within each group.

    out[g, j] = sum over c of conv(x[g, c]; w[g, j, c])

Each input map gets as many kernels as its group has output maps: the same multiplications, in a shape that libraries
have good kernels for. On a GPU it avoids slow grouped kernels; it writes and reads the sums' parts once.
"""

from dataclasses import replace

from torch import Tensor

from pyconv.formulations import library
from pyconv.formulations.call import Call

NAME = "depthwise"
MOST_PARTS = 4
"""Kernels an input map, at most: the parts of the sums take so many times the memory of the input."""


def fits(x: Tensor, weight: Tensor, call: Call) -> bool:
    """Whether groups have several input maps and few output maps."""
    if not library.fits(x, weight, call) or not x.numel():
        return False
    return weight.shape[1] > 1 and call.groups > 1 and len(weight) // call.groups <= MOST_PARTS


def forward(x: Tensor, weight: Tensor, bias: Tensor | None, call: Call) -> Tensor:
    """(N, in, ...) -> (N, out, ...)."""
    parts = library.forward(x, _kernels(weight, call), None, _call(x, call))
    number, _, *size = parts.shape
    out = parts.unflatten(1, (call.groups, weight.shape[1], -1)).sum(2).view(number, len(weight), *size)
    return out if bias is None else out + bias.view(-1, *[1] * len(size))


def input_gradient(grad: Tensor, x: Tensor, weight: Tensor, call: Call) -> Tensor:
    """Of the loss by `x`."""
    return library.input_gradient(_parts(grad, weight, call), x, _kernels(weight, call), _call(x, call))


def weight_gradient(grad: Tensor, x: Tensor, weight: Tensor, call: Call) -> Tensor:
    """Of the loss by `weight`."""
    kernels = _kernels(weight, call)
    found = library.weight_gradient(_parts(grad, weight, call), x, kernels, _call(x, call))
    grouped = found.view(call.groups, weight.shape[1], -1, *weight.shape[2:])
    return grouped.transpose(1, 2).reshape(weight.shape)


def _call(x: Tensor, call: Call) -> Call:
    return replace(call, groups=x.shape[1])


def _kernels(weight: Tensor, call: Call) -> Tensor:
    """(out, in / groups, ...) -> (in * out / groups, 1, ...): the kernels of an input map side by side."""
    grouped = weight.unflatten(0, (call.groups, -1)).transpose(1, 2)
    return grouped.reshape(-1, 1, *weight.shape[2:])


def _parts(grad: Tensor, weight: Tensor, call: Call) -> Tensor:
    """What each part of a sum gets of the output's gradient: all of it."""
    grouped = grad.unflatten(1, (call.groups, 1, -1))
    return grouped.expand(-1, -1, weight.shape[1], *grouped.shape[3:]).flatten(1, 3)
