"""A pyramid's modules, computed as planned."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules import module as torch_module

from pyconv.formulations import levels, library, planner
from pyconv.formulations.call import Call
from pyconv.formulations.kept import Kept

_GLOBAL_HOOKS = (
    torch_module._global_forward_hooks,
    torch_module._global_forward_pre_hooks,
    torch_module._global_backward_hooks,
    torch_module._global_backward_pre_hooks,
)


def is_plain(x: Tensor, convolutions: Iterable[nn.Module]) -> bool:
    """Whether nobody looks at the single convolutions: no hook, tracer or transform, nor weights that are not tensors.

    Counters of FLOPs hook or trace them: what they count is the definition.
    """
    if type(x) is not Tensor or torch.compiler.is_compiling() or torch.jit.is_tracing():
        return False
    if x.device.type not in ("cpu", "cuda") or not is_values(x):
        return False
    if torch._C._len_torch_dispatch_stack() or forward_ad._current_level >= 0 or any(map(bool, _GLOBAL_HOOKS)):
        return False
    return all(_is_own(each, x.device) for each in convolutions)


def _is_own(level: nn.Module, device: torch.device) -> bool:
    if not isinstance(level, (nn.Conv2d, nn.Conv3d)) or type(level) not in (nn.Conv2d, nn.Conv3d):
        return False
    if hooked(level) or level.padding_mode != "zeros" or not isinstance(level.padding, tuple):
        return False
    given = [level.weight] if level.bias is None else [level.weight, level.bias]
    return all(each.device == device and each.dtype == given[0].dtype and is_values(each) for each in given)


def hooked(module: nn.Module) -> bool:
    """Whether somebody looks at what goes into or comes out of the module."""
    return bool(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    ) or any(map(bool, _GLOBAL_HOOKS))


def is_values(tensor: Tensor) -> bool:
    """Whether its memory holds its values: no wrapper of a transform, no view that is negated when it is read."""
    return (
        type(tensor) in (Tensor, nn.Parameter)
        and tensor.layout == torch.strided
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
        and not tensor.is_neg()
    )


def compute(
    x: Tensor, convolutions: Iterable[nn.Module], policy: str, *, relu: bool = False, kept: Kept | None = None
) -> Tensor | None:
    """The levels' outputs side by side; None where the plan is the definition itself.

    `relu`, for testing only: of the outputs; then they are written as their ReLU whatever the plan. `kept`: where
    weights that no longer change stay laid out.
    """
    own = [each for each in convolutions if isinstance(each, (nn.Conv2d, nn.Conv3d))]
    parameters = [(each.weight, each.bias) for each in own]
    calls = [Call.of(each) for each in own]
    train = torch.is_grad_enabled() and (x.requires_grad or any(weight.requires_grad for weight, _ in parameters))
    x, parameters = _cast(x, parameters)
    plan = planner.plan(x, parameters, calls, policy, train=train)
    fits = x.numel() and all(library.fits(x, weight, call) for (weight, _), call in zip(parameters, calls, strict=True))
    if (relu or kept is not None) and not train and fits:
        return levels.outputs(x, parameters, calls, plan or (levels.Choice(),) * len(own), relu=relu, kept=kept)
    return None if plan is None or relu else levels.compute(x, parameters, calls, plan)


def _cast(
    x: Tensor, parameters: list[tuple[Tensor, Tensor | None]]
) -> tuple[Tensor, list[tuple[Tensor, Tensor | None]]]:
    """In the type of automatic mixed precision, where that is on, as a convolution itself would."""
    if not torch.is_autocast_enabled(x.device.type):
        return x, parameters
    dtype = torch.get_autocast_dtype(x.device.type)

    def cast(tensor: Tensor) -> Tensor:
        return tensor if tensor.dtype == torch.float64 else tensor.to(dtype)

    return cast(x), [(cast(w), None if bias is None else cast(bias)) for w, bias in parameters]
