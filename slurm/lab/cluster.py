"""The lab: munge, slurmctld, one slurmd a virtual node, and slurmdbd with a MariaDB of its own, all on loopback.

Each node has a UTS and a PID namespace of its own, so it has its own name and dies with all that runs on it, as in a
power cut. Its GPUs are links to /dev/null: SLURM hands them out, torch sees none.
"""

import json
import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

from slurm.lab import accounting, configuration, install
from slurm.lab.daemons import LabError, check_free, children, detached, gone, locked, pid, run, stop, user, wait
from slurm.lab.place import Place

FAKE_GPU = "fake"  # what SLURM calls the type of a GPU that is a link to /dev/null
IN_SERVICE = frozenset({"idle", "mixed", "allocated", "completing"})
# bash stays as the first process of the namespace, to reap orphans. When unshare goes, for whatever reason, the kernel
# ends everything in the node.
_NODE = 'hostname "$2"; trap "kill \\$slurmd" TERM; slurmd -D -f "$1" -N "$2" & slurmd=$!; wait; wait'


@dataclass(frozen=True)
class Lab:
    """A cluster that lives in `folder`. Each node claims `cpus`, `memory_mb`, `gpus`; `port`: its first TCP port."""

    folder: Path
    nodes: int = 4
    cpus: int = 16
    memory_mb: int = 64_000
    gpus: int = 8
    gpu_type: str = FAKE_GPU
    port: int = 16_817
    accounting: bool = True

    @classmethod
    def found(cls, folder: Path) -> "Lab":
        """The lab that was brought up in `folder`. Raises LabError when there is none."""
        try:
            settings = json.loads((folder / configuration.SETTINGS).read_text())
            return cls(**(settings | {"folder": folder}))
        except (OSError, ValueError, TypeError) as error:
            raise LabError(f"no lab in {folder}: pyconv lab up") from error

    @property
    def place(self) -> Place:
        """Its files and commands."""
        return Place(self.folder)

    @property
    def names(self) -> tuple[str, ...]:
        """Its nodes."""
        return tuple(f"node{number}" for number in range(1, self.nodes + 1))

    def environment(self) -> dict[str, str]:
        """What clients need: without a configuration they would ask DNS for one."""
        return {"SLURM_CONF": str(self.place.conf)}

    def install(self) -> None:
        """Install the packages that are missing."""
        install.install(self.accounting)

    def up(self) -> None:
        """Start what does not run; returns when every node is idle or at work. Raises LabError."""
        if missing := install.missing(self.accounting):
            raise LabError(f"packages are missing: {', '.join(missing)}; pyconv lab install")
        configuration.check_folder(self.folder)
        self._check_namespaces()
        self._check_settings()
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / "lock"):
            self._start()
        configuration.offer(self.place.conf)

    def down(self, *, keep: bool = False) -> None:
        """End everything that runs in it, jobs too; `keep`: the folder with its logs and accounting stays."""
        if keep and self._controller() is not None:
            self.place.client("scancel", f"--user={user()}", refused="passed over")
        self.stop_controller()
        for number in range(1, self.nodes + 1):
            self.kill_node(number)
        accounting.end(self.place)
        stop(self.place.run("munged.pid"), "munged")
        configuration.withdraw(self.place.conf)
        if not keep and (self.folder / configuration.SETTINGS).exists():
            shutil.rmtree(self.folder)

    def states(self) -> dict[str, str]:
        """Node -> SLURM's state of it; empty while the controller does not answer."""
        question = ("sinfo", "--noheader", "--Node", "--partition=debug", "--format=%N %T")
        rows = (line.split() for line in self.place.client(*question, refused="passed over").splitlines())
        return {row[0]: row[1] for row in rows if len(row) == 2}

    def ready(self) -> bool:
        """Every node is idle or at work."""
        states = self.states()
        return len(states) == self.nodes and set(states.values()) <= IN_SERVICE

    def kill_node(self, number: int) -> None:
        """As a power cut: all that runs there is gone when this returns; SLURM notices `SlurmdTimeout` later."""
        self._check(number)
        place = self.place.run(f"node{number}.pid")
        unshare = pid(place, "unshare")
        first = children(unshare) if unshare else []
        stop(place, "unshare", signal.SIGKILL)
        # The first process of a namespace goes last, when the kernel has ended all others.
        wait(lambda: all(gone(process) for process in first), 10, f"processes of node{number} did not end")
        self.place.run(f"slurmd.node{number}.pid").unlink(missing_ok=True)

    def fail_node(self, number: int) -> None:
        """As a power cut that SLURM is told of: the other order would leave the old task running."""
        self.kill_node(number)
        self.place.client("scontrol", "update", f"nodename=node{number}", "state=down", "reason=fail-node")

    def start_node(self, number: int) -> None:
        """Start the node and put it back into service."""
        self._check(number)
        self._boot(number)
        wait(lambda: self._back(f"node{number}"), 30, f"node{number} did not come back")

    def stop_controller(self) -> None:
        """Stop slurmctld; jobs go on."""
        stop(self.place.run("slurmctld.pid"), "slurmctld")

    def start_controller(self) -> None:
        """Start slurmctld, which takes up its state."""
        if self._controller() is None:
            check_free("slurmctld", self.port)
            self.place.daemon("slurmctld", "-f", str(self.place.conf))

    def _start(self) -> None:
        configuration.write(self)
        self._start_munge()
        if self.accounting:
            accounting.start(self.place, self.port + 100, self.port + 101)
        self.start_controller()
        for number in range(1, self.nodes + 1):
            self._boot(number)
        wait(self._all_back, 60, f"the nodes did not come into service (see {self.place.log('slurmctld.log')})")

    def _all_back(self) -> bool:
        return all(self._back(name) for name in self.names)

    def _back(self, name: str) -> bool:
        """In service; a node that was put down, by hand or by slurmctld, is resumed: it may answer again."""
        state = self.states().get(name, "").rstrip("*")
        if state in ("down", "drained", "draining"):
            self.place.client("scontrol", "update", f"nodename={name}", "state=resume", refused="passed over")
        return state in IN_SERVICE

    def _boot(self, number: int) -> None:
        place, name = self.place.run(f"node{number}.pid"), f"node{number}"
        if pid(place, "unshare") is None:
            check_free(name, self.port + number)
            place.unlink(missing_ok=True)
            command = [*self._unshare(), "bash", "-c", _NODE, "node", str(self.place.conf), name]
            detached(command, place, self.place.log(f"{name}.out"), self.place.environment())

    def _start_munge(self) -> None:
        if pid(self.place.run("munged.pid"), "munged") is not None:
            return
        for left in self.place.run("").glob("munge.socket*"):  # of a crash
            left.unlink()
        keys = self.folder / "munge"
        self.place.daemon(
            "munged",
            "--force",  # in a private folder too: only this user's processes ask it
            f"--socket={self.place.run('munge.socket')}",
            f"--pid-file={self.place.run('munged.pid')}",
            f"--key-file={keys / 'munge.key'}",
            f"--log-file={keys / 'munged.log'}",
            f"--seed-file={keys / 'munged.seed'}",
            "--num-threads=4",
        )

    def _controller(self) -> int | None:
        return pid(self.place.run("slurmctld.pid"), "slurmctld")

    def _check_settings(self) -> None:
        """A running lab keeps its settings: daemons do not learn of another slurm.conf."""
        if self._controller() is not None and Lab.found(self.folder) != self:
            raise LabError(f"the lab in {self.folder} runs with other settings: pyconv lab down, then up")

    def _check_namespaces(self) -> None:
        try:
            run([*self._unshare(), "true"])
        except LabError as error:
            raise LabError(f"a node needs namespaces of its own, which this machine refuses: {error}") from error

    def _check(self, number: int) -> None:
        if not 1 <= number <= self.nodes:
            raise LabError(f"node{number} is none of node1 to node{self.nodes}")

    def _unshare(self) -> list[str]:
        own = ["unshare", "--uts", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
        return own if os.geteuid() == 0 else [*own, "--user", "--map-current-user", "--keep-caps"]
