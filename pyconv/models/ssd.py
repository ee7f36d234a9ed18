"""Single shot detection at 300x300 (appendix A.1, Figure 8, Table 8): SSD and PyConvSSD, and their default boxes.

Map sizes, widths and numbers of boxes are the paper's; scales, ratios and steps of the boxes and the first weights are
those of NVIDIA's SSD300 for COCO, whose other settings the paper shares. (The paper's own code is not public.)

At another image size maps have the same strides and boxes the same pixels, at most the whole image: as many default
boxes lie about an object of so many pixels. The head ends before a map would vanish.
"""

from collections import OrderedDict
from itertools import pairwise
from math import sqrt
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pyconv import architectures
from pyconv.layers import batch_norm, conv, require_variance, spatial_conv
from pyconv.models.initialise import xavier
from pyconv.models.resnet import ResNet
from pyconv.pyramid import PYRAMIDS

IMAGE_SIZE = 300
BOXES_PER_CELL = (4, 6, 6, 6, 4, 4)
SCALES = (21, 45, 99, 153, 207, 261, 315)  # pixels
STRIDE = 8  # of the backbone
RATIOS = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))


class HeadBlock(NamedTuple):
    """A block of Figure 8's head: maps of its 1x1, output maps, levels of the PyConv, stride or else no padding."""

    width: int
    out_channels: int
    levels: int
    strided: bool


HEAD = (
    HeadBlock(256, 512, levels=4, strided=True),
    HeadBlock(256, 512, levels=3, strided=True),
    HeadBlock(128, 256, levels=2, strided=True),
    HeadBlock(128, 256, levels=1, strided=False),
    HeadBlock(128, 256, levels=1, strided=False),
)


def map_sizes(image_size: int = IMAGE_SIZE) -> tuple[int, ...]:
    """Sides of the maps that boxes are predicted from: 300 -> (38, 19, 10, 5, 3, 1).

    Raises `ValueError` for images so small that only the backbone's map would be left.
    """
    sizes = [-(-image_size // STRIDE)]  # three strides of 2, each rounded up
    for block in HEAD:
        side = -(-sizes[-1] // 2) if block.strided else sizes[-1] - 2
        if side < 1 or sizes[-1] == 1:
            break
        sizes.append(side)
    if len(sizes) < 2:
        raise ValueError(f"an image of {image_size}x{image_size} is too small for SSD: use more than {STRIDE} pixels")
    return tuple(sizes)


class SSD(nn.Module):
    """Images (N, 3, 300, 300) -> (locations (N, 8732, 4), scores (N, 8732, num_classes)).

    Row b of both belongs to row b of `default_boxes()`. Locations are offsets (cx, cy, w, h) relative to it, scores are
    logits, class 0 the background. Another image size than the network's is refused: the boxes would not lie on the
    maps.
    """

    def __init__(self, network: architectures.SSD) -> None:
        super().__init__()
        backbone = network.backbone
        if backbone.dims != 2 or len(backbone.stages) != 3 or backbone.output_stride != 8 or backbone.block == "preact":
            raise ValueError(
                f"{network.name}: the backbone must be 2-D and end three stages activated at output stride 8, as "
                f"`.truncated(3)` does; {backbone.name} has {len(backbone.stages)} stages, output stride "
                f"{backbone.output_stride}, {backbone.block} blocks"
            )
        if network.head not in ("conv", "pyconv"):
            raise ValueError(f"{network.name}: head must be conv or pyconv, got {network.head!r}")
        self.network = network
        self.map_sizes = map_sizes(network.image_size)
        self.backbone = ResNet(backbone, classifier=False)
        blocks = HEAD[: len(self.map_sizes) - 1]
        channels = [backbone.stages[-1].out_channels, *(block.out_channels for block in blocks)]
        self.head = nn.ModuleList(
            _head_block(block, network.head, before) for block, before in zip(blocks, channels[:-1], strict=True)
        )
        predicted = list(zip(channels, BOXES_PER_CELL, strict=False))
        self.locations = nn.ModuleList(conv(maps, 4 * boxes, 3, bias=True) for maps, boxes in predicted)
        self.scores = nn.ModuleList(conv(maps, network.num_classes * boxes, 3, bias=True) for maps, boxes in predicted)
        for part in (self.head, self.locations, self.scores):
            xavier(part)

    def maps(self, x: Tensor) -> tuple[Tensor, ...]:
        """The maps that boxes are predicted from: stage 3 and those of the head, of 300 pixels 38x38 to 1x1.

        Raises `ValueError` for one image in training: batch norm has no variance of a single value.
        """
        require_variance(self.head[-1].get_submodule("bn2"), values=x.shape[0] * self.map_sizes[-1] ** 2)
        outputs = [self.backbone.features(x)[-1]]
        for block in self.head:
            outputs.append(block(outputs[-1]))
        return tuple(outputs)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, 300, 300) -> locations (N, 8732, 4), scores (N, 8732, num_classes), as the default boxes."""
        if x.dim() != 4 or tuple(x.shape[1:]) != self.network.input_size:
            side = self.network.image_size
            raise ValueError(f"{self.network.name} takes (N, 3, {side}, {side}), got {tuple(x.shape)}: resize it")
        maps = self.maps(x)
        locations = [_per_box(predict(m), 4) for predict, m in zip(self.locations, maps, strict=True)]
        scores = [_per_box(predict(m), self.network.num_classes) for predict, m in zip(self.scores, maps, strict=True)]
        return torch.cat(locations, dim=1), torch.cat(scores, dim=1)


def default_boxes(image_size: int = IMAGE_SIZE) -> Tensor:
    """(8732, 4): centre x, centre y, width, height of every default box, in units of the image side, clamped to [0, 1].

    Order: map (38x38 first), row, column, shape; shapes of a cell: the square of scale s, the square of scale
    sqrt(s * next s), then for every ratio r: s * sqrt(r) by s / sqrt(r), and the same upright (Liu et al., ECCV 2016).
    Centres lie in the middle of cells of 8, 16, 32, 64, 100 and 300 pixels of 300.
    """
    boxes: list[tuple[float, float, float, float]] = []
    maps = map_sizes(image_size)
    for number, (size, scales, ratios) in enumerate(zip(maps, pairwise(SCALES), RATIOS, strict=False)):
        step = _step(number, size, image_size)
        shapes = [(width / image_size, height / image_size) for width, height in _shapes(*scales, ratios)]
        for row in range(size):
            for column in range(size):
                centre = (column + 0.5) * step / image_size, (row + 0.5) * step / image_size
                boxes.extend((*centre, *shape) for shape in shapes)
    return torch.tensor(boxes, dtype=torch.float64).float().clamp_(0, 1)


def _step(number: int, size: int, image_size: int) -> float:
    """Pixels from cell to cell of a map: its stride; of a map without padding, its part of the image."""
    strided = number == 0 or HEAD[number - 1].strided
    return STRIDE * 2**number if strided else image_size / size


def _shapes(scale: float, next_scale: float, ratios: tuple[int, ...]) -> list[tuple[float, float]]:
    """Widths and heights in pixels of the boxes of one cell."""
    middle = sqrt(scale * next_scale)
    shapes: list[tuple[float, float]] = [(scale, scale), (middle, middle)]
    for ratio in ratios:
        long, short = scale * sqrt(ratio), scale / sqrt(ratio)
        shapes += [(long, short), (short, long)]
    return shapes


def _head_block(block: HeadBlock, kind: architectures.DetectionHead, in_channels: int) -> nn.Sequential:
    """1x1, BN, ReLU, spatial convolution, BN, ReLU, without biases (Figure 8)."""
    width, out_channels = block.width, block.out_channels
    spatial: nn.Module
    if block.strided:
        spatial = spatial_conv(width, out_channels, PYRAMIDS[block.levels if kind == "pyconv" else 1], stride=2)
    else:
        spatial = nn.Conv2d(width, out_channels, 3, bias=False)
    return nn.Sequential(
        OrderedDict(
            conv1=conv(in_channels, width),
            bn1=batch_norm(width),
            relu1=nn.ReLU(inplace=True),
            conv2=spatial,
            bn2=batch_norm(out_channels),
            relu2=nn.ReLU(inplace=True),
        )
    )


def _per_box(prediction: Tensor, values: int) -> Tensor:
    """(N, boxes * values, H, W) -> (N, H * W * boxes, values): row, column, box of the cell."""
    images, _, height, width = prediction.shape
    by_box = prediction.reshape(images, -1, values, height, width)
    return by_box.permute(0, 3, 4, 1, 2).reshape(images, -1, values)
