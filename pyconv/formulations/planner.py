"""Which formulation computes a level: measured like cuDNN's benchmark mode, by a fixed rule, or as somebody says.

A choice is made once for each level, size, type, layout, device, number of threads and mode (test, or train with its
two gradients), and kept: in memory, and on the disk of the machine (`pyconv.formulations.choices`). Sizes count by
their power of two, so that images of many sizes are not measured one by one.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from pyconv.formulations import choices, direct, library, winograd
from pyconv.formulations.call import Call, channels_last
from pyconv.formulations.levels import FORMULATIONS, Choice, Parameters, Plan
from pyconv.formulations.measure import fastest

AUTO, FIXED, REFERENCE = "auto", "fixed", "reference"
POLICIES = (AUTO, FIXED, REFERENCE, *(name for name in FORMULATIONS if name != library.NAME))
VARIABLE = "PYCONV_FORMULATION"

_MEASURED = (torch.float32, torch.float64)
"""On a processor. Others are computed as the definition says: torch 2.14.1's bfloat16 convolutions of maps smaller than
the kernel may write outside their memory there, and to try more of them would be to meet that more often."""

_repeatable = False


def checked(policy: str) -> str:
    """`policy`, or `ValueError` with those that there are."""
    if policy not in POLICIES:
        raise ValueError(f"formulation {policy!r} is none of {', '.join(POLICIES)}")
    return policy


@contextmanager
def repeatable(on: bool) -> Iterator[None]:
    """Inside, where `on`, no measurement decides about the bits of a run.

    "auto" is the definition in training, and the fixed rule in inference mode, where rounding is not amplified.
    """
    global _repeatable
    before, _repeatable = _repeatable, on or _repeatable
    try:
        yield
    finally:
        _repeatable = before


def policy_now(own: str | None) -> str:
    """A layer's own policy, else the environment's PYCONV_FORMULATION, else "auto", as what that means here and now."""
    policy = own or checked(os.environ.get(VARIABLE) or AUTO)
    if policy == AUTO and _repeatable and not torch.is_inference_mode_enabled():
        return REFERENCE
    if policy == AUTO and (_repeatable or torch.are_deterministic_algorithms_enabled()):
        return FIXED
    return policy


def plan(x: Tensor, parameters: Parameters, calls: Sequence[Call], policy: str, *, train: bool) -> Plan | None:
    """A choice a level; None where every level is computed as the definition says."""
    pairs = [(weight, call) for (weight, _), call in zip(parameters, calls, strict=True)]
    if policy == REFERENCE or not x.numel() or not all(library.fits(x, *pair) for pair in pairs):
        return None  # what does not fit is refused by torch, in its words
    if policy == AUTO and x.device.type == "cpu" and x.dtype not in _MEASURED:
        return None
    if policy == AUTO:
        found = tuple(_measured(x, weight, call, train=train) for weight, call in pairs)
    elif policy == FIXED:
        found = tuple(by_rule(x, weight, call) for weight, call in pairs)
    else:
        found = tuple(_pinned(policy, x, weight, call) for weight, call in pairs)
    return None if all(choice == Choice() for choice in found) else found


def by_rule(x: Tensor, weight: Tensor, call: Call) -> Choice:
    """What wins nearly everywhere, by the numbers of maps alone, so that no measurement and no batch size decides.

    The direct formulation where a library fills its vectors badly: outputs and weight gradient where groups have at
    most 8 output maps, the input's gradient where they have at most 8 input maps (`docs/speed.md`). Winograd's for
    outputs of a dense 3x3 of many maps.
    """
    if winograd.worth(x, weight, call):
        return Choice(winograd.NAME)
    if not direct.fits(x, weight, call):
        return Choice()
    few_out, few_in = len(weight) // call.groups <= 8, weight.shape[1] <= 8
    names = [direct.NAME if few else library.NAME for few in (few_out, few_in, few_out)]
    return Choice(*names)


def _pinned(name: str, x: Tensor, weight: Tensor, call: Call) -> Choice:
    return Choice(name, name, name) if FORMULATIONS[name].fits(x, weight, call) else Choice()


def _measured(x: Tensor, weight: Tensor, call: Call, *, train: bool) -> Choice:
    kept, key = choices.of_machine(x.device), signature(x, weight, call, train=train)
    found = kept.get(key)
    if found is None or not _fits(found, x, weight, call):
        measured = fastest(x, weight, call, train=train)
        found = kept.add(key, measured, instead_of=found)
        return found if _fits(found, x, weight, call) else measured
    return found


def _fits(choice: Choice, x: Tensor, weight: Tensor, call: Call) -> bool:
    names = (choice.forward, choice.input_gradient, choice.weight_gradient)
    return all(FORMULATIONS[name].fits(x, weight, call) for name in names)


def signature(x: Tensor, weight: Tensor, call: Call, *, train: bool) -> str:
    """What a choice depends on besides the machine."""
    sizes = "x".join(str(1 << (side - 1).bit_length()) for side in (len(x), *x.shape[2:]))
    kernel = "x".join(map(str, weight.shape[2:]))
    parts = [
        "train" if train else "test",
        str(x.dtype).removeprefix("torch."),
        "last" if channels_last(x) else "first",
        f"threads {torch.get_num_threads()}",
        f"{x.shape[1]} to {len(weight)} maps",
        f"{call.groups} groups",
        f"kernel {kernel}",
        f"stride {_numbers(call.stride)}",
        f"padding {_numbers(call.padding)}",
        f"dilation {_numbers(call.dilation)}",
        f"size {sizes}",
    ]
    return ", ".join(parts)


def _numbers(values: tuple[int, ...]) -> str:
    return "x".join(map(str, values))
