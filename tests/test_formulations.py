"""Every formulation of a level against its definition: outputs and both gradients, to what rounding allows.

Property-based; see `drawn_levels` for the bound. What is compared with is torch's convolution in float64, which one
test holds against sums written out, and another against a dense convolution with block-diagonal weights.
"""

from dataclasses import replace
from itertools import product

import pytest
import torch
from drawn_levels import SUMS, Drawn, assert_within, computed, definition, fitting, gamma, levels
from hypothesis import assume, example, given, settings
from torch import Tensor
from torch.nn import functional as F

from pyconv.formulations import direct
from pyconv.formulations.call import Call
from pyconv.formulations.levels import FORMULATIONS

EXACT = 1e-12
NATIVE = direct.compiled().instructions() if direct.compiled() else []
FEWER = [name for name in NATIVE if name != direct.instructions()]

# 9x9, 16 groups at the paper's strides; one map of one pixel; a kernel beyond a tiny map; time strided.
PAPER = Drawn(2, (8, 7), 16, 4, 1, (9, 9), (2, 2), (1, 1), True, True, False, 1)
PIXEL = Drawn(1, (1, 1), 16, 1, 1, (11, 9), (1, 1), (3, 2), False, False, True, 2)
DEPTHWISE_TWICE = Drawn(2, (5, 4), 16, 1, 2, (3, 3), (1, 1), (1, 1), True, True, False, 3)
EMPTY = Drawn(0, (5, 4), 8, 2, 4, (5, 3), (1, 2), (1, 1), True, True, False, 4)
CLIP = Drawn(2, (3, 4, 5), 8, 2, 2, (5, 7, 7), (2, 2, 2), (1, 1, 1), False, True, True, 5)


def written_out(call: Call, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """out[n, g, j, p] = bias + sum over taps t and maps c of x[n, g, c, p * stride + t * dilation] * w[g, j, c, t]."""
    size = call.output_size(x, weight)
    padded = F.pad(x, [side for p in reversed(call.padding) for side in (p, p)]).unflatten(1, (call.groups, -1))
    grouped = weight.unflatten(0, (call.groups, -1))
    total = torch.zeros(len(x), call.groups, grouped.shape[1], *size, dtype=x.dtype)
    for tap in product(*map(range, weight.shape[2:])):
        starts = [t * d for t, d in zip(tap, call.dilation, strict=True)]
        window = tuple(
            slice(start, start + (side - 1) * s + 1, s)
            for start, side, s in zip(starts, size, call.stride, strict=True)
        )
        total += torch.einsum("ngc...,gjc->ngj...", padded[(..., *window)], grouped[(..., *tap)])
    out = total.flatten(1, 2)
    return out if bias is None else out + bias.view(-1, *[1] * len(size))


@settings(max_examples=25)
@given(levels())
def test_the_definition_is_the_sums_written_out(drawn: Drawn) -> None:
    call, (x, weight, bias, grad) = drawn.call, drawn.tensors()
    expected, magnitude = definition(call, x, weight, bias, grad)
    x.requires_grad_()
    weight.requires_grad_()
    out = written_out(call, x, weight, bias)
    found = (out.detach(), *torch.autograd.grad(out, (x, weight), grad))
    for what, each in zip(SUMS, found, strict=True):
        bound = 2 * gamma(drawn.terms[what], torch.float64) * magnitude[what]
        assert_within(each, expected[what], bound, what)


@settings(max_examples=20)
@given(levels(dims=(2,)))
def test_every_formulation_is_a_dense_convolution_of_block_diagonal_weights(drawn: Drawn) -> None:
    call, (x, weight, bias, _) = drawn.call, drawn.tensors()
    dense = torch.zeros(len(weight), x.shape[1], *drawn.kernel, dtype=x.dtype)
    for o in range(len(weight)):
        first = o // drawn.maps_out * drawn.maps_in
        dense[o, first : first + drawn.maps_in] = weight[o]
    expected = F.conv2d(x, dense, bias, call.stride, call.padding, call.dilation)
    bound = 2 * gamma(drawn.terms["forward"], torch.float64)
    magnitude = F.conv2d(
        x.abs(), dense.abs(), None if bias is None else bias.abs(), call.stride, call.padding, call.dilation
    )
    for name, each in fitting(call, x, weight).items():
        assert_within(each.forward(x, weight, bias, call), expected, bound * magnitude, name)


@settings(max_examples=120)
@given(levels())
@example(PAPER)
@example(PIXEL)
@example(DEPTHWISE_TWICE)
@example(EMPTY)
@example(CLIP)
def test_in_float64_every_formulation_is_the_definition_within_1e_12(drawn: Drawn) -> None:
    call, given_tensors = drawn.call, drawn.tensors()
    expected, magnitude = definition(call, *given_tensors)
    # Both sides are off by gamma(n), n at most: 11 * 11 * 32 + 1 products in 2-D, 7 * 7 * 7 * 32 + 1 in 3-D.
    for name, each in fitting(call, *given_tensors[:2]).items():
        found = computed(each, call, *given_tensors)
        for what in SUMS:
            bound = 2 * gamma(drawn.terms[what], torch.float64) * magnitude[what]
            assert_within(found[what], expected[what], bound, f"{what} of {name}")
            if magnitude[what].numel() and drawn.terms[what] * torch.finfo(torch.float64).eps <= EXACT:
                assert (found[what] - expected[what]).abs().max() <= EXACT * magnitude[what].max()


def assert_rounds_like_sums(drawn: Drawn, dtype: torch.dtype, names: set[str] | None = None) -> None:
    """Of `dtype` within gamma(n) of the exact sums of the same values; those in float64 are off by far less."""
    call, given_tensors = drawn.call, drawn.tensors(dtype)
    expected, magnitude = definition(call, *given_tensors)
    for name, each in fitting(call, *given_tensors[:2]).items():
        if names is not None and name not in names:
            continue
        found = computed(each, call, *given_tensors)
        for what in SUMS:
            assert found[what].dtype == dtype
            bound = (gamma(drawn.terms[what], dtype) + gamma(drawn.terms[what], torch.float64)) * magnitude[what]
            assert_within(found[what], expected[what], bound, f"{what} of {name}")


@settings(max_examples=120)
@given(levels())
@example(PAPER)
@example(PIXEL)
@example(DEPTHWISE_TWICE)
@example(EMPTY)
@example(CLIP)
def test_in_float32_every_formulation_is_off_by_rounding_only(drawn: Drawn) -> None:
    assert_rounds_like_sums(drawn, torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", FEWER)
@settings(max_examples=60)
@given(drawn=levels())
@example(drawn=PAPER)
@example(drawn=CLIP)
def test_older_instructions_give_the_same_sums(name: str, dtype: torch.dtype, drawn: Drawn) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(direct, "instructions", lambda: name)
        assert_rounds_like_sums(drawn, dtype, {"direct"})


@settings(max_examples=40)
@given(levels(batches=(1, 2, 3)))
def test_in_bf16_every_formulation_is_off_by_the_rounding_of_what_is_written_in_bf16(drawn: Drawn) -> None:
    """Sums are made in float32. Written in bf16, thus rounded: the result once; with depthwise each part before.

    With u of bf16: depthwise outputs are off by 1 u of the parts' magnitudes, 1 u of their sum, 1 u of sum + bias.
    Maps are no smaller than the kernel: elsewhere torch 2.14.1 itself leaves weight gradients in bf16 unwritten on some
    processors, or ends the process.
    """
    dilation = drawn.dilation if len(drawn.size) == 2 else (1, 1, 1)
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, drawn.kernel, strict=True)]
    drawn = replace(drawn, dilation=dilation, size=tuple(map(max, drawn.size, spans)))
    call, given_tensors = drawn.call, drawn.tensors(torch.bfloat16)
    expected, magnitude = definition(call, *given_tensors)
    for name, each in fitting(call, *given_tensors[:2]).items():
        found = computed(each, call, *given_tensors)
        for what in SUMS:
            written = 3 if (name, what) == ("depthwise", "forward") else 1
            # rounding after float32's rounding: (1 + gamma(n)) (1 + u)^written - 1
            off = (1 + gamma(drawn.terms[what], torch.float32)) * (1 + torch.finfo(torch.bfloat16).eps / 2) ** written
            assert found[what].dtype == torch.bfloat16
            assert_within(found[what], expected[what], (off - 1) * magnitude[what], f"{what} of {name}")


def test_each_formulation_was_drawn_and_each_refuses_something() -> None:
    """The strategy reaches all; nothing but the library takes what has neither groups nor whole vectors."""
    x, weight, _, _ = PAPER.tensors(torch.float32)
    dense = Drawn(1, (4, 4), 1, 16, 16, (3, 3), (1, 1), (1, 1), False, True, False, 0)
    reached = fitting(PAPER.call, x, weight).keys() | fitting(dense.call, *dense.tensors(torch.float32)[:2]).keys()
    assert reached == FORMULATIONS.keys()
    odd = Drawn(1, (4, 4), 1, 3, 5, (3, 3), (1, 1), (1, 1), False, True, False, 0)
    assert fitting(odd.call, *odd.tensors(torch.float32)[:2]).keys() == {"library"}


def test_direct_leaves_to_others_what_it_is_not_made_for() -> None:
    x, weight, _, _ = PAPER.tensors(torch.float32)
    call = PAPER.call
    assert direct.fits(x, weight, call)
    assert not direct.fits(x.bfloat16(), weight.bfloat16(), call)
    assert not direct.fits(x, weight.double(), call)
    assert not direct.fits(x, weight.to("meta"), call)
    assert not direct.fits(x.to("meta"), weight.to("meta"), call)
    assert not direct.fits(x, weight, Call((2, 3), call.padding, call.dilation, call.groups))
    assert not direct.fits(x[:, :32], weight, call)  # not the maps that the weight is for
    assert not direct.fits(x, weight.unsqueeze(2), call)


def test_a_depthwise_level_with_several_outputs_a_map_is_left_to_others() -> None:
    x, weight, _, _ = DEPTHWISE_TWICE.tensors(torch.float32)
    assert not direct.fits(x, weight, DEPTHWISE_TWICE.call)  # it would never end


@pytest.mark.parametrize("instructions", ["sse9", "", "plain "])
def test_instructions_that_are_not_here_are_refused(instructions: str) -> None:
    if not NATIVE:
        pytest.skip("not compiled")
    with pytest.raises(ValueError, match="no instructions"):
        direct.compiled().forward(instructions, False, 0, 0, 0, False, 0, (0,) * 29, 1)


def test_a_geometry_of_another_length_is_refused() -> None:
    if not NATIVE:
        pytest.skip("not compiled")
    for numbers in [(), (0,) * 28, (0,) * 30, [0] * 29]:
        with pytest.raises(TypeError, match="a geometry is a tuple of 29 integers"):
            direct.compiled().forward("plain", False, 0, 0, 0, False, 0, numbers, 1)
    with pytest.raises((TypeError, OverflowError)):
        direct.compiled().forward("plain", False, 0, 0, 0, False, 0, (2**70,) + (0,) * 28, 1)


def test_a_kernel_of_31_taps_a_side_is_the_largest() -> None:
    for side, fits in ((31, True), (33, False)):
        drawn = Drawn(1, (3, 40), 4, 4, 2, (1, side), (1, 1), (1, 1), False, True, False, 6)
        assert direct.fits(*drawn.tensors(torch.float32)[:2], drawn.call) == (fits and bool(NATIVE))
        assert_rounds_like_sums(drawn, torch.float32)


@settings(max_examples=20)
@given(levels(batches=(0,)))
def test_of_no_images_the_weight_gradient_is_zero(drawn: Drawn) -> None:
    call, (x, weight, bias, grad) = drawn.call, drawn.tensors(torch.float32)
    for each in fitting(call, x, weight).values():
        found = computed(each, call, x, weight, bias, grad)
        assert found["forward"].shape == grad.shape
        assert found["input_gradient"].shape == x.shape
        assert torch.equal(found["weight_gradient"], torch.zeros_like(weight))


@settings(max_examples=30)
@given(levels(batches=(1, 2)))
def test_bands_of_rows_do_not_show(drawn: Drawn) -> None:
    """Maps wide enough that only some rows fit into the cache: still the definition."""
    assume(len(drawn.size) == 2 and drawn.groups > 1)
    wide = replace(drawn, size=(drawn.size[0] + 21, drawn.size[1] + 50), kernel=(9, 9))
    assert_rounds_like_sums(wide, torch.float32, {"direct"})
