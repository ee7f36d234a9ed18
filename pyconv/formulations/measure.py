"""The fastest formulation of a level, by a short measurement of each that fits."""

from collections.abc import Callable
from time import perf_counter

import torch
from torch import Tensor

from pyconv.formulations import library
from pyconv.formulations.call import CHANNELS_LAST, Call, channels_last
from pyconv.formulations.levels import FORMULATIONS, Choice, Formulation

ROUNDS = 4
SECONDS = 1.0
"""Of measuring one kind of call at most, if the first round of all takes less."""
WORTH = 0.95
"""Of the library's time: with more the definition stays."""

Calls = dict[str, Callable[[], object]]


def fastest(x: Tensor, weight: Tensor, call: Call, *, train: bool) -> Choice:
    """Outputs and, where `train`, both gradients are chosen one by one. No generator of torch's is used."""
    fitting = {name: each for name, each in FORMULATIONS.items() if each.fits(x, weight, call)}
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        x, weight = x.detach(), weight.detach()
        forward = _best({name: _forward(each, x, weight, call) for name, each in fitting.items()}, x.device)
        if not train:
            return Choice(forward)
        grad = _gradient(x, weight, call)
        inputs = {name: _call(each.input_gradient, grad, x, weight, call) for name, each in fitting.items()}
        weights = {name: _call(each.weight_gradient, grad, x, weight, call) for name, each in fitting.items()}
        return Choice(forward, _best(inputs, x.device), _best(weights, x.device))


def _forward(each: Formulation, x: Tensor, weight: Tensor, call: Call) -> Callable[[], object]:
    return lambda: each.forward(x, weight, None, call)


def _call(gradient: Callable[..., Tensor], *arguments: object) -> Callable[[], object]:
    return lambda: gradient(*arguments)


def _gradient(x: Tensor, weight: Tensor, call: Call) -> Tensor:
    memory = CHANNELS_LAST[x.ndim] if channels_last(x) else torch.contiguous_format
    shape = (len(x), len(weight), *call.output_size(x, weight))
    return torch.ones(shape, dtype=x.dtype, device=x.device).contiguous(memory_format=memory)


def _best(calls: Calls, device: torch.device) -> str:
    """The name of the fastest; the least of a few times each, taken in turn, says how fast one is."""
    seconds: dict[str, float] = {}
    for name, call in list(calls.items()):
        try:
            _time(call, device)  # lays out memory, compiles what a library compiles
            seconds[name] = _time(call, device)
        except (RuntimeError, MemoryError):
            if name == library.NAME:
                raise
            del calls[name]
    spent = sum(seconds.values())
    for _ in range(ROUNDS - 1):
        if spent * ROUNDS > SECONDS and spent > SECONDS / ROUNDS:
            break
        for name, call in calls.items():
            seconds[name] = min(seconds[name], _time(call, device))
    best = min(seconds, key=lambda name: seconds[name])
    return best if seconds[best] < WORTH * seconds[library.NAME] else library.NAME


def _time(call: Callable[[], object], device: torch.device) -> float:
    _wait(device)
    start = perf_counter()
    call()
    _wait(device)
    return perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
