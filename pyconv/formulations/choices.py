"""Choices of formulations, kept on the disk of the machine that measured them.

One JSON file a device below PYCONV_CACHE, else XDG_CACHE_HOME/pyconv, else ~/.cache/pyconv. It is only ever replaced
as a whole; one that cannot be read counts as empty, one that cannot be written is kept in memory only.
"""

import hashlib
import json
import os
import platform
from dataclasses import asdict
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import torch

from pyconv.files import publish
from pyconv.formulations import direct
from pyconv.formulations.levels import FORMULATIONS, Choice

VERSION = 2
"""Of the formulations: choices among older ones are measured again."""
VARIABLE = "PYCONV_CACHE"


class Choices:
    """The choices of one device, by what they depend on."""

    def __init__(self, path: Path, machine: dict[str, Any]) -> None:
        self.path, self.machine = path, machine
        self._found: dict[str, Choice] | None = None
        self._lock = Lock()

    def get(self, key: str) -> Choice | None:
        """What was chosen, here or by another process before this one began to ask."""
        with self._lock:
            if self._found is None:
                self._found = self._read()
            return self._found.get(key)

    def add(self, key: str, choice: Choice, *, instead_of: Choice | None = None) -> Choice:
        """Keep it, with what other processes have kept in between: theirs where both measured the same.

        Returns what is kept. `instead_of` is what was found but cannot be used.
        """
        with self._lock:
            found = (self._found or {}) | self._read()
            if found.get(key) in (None, instead_of):
                found[key] = choice
            self._found = found
            self._write(found)
        return found[key]

    def _write(self, found: dict[str, Choice]) -> None:
        kept = {name: asdict(each) for name, each in sorted(found.items())}
        text = json.dumps({"machine": self.machine, "choices": kept}, indent=1)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            publish(self.path, lambda file: file.write(text.encode()))
        except OSError:
            return

    def _read(self) -> dict[str, Choice]:
        try:
            read = json.loads(self.path.read_bytes())
            kept = {key: Choice(**each) for key, each in read["choices"].items()}
            return {key: each for key, each in kept.items() if set(asdict(each).values()) <= FORMULATIONS.keys()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return {}


def of_machine(device: torch.device) -> Choices:
    """Of this machine's processor, or of the GPU that `device` is."""
    return _opened(folder(), device.type, device.index)


def folder() -> Path:
    """Where choices are kept."""
    if own := os.environ.get(VARIABLE):
        return Path(own)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pyconv"
    except RuntimeError:  # a user without a home: nothing can be kept
        return Path(os.devnull) / "pyconv"


@cache
def _opened(place: Path, kind: str, index: int | None) -> Choices:
    machine = {
        "formulations": VERSION,
        "torch": torch.__version__,
        "processor": _processor(),
        "instructions": direct.instructions(),
        "device": torch.cuda.get_device_name(index) if kind == "cuda" else kind,
    }
    digest = hashlib.sha256(json.dumps(machine, sort_keys=True).encode()).hexdigest()[:12]
    return Choices(place / f"formulations-{digest}.json", machine)


def _processor() -> str:
    """Its model, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    wanted = ("model name", "model\t", "cpu family", "stepping")
    return "; ".join(dict.fromkeys(line.partition(":")[2].strip() for line in lines if line.startswith(wanted)))
