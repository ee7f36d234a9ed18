"""A level with fewer, larger groups: neighbouring ones joined, with zeros where the joined ones do not meet.

Block-diagonal weights: `factor` times the multiplications, in a shape that libraries run so much faster that it pays.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pyconv.formulations import library
from pyconv.formulations.call import Call


@dataclass(frozen=True)
class Merged:
    """`factor` groups joined into one."""

    factor: int

    @property
    def NAME(self) -> str:  # noqa: N802 - as the modules' constant
        """For plans."""
        return f"merged{self.factor}"

    def fits(self, x: Tensor, weight: Tensor, call: Call) -> bool:
        """Whether the groups can be joined."""
        return call.groups % self.factor == 0 and library.fits(x, weight, call)

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None, call: Call) -> Tensor:
        """(N, in, ...) -> (N, out, ...)."""
        return library.forward(x, self._blocks(weight, call), bias, self._call(call))

    def input_gradient(self, grad: Tensor, x: Tensor, weight: Tensor, call: Call) -> Tensor:
        """Of the loss by `x`."""
        return library.input_gradient(grad, x, self._blocks(weight, call), self._call(call))

    def weight_gradient(self, grad: Tensor, x: Tensor, weight: Tensor, call: Call) -> Tensor:
        """Of the loss by `weight`: that of the blocks on the diagonal."""
        found = library.weight_gradient(grad, x, self._blocks(weight, call), self._call(call))
        grouped = found.view(self._grouped(weight, call, self.factor))
        own = torch.arange(self.factor)
        return grouped[:, own, :, own].transpose(0, 1).reshape(weight.shape)

    def _blocks(self, weight: Tensor, call: Call) -> Tensor:
        blocks = weight.new_zeros(self._grouped(weight, call, self.factor))
        own = torch.arange(self.factor)
        blocks[:, own, :, own] = weight.view(self._grouped(weight, call, 1)).squeeze(3).transpose(0, 1)
        return blocks.view(len(weight), -1, *weight.shape[2:])

    def _grouped(self, weight: Tensor, call: Call, factor: int) -> tuple[int, ...]:
        """(joined groups, factor, output maps, `factor`, input maps, ...)."""
        maps = len(weight) // call.groups
        return (call.groups // self.factor, self.factor, maps, factor, *weight.shape[1:])

    def _call(self, call: Call) -> Call:
        return replace(call, groups=call.groups // self.factor)
