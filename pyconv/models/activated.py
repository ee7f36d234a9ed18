"""Layers of a folded network that are called with their ReLU, their sum with the shortcut and their weights laid out.

    relu(conv(x))        relu(conv(x) + shortcut)        conv(x)

On a processor in float32: by oneDNN's post-operations, one or two passes less over the maps, with weights that it would
otherwise lay out anew with every call; or by Winograd's convolution where a rule says so. Anywhere else the layers are
called one after the other. For testing only.
"""

from collections import OrderedDict
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from pyconv.formulations import planner, winograd
from pyconv.formulations.call import Call, channels_last
from pyconv.formulations.kept import Kept
from pyconv.formulations.layer import hooked, is_plain
from pyconv.layers import PyConv
from pyconv.models.blocks import Basic, Bottleneck
from pyconv.models.resnet import ResNet


def activate(model: nn.Module) -> None:
    """Replace, in place, the convolutions of a folded network, with the ReLUs and sums right behind them."""
    if isinstance(model, PyConv):
        model.kept = Kept()
        return
    if isinstance(model, ResNet) and isinstance(model.bn1, nn.Identity):
        model.conv1, model.relu = Activated(model.conv1, relu=True), None
    if isinstance(model, nn.Sequential):
        _activate_sequence(model)
    for name, child in list(model.named_children()):
        found = _activated(model, child)
        setattr(model, name, found)
        activate(found)


def _activated(parent: nn.Module, child: nn.Module) -> nn.Module:
    if isinstance(child, (Basic, Bottleneck)) and child.se is None:
        return ActivatedBlock(child)
    if isinstance(parent, ResNet) and isinstance(child, nn.Sequential):
        return ActivatedStage(child.named_children())
    if type(child) is nn.Conv2d and not isinstance(parent, Activated):
        return Activated(child, relu=False)
    return child


def _activate_sequence(layers: nn.Sequential) -> None:
    """Convolutions with nothing but a folded batch norm between them and their ReLU."""
    waiting = ""
    for name, child in list(layers.named_children()):
        if isinstance(child, (nn.Conv2d, PyConv)):
            waiting = name
        elif type(child) is nn.ReLU and waiting:
            setattr(layers, waiting, Activated(layers.get_submodule(waiting), relu=True))
            setattr(layers, name, nn.Identity())
            waiting = ""
        elif not isinstance(child, nn.Identity):
            waiting = ""


class Activated(nn.Module):
    """`conv(x)`, `relu(conv(x))`, or `relu(conv(x) + other)`."""

    def __init__(self, conv: nn.Module, *, relu: bool) -> None:
        super().__init__()
        self.conv, self.relu = conv, relu
        self.kept = Kept()

    def forward(self, x: Tensor, other: Tensor | None = None, *, overwrite: bool = False) -> Tensor:
        """(N, in, ...) -> (N, out, ...); `other` as the output, which may be written to it, to `overwrite`."""
        conv = self.conv
        if isinstance(conv, PyConv) and other is None and self.relu:
            return conv.activated(x)
        if type(conv) is nn.Conv2d and self._fits(x, conv):
            call = Call.of(conv)
            if winograd.worth(x, conv.weight, call) and planner.policy_now(None) != planner.REFERENCE:
                return self._winograd(x, other, conv, call, overwrite=overwrite)
            return self._onednn(x, other, conv, overwrite=overwrite)
        out: Tensor = conv(x)
        if other is not None:
            out = out.add_(other)
        return functional.relu_(out) if self.relu else out

    def _fits(self, x: Tensor, conv: nn.Conv2d) -> bool:
        return (
            x.dtype == conv.weight.dtype == torch.float32
            and x.device.type == "cpu"
            and torch.backends.mkldnn.is_available()
            and x.numel() > 0
            and x.ndim == 4
            and not (torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"))
            and is_plain(x, [conv])
        )

    def _winograd(self, x: Tensor, other: Tensor | None, conv: nn.Conv2d, call: Call, *, overwrite: bool) -> Tensor:
        if other is None:
            out = winograd.empty(x, conv.out_channels, tuple(x.shape[2:]))
        elif overwrite and channels_last(other):
            out = other
        else:
            out = other.clone(memory_format=torch.channels_last)
        laid_out = winograd.kept(self.kept, 0, conv.weight)
        add = other is not None
        winograd.forward_into(out, 0, x, conv.weight, conv.bias, call, relu=self.relu, add=add, laid_out=laid_out)
        return out

    def _onednn(self, x: Tensor, other: Tensor | None, conv: nn.Conv2d, *, overwrite: bool) -> Tensor:
        where = (conv.padding, conv.stride, conv.dilation, conv.groups)
        weight = self.kept.get(
            0,
            conv.weight,
            ("onednn", x.shape),
            lambda: torch.ops.mkldnn._reorder_convolution_weight(conv.weight, *where, list(x.shape)),
        )
        relu, given = "relu" if self.relu else "none", (conv.bias, *where)
        out: Tensor
        if other is None:
            out = torch.ops.mkldnn._convolution_pointwise(x, weight, *given, relu, [], "")
        elif overwrite:
            out = torch.ops.mkldnn._convolution_pointwise_(other, x, weight, *given, "add", 1.0, relu, [], "")
        else:
            out = torch.ops.mkldnn._convolution_pointwise(x, other, weight, *given, "add", 1.0, relu, [], "")
        return out


class ActivatedBlock(nn.Module):
    """A basic or bottleneck block whose batch norms are folded: convolutions, sum with the shortcut, ReLUs."""

    def __init__(self, block: Basic | Bottleneck) -> None:
        super().__init__()
        convs = [block.conv1, block.conv2, *([block.conv3] if isinstance(block, Bottleneck) else [])]
        self.convs = nn.ModuleList(Activated(conv, relu=True) for conv in convs)
        self.shortcut = block.shortcut

    def forward(self, x: Tensor, *, overwrite: bool = False) -> Tensor:
        """As the block's; `overwrite`: x, which nobody else looks at, may become the output."""
        identity = x if self.shortcut is None else self.shortcut(x)
        *first, last = self.convs
        out = x
        for conv in first:
            out = conv(out)
        found: Tensor = last(out, identity, overwrite=overwrite or _is_ours(self.shortcut))
        return found


def _is_ours(made_by: nn.Module | None) -> bool:
    """Whether nobody else may have seen what a module gave: no hook within it."""
    return made_by is not None and not any(hooked(each) for each in made_by.modules())


class ActivatedStage(nn.Sequential):
    """The blocks of a stage, of which each writes its output over that of the one before, unless somebody sees that."""

    def __init__(self, blocks: Iterable[tuple[str, nn.Module]]) -> None:
        super().__init__(OrderedDict(blocks))

    def forward(self, x: Tensor) -> Tensor:
        """As the stage's."""
        before: nn.Module | None = None
        for block in self:
            if isinstance(block, ActivatedBlock):
                x = block(x, overwrite=isinstance(before, ActivatedBlock) and _is_ours(before))
            else:
                x = block(x)
            before = block
        return x
