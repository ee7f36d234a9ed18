"""`relu(batch_norm(x) + other)` in training, in two passes over memory each way instead of eight and nine.

    mean, var = over all but the channels; y = relu((x - mean) / sqrt(var + eps) * weight + bias + other)
    g = dy where y > 0; d bias = sum g; d weight = sum g * x'; dx = weight / s * (g - mean g - x' * mean(g * x'))

with s = sqrt(var + eps) and x' = (x - mean) / s (Ioffe and Szegedy, ICML 2015). `_normalised.c`: float32 and float64 on
a processor, channels last; anywhere else, and under the policy "reference", the layers are called one by one.
"""

from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from pyconv.formulations import planner
from pyconv.formulations.call import CHANNELS_LAST, channels_last
from pyconv.formulations.layer import hooked, is_plain, is_values

_TYPES = (torch.float32, torch.float64)


@cache
def compiled() -> Any:
    """The extension; None where there was no compiler when this was installed."""
    try:
        return import_module("pyconv.formulations._normalised")
    except ImportError:
        return None


def activated(
    norm: nn.Module, relu: nn.Module, x: Tensor, other: Tensor | None = None, *, policy: str | None = None
) -> Tensor:
    """`relu(norm(x) + other)`, with what `norm` keeps of its batches brought up to date; shapes as `x`.

    `relu`: torch's, possibly in place. `policy`: as PyConv's `formulation`.
    """
    if _fits(norm, relu, x, other) and planner.policy_now(policy) != planner.REFERENCE:
        assert isinstance(norm, (nn.BatchNorm2d, nn.BatchNorm3d))
        y, mean, variance = _Activated.apply(x, other, norm.weight, norm.bias, norm.eps)
        _keep(norm, mean, variance, x.numel() // x.shape[1])
        return y
    out = norm(x)
    if other is not None:
        out += other
    found: Tensor = relu(out)
    return found


def _fits(norm: nn.Module, relu: nn.Module, x: Tensor, other: Tensor | None) -> bool:
    if type(norm) not in (nn.BatchNorm2d, nn.BatchNorm3d) or type(relu) is not nn.ReLU or not norm.training:
        return False
    if compiled() is None or not is_plain(x, ()) or hooked(norm) or hooked(relu):
        return False
    if x.dtype not in _TYPES or x.ndim not in CHANNELS_LAST or x.device.type != "cpu" or not channels_last(x):
        return False
    if torch.is_autocast_enabled("cpu") or x.numel() <= x.shape[1] or x.shape[1] != norm.num_features:
        return False
    given = [norm.weight, norm.bias, *([] if other is None else [other])]
    if not all(isinstance(each, Tensor) and is_values(each) and each.dtype == x.dtype for each in given):
        return False
    return other is None or (other.shape == x.shape and channels_last(other))


def _keep(norm: nn.BatchNorm2d | nn.BatchNorm3d, mean: Tensor, variance: Tensor, values: int) -> None:
    """As torch's batch norm: the batch's mean and unbiased variance, by momentum or, without one, all alike."""
    if not norm.track_running_stats or norm.running_mean is None or norm.running_var is None:
        return
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    factor = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    norm.running_mean.mul_(1 - factor).add_(mean, alpha=factor)
    norm.running_var.mul_(1 - factor).add_(variance, alpha=factor * values / (values - 1))


class _Activated(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, other: Tensor | None, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        y, mean, variance = torch.empty_like(x), torch.empty_like(weight), torch.empty_like(weight)
        compiled().forward(
            x.dtype == torch.float64, x.data_ptr(), 0 if other is None else other.data_ptr(), weight.data_ptr(),
            bias.data_ptr(), eps, y.data_ptr(), mean.data_ptr(), variance.data_ptr(),
            x.numel() // x.shape[1], x.shape[1], torch.get_num_threads(),
        )  # fmt: skip
        ctx.save_for_backward(x, y, weight, mean, variance)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Any, ...]:
        x, y, weight, mean, variance = ctx.saved_tensors
        grad = grad.contiguous(memory_format=CHANNELS_LAST[grad.ndim])
        dx, dweight, dbias = torch.empty_like(x), torch.empty_like(weight), torch.empty_like(weight)
        masked = torch.empty_like(x) if ctx.needs_input_grad[1] else dx
        compiled().backward(
            x.dtype == torch.float64, grad.data_ptr(), x.data_ptr(), y.data_ptr(), weight.data_ptr(), mean.data_ptr(),
            variance.data_ptr(), ctx.eps, masked.data_ptr(), dx.data_ptr(), dweight.data_ptr(), dbias.data_ptr(),
            x.numel() // x.shape[1], x.shape[1], torch.get_num_threads(),
        )  # fmt: skip
        return dx, masked if ctx.needs_input_grad[1] else None, dweight, dbias, None
