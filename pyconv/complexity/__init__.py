"""Parameters and FLOPs of a network as raw integers, in three named conventions; one multiply-add is one FLOP.

    fvcore      fvcore's FlopCountAnalysis with its default handles
    macs        multiply-adds of convolutions and linear layers only
    thop-2019   the paper's: pytorch-OpCounter as it stood in April to June 2019

Batch 1, eval mode, on the meta device: nothing is computed and no weight is allocated.
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pyconv.architectures import Network
from pyconv.complexity.rules import RULES, UncountedError, hook_counts
from pyconv.complexity.stages import stage_outputs
from pyconv.complexity.tracing import fvcore_counts
from pyconv.models import build

__all__ = [
    "CONVENTIONS",
    "Complexity",
    "UncountedError",
    "by_kind",
    "count",
    "count_module",
    "params",
    "stage_outputs",
]

CONVENTIONS: tuple[str, ...] = ("fvcore", "macs", "thop-2019")


@dataclass(frozen=True)
class Complexity:
    """`params` and `flops` (by convention) as raw integers, not millions."""

    params: int
    flops: dict[str, int]


def params(model: nn.Module) -> int:
    """Number of learned values; one that is used twice counts once, batch norm's running statistics not at all."""
    return sum(parameter.numel() for parameter in model.parameters())


def count(
    network: Network,
    input_size: tuple[int, ...] | None = None,
    conventions: Iterable[str] = ("macs", "thop-2019"),
) -> Complexity:
    """Complexity of a described network at `input_size` (C, H, W) or (C, T, H, W), by default the paper's.

    Raises `ValueError` for an unknown convention and `UncountedError` for what a convention has no rule for.
    """
    with torch.device("meta"):
        model = build(network)
    return _count(model, network.input_size if input_size is None else input_size, conventions)


def count_module(
    model: nn.Module,
    input_size: tuple[int, ...],
    conventions: Iterable[str] = ("macs", "thop-2019"),
) -> Complexity:
    """Complexity of any module that takes one tensor of `input_size` (without the batch), on any device.

    The module itself is left as it is. Raises as `count`.
    """
    return _count(_on_meta(model), input_size, conventions)


def by_kind(model: nn.Module, input_size: tuple[int, ...], convention: str) -> dict[str, int]:
    """The FLOPs of `count_module` in one convention, by kind of layer (hooks) or by operator (fvcore)."""
    return dict(_counts(_on_meta(model).eval(), input_size, (convention,))[convention])


def _count(model: nn.Module, input_size: tuple[int, ...], conventions: Iterable[str]) -> Complexity:
    counts = _counts(model.eval(), input_size, tuple(conventions))
    return Complexity(params(model), {convention: sum(kinds.values()) for convention, kinds in counts.items()})


def _counts(model: nn.Module, input_size: tuple[int, ...], conventions: tuple[str, ...]) -> dict[str, Any]:
    if unknown := [convention for convention in conventions if convention not in CONVENTIONS]:
        raise ValueError(f"convention {unknown[0]!r} is none of {', '.join(CONVENTIONS)}")
    example = _example(model, input_size)
    counts: dict[str, Any] = {}
    if hooked := [convention for convention in conventions if convention in RULES]:
        counts |= hook_counts(model, example, hooked)
    if "fvcore" in conventions:
        counts["fvcore"] = fvcore_counts(model, example)
    return {convention: counts[convention] for convention in conventions}


def _example(model: nn.Module, input_size: tuple[int, ...]) -> Tensor:
    """One input on the meta device, in the type of the model's weights."""
    if not input_size or any(not isinstance(n, int) or n < 1 for n in input_size):
        raise ValueError(f"input_size must be positive integers, (C, H, W) or (C, T, H, W), got {input_size!r}")
    weight = next(model.parameters(), None)
    return torch.empty(1, *input_size, device="meta", dtype=None if weight is None else weight.dtype)


def _on_meta(model: nn.Module) -> nn.Module:
    """A copy of `model` whose weights are on the meta device; no weight is copied."""
    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        memo[id(parameter)] = nn.Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)
    for buffer in model.buffers():
        memo[id(buffer)] = torch.empty_like(buffer, device="meta")
    return copy.deepcopy(model, memo)
