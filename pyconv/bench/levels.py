"""How far every level of a network's pyramids is from what the machine can do: its roofline.

Ceilings, measured: the most multiply-adds a second that a dense float32 matrix product or 3x3 convolution reaches, and
the bytes a second of a copy too large for caches. A level has operations, and bytes that it moves at least (input,
weights and output once, whichever of the three is computed); it takes at least the longer of both. What lies in caches
already moves faster than that: a level of few operations can be below its bound, and so can any while the machine is
quieter than it was for the ceilings. Winograd's convolution needs a quarter to a third of a dense 3x3's operations.

Every formulation that fits is timed, channels last; the library's also in NCHW, which is the authors' way.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import prod
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pyconv.architectures import ResNet, pyconvhgresnet, pyconvresnet
from pyconv.formulations import library, planner
from pyconv.formulations.call import CHANNELS_LAST, Call
from pyconv.formulations.levels import FORMULATIONS, Choice, Formulation
from pyconv.layers import PyConv

NETWORKS = {"pyconvresnet50": pyconvresnet(50), "pyconvhgresnet50": pyconvhgresnet(50)}
PASSES = ("forward", "input_gradient", "weight_gradient")
LARGE = 1 << 26
"""Values of a copy, 256 MB."""
NCHW = "NCHW"


@dataclass(frozen=True)
class Ceilings:
    """Multiply-adds and bytes a second."""

    operations: float
    bandwidth: float

    def bound(self, operations: float, moved: float) -> float:
        """Seconds that so many multiply-adds on so many bytes take at least."""
        return max(operations / self.operations, moved / self.bandwidth)

    def report(self) -> dict[str, float]:
        """As plain values."""
        return {"multiply_adds_per_second": self.operations, "bytes_per_second": self.bandwidth}

    def line(self) -> str:
        """For people."""
        return f"ceilings: {self.operations / 1e9:.1f} G multiply-adds/s, {self.bandwidth / 1e9:.1f} GB/s"


@dataclass(frozen=True)
class Level:
    """One level as `call` with `weight` (shape), on an input of `size`; `times`: how often the network has it."""

    call: Call
    weight: tuple[int, ...]
    size: tuple[int, ...]
    times: int = 1

    @property
    def output(self) -> tuple[int, ...]:
        """Shape."""
        x, weight = (torch.empty(shape, device="meta") for shape in (self.size, self.weight))
        return (self.size[0], self.weight[0], *self.call.output_size(x, weight))

    @property
    def operations(self) -> int:
        """Multiply-adds of the definition."""
        return prod(self.output) * prod(self.weight[1:])

    @property
    def moved(self) -> int:
        """Bytes of float32."""
        return 4 * (prod(self.size) + prod(self.weight) + prod(self.output))

    @property
    def name(self) -> str:
        """For people."""
        kernel, size = ("x".join(map(str, sides)) for sides in (self.weight[2:], self.output[2:]))
        stride = f", stride {max(self.call.stride)}" if max(self.call.stride) > 1 else ""
        return f"{kernel}, {self.call.groups} groups, {self.size[1]} to {self.weight[0]}, {size}{stride}"


@dataclass(frozen=True)
class Reading:
    """Seconds of each formulation for one pass of one level, the planner's choice, and the least there can be."""

    level: Level
    kind: str
    bound: float
    seconds: dict[str, float]
    chosen: str

    @property
    def share(self) -> float:
        """Of the bound in the time of what was chosen: 1 is the limit."""
        return self.bound / self.seconds[self.chosen]

    def report(self) -> dict[str, Any]:
        """As plain values."""
        level = self.level
        return {
            "level": level.name,
            "times": level.times,
            "pass": self.kind,
            "multiply_adds": level.operations,
            "bytes": level.moved,
            "bound": self.bound,
            "seconds": self.seconds,
            "chosen": self.chosen,
            "share_of_the_limit": self.share,
        }

    def line(self, names: Iterable[str]) -> list[str]:
        """For a table with the times of formulations of these names."""
        level = self.level
        times = [_ms(self.seconds[name]) if name in self.seconds else "" for name in names]
        numbers = [f"{level.operations / 1e6:.0f}", f"{level.moved / 1e6:.1f}", _ms(self.bound)]
        label = self.kind.replace("_", " ")
        return [level.name, str(level.times), label, *numbers, *times, self.chosen, f"{100 * self.share:.0f}%"]


def ceilings(rounds: int = 20) -> Ceilings:
    """Of this machine, with as many threads as torch has."""
    a, b = torch.randn(2, 1536, 1536).unbind()
    source, target = torch.zeros(LARGE), torch.zeros(LARGE)
    calls: dict[str, Callable[[], object]] = {"product": lambda: a @ b, "copy": lambda: target.copy_(source)}
    operations = {"product": 1536**3}
    for maps, side in ((64, 56), (128, 28), (256, 14)):
        x, weight = torch.randn(8, maps, side, side), torch.randn(maps, maps, 3, 3)
        for memory in (torch.contiguous_format, torch.channels_last):
            calls[f"{maps} maps, {memory}"] = _convolution(x, weight, memory)
            operations[f"{maps} maps, {memory}"] = 8 * (side * maps * 3) ** 2
    seconds = _least(calls, rounds)
    return Ceilings(max(number / seconds[name] for name, number in operations.items()), 8 * LARGE / seconds["copy"])


def _convolution(x: Tensor, weight: Tensor, memory: torch.memory_format) -> Callable[[], object]:
    x, weight = x.contiguous(memory_format=memory), weight.contiguous(memory_format=memory)
    return lambda: functional.conv2d(x, weight, padding=1)


def levels(network: ResNet, images: int) -> list[Level]:
    """All levels of the network's PyConvs, equal ones once, in its order; nothing is computed."""
    found: Counter[Level] = Counter()

    def seen(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, PyConv)
        for each in module.levels:
            assert isinstance(each, (nn.Conv2d, nn.Conv3d))
            found[Level(Call.of(each), tuple(each.weight.shape), tuple(inputs[0].shape))] += 1

    with torch.device("meta"):
        model = network.build()
        for module in model.modules():
            if isinstance(module, PyConv):
                module.register_forward_pre_hook(seen)
        model(torch.empty(images, *network.input_size))
    return [Level(level.call, level.weight, level.size, times) for level, times in found.items()]


def bench(
    network: ResNet, ceiling: Ceilings, images: int = 8, rounds: int = 5, progress: Callable[[str], None] | None = None
) -> list[Reading]:
    """Every level of `network` and each of its three passes."""
    found: list[Reading] = []
    with torch.no_grad():
        for level in levels(network, images):
            if progress:
                progress(level.name)
            found += _readings(level, ceiling, rounds)
    return found


def _readings(level: Level, ceiling: Ceilings, rounds: int) -> list[Reading]:
    own = torch.Generator().manual_seed(0)
    x, weight, grad = (torch.randn(shape, generator=own) for shape in (level.size, level.weight, level.output))
    last, kernels, grad_last = (each.contiguous(memory_format=CHANNELS_LAST[each.ndim]) for each in (x, weight, grad))
    plan = planner.plan(last, [(kernels, None)], [level.call], planner.AUTO, train=True)
    choice = plan[0] if plan else Choice()
    fitting = {name: each for name, each in FORMULATIONS.items() if each.fits(last, kernels, level.call)}
    bound = ceiling.bound(level.operations, level.moved)
    found = []
    for kind in PASSES:
        calls = {NCHW: _pass(library, kind, x, weight, grad, level.call)}
        calls |= {name: _pass(each, kind, last, kernels, grad_last, level.call) for name, each in fitting.items()}
        found.append(Reading(level, kind, bound, _least(calls, rounds), getattr(choice, kind)))
    return found


def _pass(each: Formulation, kind: str, x: Tensor, weight: Tensor, grad: Tensor, call: Call) -> Callable[[], object]:
    if kind == "forward":
        return lambda: each.forward(x, weight, None, call)
    gradient = getattr(each, kind)
    return lambda: gradient(grad, x, weight, call)


def _least(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of the fastest of some rounds of each, in turn, after one that is not counted."""
    seconds = [{name: _time(call) for name, call in calls.items()} for _ in range(rounds + 1)]
    return {name: min(one[name] for one in seconds[1:]) for name in calls}


def _time(call: Callable[[], object]) -> float:
    start = perf_counter()
    call()
    return perf_counter() - start


def text(readings: list[Reading], style: str = "simple") -> str:
    """A table in a style of tabulate's, "pipe" for Markdown; and all levels of the network together, pass by pass."""
    from tabulate import tabulate  # only where a table is shown

    names = [NCHW, *(name for name in FORMULATIONS if any(name in one.seconds for one in readings))]
    header = ["level", "times", "pass", "M mul-adds", "MB", "bound", *names, "chosen", "of the limit"]
    alignment = ("left", "right", "left", *["right"] * (3 + len(names)), "left", "right")
    lines = [one.line(names) for one in readings]
    table = tabulate(lines, header, tablefmt=style, colalign=alignment, disable_numparse=True)
    return "\n".join([str(table), "", *(_together(readings, kind) for kind in PASSES)])


def _together(readings: Iterable[Reading], kind: str) -> str:
    own = [one for one in readings if one.kind == kind]
    bound, chosen, plain = (
        sum(one.level.times * seconds for one, seconds in zip(own, each, strict=True))
        for each in (
            [one.bound for one in own],
            [one.seconds[one.chosen] for one in own],
            [one.seconds[NCHW] for one in own],
        )
    )
    return (
        f"all {kind.replace('_', ' ')}s: {_ms(chosen)} ms, the bound {_ms(bound)} ms ({100 * bound / chosen:.0f}%), "
        f"the library in NCHW {_ms(plain)} ms"
    )


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.2f}"
