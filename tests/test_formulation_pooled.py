"""The 3x3 max pool, channels last: bits of outputs and gradients are those of torch's own layer."""

import copy
import pickle
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pyconv.formulations import pooled
from pyconv.formulations.call import CHANNELS_LAST
from pyconv.layers import max_pool

needs_compiler = pytest.mark.skipif(pooled.compiled() is None, reason="the extension was not compiled")
INTEGERS = {torch.float32: torch.int32, torch.float64: torch.int64}
INF, NAN = torch.inf, torch.nan
VALUES = {
    "normal": (),
    "ties": (0.0, 1.0, 2.0),
    "zeros": (0.0, -0.0),
    "all": (NAN, -NAN, 0.0, -0.0, INF, -INF, 1.0, -1.0),
    "lowest": (-INF,),
    "sums": (1.0, 1e8, -1e8, 3e-8, -0.0, 0.1),
}


class Refuses:
    def __getattr__(self, name: str) -> None:
        raise AssertionError(name)


class Counts:
    """The extension, and how often it was called."""

    def __init__(self) -> None:
        self.own, self.calls = pooled.compiled(), []

    def __getattr__(self, name: str) -> object:
        self.calls.append(name)
        return getattr(self.own, name)


def drawn(seed: int, shape: tuple[int, ...], dtype: torch.dtype, kind: str = "normal") -> Tensor:
    """Channels last; of `VALUES[kind]`, each value that is not a number with bits of its own."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=rng, dtype=dtype)
    if values := torch.tensor(VALUES[kind], dtype=dtype).tolist():
        x = torch.tensor(values, dtype=dtype)[torch.randint(len(values), shape, generator=rng)]
        marks = torch.randint(1000, shape, generator=rng, dtype=INTEGERS[dtype])
        x = torch.where(x.isnan(), (bits(x) + marks).view(dtype), x)
    return x.contiguous(memory_format=CHANNELS_LAST[x.ndim])


def bits(x: Tensor) -> Tensor:
    return x.contiguous().view(INTEGERS[x.dtype])


def torchs(pool: nn.MaxPool2d | nn.MaxPool3d) -> nn.Module:
    own = (nn.MaxPool2d, nn.MaxPool3d)[isinstance(pool, nn.MaxPool3d)]
    return own(pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.return_indices, pool.ceil_mode)


def results(pool: nn.Module, x: Tensor, grad: Tensor | None = None) -> list[Tensor]:
    """Outputs, without and with a graph, and the gradient."""
    inputs = x.detach().requires_grad_()
    y = pool(inputs)
    with torch.no_grad():
        value = pool(x)
    (dx,) = torch.autograd.grad(y, inputs, torch.ones_like(y) if grad is None else grad)
    return [value, y.detach(), dx]


def assert_same(found: list[Tensor], expected: list[Tensor]) -> None:
    """All bits, but of a sum of several values that are not numbers: which one it keeps is the compiler's choice."""
    for one, other in zip(found, expected, strict=True):
        assert (one.shape, one.stride(), one.dtype) == (other.shape, other.stride(), other.dtype)
        if one is found[-1]:  # the gradient
            assert torch.equal(one.isnan(), other.isnan())
            one, other = (each.nan_to_num(0.5, INF, -INF) for each in (one, other))
        assert torch.equal(bits(one), bits(other))


@needs_compiler
@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 999),
    dtype=st.sampled_from(list(INTEGERS)),
    kinds=st.tuples(st.sampled_from(list(VALUES)), st.sampled_from(list(VALUES))),
    channels=st.sampled_from([1, 3, 8, 16, 33, 64, 80]),
    number=st.integers(1, 3),
    frames=st.integers(0, 3),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    strides=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    last=st.booleans(),
)
def test_bits_of_outputs_and_gradients_are_torchs(
    seed: int, dtype: torch.dtype, kinds: tuple[str, str], channels: int, number: int, frames: int,
    size: tuple[int, int], strides: tuple[int, int], last: bool,
) -> None:  # fmt: skip
    clips = frames > 0
    x = drawn(seed, (number, channels, *([frames] if clips else []), *size), dtype, kinds[0])
    pool = max_pool((1, *strides), dims=3) if clips else max_pool(strides)
    grad = drawn(seed + 1, tuple(pool(x).shape), dtype, kinds[1])
    assert_same(results(pool, x, grad if last else grad.contiguous()), results(torchs(pool), x, grad))


@needs_compiler
@pytest.mark.parametrize("dtype", list(INTEGERS))
@pytest.mark.parametrize(("shape", "stride"), [((2, 24, 41, 40), 2), ((1, 64, 40, 41), 1), ((2, 64, 3, 20, 21), 2)])
def test_large_maps_on_any_number_of_threads(dtype: torch.dtype, shape: tuple[int, ...], stride: int) -> None:
    before, x = torch.get_num_threads(), drawn(1, shape, dtype, "ties")
    pool = max_pool(stride) if len(shape) == 4 else max_pool((1, stride, stride), dims=3)
    grad = drawn(2, tuple(pool(x).shape), dtype)
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            assert_same(results(pool, x, grad), results(torchs(pool), x, grad))
    finally:
        torch.set_num_threads(before)


@needs_compiler
@pytest.mark.parametrize("kind", ["normal", "ties", "lowest"])
@pytest.mark.parametrize("strides", [(2, 2), (1, 2), (1, 1)])
def test_gradients_of_gradients_are_torchs(kind: str, strides: tuple[int, int]) -> None:
    found = []
    for pool in (max_pool(strides), torchs(max_pool(strides))):
        x = drawn(3, (2, 5, 7, 6), torch.float64, kind).requires_grad_()
        y = pool(x)
        (dx,) = torch.autograd.grad(y, x, drawn(4, tuple(y.shape), torch.float64).requires_grad_(), create_graph=True)
        weight = drawn(5, tuple(y.shape), torch.float64).requires_grad_()
        (once,) = torch.autograd.grad(pool(x), x, weight, create_graph=True)
        found.append([dx.detach(), *torch.autograd.grad((once**2 * dx).sum(), weight)])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
    assert all(one.isfinite().all() for one in found[0])


@needs_compiler
def test_gradients_are_those_of_differences() -> None:
    # A permutation: no two values are so close that a step of the differences changes their order.
    x = torch.randperm(2 * 3 * 5 * 4, generator=torch.Generator().manual_seed(6)).reshape(2, 3, 5, 4).double()
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    assert torch.autograd.gradcheck(max_pool(2), (x,))
    assert torch.autograd.gradgradcheck(max_pool(2), (x,))


@needs_compiler
def test_gradients_come_batched_by_a_transform_too() -> None:
    found = []
    for pool in (max_pool(2), torchs(max_pool(2))):
        x = drawn(7, (2, 8, 5, 6), torch.float64, "ties").requires_grad_()
        y = pool(x)
        grads = torch.stack([drawn(seed, tuple(y.shape), torch.float64) for seed in range(3)])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "There is a performance drop")
            found.append(torch.autograd.grad(y, x, grads, is_grads_batched=True)[0])
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-12)


@needs_compiler
@pytest.mark.parametrize("dtype", list(INTEGERS))
@pytest.mark.parametrize("dims", [2, 3])
def test_where_it_fits_the_extension_is_used(dims: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    extension = Counts()
    monkeypatch.setattr(pooled, "compiled", lambda: extension)
    x = drawn(8, (2, 16, 3, 5, 6)[:2] + (3, 5, 6)[3 - dims :], dtype)
    results(max_pool((1, 2, 2)[-dims:], dims=dims), x)
    assert extension.calls == ["forward", "forward", "backward"]


def changed(change: str, pool: nn.MaxPool2d) -> None:
    sizes = {
        "kernel": ("kernel_size", 2),
        "padding": ("padding", 0),
        "stride": ("stride", 3),
        "dilation": ("dilation", 2),
    }
    if change in sizes:
        setattr(pool, *sizes[change])
    pool.ceil_mode = change == "ceil"
    pool.return_indices = change == "indices"
    if change == "hook":
        pool.register_forward_hook(lambda *_: None)
    if change == "forward":
        pool.forward = torchs(pool).forward


@pytest.mark.parametrize(
    "change",
    ["kernel", "padding", "stride", "dilation", "ceil", "indices", "hook", "forward", "first", "half", "integers",
     "one map", "empty", "view", "mode", "none"],
)  # fmt: skip
def test_what_it_does_not_fit_is_torchs(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooled, "compiled", (lambda: None) if change == "none" else Refuses)
    pool, x = max_pool(2), drawn(9, (2, 8, 9, 8), torch.float32)
    changed(change, pool)
    inputs = {
        "first": x.contiguous(), "half": x.bfloat16(), "integers": (x * 9).int(), "one map": x[:, :, :1, :1],
        "empty": x[:0], "view": x[:, ::2],
    }  # fmt: skip
    x = inputs.get(change, x)
    with torch.device("cpu") if change == "mode" else torch.no_grad():
        found, expected = pool(x), torchs(pool)(x)
    for one, other in zip(*([each] if isinstance(each, Tensor) else each for each in (found, expected)), strict=True):
        assert torch.equal(one, other)
        assert one.stride() == other.stride()


def test_clips_whose_time_is_pooled_or_that_fill_no_vector_are_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooled, "compiled", Refuses)
    for strides, channels in (((2, 2, 2), 16), ((1, 2, 2), 8)):
        pool, x = max_pool(strides, dims=3), drawn(10, (1, channels, 4, 5, 6), torch.float32, "lowest")
        assert_same(results(pool, x), results(torchs(pool), x))


def test_tracers_and_transforms_see_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooled, "compiled", Refuses)
    pool, x = max_pool(2), drawn(11, (2, 8, 6, 6), torch.float32)
    expected = torchs(pool)(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert torch.equal(torch.jit.trace(pool, x, check_trace=False)(x), expected)
    assert torch.equal(torch.func.vmap(pool)(x[:, None])[:, 0], expected)
    assert torch.equal(torch.fx.symbolic_trace(nn.Sequential(pool))(x), expected)
    assert torch.equal(torch.func.jvp(pool, (x,), (x,))[1], expected)


@pytest.mark.parametrize("dims", [2, 3])
def test_to_all_others_it_is_torchs_layer(dims: int) -> None:
    pool = max_pool(2 if dims == 2 else (1, 2, 2), dims=dims)
    own = torchs(pool)
    assert isinstance(pool, type(own))
    assert type(pool).forward is type(own).forward
    assert (repr(pool), pool.state_dict()) == (repr(own), own.state_dict())
    x = drawn(12, (2, 16, 3, 5, 6)[:2] + (3, 5, 6)[3 - dims :], torch.float32)
    for other in (copy.deepcopy(pool), pickle.loads(pickle.dumps(pool))):
        assert repr(other) == repr(own)
        assert_same(results(other, x), results(own, x))
