"""What the doctor runs on a cluster's nodes: each rank writes down what it sees there, then the ranks add up a number.

<folder>/token             written by the login side, read by the ranks
<folder>/seen-<rank>.json  what a rank sees, written before it talks to another
<folder>/group-<rank>.json whether the ranks have found each other
"""

import json
import os
import platform
import socket
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

TOKEN = "token"
COLLECTIVE = timedelta(seconds=60)


@dataclass(frozen=True)
class Seen:
    """One rank's view. `records` and `data`: what is wrong with a folder, "" when nothing is. `gpus`: torch's count."""

    host: str
    token: str
    python: str
    torch: str
    gpus: int
    records: str
    data: Mapping[str, str]


@dataclass(frozen=True)
class Group:
    """How the ranks found each other. `total`: the sum of rank + 1 over all ranks, None when `error` says why not."""

    backend: str
    total: float | None
    error: str = ""


@dataclass(frozen=True)
class Probe:
    """The job. `folder` is shared with the login side; `records` must be writable, `data` (name -> folder) readable."""

    folder: Path
    records: Path
    data: Mapping[str, Path]

    def __call__(self) -> None:
        """Write both files of this rank. A collective call that hangs gives up after `COLLECTIVE`."""
        from submitit import JobEnvironment

        environment = JobEnvironment()
        rank = environment.global_rank
        seen = self.look()
        put(self.folder / f"seen-{rank}.json", asdict(seen))
        ranks_here = environment.num_tasks // environment.num_nodes
        put(self.folder / f"group-{rank}.json", asdict(join(rank, seen.gpus, ranks_here)))

    def look(self) -> Seen:
        """What this process sees of its node."""
        token = self.folder / TOKEN
        return Seen(
            host=os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
            token=token.read_text() if token.is_file() else "",
            python=platform.python_version(),
            torch=torch_version(),
            gpus=visible_gpus(),
            records=unwritable(self.records),
            data={name: unreadable(root) for name, root in self.data.items()},
        )


def join(rank: int, gpus: int, ranks_here: int) -> Group:
    """The sum of rank + 1 over all ranks: over nccl where each rank of this node has a GPU, over gloo otherwise."""
    backend = "nccl" if gpus >= ranks_here else "gloo"
    try:
        return Group(backend, _total(rank, backend))
    except Exception as error:  # whatever the network, the driver or an installation of torch raises
        return Group(backend, None, f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}")


def _total(rank: int, backend: str) -> float:
    import torch
    from submitit.helpers import TorchDistributedEnvironment
    from torch import distributed

    place = TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
    device = torch.device("cpu")
    if backend == "nccl":
        device = torch.device("cuda", place.local_rank % torch.cuda.device_count())
        torch.cuda.set_device(device)
    distributed.init_process_group(backend, timeout=COLLECTIVE)
    number = torch.tensor([rank + 1.0], device=device)
    distributed.all_reduce(number)
    total = float(number.item())
    distributed.destroy_process_group()
    return total


def put(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON so that a reader on another machine never sees half of it."""
    half = path.with_suffix(".half")
    half.write_text(json.dumps(content))
    half.replace(path)


def torch_version() -> str:
    """The installed version of torch, "" without one."""
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return ""


def visible_gpus() -> int:
    """How many GPUs torch sees; none where torch cannot be imported, which the group's error will say."""
    try:
        import torch
    except Exception:  # whatever a broken installation raises
        return 0
    return torch.cuda.device_count()


def unwritable(folder: Path) -> str:
    """Why no file can be made in `folder`, or in the nearest folder above it that exists; "" when one can."""
    place = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=place):
            return ""
    except OSError as error:
        return f"{place}: {error.strerror}"


def unreadable(folder: Path) -> str:
    """Why a folder of data cannot be read; "" when it can."""
    try:
        with os.scandir(folder) as entries:
            next(entries, None)
    except OSError as error:
        return f"{folder}: {error.strerror}"
    return ""
