"""How a run is executed, which changes nothing of what it computes: device, threads, readers, how often it saves."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch

from pyconv import ranks
from pyconv.numerics import numerics
from pyconv.recipe import Recipe


@dataclass(frozen=True)
class Execution:
    """How a run is executed, which does not change what it computes.

    `device`: "auto" takes a GPU where there is one. `threads`: of torch on the CPU. `workers`: processes that read
    images. `micro_batch`: at most so many samples at once on a rank, for memory. `checkpoint_every`,
    `validate_every`: epochs; the last epoch always has a checkpoint, and is validated unless `validate_every` is 0.
    `deterministic`: on a GPU, kernels that repeat themselves to the bit where torch has them (`pyconv.numerics`).
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int | None = None
    workers: int = 0
    micro_batch: int | None = None
    checkpoint_every: int = 1
    validate_every: int = 1
    deterministic: bool = True


@contextmanager
def process_settings(recipe: Recipe, execution: Execution) -> Iterator[None]:
    """The run's number of threads and kinds of kernels; torch's generators as the caller had them afterwards."""
    threads = torch.get_num_threads()
    if execution.threads is not None:
        torch.set_num_threads(execution.threads)
    try:
        device = ranks.device(execution.device)
        with (
            numerics(device, recipe.precision, deterministic=execution.deterministic),
            torch.random.fork_rng(devices=range(torch.cuda.device_count())),
        ):
            yield
    finally:
        torch.set_num_threads(threads)
