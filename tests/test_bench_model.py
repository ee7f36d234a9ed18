"""The benchmarks of networks, levels and commands, small: sides agree, goals are held against ratios, no speed is."""

import json
import sys
from dataclasses import replace
from math import log, pi, sqrt
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from torch import nn

from pyconv import PYRAMIDS, ResNet, segnet
from pyconv.architectures import HG_PYRAMIDS, VIDEO_PYRAMIDS, Stage
from pyconv.bench import commands, levels, measured, model
from pyconv.bench.commands import Answer
from pyconv.bench.levels import Ceilings, Level
from pyconv.bench.measured import Agreement, Measured
from pyconv.bench.model import FOLDED, OURS, PLAIN, Case, Work
from pyconv.bench.paired import Comparison
from pyconv.formulations.call import Call
from pyconv.formulations.levels import FORMULATIONS
from pyconv.layers import PyConv
from slurm.cli import cli
from slurm.commands import bench as verb


def tiny(pyramids: tuple[Any, ...], width: int = 16, **changes: Any) -> ResNet:
    """One block a stage."""
    stages = tuple(Stage(1, width, 32, 2 if i else 1, pyramid) for i, pyramid in enumerate(pyramids))
    return ResNet("bottleneck", stages, "stem", **{"num_classes": 5, "name": "tiny"} | changes)


TINY = tiny((PYRAMIDS[4], PYRAMIDS[2]), width=64)
PLAIN_RESNET = tiny((PYRAMIDS[1], PYRAMIDS[1]), name="rival")
NEVER, ALWAYS = (1e9, 1e9), (0.0, 0.0)
CASES = {
    "pyconvresnet50": Case("images", TINY, (40, 36), 2, 4, ALWAYS),
    "resnet50": Case("beside", TINY, (32, 32), 2, 4, NEVER, rival=PLAIN_RESNET),
    "pyconvhgresnet50": Case("HG", tiny(HG_PYRAMIDS[1:3], width=256), (40, 36), 2, 4, ALWAYS),
    "pyconvsegnet50": Case("scenes", segnet(tiny((PYRAMIDS[1],) * 4), "conv3x3"), (65, 65), 1, 2, ALWAYS),
    "pyconvresnet3d50": Case(
        "clips", tiny((VIDEO_PYRAMIDS[3], VIDEO_PYRAMIDS[2]), width=32, dims=3), (4, 24, 24), 1, 2, ALWAYS
    ),
}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "CASES", CASES)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["bench", *arguments])


@pytest.mark.usefixtures("small")
def test_both_sides_compute_the_same_in_inference_and_training() -> None:
    told: list[str] = []
    found = model.bench(rounds=1, progress=told.append)
    assert told[::2] == list(CASES)  # what is begun; between them what came out
    assert all(one.comparison.name in "\n".join(told[1::2]) for one in found)
    against_plain = [one for one in found if one.sides == (PLAIN, OURS)]
    assert [one.comparison.name for one in against_plain] == [
        f"{case.title}, {case.work(training=training)}"
        for case in CASES.values()
        if not case.rival
        for training in (False, True)
    ]
    for one in against_plain:
        assert one.agreement is not None
        assert one.agreement.met, one.line()
        assert (one.agreement.gradients is None) == ("inference" in one.comparison.name)
        assert one.met


@pytest.mark.usefixtures("small")
def test_the_rival_is_timed_as_it_is_and_treated_as_ours() -> None:
    found = model.bench(["resnet50"], rounds=2)
    assert [one.sides for one in found] == [(OURS, "rival"), (OURS, "rival, treated alike")] * 2
    assert [one.goal is None for one in found] == [False, True] * 2
    assert [one.comparison.name for one in found] == [
        *["beside, inference of 2 x 32x32"] * 2,
        *["beside, training step of 4 x 32x32"] * 2,
    ]
    assert all(one.at_most and one.met and len(one.comparison.ratios) == 2 for one in found)


def test_the_ways_are_what_they_say() -> None:
    ways = {way: model.made(TINY, way) for way in (PLAIN, OURS, FOLDED)}
    policies = {way: {m.formulation for m in one.modules() if isinstance(m, PyConv)} for way, one in ways.items()}
    assert policies == {PLAIN: {"reference"}, OURS: {"auto"}, FOLDED: {"auto"}}
    norms = {way: sum(isinstance(m, nn.BatchNorm2d) for m in one.modules()) for way, one in ways.items()}
    assert norms[PLAIN] == norms[OURS] > norms[FOLDED] == 0
    contiguous = {way: next(one.parameters()).is_contiguous() for way, one in ways.items()}  # of the stem's 7x7
    assert contiguous == {PLAIN: True, OURS: False, FOLDED: False}
    for key, value in ways[PLAIN].state_dict().items():
        assert torch.equal(value, ways[OURS].state_dict()[key])


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("goals", "code"), [(ALWAYS, 0), (NEVER, 1)])
def test_a_missed_goal_is_told(monkeypatch: pytest.MonkeyPatch, goals: tuple[float, float], code: int) -> None:
    monkeypatch.setitem(CASES, "pyconvresnet50", replace(CASES["pyconvresnet50"], goals=goals))
    done = call("model", "pyconvresnet50", "--rounds", "1")
    assert done.exit_code == code, done.output
    assert "images, inference of 2 x 40x36" in done.stdout
    assert done.stdout.count("misses the goal of >= 1e+09") == 2 * code
    assert "threads" in done.stderr
    done = call("model", "pyconvresnet50", "--rounds", "1", "--json")
    inference, training = json.loads(done.stdout)
    assert inference["met"] == training["met"] == (not code)
    assert inference["goal"] == {"at_least": goals[0]}
    assert len(training["sides"][PLAIN]) == len(training["sides"][OURS]) == training["rounds"] == 1
    assert training["ratio"] == training["sides"][PLAIN][0] / training["sides"][OURS][0]


def test_names_are_the_cases() -> None:
    assert tuple(model.CASES) == verb.CASES
    assert tuple(levels.NETWORKS) == verb.PYRAMIDS
    assert call("model", "pyconvresnet51").exit_code == 2
    with pytest.raises(ValueError, match="no case 'x'; valid: pyconvresnet50, "):
        model.bench(["x"])


def test_ratios_are_held_against_goals_from_their_side() -> None:
    comparison = Comparison("x", 8, plain=(2.0, 3.0, 8.0), ours=(1.0, 2.0, 2.0))
    assert [Measured(comparison, ("a", "b"), goal, False).met for goal in (1.9, 2.0, 2.1)] == [True, True, False]
    assert [Measured(comparison, ("a", "b"), goal, True).met for goal in (1.9, 2.0, 2.1)] == [False, True, True]
    assert Measured(comparison, ("a", "b"), 1.0, True).missed() == "x, a : b: 2.000 misses the goal of <= 1"
    assert Measured(comparison, ("a", "b"), 2.5, True, unit="MB").line() == [
        "x", "a 3 MB", "b 2 MB", "2.00", "1.50-4.00", "<= 2.5", "",
    ]  # fmt: skip
    differing = Measured(comparison, ("a", "b"), 1.0, False, Agreement(1e-3, 1e-4))
    assert not differing.met
    assert differing.missed() == "x, a : b: the sides differ by 1.0e-03 (bound 1.0e-04)"
    for other in (Agreement(float("nan"), 1.0), Agreement(0.1, 1.0, 2.0, 1.0), Agreement(0.1, 1.0, float("nan"), 1.0)):
        assert not other.met


def test_bounds_by_hand() -> None:
    network = nn.Sequential(nn.Conv2d(8, 4, 3, groups=2), nn.ReLU(), nn.Linear(10, 3))
    assert measured.terms(network) == 4 * 9 + 10
    rng = torch.Generator().manual_seed(0)
    output = torch.randn(4, 50, generator=rng)
    found = measured.inference_agreement(output, output + 1e-3 * output.square().mean().sqrt(), terms=64)
    assert found.outputs == pytest.approx(1e-3, rel=1e-3)
    assert found.outputs_bound == 6 * 8 * 2**-24
    ours = [output, 1.25 * output, output[0] + 1]  # of vectors, such as biases, nothing is asked
    trained = measured.training_agreement([output, output, output[0]], ours, 64, activations=10, growth=4.0)
    assert trained.gradients == pytest.approx(0.25)
    assert trained.outputs_bound == 4 * found.outputs_bound
    assert trained.gradients_bound == pytest.approx(sqrt(1.6 * 8 * 2**-24 * 3 / log(4) * 10))


def test_errors_grow_where_means_are_taken_away() -> None:
    """Batch norm of ReLUs of normal values: of their squares 1/pi goes; the rest, and the errors, are enlarged."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(64, 3, 32, 32, generator=rng)
    assert measured.growth(nn.Conv2d(3, 8, 3, bias=False), x) == pytest.approx(1, rel=0.02)
    assert measured.growth(nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3)), x) == pytest.approx(
        sqrt(pi / (pi - 1)), rel=0.02
    )


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is the kernel's own")
def test_memory_is_that_of_a_fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case("images", TINY, (64, 64), 0, 8, ALWAYS, memory=100.0)
    monkeypatch.setattr(model, "CASES", {"memory": case})
    (found,) = model.bench(["memory"], rounds=1)
    assert found.sides == (OURS, PLAIN)
    assert found.unit == "MB"
    assert found.met
    stem = 4 * 8 * 64 * 32 * 32 / 1e6  # a step keeps the stem's maps and their normalised ones at least
    assert min(found.comparison.plain + found.comparison.ours) > 2 * stem


def test_the_peak_counts_what_steps_need_and_not_what_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    told = iter([500_000, 740_000])
    monkeypatch.setattr(model, "_kilobytes", lambda _: next(told))
    assert model.peak(Work(TINY, (32, 32), 2, True), PLAIN) == 240.0


def test_a_bound_is_the_longer_of_operations_and_bytes() -> None:
    """9x9, 16 groups, 64 to 16 maps of 56x56, eight images: 81 x 4 x 16 x 8 x 56 x 56 multiply-adds."""
    level = Level(Call((1, 1), (4, 4), (1, 1), 16), (16, 4, 9, 9), (8, 64, 56, 56))
    assert level.operations == 81 * 4 * 16 * 8 * 56 * 56 == 130_056_192
    assert level.moved == 4 * (8 * 64 * 56 * 56 + 16 * 4 * 81 + 8 * 16 * 56 * 56)
    assert level.name == "9x9, 16 groups, 64 to 16, 56x56"
    assert Ceilings(1e9, 1e12).bound(level.operations, level.moved) == pytest.approx(0.130056192)
    assert Ceilings(1e12, 1e9).bound(level.operations, level.moved) == pytest.approx(0.008048896, rel=1e-6)
    halved = replace(level, call=replace(level.call, stride=(2, 2)))
    assert halved.output == (8, 16, 28, 28)
    assert halved.operations * 4 == level.operations
    assert halved.name == "9x9, 16 groups, 64 to 16, 28x28, stride 2"


def test_every_level_of_a_network_is_found_once() -> None:
    found = levels.levels(levels.NETWORKS["pyconvresnet50"], images=8)
    assert sum(level.times for level in found) == 4 * 3 + 3 * 4 + 2 * 6  # levels times blocks; stage 4 has one level
    assert len(found) == len(set(found)) == 2 * (4 + 3 + 2)  # the first block of a stage halves the maps
    assert {level.size[0] for level in found} == {8}


def test_the_roofline_times_all_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levels, "NETWORKS", dict.fromkeys(verb.PYRAMIDS, TINY))
    monkeypatch.setattr(levels, "ceilings", lambda: Ceilings(2e9, 1e9))
    monkeypatch.setattr(
        levels, "levels", lambda *_: [Level(Call((1, 1), (2, 2), (1, 1), 4), (16, 4, 5, 5), (1, 16, 9, 8), 3)]
    )
    done = call("levels", "pyconvresnet50", "--rounds", "1", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["ceilings"] == {"multiply_adds_per_second": 2e9, "bytes_per_second": 1e9}
    readings = told["levels"]["pyconvresnet50"]
    assert [one["pass"] for one in readings] == list(levels.PASSES)
    for one in readings:
        assert {"NCHW", "library", "merged2", "merged4"} <= set(one["seconds"]) <= {"NCHW", *FORMULATIONS}
        assert one["bound"] == 72 * 16 * 100 / 2e9
        assert one["share_of_the_limit"] == one["bound"] / one["seconds"][one["chosen"]]
    done = call("levels", "pyconvresnet50", "--rounds", "1", "--markdown")
    assert "ceilings: 2.0 G multiply-adds/s, 1.0 GB/s" in done.stdout
    assert done.stdout.count("| 5x5, 4 groups, 16 to 16, 9x8 |") == 3
    assert "all input gradients: " in done.stdout
    assert "the bound 0.17 ms" in done.stdout  # three times 0.0576 ms


def test_ceilings_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levels, "LARGE", 1 << 20)
    monkeypatch.setattr(levels, "_time", lambda run: run() is None or 0.001)
    found = levels.ceilings(rounds=1)
    assert found.bandwidth == 8 * (1 << 20) / 0.001  # read once, written once
    assert found.operations == max(1536**3, 8 * 64 * 64 * 9 * 56 * 56) / 0.001


def test_commands_are_timed_and_torch_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    few = (commands.COMMANDS[0], ("pyconv --help", ("--help",), 1e-9, True))
    monkeypatch.setattr(commands, "COMMANDS", few)
    monkeypatch.setattr(commands, "_IMPORT", "import pyconv.layers")
    done = call("commands", "--rounds", "1", "--json")
    assert done.exit_code == 1
    found = {one["name"]: one for one in json.loads(done.stdout)}
    assert found["import pyconv"]["torch"]
    assert not found["pyconv --help"]["torch"]
    assert not any(one["met"] for one in found.values())


def test_an_answer_must_be_fast_and_light() -> None:
    assert Answer("x", (0.1, 0.2, 0.9), 0.3, False, True).met
    assert not Answer("x", (0.1, 0.3, 0.9), 0.3, False, True).met
    assert not Answer("x", (9.0,), None, True, True).met
    assert Answer("x", (9.0,), 10.0, True, False).met
    assert Answer("x", (0.1, 0.3, 0.9), 0.3, True, True).line() == [
        "x", "0.30", "0.10-0.90", "< 0.3", "imported", "missed",
    ]  # fmt: skip
