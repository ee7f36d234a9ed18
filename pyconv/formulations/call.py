"""One level of a pyramid as the convolution that it is: what a formulation needs besides the tensors."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


@dataclass(frozen=True)
class Call:
    """`conv(x, weight, bias)` with these; one number of stride, padding and dilation a dimension."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    @classmethod
    def of(cls, level: nn.Conv2d | nn.Conv3d) -> "Call":
        """As `level` calls it."""
        assert isinstance(level.padding, tuple)
        return cls(level.stride, level.padding, level.dilation, level.groups)

    def output_size(self, x: Tensor, weight: Tensor) -> tuple[int, ...]:
        """(H', W') or (T', H', W') of the output maps."""
        sides = zip(x.shape[2:], weight.shape[2:], self.stride, self.padding, self.dilation, strict=True)
        return tuple((side + 2 * p - d * (k - 1) - 1) // s + 1 for side, k, s, p, d in sides)


def channels_last(x: Tensor) -> bool:
    """Whether the maps of a pixel lie side by side in memory."""
    return x.is_contiguous(memory_format=CHANNELS_LAST[x.ndim])
