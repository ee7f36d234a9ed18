"""The definition: one grouped convolution of torch's library a level."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pyconv.formulations.call import Call

NAME = "library"
_CONVOLUTIONS: dict[int, Any] = {4: functional.conv2d, 5: functional.conv3d}


def fits(x: Tensor, weight: Tensor, call: Call) -> bool:
    """Whether there is such a convolution at all."""
    return x.ndim == weight.ndim and x.ndim in _CONVOLUTIONS and weight.shape[1] * call.groups == x.shape[1]


def forward(x: Tensor, weight: Tensor, bias: Tensor | None, call: Call) -> Tensor:
    """(N, in, ...) -> (N, out, ...)."""
    convolution = _CONVOLUTIONS[x.ndim]
    out: Tensor = convolution(x, weight, bias, call.stride, call.padding, call.dilation, call.groups)
    return out


def input_gradient(grad: Tensor, x: Tensor, weight: Tensor, call: Call) -> Tensor:
    """Of the loss by `x`, whose shape alone is used."""
    return _backward(grad, x, weight, call, (True, False))[0]


def weight_gradient(grad: Tensor, x: Tensor, weight: Tensor, call: Call) -> Tensor:
    """Of the loss by `weight`, whose shape alone is used."""
    return _backward(grad, x, weight, call, (False, True))[1]


def gradients(grad: Tensor, x: Tensor, weight: Tensor, call: Call) -> tuple[Tensor, Tensor]:
    """Both at once, which lays out `grad` once."""
    found = _backward(grad, x, weight, call, (True, True))
    return found[0], found[1]


def _backward(grad: Tensor, x: Tensor, weight: Tensor, call: Call, wanted: tuple[bool, bool]) -> Any:
    return torch.ops.aten.convolution_backward(
        grad, x, weight, None, call.stride, call.padding, call.dilation, False, [0] * (x.ndim - 2), call.groups,
        [*wanted, False],
    )  # fmt: skip
