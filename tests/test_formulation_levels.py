"""All levels of the paper's pyramids as one function, each in a formulation of its own: outputs and gradients."""

from functools import cache

import pytest
import torch
from drawn_levels import assert_within, gamma
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pyconv import PYRAMIDS, PyConv, Pyramid
from pyconv.formulations import direct, levels
from pyconv.formulations.call import Call, channels_last
from pyconv.formulations.levels import FORMULATIONS, Choice, Plan
from pyconv.pyramid import HG_PYRAMIDS, VIDEO_PYRAMIDS

# By name: pyramid, maps in and out, stride, size. Narrow, but of groups that are larger than a vector and smaller.
ALL: dict[str, tuple[Pyramid, int, int, int | tuple[int, ...], tuple[int, ...]]] = {
    **{f"PyConv-{n}": (PYRAMIDS[n], 32, 64 if n < 5 else 128, 1 + n % 2, (4, 5)) for n in PYRAMIDS},
    **{f"HG stage {i}": (each, 64, 256, 1 + i % 2, (3, 4)) for i, each in enumerate(HG_PYRAMIDS, start=1)},
    **{f"video-{n}": (VIDEO_PYRAMIDS[n], 16, 64, (1, 2, 2) if n % 2 else 1, (2, 3, 3)) for n in VIDEO_PYRAMIDS},
}
Parameters = list[tuple[Tensor, Tensor | None]]


@cache
def layer(name: str, dtype: torch.dtype) -> PyConv:
    pyramid, maps_in, maps_out, stride, size = ALL[name]
    made = PyConv(maps_in, maps_out, pyramid, stride, bias=True, dims=len(size)).to(dtype)
    generator = torch.Generator().manual_seed(1)
    for parameter in made.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator).to(dtype)
    return made


def images(name: str, dtype: torch.dtype, *, last: bool = False, batch: int = 2) -> Tensor:
    _, maps_in, _, _, size = ALL[name]
    x = torch.randn(batch, maps_in, *size, generator=torch.Generator().manual_seed(2)).to(dtype)
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return x.contiguous(memory_format=formats[x.ndim]) if last else x


def taken_apart(made: PyConv) -> tuple[Parameters, list[Call]]:
    return [(level.weight, level.bias) for level in made.levels], [Call.of(level) for level in made.levels]


def plans(name: str, dtype: torch.dtype) -> st.SearchStrategy[Plan]:
    """Any mixture of what fits each level."""
    parameters, calls = taken_apart(layer(name, dtype))
    x = images(name, dtype)
    choices = []
    for (weight, _), call in zip(parameters, calls, strict=True):
        names = st.sampled_from([n for n, each in FORMULATIONS.items() if each.fits(x, weight, call)])
        choices.append(st.builds(Choice, names, names, names))
    return st.tuples(*choices)


def with_gradients(made: PyConv, x: Tensor, plan: Plan | None) -> dict[str, Tensor]:
    """Outputs and all gradients, of one loss, by plan or by the definition."""
    x = x.detach().requires_grad_()
    out = made(x) if plan is None else levels.compute(x, *taken_apart(made), plan)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(3)).to(out.dtype)
    names = ["input", *(name for name, _ in made.named_parameters())]
    found = torch.autograd.grad((out * weights).sum(), (x, *made.parameters()))
    return {"output": out.detach(), **dict(zip(names, found, strict=True))}


def magnitudes(made: PyConv, x: Tensor) -> dict[str, Tensor]:
    """As `with_gradients`, of all magnitudes: no sum of products is off by more than gamma(n) times these."""
    plain = PyConv(made.in_channels, made.out_channels, made.pyramid, made.levels[0].stride, bias=True, dims=x.ndim - 2)
    plain.double()
    for own, other in zip(plain.parameters(), made.parameters(), strict=True):
        own.data = other.detach().double().abs()
    x = x.detach().double().abs().requires_grad_()
    out = plain(x)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(3)).double().abs()
    names = ["input", *(name for name, _ in plain.named_parameters())]
    found = torch.autograd.grad((out * weights).sum(), (x, *plain.parameters()))
    return {"output": out.detach(), **dict(zip(names, found, strict=True))}


def most_terms(made: PyConv, x: Tensor) -> int:
    """Products in one sum: an output's, an input's gradient over all levels and maps, a weight's gradient."""
    outputs = sum(level.weight[:, 0].numel() // level.groups for level in made.levels)
    inputs = max(level.weight[0].numel() for level in made.levels) + 1
    return max(outputs, inputs, x.numel() // x.shape[1])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", ALL)
@settings(max_examples=8)
@given(data=st.data(), last=st.booleans(), batch=st.sampled_from([1, 2]))
def test_any_mixture_of_formulations_gives_the_pyramid_and_its_gradients(
    name: str, dtype: torch.dtype, data: st.DataObject, last: bool, batch: int
) -> None:
    made, x = layer(name, dtype), images(name, dtype, last=last, batch=batch)
    found, expected = with_gradients(made, x, data.draw(plans(name, dtype))), with_gradients(made, x, None)
    bounds, off = magnitudes(made, x), 2 * gamma(most_terms(made, x), dtype)
    for what, tensor in found.items():
        assert tensor.dtype == dtype
        assert_within(tensor, expected[what].double(), off * bounds[what], what)
    assert channels_last(found["output"]) if last else found["output"].is_contiguous()


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=2)
@given(data=st.data())
def test_gradients_of_mixtures_are_what_finite_differences_say(name: str, data: st.DataObject) -> None:
    made, x = layer(name, torch.float64), images(name, torch.float64, batch=1).requires_grad_()
    _, calls = taken_apart(made)
    plan = data.draw(plans(name, torch.float64))

    def function(x: Tensor, *flat: Tensor) -> Tensor:
        return levels.compute(x, list(zip(flat[::2], flat[1::2], strict=True)), calls, plan)

    flat = [tensor for pair in taken_apart(made)[0] for tensor in pair]
    assert torch.autograd.gradcheck(function, (x, *flat), fast_mode=True)


DIRECT = "direct" if direct.compiled() is not None else "merged4"
PLAN = (Choice(DIRECT, DIRECT, DIRECT), Choice("merged2", "depthwise", "library"))


def two_levels(bias: bool = True) -> PyConv:
    return PyConv(32, 16, Pyramid((3, 5), groups=(8, 8)), bias=bias)


def test_what_needs_no_gradient_gets_none() -> None:
    made, x = two_levels(), torch.randn(2, 32, 4, 5)
    first, second = made.levels
    first.weight.requires_grad_(False)
    second.bias.requires_grad_(False)
    levels.compute(x, *taken_apart(made), PLAN).sum().backward()
    assert x.grad is None
    assert first.weight.grad is None
    assert second.bias.grad is None
    assert torch.equal(first.bias.grad, torch.full((8,), 40.0))
    expected = two_levels()
    expected.load_state_dict(made.state_dict())
    expected(x).sum().backward()
    torch.testing.assert_close(second.weight.grad, expected.levels[1].weight.grad, rtol=0, atol=1e-4)


def test_only_the_input_may_need_a_gradient() -> None:
    made, x = two_levels(bias=False).requires_grad_(False), torch.randn(2, 32, 4, 5, requires_grad=True)
    levels.compute(x, *taken_apart(made), PLAN).sum().backward()
    own = x.grad
    x.grad = None
    made(x).sum().backward()
    torch.testing.assert_close(own, x.grad, rtol=0, atol=1e-4)
    with torch.no_grad():
        assert not levels.compute(x, *taken_apart(made), PLAN).requires_grad


def test_gradients_add_up_over_steps() -> None:
    made, x = two_levels(), torch.randn(2, 32, 4, 5)
    for _ in range(2):
        levels.compute(x, *taken_apart(made), PLAN).square().sum().backward()
    twice = [parameter.grad.clone() for parameter in made.parameters()]
    made.zero_grad()
    levels.compute(x, *taken_apart(made), PLAN).square().sum().backward()
    for found, parameter in zip(twice, made.parameters(), strict=True):
        assert torch.equal(found, 2 * parameter.grad)


def test_a_gradient_of_a_gradient_is_refused_in_words() -> None:
    made, x = two_levels(), torch.randn(1, 32, 3, 3, requires_grad=True)
    (grad,) = torch.autograd.grad(levels.compute(x, *taken_apart(made), PLAN).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.square().sum().backward()


def test_weights_keep_the_layout_of_their_gradients() -> None:
    """What optimisers update in place lies as the weight does."""
    made, x = two_levels().to(memory_format=torch.channels_last), torch.randn(2, 32, 4, 5)
    levels.compute(x, *taken_apart(made), PLAN).sum().backward()
    for level in made.levels:
        assert isinstance(level, nn.Conv2d)
        assert level.weight.grad.stride() == level.weight.stride()


def test_an_input_changed_between_forward_and_backward_is_noticed() -> None:
    made, x = two_levels(), torch.randn(1, 32, 3, 3)
    out = levels.compute(x, *taken_apart(made), PLAN).sum()
    x.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.backward()
