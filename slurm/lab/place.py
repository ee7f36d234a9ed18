"""The folder of a lab, and commands that talk to the SLURM that lives in it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from slurm.environment import inherited
from slurm.lab import install
from slurm.lab.daemons import LabError, run


@dataclass(frozen=True)
class Place:
    """`etc`, `run` (pid files and sockets), `log`, `state` and the rest below `folder`."""

    folder: Path

    @property
    def conf(self) -> Path:
        """slurm.conf."""
        return self.folder / "etc" / "slurm.conf"

    def run(self, name: str) -> Path:
        """A pid file or a socket."""
        return self.folder / "run" / name

    def log(self, name: str) -> Path:
        """A daemon's log."""
        return self.folder / "log" / name

    def environment(self) -> dict[str, str]:
        """Nothing of an enclosing job or of another cluster; the daemons' folders on PATH."""
        hidden = inherited()
        own = {key: value for key, value in os.environ.items() if key not in hidden}
        return own | {"SLURM_CONF": str(self.conf), "PATH": install.search_path()}

    def daemon(self, *command: str) -> None:
        """A command that puts itself into the background, or ends."""
        run(["setsid", "--wait", *command], environment=self.environment(), timeout=120)

    def client(self, *command: str, refused: Literal["raised", "passed over"] = "raised", timeout: float = 20) -> str:
        """A client's output; "" when it is `refused` and that is passed over."""
        try:
            return run(command, environment=self.environment(), timeout=timeout)
        except LabError:
            if refused == "raised":
                raise
            return ""

    def answers(self, *command: str) -> bool:
        """Whether a command succeeds."""
        try:
            self.client(*command, timeout=5)
        except LabError:
            return False
        return True
