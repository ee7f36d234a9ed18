"""What libraries may do with the numbers of a run: as repeatable and as exact as the recipe asks.

On the CPU with a fixed number of threads torch's own layers give the same bits in the same run.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pyconv.formulations.planner import repeatable
from pyconv.recipe import Precision


@contextmanager
def numerics(device: torch.device, precision: Precision, *, deterministic: bool = True) -> Iterator[None]:
    """Inside, kernels that repeat themselves to the bit wherever torch has them, and float32 that is float32.

    `deterministic` False lets cuDNN pick the fastest kernels by trial, and PyConv its formulations, which otherwise are
    the definition. On CUDA, an operation that torch has no repeatable kernel for warns once and runs. Precision "fp32"
    switches off TensorFloat-32, which the paper's V100 did not have. Everything is as before afterwards.
    """
    with repeatable(deterministic):
        if device.type == "cuda":
            with _libraries(precision, deterministic=deterministic):
                yield
        else:
            yield


@contextmanager
def _libraries(precision: Precision, *, deterministic: bool) -> Iterator[None]:
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it is first used
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = (cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32)
    algorithms = (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled())
    tf32 = precision != "fp32"
    try:
        cudnn.benchmark, cudnn.deterministic = not deterministic, deterministic
        cudnn.allow_tf32 = matmul.allow_tf32 = tf32
        torch.use_deterministic_algorithms(deterministic, warn_only=True)
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32 = before
        torch.use_deterministic_algorithms(algorithms[0], warn_only=algorithms[1])
