"""`macs` and `thop-2019`: one integer rule for each kind of leaf module, read by forward hooks on the meta device.

`macs` counts the multiply-adds of convolutions and linear layers and nothing else. `thop-2019` is pytorch-OpCounter as
it stood in April to June 2019, the counter behind the paper's tables: it sees leaf modules only. What no rule covers
is refused by name: a leaf module of an unknown type, and an operator that is called outside every leaf module, where
no hook sees it, unless it stands in a list of what is free.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from pyconv.complexity.shapes import ShapesOnly

Rule = Callable[[Any, Tensor, Tensor], int]
Kind = str

# What no convention here counts, and what `macs` alone leaves out, by definition.
_FREE: tuple[type[nn.Module], ...] = (
    nn.Identity, nn.Flatten, nn.Unflatten, nn.ZeroPad2d, nn.Upsample, nn.UpsamplingBilinear2d, nn.PixelShuffle,
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.Softmax, nn.LogSoftmax, nn.Sigmoid,
)  # fmt: skip
_NO_MULTIPLY_ADDS: tuple[type[nn.Module], ...] = (
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.GroupNorm, nn.LayerNorm, nn.InstanceNorm2d,
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Hardsigmoid, nn.Tanh,
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d,
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d,
)  # fmt: skip
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def _convolution(module: Any, _: Tensor, output: Tensor, *, bias_is_a_tap: bool) -> int:
    """`Cin / groups * prod(kernel) * out.numel()`; thop 2019 adds one tap for a bias before it multiplies."""
    taps = prod(module.kernel_size) + (bias_is_a_tap and module.bias is not None)
    return module.in_channels * output.numel() * taps // module.groups


def _linear(module: Any, _: Tensor, output: Tensor) -> int:
    """`in_features * out.numel()` multiply-adds."""
    return module.in_features * output.numel()


def _linear_thop(module: Any, _: Tensor, output: Tensor) -> int:
    """`(2 in_features - 1) * out.numel()`: here, and only here, multiplications and additions count apart."""
    return (2 * module.in_features - 1) * output.numel()


def _batch_norm(_module: Any, input: Tensor, _: Tensor) -> int:  # noqa: A002 - torch's own word
    """`4 * numel`: subtract, divide, gamma, beta."""
    return 4 * input.numel()


def _relu(_module: Any, input: Tensor, _: Tensor) -> int:  # noqa: A002 - torch's own word
    """`numel`."""
    return input.numel()


def _max_pool(module: Any, _: Tensor, output: Tensor) -> int:
    """`k * out.numel()` for an int kernel (not squared: thop's slip is in the paper's numbers), else the product."""
    kernel = module.kernel_size
    return (kernel if isinstance(kernel, int) else prod(kernel)) * output.numel()


def _adaptive_avg_pool(_module: Any, input: Tensor, output: Tensor) -> int:  # noqa: A002 - torch's own word
    """`(prod(in // out) + 1) * out.numel()`: additions of a window, one division."""
    window = prod(i // o for i, o in zip(input.shape[2:], output.shape[2:], strict=True))
    return (window + 1) * output.numel()


def _each(types: Iterable[type[nn.Module]], kind: Kind, rule: Rule) -> dict[type[nn.Module], tuple[Kind, Rule]]:
    return dict.fromkeys(types, (kind, rule))


def _zero(_module: Any, _input: Tensor, _output: Tensor) -> int:
    return 0


RULES: dict[str, dict[type[nn.Module], tuple[Kind, Rule]]] = {
    "macs": {
        **_each(_FREE + _NO_MULTIPLY_ADDS, "free", _zero),
        **_each(_CONVOLUTIONS, "convolution", partial(_convolution, bias_is_a_tap=False)),
        nn.Linear: ("linear", _linear),
    },
    "thop-2019": {
        **_each(_FREE, "free", _zero),
        **_each(_CONVOLUTIONS, "convolution", partial(_convolution, bias_is_a_tap=True)),
        **_each((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), "batch_norm", _batch_norm),
        **_each((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d), "max_pool", _max_pool),
        **_each((nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d), "avg_pool", _adaptive_avg_pool),
        nn.ReLU: ("relu", _relu),
        nn.Linear: ("linear", _linear_thop),
    },
}

# thop 2019 assigned a ReLU's count where it added the others': of a module that is called again the last call stays.
_LAST_CALL_ONLY = {("thop-2019", nn.ReLU)}

# Operators outside every leaf module that neither convention counts: sums, gates, resampling, normalising an attention
# map, making and copying tensors (views are free anyway).
_FREE_OPERATORS = {
    "add", "add_", "sub", "mul", "mul_", "div", "sum", "mean", "sigmoid", "_softmax", "cat", "stack", "constant_pad_nd",
    "upsample_nearest2d", "upsample_bilinear2d", "upsample_trilinear3d", "clone", "copy_", "_to_copy", "_unsafe_view",
    "index", "empty", "zeros", "ones", "full", "arange", "scalar_tensor", "zeros_like", "ones_like",
}  # fmt: skip
# A product of two activations is free by definition (a non-local block's); one with a weight is refused.
_PRODUCTS = {"mm", "bmm", "addmm", "baddbmm", "mv", "dot"}
# What `macs` leaves out by definition, wherever it is called; thop 2019 would count the same as a module.
_FREE_FOR_MACS = {
    "relu", "relu_", "native_batch_norm", "max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool2d",
    "avg_pool3d", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d",
}  # fmt: skip


class UncountedError(ValueError):
    """A module or operator that no rule of the convention covers: counting it as zero would be a guess."""


def hook_counts(model: nn.Module, example: Tensor, conventions: Iterable[str]) -> dict[str, Counter[Kind]]:
    """FLOPs of one forward of `model` on `example`, for each of `conventions` of RULES by kind of layer.

    `model` in eval mode and `example` both on the meta device, where nothing is computed. Raises `UncountedError`.
    """
    conventions = tuple(conventions)
    calls: dict[str, dict[nn.Module, list[tuple[Kind, int]]]] = {convention: {} for convention in conventions}

    def count(module: nn.Module, input: Any, output: Any) -> None:  # noqa: A002 - torch's own word
        for convention in conventions:
            base, kind, rule = _rule(convention, module, watch.names[module])
            flops = rule(module, input, output)
            seen = calls[convention].setdefault(module, [])
            if (convention, base) in _LAST_CALL_ONLY:
                seen.clear()
            seen.append((kind, flops))

    watch = _Watch(model, conventions)
    with watch.leaves(count), watch, torch.no_grad():
        model(example)
    totals: dict[str, Counter[Kind]] = {}
    for convention in conventions:
        totals[convention] = Counter()
        for kind, flops in (call for seen in calls[convention].values() for call in seen):
            totals[convention][kind] += flops
    return totals


def _rule(convention: str, module: nn.Module, name: str) -> tuple[type[nn.Module], Kind, Rule]:
    """The rule of the first class of the module's ancestry that has one and whose forward it still uses."""
    for base in type(module).__mro__:
        if base in RULES[convention] and type(module).forward is base.forward:
            return base, *RULES[convention][base]
    raise UncountedError(
        f"{convention}: no rule covers the leaf module {name!r} ({type(module).__name__}); "
        f"give it a rule, or name it free, in pyconv.complexity.rules"
    )


class _Watch(ShapesOnly):
    """Refuses operators that run outside every leaf module and are not known to be free."""

    def __init__(self, model: nn.Module, conventions: tuple[str, ...]) -> None:
        super().__init__()
        self.conventions = conventions
        self.names = {module: name or "(the model itself)" for name, module in model.named_modules()}
        self.leaf_modules = {module for module in self.names if next(module.children(), None) is None}
        self.weights = {_storage(p): name for name, p in model.named_parameters()}
        self.path: list[tuple[str, bool]] = []  # the modules whose forward runs, and which are leaves

    @contextmanager
    def leaves(self, count: Callable[[nn.Module, Any, Any], None]) -> Iterator[None]:
        """Call `count(module, input, output)` after each leaf's forward; know meanwhile inside which module we are."""

        def enter(module: nn.Module, _: Any) -> None:
            leaf = module in self.leaf_modules
            for convention in self.conventions if leaf else ():
                _rule(convention, module, self.names[module])  # refused before it runs
            self.path.append((self.names[module], leaf))

        def leave(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
            _, leaf = self.path.pop()
            if leaf:
                count(module, next(iter((*inputs, *named.values())), None), output)

        handles = []
        for module in self.names:
            handles.append(module.register_forward_pre_hook(enter))
            handles.append(module.register_forward_hook(leave, with_kwargs=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, leaf = self.path[-1]
        if not leaf and not func.is_view:
            self._check(func.overloadpacket.__name__, args, name)
        return super().__torch_dispatch__(func, types, args, kwargs)

    def _check(self, operator: str, args: tuple[Any, ...], name: str) -> None:
        tensors = [a for a in args if isinstance(a, Tensor)]
        weight = next((self.weights[s] for s in map(_storage, tensors) if s in self.weights), None)
        if operator in _FREE_OPERATORS or (operator in _PRODUCTS and weight is None):
            return
        for convention in self.conventions:
            if convention == "macs" and operator in _FREE_FOR_MACS:
                continue
            raise UncountedError(
                f"{convention}: {operator}{f' with the weight {weight}' if weight else ''} is called in "
                f"{name!r} outside every leaf module, where no hook counts it; use the nn.Module of the same name, "
                f"or name it free in pyconv.complexity.rules"
            )


def _storage(tensor: Tensor) -> int:
    """The identity of a tensor's memory, which its views share."""
    return tensor.untyped_storage()._cdata
