"""Whether a state dict is that of a network: every misfit told in the file's words, before anything is loaded."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from pyconv.architectures import Network
from pyconv.checkpoints.files import CheckpointError
from pyconv.checkpoints.names import CLASSIFIERS, COUNTER, layout

SHOWN = 6
"""Names of one kind that a message spells out."""


def check_fit(
    where: str, network: Network, names: Mapping[str, str], own: Mapping[str, Tensor], found: Mapping[str, Tensor]
) -> None:
    """Refuse `found` unless it has every tensor of `own` under its name in `names`, no other, of its shape."""
    wanted = set(names.values())
    missing = [theirs for theirs in names.values() if theirs not in found and not theirs.endswith(COUNTER)]
    unexpected = [name for name in found if name not in wanted]
    shapes = {
        ours: theirs for ours, theirs in names.items() if theirs in found and not _alike(own[ours], found[theirs])
    }
    if not (missing or unexpected or shapes):
        return
    told = _classes(network, shapes, own, found)
    if (
        told
        and not missing
        and not unexpected
        and all(_layer(ours) in CLASSIFIERS.get(type(network), ()) for ours in shapes)
    ):
        raise CheckpointError(f"{where}: {told}")
    sizes = [f"{theirs} is {_size(found[theirs])}, here {_size(own[ours])}" for ours, theirs in shapes.items()]
    lists = (("missing", missing), ("unexpected", unexpected), ("of another shape", sizes))
    parts = [f"{len(names)} {kind} ({_listed(names)})" for kind, names in lists if names]
    raise CheckpointError(
        f"{where}: not the weights of {network.name}: {'; '.join(parts)}. "
        f"{f'{told}. ' if told else ''}Its names are those of: {layout(found)}. Nothing was loaded"
    )


def converted(
    where: str, names: Mapping[str, str], own: Mapping[str, Tensor], found: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """`found` under our names in the types of `own`; refuses what is no finite number of the right kind there."""
    kinds = [
        f"{theirs} is {_kind(found[theirs])}"
        for ours, theirs in names.items()
        if theirs in found and not _same_kind(own[ours], found[theirs])
    ]
    if kinds:
        raise CheckpointError(f"{where}: weights are dense floating point: {_listed(kinds)}. Nothing was loaded")
    fitting = {ours: _as(own[ours], found.get(theirs)) for ours, theirs in names.items()}
    if broken := [names[ours] for ours, tensor in fitting.items() if not bool(torch.isfinite(tensor).all())]:
        raise CheckpointError(f"{where}: {len(broken)} with NaN or Inf ({_listed(broken)}). Nothing was loaded")
    return fitting


def _as(own: Tensor, found: Tensor | None) -> Tensor:
    """`found` in the type of `own`, 0 for a counter that the file does not have."""
    return torch.zeros_like(own) if found is None else found.detach().to(own.dtype)


def _alike(own: Tensor, found: Tensor) -> bool:
    return own.shape == found.shape


def _same_kind(own: Tensor, found: Tensor) -> bool:
    dense = found.layout == torch.strided and not found.is_quantized and not found.is_meta
    return dense and not found.is_complex() and own.is_floating_point() == found.is_floating_point()


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.") + ("" if tensor.layout == torch.strided else f", {tensor.layout}")


def _classes(
    network: Network, shapes: Mapping[str, str], own: Mapping[str, Tensor], found: Mapping[str, Tensor]
) -> str:
    """In words when a classifier's layer differs in the number of its outputs alone."""
    for ours, theirs in shapes.items():
        here, there = own[ours].shape, found[theirs].shape
        if _layer(ours) in CLASSIFIERS.get(type(network), ()) and len(there) == len(here) and here[1:] == there[1:]:
            return (
                f"the file has {there[0]} classes, {network.name} was built for {here[0]}: "
                f"build it with num_classes={there[0]}"
            )
    return ""


def _layer(name: str) -> str:
    return name.rpartition(".")[0]


def _size(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"


def _listed(names: Iterable[str]) -> str:
    shown = list(names)
    more = f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
    return ", ".join(shown[:SHOWN]) + more
