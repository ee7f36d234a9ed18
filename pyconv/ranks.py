"""The ranks of a run: one process, or those of torch.distributed when the caller has initialised it (gloo or nccl)."""

import os
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """This process: `rank` of `size`; `local_rank` on its node (LOCAL_RANK or SLURM_LOCALID, else 0)."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0


def current() -> World:
    """Where this process stands."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return World()
    local = os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0"))
    return World(distributed.get_rank(), distributed.get_world_size(), int(local))


def device(kind: str) -> torch.device:
    """ "auto": this rank's GPU where there is one, else the CPU; "cpu" and "cuda" insist."""
    if kind not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be auto, cpu or cuda, got {kind!r}")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError("device='cuda', but torch sees no GPU here: use device='cpu' or 'auto', or another node")
    if kind == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", current().local_rank % torch.cuda.device_count())


def sum_over(tensor: Tensor) -> Tensor:
    """The sum of `tensor` over all ranks, on every rank."""
    if current().size > 1:
        distributed.all_reduce(tensor)
    return tensor


def signals() -> Any:
    """A group of all ranks over gloo, so that agreeing does not wait for a GPU; None on a single rank."""
    return distributed.new_group(backend="gloo") if current().size > 1 else None


def agree(value: int, group: Any) -> int:
    """The largest `value` of all ranks, on every rank; `group`: `signals()`."""
    if current().size == 1:
        return value
    tensor = torch.tensor([value])
    distributed.all_reduce(tensor, distributed.ReduceOp.MAX, group=group)
    return int(tensor)


def from_first(value: T) -> T:
    """Rank 0's `value`, on every rank."""
    if current().size == 1:
        return value
    values = [value]
    distributed.broadcast_object_list(values, 0)
    return values[0]


def gather(value: T) -> list[T]:
    """The value of every rank by its number, on every rank."""
    size = current().size
    if size == 1:
        return [value]
    values: list[Any] = [None] * size
    distributed.all_gather_object(values, value)
    return values


def share_buffers(model: torch.nn.Module) -> None:
    """Give every rank the buffers (running statistics) of rank 0."""
    if current().size > 1:
        for buffer in model.buffers():
            distributed.broadcast(buffer, 0)


def wait() -> None:
    """Until every rank is here."""
    if current().size > 1:
        distributed.barrier()
