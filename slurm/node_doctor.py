"""Two ranks on the nodes of a cluster say what they see there: a small job, sent as trainings are, that cleans up.

Folders that the login node has and the nodes do not, another Python, GPUs that torch does not see and networks that
do not connect are found here in a minute, not in the first hour of a training.
"""

import json
import platform
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from slurm import cluster, queue
from slurm.asked import ask
from slurm.console import note
from slurm.doctor import Check
from slurm.lab import FAKE_GPU
from slurm.probe import TOKEN, Group, Probe, Seen, torch_version
from slurm.profile import Profile, data_roots
from slurm.submissions import SubmissionError

CODE = Path(__file__).resolve().parent.parent
RANKS = 2
MINUTES = 5  # the job's time limit
LATE = 20.0  # seconds until a file that a node has written is seen here, whatever the network's file system caches
ENDING = 15.0  # seconds that SLURM may take to end a cancelled job
WAITING = ("PENDING", "CONFIGURING")
POLL, ASK = 0.3, 2.0  # seconds between two looks at the folder, and at the queue
# Of the profile's keywords those that a small job must not have.
_LEFT_OUT = ("slurm_array_parallelism", "slurm_signal_delay_s", "slurm_gpus_per_task", "slurm_exclusive")


@dataclass(frozen=True)
class Sent:
    """The job in SLURM's hands. `gpus`: asked for, on each node. `token`: what the ranks should read."""

    id: str
    name: str
    folder: Path
    gpus: int
    token: str

    def seen(self) -> list[Seen]:
        """What the ranks have written so far, in their order."""
        return [Seen(**content) for content in self._written("seen")]

    def groups(self) -> list[Group]:
        """How the ranks that came so far have found each other."""
        return [Group(**content) for content in self._written("group")]

    def finished(self) -> bool:
        """All ranks have written all."""
        return len(self.groups()) == RANKS

    def log(self) -> str:
        """The last line that the job wrote on stderr, its own before those of srun about it."""
        texts = [path.read_text(errors="replace") for path in sorted(self.folder.glob("*.err"))]
        lines = [line.strip() for text in texts for line in text.splitlines() if line.strip()]
        own = [line for line in lines if not line.startswith(("srun:", "slurmstepd:"))]
        return next(reversed(own or lines), "")

    def _written(self, word: str) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in sorted(self.folder.glob(f"{word}-*.json"))]


def examine(place: Profile, nodes: int, records: Path, runs: Path, wait: float) -> Iterator[Check]:
    """Send the job (to two nodes where the partition has so many), wait until it starts and ends, tell what it saw."""
    try:
        with _workplace(runs) as folder:
            sent = _send(place, nodes, records, folder)
            if isinstance(sent, Check):
                yield sent
                return
            with _ended(sent):
                yield from _follow(sent, place, wait)
    except OSError as error:
        yield Check("node job", "problem", f"{runs}: {error.strerror}", "choose another place with --runs DIR")


def small(place: Profile, nodes: int) -> dict[str, Any]:
    """submitit's keywords of the job: the profile's own, but two ranks, a GPU for each where the profile has GPUs."""
    kept = {key: value for key, value in place.submitit.items() if key not in _LEFT_OUT}
    ranks_here = RANKS // nodes
    mine = {"timeout_min": MINUTES, "nodes": nodes, "tasks_per_node": ranks_here, "cpus_per_task": 1}
    if "mem_gb" in kept:
        mine["mem_gb"] = min(kept["mem_gb"], 8)
    per_node = place.gpus_of("train") // int(place.keywords("train")["nodes"])
    mine["gpus_per_node"] = min(ranks_here, per_node)
    return replace(place, submitit=kept | mine, test={}).keywords("train")


def _send(place: Profile, nodes: int, records: Path, folder: Path) -> Sent | Check:
    token = uuid.uuid4().hex
    (folder / TOKEN).write_text(token)
    probe = Probe(folder, records.absolute(), data_roots(place, {}))
    name = f"pyconv-doctor-{token[:8]}"
    refused = ""
    for count in (2, 1) if nodes > 1 else (1,):  # some partitions take jobs of one node only
        words = small(place, count)
        try:
            job = cluster.submit_array([probe], words, folder, name=name, profile=place, snapshot_root=CODE)
        except SubmissionError as error:
            refused = refused or str(error)
            continue
        per_node = min(RANKS // count, place.gpus_of("train") // int(place.keywords("train")["nodes"]))
        return Sent(job, name, folder, per_node, token)
    return Check("node job", "problem", refused, f"correct [submitit] of {place.path}")


def _follow(sent: Sent, place: Profile, wait: float) -> Iterator[Check]:
    note(f"waiting up to {wait:g} s for job {sent.id}, two ranks on the nodes")
    began = time.monotonic()
    state = _until(sent, began + wait, lambda state: state not in WAITING)
    if state in WAITING:
        advice = "the nodes were not looked at: try again later, or with a longer --wait"
        yield Check("node job", "note", f"the queue is long: not started within {wait:g} s", advice)
        return
    _until(sent, time.monotonic() + 60 * MINUTES, lambda state: state in ("", *queue.ENDED))
    _until(sent, time.monotonic() + LATE, lambda _: False)
    yield from judge(sent, place, time.monotonic() - began)


def _until(sent: Sent, deadline: float, condition: Callable[[str], bool]) -> str:
    """Wait until all is written or the job's state is as wanted; returns it, "" when SLURM has forgotten the job."""
    state, asked = "PENDING", 0.0
    while not sent.finished() and time.monotonic() < deadline:
        if time.monotonic() - asked >= ASK:
            answer = queue.ask([sent.name])
            # A queue that does not answer says nothing about the job.
            state = state if answer.silence else next((seen.state for seen in answer.jobs.values()), "")
            asked = time.monotonic()
            if condition(state):
                return state
        time.sleep(POLL)
    return "" if sent.finished() else state


def judge(sent: Sent, place: Profile, seconds: float) -> Iterator[Check]:
    """What the ranks wrote, as checks."""
    seen, groups = sent.seen(), sent.groups()
    if len(seen) < RANKS:
        yield _silent(sent, seen)
        return
    hosts = ", ".join(sorted({rank.host for rank in seen}))
    yield Check("node job", "ok", f"job {sent.id}, {RANKS} ranks on {hosts}, {seconds:.0f} s")
    yield _all(
        "shared folder",
        seen,
        lambda rank: "" if rank.token == sent.token else f"the file of the login side is not in {sent.folder}",
        "what is written here is read there, and the reverse",
        "[runs] must be on a disk that login and nodes share",
    )
    yield _all("records there", seen, lambda rank: rank.records, "writable", "give --records a shared folder")
    for name, root in data_roots(place, {}).items():
        advice = f"correct [data] {name} of {place.path}, or mount it on the nodes"
        yield _all(f"data {name} there", seen, partial(_unreadable, name), str(root), advice)
    yield _version("python there", platform.python_version(), seen, lambda rank: rank.python)
    yield _version("torch there", torch_version(), seen, lambda rank: rank.torch)
    yield gpus(sent.gpus, place.gpu_type, seen)
    yield ranks(groups)


def gpus(asked: int, kind: str | None, seen: Sequence[Seen]) -> Check:
    """As many GPUs as were asked for, as torch counts them. The lab's own kind are links that no torch can use."""
    fewest = min(rank.gpus for rank in seen)
    if not asked:
        return Check("gpus there", "ok" if not fewest else "note", f"none asked for, torch sees {fewest}")
    found = f"torch sees {fewest} of {asked}"
    if fewest >= asked:
        return Check("gpus there", "ok", found)
    if kind == FAKE_GPU:
        return Check("gpus there", "note", f"{found}: the lab's GPUs are {FAKE_GPU}", "trainings here use the CPU")
    return Check(
        "gpus there", "problem", found, "a driver or a torch without CUDA on the nodes, or a wrong GPU request"
    )


def ranks(groups: Sequence[Group]) -> Check:
    """The sum of 1 to RANKS, over nccl or gloo."""
    if len(groups) < RANKS:
        return Check(
            "ranks", "problem", "did not find each other in time", "ask which network jobs may use between nodes"
        )
    wrong = next((group for group in groups if group.total != RANKS * (RANKS + 1) / 2), None)
    if wrong is None:
        return Check("ranks", "ok", f"{groups[0].backend} connects {RANKS}, and they add up rightly")
    found = f"{wrong.backend}: {wrong.error or f'a wrong sum, {wrong.total}'}"
    advice = "name the network in [setup] lines, e.g. export GLOO_SOCKET_IFNAME=ib0 NCCL_SOCKET_IFNAME=ib0"
    return Check("ranks", "problem", found, advice)


def _silent(sent: Sent, seen: Sequence[Seen]) -> Check:
    """Ranks that wrote nothing: the job broke, or its node does not have the folder."""
    if told := sent.log():
        return Check("node job", "problem", f"job {sent.id} broke: {told}", "see [setup] of the profile")
    who = f"only {seen[0].host}" if seen else "no node"
    found = f"job {sent.id}: {who} wrote to {sent.folder.parent}"
    return Check("node job", "problem", found, "[runs] must be a folder that login and nodes share (or: --runs DIR)")


def _all(name: str, seen: Sequence[Seen], wrong: Callable[[Seen], str], fine: str, advice: str) -> Check:
    complaints = dict.fromkeys(f"on {rank.host}: {wrong(rank)}" for rank in seen if wrong(rank))
    return Check(name, "problem", "; ".join(complaints), advice) if complaints else Check(name, "ok", fine)


def _unreadable(name: str, rank: Seen) -> str:
    return rank.data[name]


def _version(name: str, here: str, seen: Sequence[Seen], there: Callable[[Seen], str]) -> Check:
    def wrong(rank: Seen) -> str:
        return "" if there(rank) == here else f"{there(rank) or 'none'}, here {here}"

    return _all(name, seen, wrong, f"{here}, as here", "use one environment for both: [setup] python of the profile")


@contextmanager
def _workplace(runs: Path) -> Iterator[Path]:
    """A new folder below `runs`, removed in the end, `runs` too when it was not there before."""
    new = not runs.exists()
    folder = runs.absolute() / f"doctor-{uuid.uuid4().hex[:8]}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if new:
            with suppress(OSError):
                runs.rmdir()


@contextmanager
def _ended(sent: Sent) -> Iterator[None]:
    """The job is out of the queue afterwards, so that it writes no more."""
    try:
        yield
    finally:
        ask("scancel", sent.id)
        deadline = time.monotonic() + ENDING
        while time.monotonic() < deadline:
            answer = queue.ask([sent.name])
            if answer.silence or all(seen.state in queue.ENDED for seen in answer.jobs.values()):
                break
            time.sleep(POLL)
