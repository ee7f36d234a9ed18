"""`fvcore`: FlopCountAnalysis with its own handles, on the meta device, where a forward costs neither time nor memory.

fvcore reads the graph that torch.jit traces. Plainly that runs the whole model only to see shapes, and on the meta
device it fails in `aten::convolution`, whose shape function cannot run while it is traced. That operator is only a
wrapper which leaves no trace of its own: the one that fvcore sees is `aten::_convolution`, and called directly it
traces on the meta device too. So the tracer is handed `_convolution`; every handle and every number stays fvcore's.
"""

import warnings
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pyconv.complexity.rules import UncountedError
from pyconv.complexity.shapes import ShapesOnly

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its last release uses what torch has deprecated since
    from fvcore.nn import FlopCountAnalysis

# What fvcore's default handles leave out, and why that is right. Any other operator without a handle is refused.
UNCOUNTED: dict[str, str] = {
    "aten::add": "a sum of two maps has no multiplication",
    "aten::add_": "a sum of two maps has no multiplication",
    "aten::mul": "one multiplication a map (a gate): fvcore counts multiply-adds",
    "aten::mul_": "one multiplication a map (a gate): fvcore counts multiply-adds",
    "aten::div": "one division a map, to scale an attention",
    "aten::max_pool2d": "comparisons only",
    "aten::max_pool3d": "comparisons only",
    "aten::unflatten": "a view",
    "aten::mean": "additions and one division a map",
    "aten::adaptive_avg_pool3d": "fvcore counts this pool in two dimensions only: additions",
    "aten::sigmoid": "a function of one value, no multiply-add",
    "aten::softmax": "functions of one value and a sum, no multiply-add",
    "aten::feature_dropout": "nothing in eval mode",
    "aten::alpha_dropout": "nothing in eval mode",
}

_DIMENSIONS: dict[Any, tuple[int, bool]] = {
    torch.conv1d: (1, False),
    torch.conv2d: (2, False),
    torch.conv3d: (3, False),
    torch.conv_transpose1d: (1, True),
    torch.conv_transpose2d: (2, True),
    torch.conv_transpose3d: (3, True),
}


class _TraceableConvolution(TorchFunctionMode):
    """Calls `aten::_convolution` where the model calls conv1d ... conv_transpose3d."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _DIMENSIONS:
            dimensions, transposed = _DIMENSIONS[func]
            call = _transposed if transposed else _forward
            return call(dimensions, *args, **kwargs)
        return func(*args, **kwargs)


def _forward(
    dimensions: int, input: Tensor, weight: Tensor, bias: Tensor | None = None,  # noqa: A002 - torch's own word
    stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    return _convolution(dimensions, False, input, weight, bias, stride, padding, dilation, 0, groups)


def _transposed(
    dimensions: int, input: Tensor, weight: Tensor, bias: Tensor | None = None,  # noqa: A002 - torch's own word
    stride: Any = 1, padding: Any = 0, output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
) -> Tensor:  # fmt: skip
    return _convolution(dimensions, True, input, weight, bias, stride, padding, dilation, output_padding, groups)


def _convolution(
    dimensions: int, transposed: bool, input: Tensor, weight: Tensor, bias: Tensor | None,  # noqa: A002
    stride: Any, padding: Any, dilation: Any, output_padding: Any, groups: int,
) -> Tensor:  # fmt: skip
    """`aten::_convolution`; the last four arguments choose cuDNN's ways and change no shape."""
    if isinstance(padding, str):
        raise UncountedError(
            f"fvcore: no handle for a convolution with padding={padding!r}; give the padding as numbers"
        )
    stride, padding, dilation, output_padding = (
        [value] * dimensions if isinstance(value, int) else list(value)
        for value in (stride, padding, dilation, output_padding)
    )
    return torch._convolution(
        input, weight, bias, stride, padding, dilation, transposed, output_padding, groups, False, False, False, False
    )


def analyse(model: nn.Module, example: Tensor) -> Counter[str]:
    """fvcore's FLOPs of one forward, by its operator names (conv, linear, batch_norm, ...).

    Plain FlopCountAnalysis when model and example hold values; on the meta device wrap it in `fvcore_counts`.
    Raises `UncountedError` naming every operator that fvcore has no handle for and that UNCOUNTED does not explain.
    """
    analysis = FlopCountAnalysis(model, (example,))
    # Its loggers tell what is checked here instead.
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        counts = Counter({operator: _whole(operator, flops) for operator, flops in analysis.by_operator().items()})
    if unknown := sorted(set(analysis.unsupported_ops()) - set(UNCOUNTED)):
        raise UncountedError(
            f"fvcore: no handle counts {', '.join(unknown)}; "
            f"if that is right, say why in pyconv.complexity.tracing.UNCOUNTED"
        )
    return counts


def fvcore_counts(model: nn.Module, example: Tensor) -> Counter[str]:
    """`analyse` of a model and an example on the meta device, both in eval mode: the same numbers, nothing computed."""
    with _TraceableConvolution(), ShapesOnly():
        return analyse(model, example)


def _whole(operator: str, flops: float) -> int:
    if flops != int(flops):
        raise UncountedError(f"fvcore: {operator} counts {flops}, not a whole number")
    return int(flops)
