"""Levels of every kind for property tests of formulations, what they must give, and how far rounding may lead away.

A sum of n products is off by at most gamma(n) * (sum of the products' magnitudes) in whatever order it is made, with
gamma(n) = n u / (1 - n u) and u the unit roundoff (Higham, Accuracy and Stability, section 3.1). A convolution of the
magnitudes gives the latter, for every output on its own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import torch
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from pyconv.formulations.call import CHANNELS_LAST, Call
from pyconv.formulations.levels import FORMULATIONS, Formulation

SUMS = ("forward", "input_gradient", "weight_gradient")
PLAIN: dict[int, Callable[..., Tensor]] = {2: F.conv2d, 3: F.conv3d}


@dataclass(frozen=True)
class Drawn:
    """A level and its input, by their numbers; the values follow from `seed`."""

    batch: int
    size: tuple[int, ...]
    groups: int
    maps_in: int
    """Of a group."""
    maps_out: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    bias: bool
    x_last: bool
    weight_last: bool
    seed: int

    @property
    def call(self) -> Call:
        padding = tuple(d * (k // 2) for d, k in zip(self.dilation, self.kernel, strict=True))
        return Call(self.stride, padding, self.dilation, self.groups)

    @property
    def out(self) -> tuple[int, ...]:
        return tuple(-(-side // s) for side, s in zip(self.size, self.stride, strict=True))

    @property
    def terms(self) -> dict[str, int]:
        """Products in each sum, at most."""
        taps = prod(self.kernel)
        return {
            "forward": taps * self.maps_in + self.bias,
            "input_gradient": taps * self.maps_out,
            "weight_gradient": max(self.batch * prod(self.out), 1),
        }

    def tensors(self, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
        """Input, weight, bias, gradient of the output."""
        generator = torch.Generator().manual_seed(self.seed)

        def values(*shape: int, last: bool = False) -> Tensor:
            drawn = torch.randn(*shape, generator=generator).to(dtype)
            return drawn.contiguous(memory_format=CHANNELS_LAST[drawn.ndim]) if last else drawn

        maps = self.groups * self.maps_out
        x = values(self.batch, self.groups * self.maps_in, *self.size, last=self.x_last)
        weight = values(maps, self.maps_in, *self.kernel, last=self.weight_last)
        bias = values(maps) if self.bias else None
        return x, weight, bias, values(self.batch, maps, *self.out, last=self.x_last)


@st.composite
def levels(draw: st.DrawFn, dims: tuple[int, ...] = (2, 3), batches: tuple[int, ...] = (0, 1, 2, 3)) -> Drawn:
    """Some that fill vectors and some that do not; sizes from 1, below and above the kernel's."""
    number = draw(st.sampled_from(dims))
    kernels, sizes = ((1, 3, 5, 7, 9, 11), 9) if number == 2 else ((1, 3, 5, 7), 5)

    def of_each(values: st.SearchStrategy[int]) -> tuple[int, ...]:
        return draw(st.tuples(*[values] * number))

    maps_in, groups = draw(
        st.sampled_from([(1, 16), (2, 8), (4, 4), (4, 8), (8, 2), (16, 1), (16, 2), (32, 1), (3, 2)])
    )
    return Drawn(
        batch=draw(st.sampled_from(batches)),
        size=of_each(st.integers(1, sizes)),
        groups=groups,
        maps_in=maps_in,
        maps_out=draw(st.sampled_from([1, 2, 3, 4, 5, 8])),
        kernel=of_each(st.sampled_from(kernels)),
        stride=of_each(st.sampled_from([1, 1, 2, 3])),
        dilation=of_each(st.sampled_from([1, 1, 2, 3])),
        bias=draw(st.booleans()),
        x_last=draw(st.booleans()),
        weight_last=draw(st.booleans()),
        seed=draw(st.integers(0, 1000)),
    )


def gamma(terms: int, dtype: torch.dtype) -> float:
    unit = terms * torch.finfo(dtype).eps / 2
    return unit / (1 - unit)


def definition(
    call: Call, x: Tensor, weight: Tensor, bias: Tensor | None, grad: Tensor
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The three sums of torch's own convolution in float64, and those of the magnitudes."""

    def sums(x: Tensor, weight: Tensor, bias: Tensor | None, grad: Tensor) -> dict[str, Tensor]:
        x, weight = x.detach().requires_grad_(), weight.detach().requires_grad_()
        out = PLAIN[x.ndim - 2](x, weight, bias, call.stride, call.padding, call.dilation, call.groups)
        return dict(zip(SUMS, (out.detach(), *torch.autograd.grad(out, (x, weight), grad)), strict=True))

    x, weight, bias, grad = (None if each is None else each.double() for each in (x, weight, bias, grad))
    magnitudes = sums(x.abs(), weight.abs(), None if bias is None else bias.abs(), grad.abs())
    return sums(x, weight, bias, grad), magnitudes


def computed(
    each: Formulation, call: Call, x: Tensor, weight: Tensor, bias: Tensor | None, grad: Tensor
) -> dict[str, Tensor]:
    """The three sums by a formulation; memory that it leaves unwritten shows as NaN."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)  # with which torch fills new tensors with NaN
    try:
        return {
            "forward": each.forward(x, weight, bias, call),
            "input_gradient": each.input_gradient(grad, x, weight, call),
            "weight_gradient": each.weight_gradient(grad, x, weight, call),
        }
    finally:
        torch.use_deterministic_algorithms(before)


def fitting(call: Call, x: Tensor, weight: Tensor) -> dict[str, Formulation]:
    return {name: each for name, each in FORMULATIONS.items() if each.fits(x, weight, call)}


def assert_within(found: Tensor, expected: Tensor, bound: Tensor, what: str) -> None:
    """|found - expected| <= bound, value by value."""
    assert found.shape == expected.shape, what
    error = (found.double() - expected).abs()
    assert bool((error <= bound).all()), f"{what}: off by {(error - bound).max():.3g} more than rounding"
