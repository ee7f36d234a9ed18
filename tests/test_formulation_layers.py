"""A layer under every policy is the same layer to whoever looks at it: counters, hooks, copies, tracers, transforms."""

import copy
import io
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call, grad, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.modules import module as torch_module
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from pyconv import PYRAMIDS, PyConv
from pyconv.complexity import count_module
from pyconv.formulations import levels, planner
from pyconv.formulations.layer import is_plain
from pyconv.formulations.levels import Choice, Plan

POLICIES = planner.POLICIES
PLANNED = [policy for policy in POLICIES if policy != "reference"]


@pytest.fixture(autouse=True)
def own_choices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was chosen before; what is measured is always faster merged, so that "auto" is not the definition."""
    monkeypatch.setenv("PYCONV_CACHE", str(tmp_path))
    monkeypatch.delenv("PYCONV_FORMULATION")
    merged = Choice("merged2", "merged2", "merged2")
    monkeypatch.setattr(planner, "fastest", lambda _, __, call, train: merged if call.groups > 1 else Choice())  # noqa: ARG005


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """The plans by which levels were computed; none for the definition."""
    made: list[Plan] = []
    compute = levels.compute
    monkeypatch.setattr(levels, "compute", lambda *given: made.append(given[-1]) or compute(*given))
    return made


def pyramid_layer(formulation: str | None, bias: bool = False) -> PyConv:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return PyConv(32, 64, PYRAMIDS[4], bias=bias, formulation=formulation)


def image() -> Tensor:
    return torch.randn(2, 32, 6, 5, generator=torch.Generator().manual_seed(1))


def defined(made: nn.Module, x: Tensor) -> Tensor:
    return torch.cat([level(x) for level in made.levels], dim=1)


@pytest.mark.parametrize("policy", POLICIES)
def test_names_and_counts_are_the_definition_s(policy: str, planned: list[Plan]) -> None:
    made, reference = pyramid_layer(policy, bias=True), pyramid_layer("reference", bias=True)
    assert made.state_dict().keys() == reference.state_dict().keys()
    conventions = ("macs", "thop-2019", "fvcore")
    expected = count_module(reference, (32, 6, 5), conventions)
    made(image())  # planned or not
    assert count_module(made, (32, 6, 5), conventions) == expected
    on_values = FlopCountAnalysis(made, (image()[:1],)).unsupported_ops_warnings(False)
    assert on_values.total() == expected.flops["fvcore"] == expected.flops["macs"]
    with FlopCounterMode(display=False) as counter:
        made(image()[:1])
    assert counter.get_total_flops() == 2 * expected.flops["macs"]
    assert len(planned) == (policy != "reference")


@pytest.mark.parametrize("policy", PLANNED)
def test_a_step_gives_the_definition_s_outputs_and_gradients(policy: str, planned: list[Plan]) -> None:
    made, reference = pyramid_layer(policy, bias=True), pyramid_layer("reference", bias=True)
    for each in (made, reference):
        each(image()).square().sum().backward()
    assert len(planned) == 1
    for own, other in zip(made.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(own.grad, other.grad, rtol=1e-4, atol=1e-3)


def level_hooks() -> list[Callable[[nn.Module, list[str]], object]]:
    return [
        lambda level, seen: level.register_forward_hook(lambda *_: seen.append("hook")),
        lambda level, seen: level.register_forward_pre_hook(lambda *_: seen.append("hook")),
        lambda level, seen: level.register_full_backward_hook(lambda *_: seen.append("hook")),
        lambda level, seen: level.register_full_backward_pre_hook(lambda *_: seen.append("hook")),
    ]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("hooked", level_hooks(), ids=["forward", "before", "backward", "before backward"])
def test_hooks_of_a_level_are_called(hooked: Callable[[nn.Module, list[str]], object], policy: str) -> None:
    made, seen = pyramid_layer(policy), list[str]()
    handle = hooked(made.levels[2], seen)
    made(image().requires_grad_()).sum().backward()
    assert seen == ["hook"]
    handle.remove()
    assert is_plain(image(), made.levels)


@pytest.mark.parametrize(
    "register",
    [
        torch_module.register_module_forward_hook,
        torch_module.register_module_forward_pre_hook,
        torch_module.register_module_full_backward_hook,
        torch_module.register_module_full_backward_pre_hook,
    ],
)
@pytest.mark.parametrize("policy", ["auto", "direct"])
def test_hooks_of_all_modules_see_every_level(register: Callable[..., object], policy: str) -> None:
    made, seen = pyramid_layer(policy), list[nn.Module]()
    handle = register(lambda module, *_: seen.append(module) if isinstance(module, nn.Conv2d) else None)
    try:
        made(image().requires_grad_()).sum().backward()
    finally:
        handle.remove()
    assert set(seen) == set(made.levels)


@pytest.mark.parametrize("policy", [*POLICIES, None])
def test_copies_compute_the_same(policy: str | None) -> None:
    made = pyramid_layer(policy)
    file = io.BytesIO()
    torch.save(made, file)
    file.seek(0)
    for copied in (copy.deepcopy(made), pickle.loads(pickle.dumps(made)), torch.load(file, weights_only=False)):
        assert copied.formulation == policy
        assert torch.equal(copied(image()), made(image()))


@pytest.mark.parametrize("policy", PLANNED)
def test_mixed_precision_is_that_of_a_convolution(policy: str) -> None:
    """bf16 rounds inputs and results by 2^-9 of sums whose magnitudes are below 100 here."""
    made, reference = pyramid_layer(policy, bias=True), pyramid_layer("reference", bias=True)
    found = []
    for each in (made, reference):
        x = torch.randn(2, 32, 10, 9, generator=torch.Generator().manual_seed(1)).requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = each(x)
        out.float().sum().backward()
        found.append([out, x.grad, *(parameter.grad for parameter in each.parameters())])
    for own, other in zip(*found, strict=True):
        assert own.dtype == other.dtype
        torch.testing.assert_close(own.float(), other.float(), rtol=2**-6, atol=2**-9 * 100)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = made.double()(image().double())
        assert out.dtype == reference.double()(image().double()).dtype == torch.float64
        torch.testing.assert_close(out, defined(made, image().double()), rtol=0, atol=1e-12)


def compiled(made: nn.Module, _: Tensor) -> Callable[[Tensor], Tensor]:
    return torch.compile(made, backend="eager", fullgraph=True)


TRACERS = {
    "jit": lambda made, x: torch.jit.trace(made, x, check_trace=False),  # which runs the module itself
    "compile": compiled,
    "fx": lambda made, _: torch.fx.symbolic_trace(made),
    "proxies": lambda made, x: make_fx(made)(x),
    "export": lambda made, x: torch.export.export(made, (x,)).module(),
}


@pytest.mark.parametrize("tracer", TRACERS)
@pytest.mark.parametrize("policy", ["merged2", "auto", None])
def test_traces_and_graphs_are_of_the_definition(tracer: str, policy: str | None, planned: list[Plan]) -> None:
    made, x = pyramid_layer(policy).requires_grad_(False), image()
    traced = TRACERS[tracer](made, x)
    other = x + 1  # nothing of the example's values is in the graph
    assert torch.equal(traced(other), defined(made, other))
    assert not planned
    made(x)
    assert planned


def test_function_transforms_use_the_definition(planned: list[Plan]) -> None:
    made, x = pyramid_layer("merged2"), image()
    parameters = {name: parameter.detach() for name, parameter in made.named_parameters()}
    torch.testing.assert_close(vmap(made)(x[:, None])[:, 0], defined(made, x), rtol=0, atol=1e-5)

    def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(made, parameters, (x,)).square().sum()

    found = grad(loss)(parameters, x)  # the weights are wrapped, the input is not
    by_input = grad(loss, argnums=1)(parameters, x)
    vmap(grad(loss), in_dims=(None, 0))(parameters, x[:, None])
    with forward_ad.dual_level():
        forward_ad.unpack_dual(made(forward_ad.make_dual(x, torch.ones_like(x))))
    assert not planned
    x.requires_grad_()
    made(x).square().sum().backward()
    torch.testing.assert_close(by_input, x.grad, rtol=1e-4, atol=1e-3)
    for name, parameter in made.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-3)


def test_views_that_are_negated_when_read_are_read_right() -> None:
    made, x = pyramid_layer("direct").requires_grad_(False), image()
    negated = torch.complex(torch.zeros_like(x), -x).conj().imag
    assert negated.is_neg()
    torch.testing.assert_close(made(negated), defined(made, x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("policy", PLANNED)
def test_without_gradients_it_is_planned_too(policy: str, planned: list[Plan]) -> None:
    made = pyramid_layer(policy)
    with torch.inference_mode():
        out = made(image())
    assert out.is_inference()
    frozen = pyramid_layer(policy).requires_grad_(False)
    assert not frozen(image()).requires_grad
    torch.testing.assert_close(out, defined(made, image()), rtol=0, atol=1e-5)
    assert len(planned) == 2


@pytest.mark.parametrize("policy", PLANNED)
def test_no_images_are_the_definition_s_business(policy: str, planned: list[Plan]) -> None:
    made, x = pyramid_layer(policy), image()[:0].requires_grad_()
    out = made(x)
    out.sum().backward()
    assert out.shape == (0, 64, 6, 5)
    assert x.grad.shape == x.shape
    assert not planned


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    "wrong",
    [
        torch.zeros(1, 64, 6, 5),  # reading it as of 32 maps would give something
        torch.zeros(1, 16, 6, 5),
        torch.zeros(1, 32, 6, 5, 1),
        torch.zeros(1, 32, 6, 5, dtype=torch.float64),
        torch.zeros(1, 32, 6, 5, dtype=torch.int64),
    ],
    ids=lambda x: f"{tuple(x.shape)} {x.dtype}",
)
def test_wrong_inputs_are_refused_in_torch_s_words(wrong: Tensor, policy: str) -> None:
    messages = []
    for each in (pyramid_layer("reference"), pyramid_layer(policy)):
        with pytest.raises(RuntimeError) as refused:
            each(wrong)
        messages.append(str(refused.value))
    assert messages[0] == messages[1]


@pytest.mark.parametrize("policy", POLICIES)
def test_weights_without_memory_are_not_read(policy: str, planned: list[Plan]) -> None:
    assert pyramid_layer(policy).to("meta")(image()).shape == (2, 64, 6, 5)  # torch computes something
    assert not planned


@pytest.mark.parametrize("reentrant", [False, True])
def test_activations_may_be_recomputed(reentrant: bool) -> None:
    made, x = pyramid_layer("merged2"), image().requires_grad_()
    checkpoint(made, x, use_reentrant=reentrant).square().sum().backward()
    again, x.grad = x.grad, None
    made(x).square().sum().backward()
    torch.testing.assert_close(again, x.grad, rtol=1e-5, atol=1e-4)


def test_a_gradient_of_a_gradient_is_refused_or_taken_by_the_definition() -> None:
    x = image().requires_grad_()
    (first,) = torch.autograd.grad(pyramid_layer("merged2")(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()
    (first,) = torch.autograd.grad(pyramid_layer("reference")(x).square().sum(), x, create_graph=True)
    first.sum().backward()
    assert x.grad is not None
