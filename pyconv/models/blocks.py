"""The residual blocks of Table 3's networks: basic, bottleneck, pre-activation, iResNet.

Which ReLUs are one module matters for the paper's FLOPs: its counter saw a module that is called several times in one
forward only once. The sharing here is the one that gives the printed numbers.
"""

from collections import OrderedDict
from dataclasses import dataclass

from torch import Tensor, nn

from pyconv.architectures import ResNet, Stage, Stride
from pyconv.formulations.normalised import activated
from pyconv.layers import batch_norm, conv, max_pool, spatial_conv
from pyconv.models.context import SqueezeExcitation

STEM_WIDTH = 64


@dataclass(frozen=True)
class Position:
    """Where a block stands: stage and block number, counted from 0, of a described network."""

    network: ResNet
    stage_index: int
    block_index: int

    @property
    def stage(self) -> Stage:
        """The description of the block's stage."""
        return self.network.stages[self.stage_index]

    @property
    def first(self) -> bool:
        """The block changes the number of maps and has the stage's stride."""
        return self.block_index == 0

    @property
    def last(self) -> bool:
        """The block ends its stage."""
        return self.block_index == self.stage.blocks - 1

    @property
    def in_channels(self) -> int:
        """Maps that enter the block."""
        if not self.first:
            return self.stage.out_channels
        return self.network.stages[self.stage_index - 1].out_channels if self.stage_index else STEM_WIDTH

    @property
    def stride(self) -> Stride:
        """Stride of the block's spatial convolution and of its shortcut."""
        return self.stage.stride if self.first else 1

    @property
    def pooled_shortcut(self) -> bool:
        """The max pool stands on this projection shortcut: Table 2's `max` (stage 1 only) and `final`."""
        pool = self.network.pool
        return pool == "all_shortcuts" or (pool == "first_shortcut" and self.stage_index == 0)

    def conv(self, in_channels: int, out_channels: int, stride: Stride = 1) -> nn.Module:
        """A 1x1 convolution."""
        return conv(in_channels, out_channels, 1, stride, dims=self.network.dims)

    def spatial(self, in_channels: int, out_channels: int, stride: Stride = 1) -> nn.Module:
        """The stage's spatial convolution: a pyramid or a plain one."""
        stage = self.stage
        return spatial_conv(in_channels, out_channels, stage.pyramid, stride, stage.dilation, dims=self.network.dims)

    def norm(self, channels: int) -> nn.Module:
        """Batch normalisation."""
        return batch_norm(channels, self.network.dims)

    def se(self) -> SqueezeExcitation | None:
        """The SE branch, where the network has one."""
        return SqueezeExcitation(self.stage.out_channels) if self.network.context == "se" else None

    def shortcut(self) -> nn.Sequential | None:
        """`(max pool) -> 1x1 -> BN` where maps or size change, else None (identity).

        With the max pool the 1x1 has no stride; the pool stays (at stride 1) where a dilated stage has lost its
        stride. Where only the size changes (stage 1 of PyConvResNet-18 and -34) the pool alone is enough.
        """
        unit_stride = self.stride in (1, (1, 1, 1))
        projects = self.in_channels != self.stage.out_channels
        if unit_stride and not projects:
            return None
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if self.pooled_shortcut:
            layers["pool"] = max_pool(self.stride, self.network.dims)
        if projects or not self.pooled_shortcut:
            stride: Stride = 1 if self.pooled_shortcut else self.stride
            layers["conv"] = self.conv(self.in_channels, self.stage.out_channels, stride)
            layers["bn"] = self.norm(self.stage.out_channels)
        return nn.Sequential(layers)


class Basic(nn.Module):
    """`ReLU(BN(conv(ReLU(BN(conv x)))) + shortcut(x))`, both convolutions spatial (ResNet-18, -34; He et al., 2016).

    `second_conv="1x1"` replaces the second one by a 1x1, as the authors count PyConvResNet-18 and -34. One ReLU module.
    `formulation`: of batch norms and ReLUs in training (`pyconv.formulations.normalised`), as PyConv's own.
    """

    formulation: str | None = None

    def __init__(self, at: Position) -> None:
        super().__init__()
        width = at.stage.width
        if at.stage.out_channels != width:
            raise ValueError(f"a basic block does not expand: out_channels={at.stage.out_channels}, width={width}")
        self.conv1 = at.spatial(at.in_channels, width, at.stride)
        self.bn1 = at.norm(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = at.conv(width, width) if at.network.second_conv == "1x1" else at.spatial(width, width)
        self.bn2 = at.norm(width)
        self.se = at.se()
        self.shortcut = at.shortcut()

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H / stride, W / stride)."""
        identity = x if self.shortcut is None else self.shortcut(x)
        out = activated(self.bn1, self.relu, self.conv1(x), policy=self.formulation)
        if self.se is None:
            return activated(self.bn2, self.relu, self.conv2(out), identity, policy=self.formulation)
        out = self.se(self.bn2(self.conv2(out)))
        out += identity
        return self.relu(out)


class Bottleneck(nn.Module):
    """1x1, spatial convolution (with the stride), 1x1, each with BN; sum, ReLU (Figure 4; He et al., CVPR 2016).

    ResNeXt and PyConvHGResNet are wider ones, SE-ResNet rescales the maps before the sum. One ReLU module.
    `formulation`: of batch norms and ReLUs in training (`pyconv.formulations.normalised`), as PyConv's own.
    """

    formulation: str | None = None

    def __init__(self, at: Position) -> None:
        super().__init__()
        width, out_channels = at.stage.width, at.stage.out_channels
        self.conv1 = at.conv(at.in_channels, width)
        self.bn1 = at.norm(width)
        self.conv2 = at.spatial(width, width, at.stride)
        self.bn2 = at.norm(width)
        self.conv3 = at.conv(width, out_channels)
        self.bn3 = at.norm(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.se = at.se()
        self.shortcut = at.shortcut()

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H / stride, W / stride), or the same with T first."""
        identity = x if self.shortcut is None else self.shortcut(x)
        out = activated(self.bn1, self.relu, self.conv1(x), policy=self.formulation)
        out = activated(self.bn2, self.relu, self.conv2(out), policy=self.formulation)
        if self.se is None:
            return activated(self.bn3, self.relu, self.conv3(out), identity, policy=self.formulation)
        out = self.se(self.bn3(self.conv3(out)))
        out += identity
        return self.relu(out)


class PreActivation(nn.Module):
    """Three times BN, ReLU, convolution; sum without ReLU (He et al., ECCV 2016). Three ReLU modules.

    A projection shortcut starts from the first activation, as in He's released code, and has a batch norm, which the
    printed FLOPs need.
    """

    def __init__(self, at: Position) -> None:
        super().__init__()
        width, out_channels = at.stage.width, at.stage.out_channels
        self.bn1 = at.norm(at.in_channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = at.conv(at.in_channels, width)
        self.bn2 = at.norm(width)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = at.spatial(width, width, at.stride)
        self.bn3 = at.norm(width)
        self.relu3 = nn.ReLU(inplace=True)
        self.conv3 = at.conv(width, out_channels)
        self.shortcut = at.shortcut()

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H / stride, W / stride)."""
        active = self.relu1(self.bn1(x))
        identity = x if self.shortcut is None else self.shortcut(active)
        out = self.conv1(active)
        out = self.conv2(self.relu2(self.bn2(out)))
        out = self.conv3(self.relu3(self.bn3(out)))
        out += identity
        return out


class IResNet(nn.Module):
    """Start, middle or end block of a stage of iResNet (Duta et al., arXiv 2004.04989). One ReLU module.

    Start: conv1 BN ReLU conv2 BN ReLU conv3 BN, sum. Middle: BN ReLU conv1 BN ReLU conv2 BN ReLU conv3, sum. End: a
    middle block, then BN ReLU on the sum. The block after the start block has no first BN, and in the released
    networks, whose accuracies Table 3 prints, its ReLU worked in place: its identity is ReLU(x), here too.
    """

    def __init__(self, at: Position) -> None:
        super().__init__()
        if at.stage.blocks < 2:
            raise ValueError(f"an iResNet stage needs a start and an end block, got blocks={at.stage.blocks}")
        width, out_channels = at.stage.width, at.stage.out_channels
        self.start, self.end = at.first, at.last
        self.bn0 = at.norm(at.in_channels) if at.block_index > 1 else None
        self.conv1 = at.conv(at.in_channels, width)
        self.bn1 = at.norm(width)
        self.conv2 = at.spatial(width, width, at.stride)
        self.bn2 = at.norm(width)
        self.conv3 = at.conv(width, out_channels)
        self.bn3 = at.norm(out_channels) if self.start or self.end else None
        self.relu = nn.ReLU()
        self.shortcut = at.shortcut()

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H / stride, W / stride)."""
        if self.bn0 is not None:
            identity, active = x, self.relu(self.bn0(x))
        elif not self.start:
            identity = active = self.relu(x)
        else:
            identity, active = x if self.shortcut is None else self.shortcut(x), x
        out = self.relu(self.bn1(self.conv1(active)))
        out = self.conv3(self.relu(self.bn2(self.conv2(out))))
        if self.start and self.bn3 is not None:
            out = self.bn3(out)
        out += identity
        if self.end and self.bn3 is not None:
            out = self.relu(self.bn3(out))
        return out
