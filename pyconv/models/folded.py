"""A network for testing only: every batch norm that follows a convolution becomes part of its weights.

In eval mode BN(conv(x; w)) = conv(x; w * gamma / s) + beta - mean * gamma / s with s = sqrt(var + eps): the same
function with one pass less over the maps, equal up to the rounding of float32. ReLUs and sums become part of the
convolutions' last pass (`pyconv.models.activated`).
"""

import copy
from itertools import pairwise

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from pyconv.layers import PyConv
from pyconv.models.activated import activate
from pyconv.models.blocks import Basic, Bottleneck, IResNet, PreActivation
from pyconv.models.context import NonLocal
from pyconv.models.resnet import ResNet

_POST = (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"))
_PRE = (("conv1", "bn2"), ("conv2", "bn3"))


def folded(model: nn.Module) -> nn.Module:
    """A copy of `model` in eval mode with its batch norms folded; of modules that are not known here nothing is.

    State dict, training and counts are those of `model`, not of the copy.
    """
    copied = copy.deepcopy(model).eval()
    for module in list(copied.modules()):
        for convolution, norm in _pairs(module):
            _fold(module, convolution, norm)
    activate(copied)
    return copied


def _pairs(module: nn.Module) -> tuple[tuple[str, str], ...]:
    """The names of the convolutions of a module and of the batch norms right behind them."""
    names: tuple[tuple[str, str], ...] = ()
    match module:
        case ResNet() | NonLocal():
            names = (("conv1", "bn1"), ("conv", "bn"))
        case Basic() | Bottleneck():
            names = _POST
        case IResNet():
            names = _POST if module.start else _POST[:2]  # elsewhere the last one follows the sum
        case PreActivation():
            names = _PRE
        case nn.Sequential():
            names = tuple(pairwise(dict(module.named_children())))
    return tuple(pair for pair in names if _is_pair(module, *pair))


def _is_pair(module: nn.Module, convolution: str, norm: str) -> bool:
    first, second = getattr(module, convolution, None), getattr(module, norm, None)
    return isinstance(first, (nn.Conv2d, nn.Conv3d, PyConv)) and isinstance(second, _BatchNorm)


def _fold(module: nn.Module, convolution: str, norm: str) -> None:
    first, second = getattr(module, convolution), getattr(module, norm)
    start = 0
    for part in first.levels if isinstance(first, PyConv) else [first]:
        assert isinstance(part, (nn.Conv2d, nn.Conv3d))
        own = slice(start, start + part.out_channels)
        statistics = (second.running_mean[own], second.running_var[own], second.eps)
        part.weight, part.bias = fuse_conv_bn_weights(
            part.weight, part.bias, *statistics, second.weight[own], second.bias[own]
        )
        start = own.stop
    setattr(module, norm, nn.Identity())
