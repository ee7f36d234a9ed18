"""What is asked of a GPU's libraries; that they obey has not been tested: there was no GPU."""

import pytest
import torch

from pyconv.numerics import numerics
from pyconv.recipe import Precision

Settings = tuple[bool, bool, bool, bool, bool]


def settings() -> Settings:
    """Fastest by trial, repeatable, TensorFloat-32 in convolutions and products, deterministic algorithms."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    deterministic = torch.are_deterministic_algorithms_enabled()
    return cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32, deterministic


@pytest.mark.parametrize(
    ("precision", "deterministic", "expected"),
    [
        ("fp32", True, (False, True, False, False, True)),
        ("amp", True, (False, True, True, True, True)),
        ("fp32", False, (True, False, False, False, False)),
    ],
)
def test_a_gpu_is_asked_for_repeatable_kernels_and_whole_float32(
    precision: Precision, deterministic: bool, expected: Settings
) -> None:
    before = settings()
    with numerics(torch.device("cuda"), precision, deterministic=deterministic):
        assert settings() == expected
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert settings() == before


def test_after_an_error_everything_is_as_before() -> None:
    before = settings()
    with pytest.raises(RuntimeError, match="diverged"), numerics(torch.device("cuda"), "fp32"):
        raise RuntimeError("diverged")
    assert settings() == before


def test_the_cpu_is_left_alone() -> None:
    before = settings()
    with numerics(torch.device("cpu"), "fp32"):
        assert settings() == before
