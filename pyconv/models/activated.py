"""Blocks of a folded network whose ReLUs, and sums with the shortcut, are part of the convolutions' last pass.

    relu(conv(x))        relu(conv(x) + shortcut)

by oneDNN's post-operations, on a processor in float32: the same sums, one or two passes less over the maps. Anywhere
else, and for what is no dense or grouped convolution, the layers are called one after the other. For testing only.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from pyconv.layers import PyConv
from pyconv.models.blocks import Basic, Bottleneck
from pyconv.models.resnet import ResNet


def activate(model: nn.Module) -> None:
    """Replace, in place, the blocks of a folded network that end with their sum's ReLU, and the stem's ReLU."""
    for parent in list(model.modules()):
        if isinstance(parent, ResNet) and isinstance(parent.bn1, nn.Identity):
            parent.conv1, parent.relu = Activated(parent.conv1), None
        for name, child in parent.named_children():
            if isinstance(child, (Basic, Bottleneck)) and child.se is None:
                setattr(parent, name, ActivatedBlock(child))


class Activated(nn.Module):
    """`relu(conv(x))`, or `relu(conv(x) + other)`."""

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        """(N, in, ...) -> (N, out, ...); `other` as the output."""
        if isinstance(self.conv, PyConv) and other is None:
            return self.conv.activated(x)
        if not self._fits(x):
            out = self.conv(x)
            return functional.relu_(out if other is None else out.add_(other))
        conv = self.conv
        where = (conv.weight, conv.bias, conv.padding, conv.stride, conv.dilation, conv.groups)
        if other is None:
            out = torch.ops.mkldnn._convolution_pointwise(x, *where, "relu", [], "")
        else:
            out = torch.ops.mkldnn._convolution_pointwise(x, other, *where, "add", 1.0, "relu", [], "")
        return out

    def _fits(self, x: Tensor) -> bool:
        return (
            type(self.conv) is nn.Conv2d
            and x.device.type == "cpu"
            and x.dtype == self.conv.weight.dtype == torch.float32
            and torch.backends.mkldnn.is_available()
            and x.numel() > 0
            and not (torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or torch.jit.is_tracing())
        )


class ActivatedBlock(nn.Module):
    """A basic or bottleneck block whose batch norms are folded: convolutions, sum with the shortcut, ReLUs."""

    def __init__(self, block: Basic | Bottleneck) -> None:
        super().__init__()
        convs = [block.conv1, block.conv2, *([block.conv3] if isinstance(block, Bottleneck) else [])]
        self.convs = nn.ModuleList(Activated(conv) for conv in convs)
        self.shortcut = block.shortcut

    def forward(self, x: Tensor) -> Tensor:
        """As the block's."""
        identity = x if self.shortcut is None else self.shortcut(x)
        *first, last = self.convs
        out = x
        for conv in first:
            out = conv(out)
        found: Tensor = last(out, identity)
        return found
