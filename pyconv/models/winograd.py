"""Winograd's convolution F(4x4, 3x3): a dense 3x3 with 36 instead of 144 multiplications for each 4x4 of its output.

    out tile = A' ((G w G') * (B' x B)) A, x a tile of 6x6, w the 3x3 kernel, * by elements, summed over input maps

(Lavin and Gray, CVPR 2016; interpolation at 0, 1, -1, 2, -2 and infinity.) A dilated kernel works on the d x d grids of
every d-th pixel, each of which is a plain image. Equal to the convolution but for float32's rounding, about ten
times larger. For tests on a processor; a GPU's library has its own.
"""

from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional

from pyconv.models.exchange import exchange

TILE = 4
VALUES_AT_ONCE = 1 << 22
"""Of tiles, of at least one image: what a processor's cache holds, and the allocator hands out again without asking."""
WORTH = 0.5
"""Of the multiplications of the convolution itself: with more, as where whole tiles lie mostly outside of small maps
with wide dilations, it is done as it is."""
FEWEST_MAPS = 128
"""With fewer, moving the tiles takes what the multiplications save."""
_INPUT = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
_KERNEL = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
_OUTPUT = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))


def use_winograd(model: nn.Module) -> None:
    """Replace, in place, every convolution of a network for testing that `_fits`."""
    exchange(model, _fits, Winograd)


class Winograd(nn.Module):
    """What `convolution`, of which `_fits` must be true, computes, by its weights of now."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        kernel, weight = torch.tensor(_KERNEL, dtype=torch.float64), convolution.weight.detach()
        transformed = torch.einsum("ik,jl,ockl->ijco", kernel, kernel, weight.double().cpu())
        self.plain = convolution
        self.weight = nn.Parameter(transformed.flatten(0, 1).to(weight), requires_grad=False)
        self.bias = convolution.bias
        self.dilation = convolution.dilation[0]
        self.input = nn.Parameter(_both(_INPUT).to(weight), requires_grad=False)
        self.output = nn.Parameter(_both(_OUTPUT).to(weight), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H, W), channels last in memory."""
        d = self.dilation
        rows, columns = (-(-side // (d * TILE)) for side in x.shape[2:])
        if 36 * d * d * rows * columns > WORTH * 9 * x.shape[2] * x.shape[3]:
            return self.plain(x)
        values = 36 * d * d * rows * columns * x.shape[1]
        parts = x.permute(0, 2, 3, 1).split(max(1, VALUES_AT_ONCE // values))
        out = torch.cat([self._convolve(part, rows, columns) for part in parts])
        if self.bias is not None:
            out += self.bias
        return out.permute(0, 3, 1, 2)

    def _convolve(self, x: Tensor, rows: int, columns: int) -> Tensor:
        """(n, H, W, in_channels) -> (n, H, W, out_channels), by `rows` x `columns` tiles on each of the d x d grids."""
        number, height, width, channels = x.shape
        d, maps = self.dilation, self.weight.shape[2]
        full = d * rows * TILE, d * columns * TILE
        padded = functional.pad(x, (0, 0, d, d + full[1] - width, d, d + full[0] - height))
        tiles = self.input @ self._tiles(padded, rows, columns).flatten(1)
        sums = torch.bmm(tiles.view(36, -1, channels), self.weight)
        out = (self.output @ sums.flatten(1)).view(TILE, TILE, number, d, d, rows, columns, maps)
        return out.permute(2, 5, 0, 3, 6, 1, 4, 7).reshape(number, *full, maps)[:, :height, :width]

    def _tiles(self, padded: Tensor, rows: int, columns: int) -> Tensor:
        """Of (N, H, W, C): (36, N * d * d * rows * columns, C), overlapping by two pixels."""
        d, (image, row, column, channel) = self.dilation, padded.stride()
        shape = (6, 6, len(padded), d, d, rows, columns, padded.shape[3])
        steps = (d * row, d * column, image, row, column, d * TILE * row, d * TILE * column, channel)
        return padded.as_strided(shape, steps).reshape(36, -1, padded.shape[3])


def _fits(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether it is a dense 3x3 of stride 1, padded to keep the size, of so many maps that transforms are worth it."""
    return (
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (3, 3)
        and module.stride == (1, 1)
        and module.groups == 1
        and module.dilation[0] == module.dilation[1]
        and module.padding == module.dilation
        and min(module.in_channels, module.out_channels) >= FEWEST_MAPS
    )


def _both(along: tuple[tuple[int, ...], ...]) -> Tensor:
    """The transform of rows and columns at once: the Kronecker product with itself."""
    one = torch.tensor(along, dtype=torch.float64)
    return torch.kron(one, one)
