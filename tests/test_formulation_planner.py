"""Which formulation a layer takes: whose word counts, what is measured and how, and when nothing may be."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pyconv import PYRAMIDS, PyConv, Pyramid
from pyconv.formulations import direct, layer, measure, planner
from pyconv.formulations.call import Call
from pyconv.formulations.levels import FORMULATIONS, Choice, Plan
from pyconv.numerics import numerics

CPU = torch.device("cpu")
PINNED = [name for name in FORMULATIONS if name != "library"]
needs_compiler = pytest.mark.skipif(direct.compiled() is None, reason="the extension was not compiled")


@pytest.fixture(autouse=True)
def own_choices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was chosen before, nobody says what to choose."""
    monkeypatch.setenv("PYCONV_CACHE", str(tmp_path / "choices"))
    monkeypatch.delenv("PYCONV_FORMULATION")


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[Plan | None]:
    """What was planned, call by call; a call that does not get here is the definition."""
    made: list[Plan | None] = []
    plan = planner.plan

    def noted(*given: object, **options: object) -> Plan | None:
        made.append(plan(*given, **options))
        return made[-1]

    monkeypatch.setattr(planner, "plan", noted)
    return made


def pyramid_layer(formulation: str | None = None) -> PyConv:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return PyConv(32, 64, PYRAMIDS[4], formulation=formulation)


def image() -> Tensor:
    return torch.randn(2, 32, 6, 5, generator=torch.Generator().manual_seed(1))


def defined(made: PyConv, x: Tensor) -> Tensor:
    return torch.cat([level(x) for level in made.levels], dim=1)


def names(choice: Choice) -> set[str]:
    return {choice.forward, choice.input_gradient, choice.weight_gradient}


def test_reference_is_the_definition_to_the_bit() -> None:
    made = pyramid_layer("reference")
    assert torch.equal(made(image()), defined(made, image()))


@pytest.mark.parametrize("name", PINNED)
def test_a_pinned_formulation_is_taken_where_it_fits_and_the_library_elsewhere(
    name: str, plans: list[Plan | None]
) -> None:
    made, x = pyramid_layer(name), image()
    torch.testing.assert_close(made(x), defined(made, x), rtol=0, atol=1e-5)
    calls = [(level.weight, Call.of(level)) for level in made.levels]
    fits = [FORMULATIONS[name].fits(x, *each) for each in calls]
    if not any(fits):
        assert plans == [None]
        return
    assert [names(choice) for choice in plans[0]] == [{name} if each else {"library"} for each in fits]


def test_a_pinned_formulation_that_fits_no_level_leaves_the_definition(plans: list[Plan | None]) -> None:
    made = PyConv(6, 10, Pyramid((3, 5), groups=(1, 1)), formulation="merged8")
    x = torch.randn(1, 6, 4, 4)
    assert torch.equal(made(x), defined(made, x))
    assert plans == [None]


def test_the_layer_s_word_counts_before_the_environment_s(monkeypatch: pytest.MonkeyPatch) -> None:
    assert planner.policy_now(None) == "auto"
    monkeypatch.setenv("PYCONV_FORMULATION", "")
    assert planner.policy_now(None) == "auto"
    monkeypatch.setenv("PYCONV_FORMULATION", "merged2")
    assert planner.policy_now(None) == "merged2"
    assert planner.policy_now("depthwise") == "depthwise"
    assert planner.policy_now("auto") == "auto"


def test_an_unknown_name_is_answered_with_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    names = "auto, fixed, reference, direct, winograd, depthwise, merged2, merged4, merged8"
    message = f"formulation 'fastest' is none of {names}"
    with pytest.raises(ValueError, match=message):
        pyramid_layer("fastest")
    with pytest.raises(ValueError, match="formulation '' is none of"):
        pyramid_layer("")
    made = pyramid_layer()
    monkeypatch.setenv("PYCONV_FORMULATION", "fastest")
    with pytest.raises(ValueError, match=message):
        made(image())


def test_runs_that_must_repeat_themselves_are_the_definition_to_the_bit() -> None:
    made, x = pyramid_layer(), image()
    with numerics(CPU, "fp32", deterministic=True):
        assert planner.policy_now(None) == "reference"
        assert torch.equal(made(x), defined(made, x))
        with numerics(CPU, "fp32", deterministic=False):  # whoever is inside cannot take it back
            assert planner.policy_now("auto") == "reference"
        assert planner.policy_now("merged2") == "merged2"  # but a name is a name
    with numerics(CPU, "fp32", deterministic=False):
        assert planner.policy_now(None) == "auto"


def test_an_error_inside_ends_the_repeatable_part_too() -> None:
    with pytest.raises(KeyError), numerics(CPU, "fp32"):
        raise KeyError
    assert planner.policy_now(None) == "auto"


def test_deterministic_algorithms_mean_the_rule_and_no_measurement(
    plans: list[Plan | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "fastest", lambda *_, **__: pytest.fail("measured"))
    made, x = pyramid_layer(), image()
    torch.use_deterministic_algorithms(True)
    try:
        assert planner.policy_now(None) == "fixed"
        first, second = made(x), made(x)
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(first, second)
    torch.testing.assert_close(first, defined(made, x), rtol=0, atol=1e-5)
    assert plans[0] == plans[1]


@needs_compiler
def test_the_rule_looks_at_numbers_of_maps_only(plans: list[Plan | None]) -> None:
    """Neither batch nor size nor chance decides: 32 maps to 16 in 1, 4, 8 and 16 groups."""
    made = pyramid_layer("fixed")
    for shape in [(1, 32, 3, 3), (5, 32, 17, 4)]:
        made(torch.randn(shape))
    assert plans[0] == plans[1]
    few = Choice("direct", "direct", "direct")
    assert plans[0] == (Choice(), few, few, few)


def test_a_layer_is_measured_once_for_a_size_and_a_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[tuple[tuple[int, ...], bool]] = []

    def fastest(x: Tensor, weight: Tensor, call: Call, *, train: bool) -> Choice:  # noqa: ARG001
        measured.append((tuple(x.shape), train))
        return Choice("merged2", "merged2", "merged2") if call.groups > 1 else Choice()

    monkeypatch.setattr(planner, "fastest", fastest)
    made, x = pyramid_layer(), image()
    for _ in range(3):
        made(x)
    assert measured == [(x.shape, True)] * 4
    with torch.no_grad():
        made(x)
        made(x[:, :, :5])  # of the same power of two
    assert measured[4:] == [(x.shape, False)] * 4
    with torch.no_grad():
        made(torch.randn(2, 32, 9, 5))
        made(x.double().float().contiguous(memory_format=torch.channels_last))
    assert len(measured) == 16


def test_what_a_choice_depends_on_is_told_apart() -> None:
    x, weight, call = torch.zeros(2, 8, 5, 6), torch.zeros(4, 4, 3, 5), Call((1, 1), (1, 2), (1, 1), 2)
    other = [
        (x.double(), weight.double(), call),
        (x.bfloat16(), weight.bfloat16(), call),
        (x.contiguous(memory_format=torch.channels_last), weight, call),
        (torch.zeros(3, 8, 5, 6), weight, call),
        (torch.zeros(2, 8, 9, 6), weight, call),
        (torch.zeros(2, 8, 5, 3), weight, call),
        (torch.zeros(2, 16, 5, 6), weight, call),
        (x, torch.zeros(6, 4, 3, 5), call),
        (x, torch.zeros(4, 4, 5, 3), call),
        (x, weight, Call((1, 2), (1, 2), (1, 1), 2)),
        (x, weight, Call((1, 1), (2, 2), (1, 1), 2)),
        (x, weight, Call((1, 1), (1, 2), (2, 1), 2)),
        (x, weight, Call((1, 1), (1, 2), (1, 1), 1)),
        (x[..., None], weight[..., None], Call((1, 1, 1), (1, 2, 0), (1, 1, 1), 2)),
    ]
    keys = [planner.signature(*each, train=False) for each in [(x, weight, call), *other]]
    keys.append(planner.signature(x, weight, call, train=True))
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        keys.append(planner.signature(x, weight, call, train=False))
    finally:
        torch.set_num_threads(threads)
    assert len(set(keys)) == len(keys)
    assert planner.signature(torch.zeros(2, 8, 7, 8), weight, call, train=False) == keys[0]


Times = dict[str, float]


def chosen(times: Times, monkeypatch: pytest.MonkeyPatch) -> tuple[str, list[str]]:
    """What `_best` says if calls took so long, and whom it asked in which order; an infinite time is an error."""
    asked: list[str] = []

    def call(name: str) -> Callable[[], object]:
        return lambda: name

    def time(each: Callable[[], str], device: torch.device) -> float:
        assert device == CPU
        asked.append(each())
        if times[each()] == float("inf"):
            raise RuntimeError("could not create a primitive")
        return times[each()]

    monkeypatch.setattr(measure, "_time", time)
    return measure._best({name: call(name) for name in times}, CPU), asked


@pytest.mark.parametrize(
    ("times", "best"),
    [
        ({"library": 0.010, "direct": 0.004, "depthwise": 0.003, "merged2": 0.005}, "depthwise"),
        ({"library": 0.010, "direct": 0.0096, "depthwise": 0.02}, "library"),  # a gain of 4%
        ({"library": 0.010, "direct": 0.0094}, "direct"),  # of 6%
        ({"library": 0.001, "direct": 0.004}, "library"),
        ({"library": 0.010}, "library"),
        ({"library": 0.010, "direct": float("inf"), "merged2": 0.002}, "merged2"),
        ({"library": 0.010, "direct": float("inf")}, "library"),
        ({"library": 9.0, "direct": 4.0, "merged2": 3.0}, "merged2"),
    ],
)
def test_the_fastest_is_taken_if_it_gains_something(times: Times, best: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(times, monkeypatch)[0] == best


def test_short_calls_are_timed_in_turn_long_ones_once(monkeypatch: pytest.MonkeyPatch) -> None:
    short = chosen({"library": 0.01, "direct": 0.02}, monkeypatch)[1]
    assert short == ["library", "library", "direct", "direct", *["library", "direct"] * (measure.ROUNDS - 1)]
    assert chosen({"library": 5.0, "direct": 6.0}, monkeypatch)[1] == ["library", "library", "direct", "direct"]
    failed = chosen({"library": 0.01, "direct": float("inf")}, monkeypatch)[1]
    assert failed.count("direct") == 1


def test_if_the_library_itself_cannot_nobody_can(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="could not create a primitive"):
        chosen({"library": float("inf"), "direct": 0.1}, monkeypatch)


@pytest.mark.parametrize("train", [False, True])
def test_measuring_changes_neither_tensors_nor_torch_s_state(train: bool) -> None:
    x, weight = image().requires_grad_(), torch.randn(16, 8, 3, 3, requires_grad=True)
    before = (x.detach().clone(), weight.detach().clone(), torch.get_rng_state())
    found = measure.fastest(x, weight, Call((1, 1), (1, 1), (1, 1), 4), train=train)
    assert names(found) <= FORMULATIONS.keys()
    assert torch.equal(x, before[0])
    assert torch.equal(weight, before[1])
    assert torch.equal(torch.get_rng_state(), before[2])
    assert x.grad is None
    assert weight.grad is None
    assert torch.is_grad_enabled()


def test_a_whole_auto_step_advances_no_generator() -> None:
    made, x, before = pyramid_layer(), image(), torch.get_rng_state()
    made(x).sum().backward()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("policy", [*planner.POLICIES, None])
def test_without_the_compiled_extension_every_policy_works(policy: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "compiled", lambda: None)
    monkeypatch.setattr(direct, "instructions", direct.instructions.__wrapped__)
    assert direct.instructions() is None
    made, x = pyramid_layer(policy), image().requires_grad_()
    out = made(x)
    torch.testing.assert_close(out, defined(made, x), rtol=0, atol=1e-5)
    out.sum().backward()
    assert layer.is_plain(x.detach(), made.levels)
