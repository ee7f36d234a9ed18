"""Two nodes with two ranks each make the weights of one process, up to the rounding of sums in another order.

Both add the same four micro-batches' gradients g_1..g_4 of a step (one a rank; shares of 1/4 and the mean over ranks
are multiplications by powers of two, which are exact). Only the order of the three additions differs. Any order of
adding n floats errs by at most gamma_(n-1) sum |g_m|, gamma_k = k u / (1 - k u), u = 2^-24 (Higham, Accuracy and
Stability of Numerical Algorithms, section 4.2), so two orders differ by at most twice that:

    |g - g'| <= 2 gamma_3 sum_m |g_m|                                          for every parameter, in every step.

One step from equal weights: w' = w - lr d, d = g + decay w, nesterov's d = d + momentum d. Its rounded operations on
arguments that differ by so much add at most u of each result, on either side: the bound `one_step_bound`.

A run: step t's difference is carried on by the steps after it. What they make of it is measured, not assumed: runs of
one process in which each step moves every gradient by that whole bound, and every weight by 2 u |w|, the bound on the
rounding of its update in two runs, with random signs. Rounding itself is smaller than its bound, and no more in league
with the later steps than random signs are; so the ranks' run must not be further from the single process than those.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import test_chaos
import tiny
import torch
from torch import Tensor

from pyconv.checkpoints import load_weights
from pyconv.models import build
from pyconv.optimisation import Optimisation
from pyconv.train import Execution, train
from slurm import cluster
from slurm.job import Job

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("healthy_lab")]

U = 2.0**-24
RANKS = 4
GAMMA = 3 * U / (1 - 3 * U)
PERTURBED = 6  # runs
Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Sizes:
    """Of every parameter in the last step: the gradient, and the sum of the micro-batches' absolute ones."""

    gradient: list[Tensor]
    absolute: list[Tensor]


def job_of(folder: Path, data: Path, batch_size: int) -> Job:
    """Four micro-batches a step. 40 images: a batch of 40 is one step an epoch, one of 20 is two.

    Slow learning over five images a batch norm: a run in which rounding grows a millionfold would show nothing.
    """
    own = tiny.experiment(epochs=1 if batch_size == 40 else 3)
    recipe = replace(own.recipe, batch_size=batch_size, batch_norm_batch=batch_size // RANKS, lr=1e-3)
    return tiny.job(folder, data, experiment=replace(own, recipe=recipe), part="train", protocols=())


def alone(job: Job, folder: Path) -> Weights:
    """The weights of one process."""
    own = job.experiment
    done = train(
        own.model,
        own.recipe,
        seed=own.seed,
        data_root=job.data["digits"],
        run_dir=folder,
        execution=Execution("cpu", 1),
    )
    return load_weights(done.checkpoint)


@contextmanager
def watched(at_step: Callable[[Optimisation, list[Tensor]], None]) -> Iterator[None]:
    """Inside, `at_step` is called before each update, with the sum of the micro-batches' absolute gradients."""
    accumulate, build = Optimisation._accumulate, Optimisation.__init__
    sums: list[Tensor] = []

    def accumulating(self: Optimisation, *arguments: Any) -> Tensor:
        before = [None if p.grad is None else p.grad.clone() for p in self.model.parameters()]
        totals = accumulate(self, *arguments)
        own = [p.grad if old is None else p.grad - old for p, old in zip(self.model.parameters(), before, strict=True)]
        fresh = [part.abs() for part in own]
        sums[:] = fresh if before[0] is None else [a + b for a, b in zip(sums, fresh, strict=True)]
        return totals

    def built(self: Optimisation, *arguments: Any) -> None:
        build(self, *arguments)
        self.sgd.register_step_pre_hook(lambda *_: at_step(self, sums))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Optimisation, "_accumulate", accumulating)
        patched.setattr(Optimisation, "__init__", built)
        yield


def sizes_of(job: Job, folder: Path) -> tuple[Weights, Sizes]:
    """The weights of one process, and the sizes of its last step."""
    seen: list[Sizes] = []

    def look(optimisation: Optimisation, sums: list[Tensor]) -> None:
        gradients = [p.grad.clone() for p in optimisation.model.parameters() if p.grad is not None]
        seen.append(Sizes(gradients, [part.clone() for part in sums]))

    with watched(look):
        weights = alone(job, folder)
    return weights, seen[-1]


def perturbed(job: Job, folder: Path, seed: int) -> Weights:
    """One process whose every gradient and weight is moved by the bound on its rounding, with random signs."""
    generator = torch.Generator().manual_seed(seed)

    def signs(like: Tensor) -> Tensor:
        return torch.randint(0, 2, like.shape, generator=generator) * 2.0 - 1.0

    def move(optimisation: Optimisation, sums: list[Tensor]) -> None:
        for parameter, absolute in zip(optimisation.model.parameters(), sums, strict=True):
            assert parameter.grad is not None
            parameter.grad += signs(absolute) * (2 * GAMMA) * absolute
            parameter.data += signs(absolute) * (2 * U) * parameter.data

    with watched(move):
        return alone(job, folder)


def spoilt(job: Job, folder: Path, factor: Callable[[int], float], statistics_of: int = 0) -> Weights:
    """One process with a fault: micro-batch m counts `factor(m)` times; running statistics of `statistics_of`."""
    accumulate = Optimisation._accumulate

    def accumulating(self: Optimisation, micro: Any, batch: Any, loss_of: Any) -> Tensor:
        def faulty(model: Any, images: Any, _: Any) -> Any:
            return loss_of(model, images, micro)

        number = 0 if micro.number == statistics_of else micro.number + 1
        return accumulate(self, replace(micro, number=number, share=micro.share * factor(micro.number)), batch, faulty)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Optimisation, "_accumulate", accumulating)
        return alone(job, folder)


def one_step_bound(job: Job, before: Weights, after: Weights, names: list[str], sizes: Sizes) -> Weights:
    """Of |w' - w''| after the first step; momentum's buffer is the gradient itself there."""
    recipe = job.experiment.recipe
    growth = 1 + recipe.momentum if recipe.nesterov else 1.0
    bound = {}
    for name, gradient, absolute in zip(names, sizes.gradient, sizes.absolute, strict=True):
        direction = gradient.double().abs() + recipe.weight_decay * before[name].double().abs()
        # product, sum, nesterov's product and sum, lr's product: five results of at most this size, on two sides
        rounded = 2 * 5 * U * growth * direction
        moved = growth * 2 * GAMMA * absolute.double() + rounded
        bound[name] = recipe.lr_at(0, 1) * moved + 2 * U * after[name].double().abs()
    return bound


def distance(a: Weights, b: Weights, *, statistics: bool = False) -> float:
    """Euclidean, over parameters (or running statistics)."""
    names = [name for name in a if ("running" in name) == statistics and "tracked" not in name]
    return float(sum(((a[name].double() - b[name].double()) ** 2).sum() for name in names)) ** 0.5


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.digits(tmp_path_factory.mktemp("data"))


def on_four_ranks(job: Job, folder: Path) -> Weights:
    keywords = {"timeout_min": 5, "nodes": 2, "tasks_per_node": 2, "cpus_per_task": 1, "mem_gb": 2}
    cluster.submit_array(
        [job], keywords, folder / "jobs", name="ranks", profile=test_chaos.PROFILE, snapshot_root=test_chaos.ROOT
    )
    test_chaos.until(job.done, 120, lambda: test_chaos.slurm("squeue", "--states=all"))
    return load_weights(job.folder / "weights.pt")


def test_one_step_differs_by_no_more_than_the_rounding_of_its_sum(tmp_path: Path, digits: Path) -> None:
    job = job_of(tmp_path, digits, 40)
    single, sizes = sizes_of(job, tmp_path / "alone")
    ranks = on_four_ranks(job, tmp_path)
    model = build(job.experiment.model, seed=job.experiment.seed)
    names = [name for name, _ in model.named_parameters()]
    bound = one_step_bound(job, dict(model.state_dict()), single, names, sizes)

    def excess(other: Weights) -> float:
        return max(float(((other[n].double() - single[n].double()).abs() / bound[n]).max()) for n in names)

    print(f"one step: {excess(ranks):.3f} of the bound")
    assert excess(ranks) <= 1
    statistics = [name for name in single if name not in names]
    assert statistics
    assert all(torch.equal(single[name], ranks[name]) for name in statistics)  # of rank 0, from equal weights
    dropped = excess(spoilt(job, tmp_path / "dropped", lambda m: float(m != 3)))
    summed = excess(spoilt(job, tmp_path / "summed", lambda _: 4.0))
    other = spoilt(job, tmp_path / "other", lambda _: 1.0, statistics_of=1)
    print(f"a rank dropped: {dropped:.0f}, summed instead of averaged: {summed:.0f} times the bound")
    assert min(dropped, summed) > 1000
    assert not any(torch.equal(single[name], other[name]) for name in statistics if "running_mean" in name)


def test_a_run_is_no_further_away_than_its_rounding_carries_it(tmp_path: Path, digits: Path) -> None:
    job = job_of(tmp_path, digits, 20)
    single = alone(job, tmp_path / "alone")
    ranks = on_four_ranks(job, tmp_path)
    moved = [perturbed(job, tmp_path / f"moved-{seed}", seed) for seed in range(PERTURBED)]
    faults = {
        "a rank dropped": spoilt(job, tmp_path / "dropped", lambda m: float(m != 3)),
        "summed, not averaged": spoilt(job, tmp_path / "summed", lambda _: 4.0),
    }
    for statistics in (False, True):
        own = distance(ranks, single, statistics=statistics)
        bound = max(distance(other, single, statistics=statistics) for other in moved)
        wrong = {name: distance(other, single, statistics=statistics) / bound for name, other in faults.items()}
        print(f"{'statistics' if statistics else 'weights'}: {own:.2e} of at most {bound:.2e}; {wrong}")
        assert own <= bound
        assert min(wrong.values()) > 100
    other = spoilt(job, tmp_path / "other", lambda _: 1.0, statistics_of=1)
    bound = max(distance(moved_one, single, statistics=True) for moved_one in moved)
    assert distance(other, single, statistics=True) > 100 * bound
