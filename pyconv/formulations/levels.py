"""All levels of a pyramid as one differentiable function: each in its own formulation, into one tensor of outputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pyconv.formulations import depthwise, direct, library, winograd
from pyconv.formulations.call import CHANNELS_LAST, Call, channels_last
from pyconv.formulations.kept import Kept
from pyconv.formulations.merged import Merged

Formulation = ModuleType | Merged
FORMULATIONS: dict[str, Formulation] = {
    each.NAME: each for each in (library, direct, winograd, depthwise, Merged(2), Merged(4), Merged(8))
}
_IN_PLACE: dict[str, Any] = {each.NAME: each for each in (direct, winograd)}
"""Those that write into a part of a tensor, or add to it."""


@dataclass(frozen=True)
class Choice:
    """The formulations of one level's outputs and of its two gradients, by name."""

    forward: str = library.NAME
    input_gradient: str = library.NAME
    weight_gradient: str = library.NAME


Plan = tuple[Choice, ...]
Parameters = Sequence[tuple[Tensor, Tensor | None]]
"""Weight and bias of each level."""


def compute(x: Tensor, parameters: Parameters, calls: list[Call], plan: Plan) -> Tensor:
    """(N, in, ...) -> (N, sum of the levels' outputs, ...), level 1 first, in the layout of `x`."""
    flat = [tensor for pair in parameters for tensor in pair]
    out: Tensor = _Levels.apply(x, calls, plan, *flat)
    return out


def outputs(
    x: Tensor, parameters: Parameters, calls: list[Call], plan: Plan, *, relu: bool = False, kept: Kept | None = None
) -> Tensor:
    """As `compute`, without gradients; `relu`: of the outputs, as they are written; `kept`: of weights laid out."""
    size = calls[0].output_size(x, parameters[0][0])
    out = direct.empty(x, sum(len(weight) for weight, _ in parameters), size)
    first = 0
    for number, (choice, call, (weight, bias)) in enumerate(zip(plan, calls, parameters, strict=True)):
        own = out.narrow(1, first, len(weight))
        if choice.forward == direct.NAME:
            direct.forward_into(out, first, x, weight, bias, call, relu=relu)
        elif choice.forward == winograd.NAME:
            laid_out = None if kept is None else winograd.kept(kept, number, weight)
            winograd.forward_into(out, first, x, weight, bias, call, relu=relu, laid_out=laid_out)
        elif relu:
            torch.clamp_min(FORMULATIONS[choice.forward].forward(x, weight, bias, call), 0, out=own)
        else:
            own.copy_(FORMULATIONS[choice.forward].forward(x, weight, bias, call))
        first += len(weight)
    return out if channels_last(x) else out.contiguous()


class _Levels(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, calls: list[Call], plan: Plan, *parameters: Tensor | None) -> Tensor:
        weights = [weight for weight in parameters[::2] if weight is not None]
        ctx.save_for_backward(x, *weights)
        ctx.calls, ctx.plan = calls, plan
        return outputs(x, list(zip(weights, parameters[1::2], strict=True)), calls, plan)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        x, *weights = ctx.saved_tensors
        grad = grad.contiguous(memory_format=CHANNELS_LAST[grad.ndim])
        needed = ctx.needs_input_grad
        parts = _Parts(grad, x, weights, ctx.calls, ctx.plan)
        found: list[Any] = [parts.input_gradient(needed[3::2]) if needed[0] else None, None, None]
        for level in range(len(weights)):
            found.append(parts.weight_gradient(level) if needed[3 + 2 * level] else None)
            found.append(parts.bias_gradient(level) if needed[4 + 2 * level] else None)
        return tuple(found)


class _Parts:
    """The gradients of the levels, of which each has its maps of `grad`."""

    def __init__(self, grad: Tensor, x: Tensor, weights: list[Tensor], calls: list[Call], plan: Plan) -> None:
        self.grad, self.x, self.weights, self.calls, self.plan = grad, x, weights, calls, plan
        ends = torch.tensor([len(weight) for weight in weights]).cumsum(0).tolist()
        self.firsts = [0, *ends[:-1]]
        self._weight_gradients: dict[int, Tensor] = {}

    def input_gradient(self, weights_too: Sequence[bool]) -> Tensor:
        """The sum over the levels; those that can are added in place, last.

        Where a library computes both gradients of a level, and `weights_too`, it does so here.
        """
        total: Tensor | None = None
        order = sorted(range(len(self.plan)), key=lambda i: self.plan[i].input_gradient in _IN_PLACE)
        for i in order:
            name, weight, call = self.plan[i].input_gradient, self.weights[i], self.calls[i]
            if name not in _IN_PLACE:
                found = self._input_gradient(i, weights_too[i])
                total = found if total is None else total.add_(found)
                continue
            add = total is not None
            if total is None:
                total = direct.empty(self.x, self.x.shape[1], tuple(self.x.shape[2:]))
            total = total.contiguous(memory_format=CHANNELS_LAST[total.ndim])
            _IN_PLACE[name].input_gradient_into(total, self.grad, self.firsts[i], weight, call, add=add)
        assert total is not None
        return total

    def _input_gradient(self, i: int, weight_too: bool) -> Tensor:
        choice, arguments = self.plan[i], (self._own(i), self.x, self.weights[i], self.calls[i])
        if choice.input_gradient == choice.weight_gradient == library.NAME and weight_too:
            found, self._weight_gradients[i] = library.gradients(*arguments)
            return found
        alone: Tensor = FORMULATIONS[choice.input_gradient].input_gradient(*arguments)
        return alone

    def weight_gradient(self, i: int) -> Tensor:
        """Of level `i`."""
        if i in self._weight_gradients:
            return self._weight_gradients.pop(i)
        name, weight, call = self.plan[i].weight_gradient, self.weights[i], self.calls[i]
        if name in _IN_PLACE:
            written: Tensor = _IN_PLACE[name].weight_gradient_of(self.grad, self.firsts[i], self.x, weight, call)
            return written
        found: Tensor = FORMULATIONS[name].weight_gradient(self._own(i), self.x, weight, call)
        return found

    def bias_gradient(self, i: int) -> Tensor:
        """Of level `i`."""
        return self._own(i).sum([0, *range(2, self.grad.ndim)])

    def _own(self, i: int) -> Tensor:
        own = self.grad.narrow(1, self.firsts[i], len(self.weights[i]))
        return own.contiguous(memory_format=CHANNELS_LAST[own.ndim])
