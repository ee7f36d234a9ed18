"""Semantic segmentation (section 5, Figures 5 and 6, Tables 5-7): dilated backbone, one of four heads, auxiliary head.

Heads and where their numbers come from: PyConvPH from the authors' released code; conv3x3 and PPM from PSPNet (Zhao et
al., CVPR 2017) in semseg, on which the authors built; ASPP from DeepLabv3 (Chen et al., arXiv 1706.05587). All four
reproduce the parameters and FLOPs of Table 5. Heads keep torch's default weights, as there; the backbone starts as in
classification, and in the paper from ImageNet.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyconv import architectures
from pyconv.layers import batch_norm, conv, require_variance, spatial_conv
from pyconv.models.resnet import ResNet
from pyconv.pyramid import PYRAMIDS

DROPOUT = 0.1


class SegNet(nn.Module):
    """Images (N, 3, H, W) -> {"out": logits (N, num_classes, H, W), "aux": the same from stage 3}.

    Any H and W from the backbone's output stride on (the sources only take 8k + 1). Classification is a 1x1 at the size
    of stage 4, then bilinear upsampling: the text has it the other way round, the printed FLOPs and the sources do not.
    In training the 1x1 bins of PPM and ASPP need two images a batch, or synchronised batch norms.
    """

    def __init__(self, network: architectures.SegNet) -> None:
        super().__init__()
        backbone = network.backbone
        if backbone.dims != 2 or len(backbone.stages) != 4 or backbone.block == "preact":
            # Stages of a pre-activation network end before the batch norm and ReLU that a head relies on.
            raise ValueError(
                f"{network.name}: the backbone must be 2-D and end each of four stages activated; {backbone.name} has "
                f"dims={backbone.dims}, {len(backbone.stages)} stages, {backbone.block} blocks"
            )
        self.network = network
        self.backbone = ResNet(backbone, classifier=False)
        self.head, channels = _head(network)
        self.classifier = _classifier(channels, network.num_classes)
        self.aux: nn.Module | None = None
        if network.auxiliary:
            reduce = _conv_bn_relu(backbone.stages[2].out_channels, 256, 3)
            self.aux = nn.Sequential(*reduce, *_classifier(256, network.num_classes))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) -> logits (N, num_classes, H, W) under "out", and under "aux" if there is that head."""
        size = x.shape[2:]
        smallest = self.network.backbone.output_stride
        if x.dim() == 4 and min(size) < smallest:
            raise ValueError(
                f"images of {tuple(size)} are too small: {self.network.name} needs {smallest}x{smallest} or more"
            )
        *_, stage3, stage4 = self.backbone.features(x)
        outputs = {"out": _upsample(self.classifier(self.head(stage4)), size)}
        if self.aux is not None:
            outputs["aux"] = _upsample(self.aux(stage3), size)
        return outputs


class PyConvPH(nn.Module):
    """The PyConv parsing head: local and global PyConv blocks side by side, merged by a 3x3 (Figure 6).

    Global pools to 9x9 whatever the shape of the image, as the released code does (the text would keep its aspect).
    (N, in_channels, H, W) -> (N, 256, H, W).
    """

    def __init__(self, in_channels: int, width: int = 512, out_channels: int = 256, bins: int = 9) -> None:
        super().__init__()
        self.local_block = _pyconv_block(in_channels, width)
        self.pool = nn.AdaptiveAvgPool2d(bins)
        self.global_block = _pyconv_block(in_channels, width)
        self.merge = _conv_bn_relu(2 * width, out_channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Stage 4's maps -> 256 maps of their size."""
        local = self.local_block(x)
        context = _upsample(self.global_block(self.pool(x)), local.shape[2:])
        return self.merge(torch.cat([local, context], dim=1))


class PPM(nn.Module):
    """Pyramid pooling module: averages over 1, 4, 9 and 36 bins beside the maps themselves, merged by a 3x3.

    (N, in_channels, H, W) -> (N, 512, H, W).
    """

    def __init__(self, in_channels: int, out_channels: int = 512, bins: tuple[int, ...] = (1, 2, 3, 6)) -> None:
        super().__init__()
        width = in_channels // len(bins)
        self.branches = nn.ModuleList(PooledBranch(in_channels, width, size) for size in bins)
        self.merge = _conv_bn_relu(in_channels + len(bins) * width, out_channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Stage 4's maps -> 512 maps of their size."""
        return self.merge(torch.cat([x, *(branch(x) for branch in self.branches)], dim=1))


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: 1x1, three dilated 3x3 and the image's average, merged by a 1x1.

    `rates`: dilations, (12, 24, 36) at output stride 8, (6, 12, 18) at 16. (N, in_channels, H, W) -> (N, 256, H, W).
    """

    def __init__(self, in_channels: int, rates: tuple[int, ...], width: int = 256) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                _conv_bn_relu(in_channels, width, 1),
                *(_conv_bn_relu(in_channels, width, 3, dilation=rate) for rate in rates),
                PooledBranch(in_channels, width, 1),
            ]
        )
        self.merge = _conv_bn_relu(len(self.branches) * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Stage 4's maps -> 256 maps of their size."""
        return self.merge(torch.cat([branch(x) for branch in self.branches], dim=1))


class PooledBranch(nn.Module):
    """Average over `bins` x `bins` cells, 1x1, BN, ReLU, bilinear (align_corners=True) back to the size before.

    Raises `ValueError` where batch norm would see a single value a map: one bin of one image, in training.
    """

    def __init__(self, in_channels: int, out_channels: int, bins: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(bins)
        self.conv = conv(in_channels, out_channels)
        self.bn = batch_norm(out_channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H, W)."""
        pooled = self.pool(x)
        require_variance(self.bn, values=pooled[:, 0].numel())
        return _upsample(self.relu(self.bn(self.conv(pooled))), x.shape[2:])


def _head(network: architectures.SegNet) -> tuple[nn.Module, int]:
    """The head over stage 4 and the number of its maps."""
    in_channels, output_stride = network.backbone.stages[3].out_channels, network.backbone.output_stride
    match network.head:
        case "conv3x3":
            return _conv_bn_relu(in_channels, 512, 3), 512
        case "ppm":
            return PPM(in_channels, out_channels=512), 512
        case "aspp":
            # DeepLabv3: rates 6, 12, 18 at output stride 16, doubled at 8.
            return ASPP(in_channels, rates=tuple(rate * 16 // output_stride for rate in (6, 12, 18)), width=256), 256
        case "pyconvph":
            return PyConvPH(in_channels, out_channels=256), 256
    raise ValueError(f"{network.name}: head must be conv3x3, ppm, aspp or pyconvph, got {network.head!r}")


def _conv_bn_relu(in_channels: int, out_channels: int, kernel: int, *, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        conv(in_channels, out_channels, kernel, dilation=dilation), batch_norm(out_channels), nn.ReLU(inplace=True)
    )


def _pyconv_block(in_channels: int, width: int) -> nn.Sequential:
    """1x1, PyConv of four levels, 1x1, each with BN and ReLU (Figure 6)."""
    return nn.Sequential(
        *_conv_bn_relu(in_channels, width, 1),
        spatial_conv(width, width, PYRAMIDS[4]),
        batch_norm(width),
        nn.ReLU(inplace=True),
        *_conv_bn_relu(width, width, 1),
    )


def _classifier(in_channels: int, num_classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Dropout2d(DROPOUT), conv(in_channels, num_classes, bias=True))


def _upsample(x: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)
