"""PyConv's networks as their definition is written and as they are computed here, and beside ResNet-50.

    plain    the authors' way: NCHW, one grouped convolution a level, concatenated, batch norms on their own
    ours     channels last, levels as the planner decides before the clock starts; in training batch norms and ReLUs at
             once; inference as tests do it: folded, dense 3x3 by Winograd's, weights laid out once

Same weights, images of noise and threads; both sides in inference mode, or with the same fused SGD; images lie in a
side's layout before the clock starts. PyConvSegNet-50 is timed in inference, without its auxiliary head: a step takes
half a minute. ResNet-50 is channels last: by torch's layers and, the stricter comparison, treated as ours is.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from pyconv.architectures import Network, ResNet, pyconvhgresnet, pyconvresnet, pyconvresnet3d, pyconvsegnet, resnet
from pyconv.bench.measured import Measured, growth, inference_agreement, logits, terms, training_agreement
from pyconv.bench.paired import Comparison, compare
from pyconv.formulations import direct
from pyconv.formulations.call import CHANNELS_LAST
from pyconv.models.folded import folded
from pyconv.models.segmentation import SegNet
from pyconv.segmentation.labelling import Labeller
from pyconv.segmentation.windows import Sliding

PLAIN, LAST, OURS, FOLDED = "plain", "channels last", "ours", "folded"
AUXILIARY = 0.4
"""Weight of an auxiliary head's loss."""
Result = list[Tensor]
Round = Callable[[], Result]


@dataclass(frozen=True)
class Work:
    """An inference or a training step of so many images of `size`."""

    network: Network
    size: tuple[int, ...]
    images: int
    training: bool

    def __str__(self) -> str:
        size = "x".join(map(str, self.size))
        return f"{'training step' if self.training else 'inference'} of {self.images} x {size}"

    def inputs(self) -> Tensor:
        """Noise for images."""
        return torch.randn(self.images, 3, *self.size, generator=_generator())

    def round(self, model: nn.Module, way: str) -> Round:
        """What is timed of a side, its images in its layout."""
        x = self.inputs()
        if way != PLAIN:
            x = x.contiguous(memory_format=CHANNELS_LAST[x.ndim])
        if self.training:
            size = self.size if isinstance(model, SegNet) else ()
            labels = torch.randint(self.network.num_classes, (self.images, *size), generator=_generator())
            return _training(model.train(), x, labels)
        if isinstance(model, SegNet):
            model.aux = None
        return _inference(model.eval(), x)


@dataclass(frozen=True)
class Case:
    """`network` with so many images of `size` an inference and a training step (0: not timed), and both goals.

    The goals: at least so many times as fast as plain; with a `rival`, at most so many times its time. `memory`: at
    most so many times the plain step's instead of any time.
    """

    title: str
    network: Network
    size: tuple[int, ...]
    inference: int
    training: int
    goals: tuple[float, float]
    rival: Network | None = None
    memory: float = 0.0

    def work(self, *, training: bool) -> Work:
        """What is timed."""
        return Work(self.network, self.size, self.training if training else self.inference, training)


_PYCONV = "PyConvResNet-50", pyconvresnet(50), (224, 224)
CASES = {
    "pyconvresnet50": Case(*_PYCONV, 8, 8, (2.0, 2.0)),
    "resnet50": Case(*_PYCONV, 8, 8, (1.0, 1.1), rival=resnet(50)),
    "memory": Case(*_PYCONV, 0, 8, (0.0, 0.0), memory=1.05),
    "pyconvhgresnet50": Case("PyConvHGResNet-50", pyconvhgresnet(50), (224, 224), 8, 8, (1.5, 1.5)),
    "pyconvsegnet50": Case("PyConvSegNet-50", pyconvsegnet(pyconvresnet(50)), (473, 473), 1, 0, (1.5, 1.5)),
    "pyconvresnet3d50": Case("PyConvResNet3D-50", pyconvresnet3d(50), (16, 224, 224), 1, 1, (1.5, 1.5)),
}


def bench(names: Iterable[str] = (), rounds: int = 5, progress: Callable[[str], None] | None = None) -> list[Measured]:
    """The named cases, or all. Raises `ValueError` with those there are."""
    names = list(dict.fromkeys(names)) or list(CASES)
    if wrong := [name for name in names if name not in CASES]:
        raise ValueError(f"no case {wrong[0]!r}; valid: {', '.join(CASES)}")
    found: list[Measured] = []
    for name in names:
        if progress:
            progress(name)
        done = list(_case(CASES[name], rounds))
        if progress:
            progress("\n".join("; ".join(filter(None, one.line())) for one in done))
        found += done
    return found


def machine() -> str:
    """What the ratios depend on, for people."""
    compiled = direct.instructions() or "not built (no compiler): formulations of torch alone"
    return f"{torch.get_num_threads()} threads; direct formulation: {compiled}"


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def use_formulation(model: nn.Module, policy: str) -> None:
    """All of the network's PyConvs, batch norms and ReLUs by this policy, whatever the environment says."""
    for module in model.modules():
        if hasattr(module, "formulation"):
            setattr(module, "formulation", policy)  # noqa: B010 - of modules of several types


def made(network: Network, way: str) -> nn.Module:
    """The network as plain, plain but channels last, ours, or ours folded, with the same weights every time."""
    model: nn.Module = network.build(seed=0)
    use_formulation(model, "reference" if way in (PLAIN, LAST) else "auto")
    if way == PLAIN:
        return model
    dims = network.dims if isinstance(network, ResNet) else network.backbone.dims
    placed = _as_tested(model) if way == FOLDED else model
    return placed.to(memory_format=CHANNELS_LAST[dims + 2])


def _as_tested(model: nn.Module) -> nn.Module:
    """What the model's task tests."""
    if isinstance(model, SegNet):
        return Labeller(model, model.network.num_classes, Sliding(473, 512), device=torch.device("cpu")).network
    return folded(model)


def _case(case: Case, rounds: int) -> Iterator[Measured]:
    if case.memory:
        yield _memory(case, rounds)
        return
    for training in (False, True):
        if not (case.training if training else case.inference):
            continue
        if case.rival:
            yield from _beside(case, case.rival, rounds, training=training)
        else:
            yield _against_plain(case, rounds, training=training)


def _against_plain(case: Case, rounds: int, *, training: bool) -> Measured:
    work = case.work(training=training)
    ways = PLAIN, OURS if training else FOLDED
    models = [made(case.network, way) for way in ways]
    summed = sum(map(terms, models))
    larger = growth(models[0].train(), work.inputs()) if training else 1.0
    first, second = (_First(work.round(*side)) for side in zip(models, ways, strict=True))
    comparison = compare(f"{case.title}, {work}", work.images, first, second, rounds)
    if training:
        activations = sum(isinstance(module, nn.ReLU) for module in models[0].modules())
        same = training_agreement(first.kept, second.kept, summed, activations, larger)
    else:
        same = inference_agreement(first.kept[0], second.kept[0], summed)
    return Measured(comparison, (PLAIN, OURS), case.goals[training], False, same)


def _beside(case: Case, rival: Network, rounds: int, *, training: bool) -> Iterator[Measured]:
    """Ours against the rival as torch computes it and as ours is computed, for which nobody has set a goal."""
    work = case.work(training=training)
    own = OURS if training else FOLDED
    for other in (LAST, own):
        first = work.round(made(case.network, own), own)
        second = replace(work, network=rival).round(made(rival, other), other)
        title = rival.name if other == LAST else f"{rival.name}, treated alike"
        comparison = compare(f"{case.title}, {work}", work.images, first, second, rounds)
        goal = case.goals[training] if other == LAST else None
        yield Measured(comparison, (OURS, title), goal, True)


def _memory(case: Case, rounds: int) -> Measured:
    """Megabytes that two training steps add to a fresh process; the first one of ours, which plans, is not counted."""
    work = case.work(training=True)
    fresh_peak(work, OURS)
    pairs = [(fresh_peak(work, OURS), fresh_peak(work, PLAIN)) for _ in range(min(rounds, 3))]
    ours, plain = zip(*pairs, strict=True)
    found = Comparison(f"{case.title}, memory of a {work}", work.images, ours, plain)
    return Measured(found, (OURS, PLAIN), case.memory, True, unit="MB")


def fresh_peak(work: Work, way: str) -> float:
    """`peak` in a process of its own, whose large blocks go back to the system when they are freed.

    What a heap keeps between blocks differs by 10% from one run to the next, and would hide what is measured.
    """
    with returning_blocks(), ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(peak, work, way).result()


@contextmanager
def returning_blocks() -> Iterator[None]:
    """Processes that begin inside map blocks of a megabyte or more one by one (glibc)."""
    name = "MALLOC_MMAP_THRESHOLD_"
    before = os.environ.get(name)
    os.environ[name] = str(1 << 20)
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def peak(work: Work, way: str) -> float:
    """Megabytes by which this process's peak exceeds what it holds before two training steps, momentum included.

    By the kernel's VmHWM: `ru_maxrss` begins with the peak of the process that started this one.
    """
    step = work.round(made(work.network, way), way)
    before = _kilobytes("VmRSS")
    step()
    step()
    return (_kilobytes("VmHWM") - before) / 1000


def _kilobytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    (value,) = (line.split()[1] for line in lines if line.startswith(f"{field}:"))
    return int(value)


def _inference(model: nn.Module, x: Tensor) -> Round:
    def infer() -> Result:
        with torch.inference_mode():
            return [logits(model(x))]

    return infer


def _training(model: nn.Module, x: Tensor, labels: Tensor) -> Round:
    """Gives logits and gradients."""
    sgd = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=1e-4, fused=True)

    def step() -> Result:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # the same dropout on both sides
            outputs = model(x)
        loss = functional.cross_entropy(logits(outputs), labels)
        if isinstance(outputs, dict):
            loss = loss + AUXILIARY * functional.cross_entropy(outputs["aux"], labels)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        loss.item()
        return [logits(outputs).detach(), *(p.grad for p in model.parameters() if p.grad is not None)]

    return step


class _First:
    """A round that keeps what its first call gave."""

    def __init__(self, call: Round) -> None:
        self.call = call
        self.kept: Result = []

    def __call__(self) -> None:
        found = self.call()
        self.kept = self.kept or found
