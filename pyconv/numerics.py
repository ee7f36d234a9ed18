"""What a GPU's libraries may do with the numbers of a run: as repeatable and as exact as the recipe asks.

On the CPU with a fixed number of threads nothing here is needed: the same run gives the same bits.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pyconv.recipe import Precision


@contextmanager
def numerics(device: torch.device, precision: Precision, *, deterministic: bool = True) -> Iterator[None]:
    """Inside, kernels that repeat themselves to the bit wherever torch has them, and float32 that is float32.

    `deterministic` False lets cuDNN pick the fastest kernels by trial. An operation that torch has no repeatable kernel
    for warns once and runs. Precision "fp32" switches off TensorFloat-32, which the paper's V100 did not have. Only on
    CUDA; everything is as before afterwards.
    """
    if device.type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it is first used
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = (cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32)
    repeatable = (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled())
    tf32 = precision != "fp32"
    try:
        cudnn.benchmark, cudnn.deterministic = not deterministic, deterministic
        cudnn.allow_tf32 = matmul.allow_tf32 = tf32
        torch.use_deterministic_algorithms(deterministic, warn_only=True)
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32 = before
        torch.use_deterministic_algorithms(repeatable[0], warn_only=repeatable[1])
