"""The ranks of a job: who this process is among them, and the group that they form. One rank needs neither."""

import atexit
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slurm.meeting import GROUP_TIMEOUT, meet, told


@dataclass(frozen=True)
class Seat:
    """This process in its job: `rank` of `ranks`, on `node`, one of `nodes`.

    `job`: the executor's id, None for a person's own call, as is `executor`. `restart`: SLURM's count of requeues.
    """

    rank: int = 0
    ranks: int = 1
    local_rank: int = 0
    job: str | None = None
    executor: str | None = None
    node: str = ""
    nodes: tuple[str, ...] = ()
    restart: int = 0

    def __str__(self) -> str:
        who = f"job {self.job}" if self.job else f"process {os.getpid()}"
        return f"{who} on {self.node}"

    @property
    def among(self) -> str:
        """Which rank of how many, and where."""
        return f"rank {self.rank} of {self.ranks} on {self.node}"

    def provenance(self) -> dict[str, Any]:
        """The `job` of a record."""
        return {
            "id": self.job,
            "executor": self.executor,
            "hostname": self.node,
            "nodes": list(self.nodes),
            "ranks": self.ranks,
            "restarts": self.restart,
        }


def seat() -> Seat:
    """Where submitit's executor has put this process; the only rank of nobody's job outside of one."""
    here = socket.gethostname()
    if "SUBMITIT_EXECUTOR" not in os.environ:
        return Seat(node=here, nodes=(here,))
    import submitit

    environment = submitit.JobEnvironment()
    in_slurm = environment.cluster == "slurm"
    return Seat(
        environment.global_rank,
        environment.num_tasks,
        environment.local_rank,
        environment.job_id,
        environment.cluster,
        # SLURM's name of the node, which is the one that --exclude knows
        os.environ.get("SLURMD_NODENAME", here) if in_slurm else here,
        tuple(environment.hostnames),
        int(os.environ.get("SLURM_RESTART_COUNT", "0")) if in_slurm else 0,
    )


@contextmanager
def joined(seat: Seat, device: str, folder: Path) -> Iterator[None]:
    """Inside, torch.distributed connects the ranks: nccl where there are GPUs, gloo otherwise. Nothing for one rank.

    `folder`: where they meet. A rank that leaves by an error ends its process without the orderly end, which would wait
    for the others.
    """
    if seat.ranks == 1:
        yield
        return
    import torch
    from torch import distributed

    # Not CUDA_VISIBLE_DEVICES: without device isolation the local rank's number is another job's GPU.
    os.environ |= {"RANK": str(seat.rank), "WORLD_SIZE": str(seat.ranks), "LOCAL_RANK": str(seat.local_rank)}
    backend = "gloo"
    if device != "cpu" and torch.cuda.is_available():
        backend = "nccl"
        torch.cuda.set_device(seat.local_rank % torch.cuda.device_count())
    print(f"{seat.among}: {backend}, gives up on a rank that is silent for {told(GROUP_TIMEOUT)}", flush=True)
    finished = end_directly()
    distributed.init_process_group(
        backend, store=meet(seat, folder), rank=seat.rank, world_size=seat.ranks, timeout=GROUP_TIMEOUT
    )
    yield
    distributed.destroy_process_group()
    finished()


def end_directly() -> Callable[[], None]:
    """Once the result is called, this process ends with 0 as its last exit handler runs, without C++'s destructors.

    On an idle machine a rank whose work was done was aborted there ("terminate called without an active exception": a
    thread of the process group was still running), and SLURM took the job for failed. An uncaught error ends as ever.
    """
    done: list[bool] = []

    def leave() -> None:
        if done and not hasattr(sys, "last_type"):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)

    atexit.register(leave)  # now: handlers that are registered later, such as the readers' of images, run before it
    return lambda: done.append(True)
