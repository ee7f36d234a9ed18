"""Every network of the paper as a plain value: what Tables 1-10 describe, before a single weight exists.

`pyconvresnet(50)` describes; `.build(num_classes=1000)` gives the `torch.nn.Module`. Descriptions are frozen,
comparable and need no torch, so tables, plans and fingerprints can be made of them on any machine. `name` is a label
for people and not part of the identity: two descriptions are equal when they build the same network.
"""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from pyconv.pyramid import HG_PYRAMIDS, PYRAMIDS, VIDEO_PYRAMIDS, Pyramid

if TYPE_CHECKING:
    from pyconv.models.resnet import ResNet as ResNetModule
    from pyconv.models.segmentation import SegNet as SegNetModule
    from pyconv.models.ssd import SSD as SSDModule  # noqa: N811 (a class)

Stride = int | tuple[int, int, int]
BlockKind = Literal["basic", "bottleneck", "preact", "iresnet"]
Pool = Literal["stem", "first_shortcut", "all_shortcuts"]
Context = Literal["none", "se", "nonlocal"]
SecondConv = Literal["pyramid", "1x1"]
Head = Literal["conv3x3", "ppm", "aspp", "pyconvph"]
DetectionHead = Literal["conv", "pyconv"]

# Blocks of stages 1-4 (He et al., "Deep residual learning", Table 1).
BLOCKS: dict[int, tuple[int, int, int, int]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
BOTTLENECK_DEPTHS = (50, 101, 152)
BASIC_DEPTHS = (18, 34)


@dataclass(frozen=True)
class Stage:
    """One of the four stages: `blocks` blocks whose spatial convolution has `width` maps and the kernels of `pyramid`.

    The first block has `stride`; every spatial convolution of the stage has `dilation`.
    """

    blocks: int
    width: int
    out_channels: int
    stride: Stride
    pyramid: Pyramid
    dilation: int = 1


@dataclass(frozen=True)
class ResNet:
    """A residual network of the paper (Tables 1, 2, 3, 9): stem, stages, classifier.

    `block`: basic | bottleneck | preact | iresnet. `pool`: where the max pools are: the stem's, the first projection
    shortcut's, or all projection shortcuts'. `context`: what is added to the blocks (SE before the sum, or one
    non-local block a stage). `second_conv`: of a basic block. `dims`: 2 for images, 3 for clips.
    """

    block: BlockKind
    stages: tuple[Stage, ...]
    pool: Pool
    num_classes: int = 1000
    context: Context = "none"
    second_conv: SecondConv = "pyramid"
    dims: Literal[2, 3] = 2
    dropout: float = 0.0
    name: str = field(default="resnet", compare=False)

    @property
    def depth(self) -> int:
        """Number of weighted layers on the longest path, as in "ResNet-50"."""
        convolutions = 2 if self.block == "basic" else 3
        return convolutions * sum(stage.blocks for stage in self.stages) + 2

    @property
    def input_size(self) -> tuple[int, ...]:
        """(C, H, W) or (C, T, H, W) of the paper: 224x224, 16 frames."""
        return (3, 224, 224) if self.dims == 2 else (3, 16, 224, 224)

    @property
    def output_stride(self) -> int:
        """Input pixels per pixel of the last stage's maps (height and width)."""
        product = 4 if self.pool == "stem" else 2
        for stage in self.stages:
            product *= stage.stride if isinstance(stage.stride, int) else stage.stride[-1]
        return product

    def with_output_stride(self, output_stride: int) -> "ResNet":
        """The same weights at output stride 32, 16 (stage 4 dilated) or 8 (stages 3 and 4), as in Table 5."""
        dilations = {32: {}, 16: {3: 2}, 8: {2: 2, 3: 4}}
        if self.dims != 2 or len(self.stages) != 4 or self.output_stride != 32:
            raise ValueError(f"{self.name}: only an undilated 2-D network of four stages can change its output stride")
        if output_stride not in dilations:
            raise ValueError(f"output_stride must be 8, 16 or 32, got {output_stride}")
        stages = tuple(
            replace(stage, stride=1, dilation=dilations[output_stride][i]) if i in dilations[output_stride] else stage
            for i, stage in enumerate(self.stages)
        )
        return replace(self, stages=stages)

    def truncated(self, stages: int) -> "ResNet":
        """The first `stages` stages only, the last of them at stride 1: the backbone of SSD (appendix A.1)."""
        if not 1 <= stages < len(self.stages):
            raise ValueError(f"{self.name} has {len(self.stages)} stages: truncate to 1..{len(self.stages) - 1}")
        kept = (*self.stages[: stages - 1], replace(self.stages[stages - 1], stride=1))
        return replace(self, stages=kept)

    def build(self, num_classes: int | None = None, *, seed: int | None = None) -> "ResNetModule":
        """The `torch.nn.Module`; `seed` gives the same weights every time and leaves torch's generator alone."""
        from pyconv.models import build  # descriptions stay usable without torch

        network = self if num_classes is None else replace(self, num_classes=num_classes)
        return build(network, seed=seed)


@dataclass(frozen=True)
class SegNet:
    """Backbone, head, and the auxiliary head on stage 3 (section 5, Tables 5 and 6)."""

    backbone: ResNet
    head: Head
    num_classes: int = 150
    auxiliary: bool = True
    name: str = field(default="segnet", compare=False)

    @property
    def input_size(self) -> tuple[int, ...]:
        """(C, H, W) of the paper's crops."""
        return (3, 473, 473)

    def build(self, num_classes: int | None = None, *, seed: int | None = None) -> "SegNetModule":
        """The `torch.nn.Module`; `seed` gives the same weights every time and leaves torch's generator alone."""
        from pyconv.models import build  # descriptions stay usable without torch

        network = self if num_classes is None else replace(self, num_classes=num_classes)
        return build(network, seed=seed)


@dataclass(frozen=True)
class SSD:
    """Single shot detector on stages 1-3 of a backbone (appendix A.1, Figure 8, Table 8: at 300x300).

    `num_classes` counts the background (class 0). `image_size`: side of the square image in pixels; a smaller one ends
    the head at the first block whose maps would vanish, as larger SSDs add blocks.
    """

    backbone: ResNet
    head: DetectionHead
    num_classes: int = 81
    image_size: int = 300
    name: str = field(default="ssd", compare=False)

    @property
    def input_size(self) -> tuple[int, ...]:
        """(C, H, W)."""
        return (3, self.image_size, self.image_size)

    def build(self, num_classes: int | None = None, *, seed: int | None = None) -> "SSDModule":
        """The `torch.nn.Module`; `seed` gives the same weights every time and leaves torch's generator alone."""
        from pyconv.models import build  # descriptions stay usable without torch

        network = self if num_classes is None else replace(self, num_classes=num_classes)
        return build(network, seed=seed)


Network = ResNet | SegNet | SSD


def resnet(depth: int) -> ResNet:
    """ResNet-50, -101, -152 (He et al., CVPR 2016; stride in the 3x3) and the basic-block ResNet-18, -34."""
    return _residual(f"resnet{depth}", depth, (PYRAMIDS[1],) * 4)


def preact_resnet(depth: int) -> ResNet:
    """Pre-activation ResNet (He et al., ECCV 2016)."""
    return _residual(f"preact_resnet{depth}", _bottleneck(depth), (PYRAMIDS[1],) * 4, block="preact")


def iresnet(depth: int) -> ResNet:
    """iResNet (Duta et al., arXiv 2004.04989): start, middle and end blocks; max pool on the projection shortcuts."""
    return _residual(f"iresnet{depth}", _bottleneck(depth), (PYRAMIDS[1],) * 4, block="iresnet", pool="all_shortcuts")


def nl_resnet(depth: int) -> ResNet:
    """ResNet with one non-local block a stage (Wang et al., CVPR 2018)."""
    return _residual(f"nl_resnet{depth}", _bottleneck(depth), (PYRAMIDS[1],) * 4, context="nonlocal")


def se_resnet(depth: int) -> ResNet:
    """SE-ResNet, reduction 16 (Hu et al., CVPR 2018)."""
    return _residual(f"se_resnet{depth}", _bottleneck(depth), (PYRAMIDS[1],) * 4, context="se")


def resnext(depth: int) -> ResNet:
    """ResNeXt 32x4d (Xie et al., CVPR 2017)."""
    pyramid = Pyramid((3,), groups=(32,))
    return _residual(f"resnext{depth}", _bottleneck(depth), (pyramid,) * 4, width=128, expansion=2)


def pyconvresnet(
    depth: int,
    levels: tuple[int, int, int, int] = (4, 3, 2, 1),
    pool: Pool = "all_shortcuts",
    *,
    only: Literal["all", "top"] = "all",
    second_conv: SecondConv = "pyramid",
) -> ResNet:
    """PyConvResNet (Table 1, middle): `levels` pyramid levels in stages 1-4, as in Table 2's first column.

    `only="top"` keeps the top level of each pyramid. `second_conv` is for the basic blocks of depths 18 and 34.
    With one level everywhere and the stem's pool it is ResNet itself.
    """
    if wrong := [n for n in levels if n not in PYRAMIDS]:
        raise ValueError(f"levels={levels}: {wrong[0]} is not a number of pyramid levels; valid: {tuple(PYRAMIDS)}")
    if len(levels) != 4:
        raise ValueError(f"levels={levels}: give one number for each of the four stages")
    pyramids = tuple(PYRAMIDS[n].top() if only == "top" else PYRAMIDS[n] for n in levels)
    label = "".join(map(str, levels))
    name = f"pyconvresnet{depth}"
    if levels != (4, 3, 2, 1) or pool != "all_shortcuts" or only == "top":
        name += f"-{'top' if only == 'top' else ''}{label}-{pool}"
    if second_conv == "1x1":
        name += "-1x1"
    network = _residual(name, depth, pyramids, pool=pool, second_conv=second_conv)
    return resnet(depth) if network == resnet(depth) else network


def pyconvhgresnet(depth: int) -> ResNet:
    """PyConvHGResNet (Table 1, right): twice the width, 32 to 64 groups a level."""
    return _residual(
        f"pyconvhgresnet{depth}", _bottleneck(depth), HG_PYRAMIDS, width=128, expansion=2, pool="all_shortcuts"
    )


def resnet3d(depth: int) -> ResNet:
    """ResNet3D (Table 9, left): 400 classes, dropout 0.5, clips of 16 frames."""
    return _video(f"resnet3d{depth}", depth, (VIDEO_PYRAMIDS[1],) * 4, "stem")


def pyconvresnet3d(depth: int) -> ResNet:
    """PyConvResNet3D (Table 9, right): 400 classes, dropout 0.5, clips of 16 frames."""
    pyramids = tuple(VIDEO_PYRAMIDS[n] for n in (4, 3, 2, 1))
    return _video(f"pyconvresnet3d{depth}", depth, pyramids, "all_shortcuts")


def segnet(backbone: ResNet, head: Head, output_stride: int = 8) -> SegNet:
    """Table 5's networks: a head on a backbone dilated to `output_stride`; 150 classes and the auxiliary branch."""
    name = f"{head}-{backbone.name}-os{output_stride}"
    return SegNet(backbone.with_output_stride(output_stride), head, name=name)


def pyconvsegnet(backbone: ResNet, output_stride: int = 8) -> SegNet:
    """PyConvSegNet (Figure 5): the PyConv parsing head on a backbone."""
    return segnet(backbone, "pyconvph", output_stride)


def ssd(depth: int) -> SSD:
    """Baseline SSD (Table 8): ResNet backbone, plain 3x3 head."""
    return SSD(resnet(_bottleneck(depth)).truncated(3), "conv", name=f"ssd{depth}")


def pyconvssd(depth: int) -> SSD:
    """PyConvSSD (Figure 8, Table 8): PyConvResNet backbone, PyConv head."""
    return SSD(pyconvresnet(_bottleneck(depth)).truncated(3), "pyconv", name=f"pyconvssd{depth}")


def _bottleneck(depth: int) -> int:
    if depth not in BOTTLENECK_DEPTHS:
        raise ValueError(f"depth must be one of {', '.join(map(str, BOTTLENECK_DEPTHS))} here, got {depth!r}")
    return depth


def _residual(
    name: str,
    depth: int,
    pyramids: tuple[Pyramid, ...],
    *,
    block: BlockKind = "bottleneck",
    pool: Pool = "stem",
    width: int = 64,
    expansion: int = 4,
    context: Context = "none",
    second_conv: SecondConv = "pyramid",
) -> ResNet:
    if depth not in BLOCKS:
        raise ValueError(f"depth must be one of {', '.join(map(str, BLOCKS))}, got {depth!r}")
    if pool not in ("stem", "first_shortcut", "all_shortcuts"):
        raise ValueError(f"pool must be stem, first_shortcut or all_shortcuts, got {pool!r}")
    if depth in BASIC_DEPTHS:
        block, expansion = "basic", 1
    elif second_conv != "pyramid":
        raise ValueError(f"second_conv is of the basic blocks of depths 18 and 34, not of depth {depth}")
    strides = (1 if pool == "stem" else 2, 2, 2, 2)
    stages = tuple(
        Stage(blocks, width << i, (width << i) * expansion, stride, pyramid)
        for i, (blocks, stride, pyramid) in enumerate(zip(BLOCKS[depth], strides, pyramids, strict=True))
    )
    return ResNet(block, stages, pool, context=context, second_conv=second_conv, name=name)


def _video(name: str, depth: int, pyramids: tuple[Pyramid, ...], pool: Pool) -> ResNet:
    flat = _residual(name, _bottleneck(depth), pyramids, pool=pool)
    strides: tuple[Stride, ...] = ((1, 1, 1) if pool == "stem" else (1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2))
    stages = tuple(replace(stage, stride=stride) for stage, stride in zip(flat.stages, strides, strict=True))
    return replace(flat, stages=stages, num_classes=400, dims=3, dropout=0.5)
