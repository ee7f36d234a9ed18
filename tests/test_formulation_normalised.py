"""relu(batch norm + other) in two passes: outputs, gradients and running statistics are those of torch's layers."""

import copy

import pytest
import torch
from drawn_levels import gamma
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from pyconv import pyconvresnet, pyconvresnet3d, resnet
from pyconv.formulations import normalised
from pyconv.formulations.call import CHANNELS_LAST
from pyconv.formulations.normalised import activated
from pyconv.numerics import numerics

needs_compiler = pytest.mark.skipif(normalised.compiled() is None, reason="the extension was not compiled")
NORMS: dict[int, type[nn.BatchNorm2d | nn.BatchNorm3d]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def drawn(seed: int, shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> Tensor:
    """Channels last, a mean and a spread of each channel's own."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=rng, dtype=dtype)
    wide = [1, shape[1], *[1] * (len(shape) - 2)]
    x = x * torch.rand(wide, generator=rng, dtype=dtype).add(0.1) + torch.randn(wide, generator=rng, dtype=dtype) * 3
    return x.contiguous(memory_format=CHANNELS_LAST[len(shape)])


def made(channels: int, dims: int, **options: object) -> nn.BatchNorm2d | nn.BatchNorm3d:
    norm = NORMS[dims](channels, **options).double()
    rng = torch.Generator().manual_seed(channels)
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng))
    return norm


def results(policy: str, norm: nn.Module, x: Tensor, other: Tensor | None, grad: Tensor) -> dict[str, Tensor]:
    """Output, gradients and statistics of a copy of `norm`."""
    norm = copy.deepcopy(norm)
    inputs = [each.clone().requires_grad_() for each in (x, *([] if other is None else [other]))]
    y = activated(norm, nn.ReLU(inplace=True), *inputs, policy=policy)
    y.backward(grad)
    found = {"y": y.detach(), **{f"gradient {i}": each.grad for i, each in enumerate(inputs)}}
    found |= {name: parameter.grad for name, parameter in norm.named_parameters()}
    return found | {name: buffer.double() for name, buffer in norm.named_buffers()}


@needs_compiler
@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 999),
    channels=st.sampled_from([1, 3, 8, 16, 33, 64]),
    number=st.integers(1, 3),
    size=st.lists(st.integers(1, 13), min_size=2, max_size=3),
    with_other=st.booleans(),
    momentum=st.sampled_from([0.1, 0.5, None]),
)
def test_it_is_what_torchs_layers_compute(
    seed: int, channels: int, number: int, size: list[int], with_other: bool, momentum: float | None
) -> None:
    shape = (number, channels, *size)
    x = drawn(seed, shape)
    if x.numel() == channels:
        return  # one value a channel: torch refuses
    norm = made(channels, len(size), momentum=momentum)
    other = drawn(seed + 1, shape) if with_other else None
    grad = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found, expected = (results(policy, norm, x, other, grad) for policy in ("auto", "reference"))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        # few values of a channel that lie close together make s small and the gradient large: relative to that
        scale = float(value.abs().max()) + float(1 / x.var([0, *range(2, x.ndim)]).min().sqrt().clamp(min=1e-3))
        torch.testing.assert_close(
            found[name], value, rtol=0, atol=1e-10 * scale, msg=lambda told, n=name: f"{n} {told}"
        )


@needs_compiler
@pytest.mark.parametrize("with_other", [False, True])
def test_gradients_are_those_of_differences(with_other: bool) -> None:
    norm, x = made(4, 2, track_running_stats=False), drawn(5, (3, 4, 3, 2)).requires_grad_()
    others = [drawn(6, (3, 4, 3, 2)).requires_grad_()] if with_other else []
    relu = nn.ReLU()

    def function(weight: Tensor, bias: Tensor, *inputs: Tensor) -> Tensor:
        norm.weight, norm.bias = nn.Parameter(weight), nn.Parameter(bias)
        own = [each.contiguous(memory_format=torch.channels_last) for each in inputs]
        found = normalised._Activated.apply(own[0], own[1] if with_other else None, weight, bias, norm.eps)
        assert torch.equal(found[0], activated(norm, relu, *own, policy="auto"))
        return found[0]

    arguments = (torch.randn(4).double().requires_grad_(), torch.randn(4).double().requires_grad_(), x, *others)
    assert torch.autograd.gradcheck(function, arguments)


@needs_compiler
def test_in_float32_it_is_as_exact_as_the_sums_allow() -> None:
    """Sums over a channel go over at most 64 + 1 / 64 of the values in float32: |error| <= gamma_n sum |terms|."""
    x, weight = drawn(1, (8, 16, 56, 56), torch.float32), torch.ones(16)
    y, mean, variance = normalised._Activated.apply(x, None, weight, torch.zeros(16), 1e-5)
    exact = x.double().movedim(1, 0).flatten(1)
    terms = 8 * 56 * 56 // 64 + 64
    pivot = exact[:, :1]
    bound = gamma(terms, torch.float32) * (exact - pivot).abs().mean(1) + 2**-23 * exact.mean(1).abs()
    assert ((mean - exact.mean(1)).abs() <= bound).all()
    squares = gamma(terms + 2, torch.float32) * ((exact - pivot) ** 2).mean(1) * 3
    assert ((variance - exact.var(1, correction=0)).abs() <= squares).all()
    expected = functional.relu((exact - exact.mean(1, True)) / (exact.var(1, correction=0, keepdim=True) + 1e-5).sqrt())
    torch.testing.assert_close(y.movedim(1, 0).flatten(1).double(), expected, rtol=0, atol=2e-4)


@needs_compiler
def test_the_bits_do_not_depend_on_the_number_of_threads() -> None:
    before, x, grad = torch.get_num_threads(), drawn(2, (4, 24, 17, 19)), drawn(3, (4, 24, 17, 19))
    try:
        found = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(results("auto", made(24, 2), x, x + 1, grad))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(other[name], found[0][name]) for other in found[1:] for name in found[0])


@needs_compiler
def test_not_a_number_stays_one() -> None:
    x = drawn(4, (2, 8, 5, 5))
    x[1, 3, 2, 2] = torch.nan
    y = activated(made(8, 2), nn.ReLU(), x, policy="auto")
    assert y[:, 3].isnan().all()
    assert not y[:, [0, 1, 2, 4, 5, 6, 7]].isnan().any()


@needs_compiler
@pytest.mark.parametrize(
    "network", [resnet(18), resnet(50), pyconvresnet(50), pyconvresnet3d(50)], ids=lambda one: one.name
)
def test_networks_learn_the_same_by_both(network) -> None:
    model = network.build(5, seed=0).double()
    size = (3, 3, 4, 48, 48) if network.dims == 3 else (3, 3, 48, 48)
    x = torch.randn(size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x = x.contiguous(memory_format=CHANNELS_LAST[x.ndim])
    model.to(memory_format=CHANNELS_LAST[x.ndim])
    found = {}
    for policy in ("auto", "reference"):
        own = copy.deepcopy(model).train()
        for module in own.modules():
            if hasattr(module, "formulation"):
                module.formulation = policy
        with torch.random.fork_rng():
            torch.manual_seed(2)
            functional.cross_entropy(own(x), torch.tensor([0, 3, 1])).backward()
        found[policy] = {name: p.grad for name, p in own.named_parameters()} | dict(own.named_buffers())
    for name, expected in found["reference"].items():
        distance = float((found["auto"][name] - expected).double().norm())
        assert distance <= 1e-8 * float(expected.double().norm()) + 1e-10, name


@pytest.mark.parametrize("change", ["eval", "hook", "first", "half", "affine", "repeatable", "one value", "sync"])
def test_what_it_does_not_fit_is_torchs(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but torch's layers is called: the extension would fail."""

    class Refuses:
        def __getattr__(self, name: str) -> None:
            raise AssertionError(name)

    monkeypatch.setattr(normalised, "compiled", Refuses)
    norm, relu, x = nn.BatchNorm2d(8, affine=change != "affine"), nn.ReLU(), drawn(7, (2, 8, 4, 4), torch.float32)
    if change == "eval":
        norm.eval()
    if change == "hook":
        norm.register_forward_hook(lambda *_: None)
    if change == "first":
        x = x.contiguous()
    if change == "half":
        norm, x = norm.bfloat16(), x.bfloat16()
    if change == "sync":
        norm.__class__ = type("Own", (nn.BatchNorm2d,), {})
    expected = relu(copy.deepcopy(norm)(x))
    with numerics(torch.device("cpu"), "fp32", deterministic=change == "repeatable"):
        if change == "one value":
            with pytest.raises(ValueError, match="more than 1 value per channel"):
                activated(norm, relu, x[:1, :, :1, :1], policy="auto")
        else:
            assert torch.equal(activated(norm, relu, x, policy="auto"), expected)
