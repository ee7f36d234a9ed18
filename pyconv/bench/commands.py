"""How long `pyconv` takes to answer, each time in a fresh process with its imports; and that torch stays out of it.

import pyconv, pyconv --help    aim `ANSWER_AIM`
list, status, report            without torch
verify                          counts everything, aim `VERIFY_AIM`
"""

import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

ANSWER_AIM = 0.3  # seconds
VERIFY_AIM = 10.0
_IMPORT = "import pyconv"
_COMMAND = "from slurm.cli import cli; code = cli.main(sys.argv[1:], prog_name='pyconv', standalone_mode=False)"
_SCRIPT = """
import sys
code = 0
{action}
print("torch" if "torch" in sys.modules else "", file=sys.stderr)
sys.exit(code)
"""
# Name, what follows `pyconv` (None: only the import), aim, whether torch must stay out.
COMMANDS: tuple[tuple[str, tuple[str, ...] | None, float | None, bool], ...] = (
    ("import pyconv", None, ANSWER_AIM, True),
    ("pyconv --help", ("--help",), ANSWER_AIM, True),
    ("pyconv list", ("list",), None, True),
    ("pyconv status all", ("status", "all", "--runs", "runs"), None, True),
    ("pyconv report all", ("report", "all", "--output", "pages"), None, True),
    ("pyconv verify", ("verify",), VERIFY_AIM, False),
)


@dataclass(frozen=True)
class Answer:
    """Seconds of each round of one command; `aim` for their median; `torch`: whether it was imported."""

    name: str
    seconds: tuple[float, ...]
    aim: float | None
    torch: bool
    light: bool

    @property
    def median(self) -> float:
        """Of the rounds."""
        return median(self.seconds)

    @property
    def met(self) -> bool:
        """Whether the median is within the aim, if there is one, and torch stayed out where it must."""
        return (self.aim is None or self.median < self.aim) and not (self.torch and self.light)

    def report(self) -> dict[str, object]:
        """As plain values."""
        return {
            "name": self.name,
            "seconds": list(self.seconds),
            "median": self.median,
            "aim": self.aim,
            "torch": self.torch,
            "met": self.met,
        }

    def line(self) -> list[str]:
        """For a table."""
        return [
            self.name,
            f"{self.median:.2f}",
            f"{min(self.seconds):.2f}-{max(self.seconds):.2f}",
            "" if self.aim is None else f"< {self.aim:g}",
            "imported" if self.torch else "not imported",
            "" if self.met else "missed",
        ]


def bench(rounds: int = 5, progress: Callable[[str], None] | None = None) -> list[Answer]:
    """Every command so often, after one round that is not counted. Raises CalledProcessError when one fails."""
    found = []
    for name, arguments, aim, light in COMMANDS:
        if progress:
            progress(name)
        answers = [_answer(arguments) for _ in range(rounds + 1)]
        torch = any(imported for _, imported in answers)
        found.append(Answer(name, tuple(seconds for seconds, _ in answers[1:]), aim, torch, light))
    return found


def text(answers: Iterable[Answer]) -> str:
    """The answers as a table for a terminal."""
    from tabulate import tabulate  # only where a table is shown

    header = ("", "s, median", "range", "aim", "torch", "")
    alignment = ("left", "right", "right", "right", "left", "left")
    return str(tabulate([one.line() for one in answers], header, colalign=alignment, disable_numparse=True))


def _answer(arguments: tuple[str, ...] | None) -> tuple[float, bool]:
    """Seconds of a fresh process, and whether it imported torch. What it prints is not shown."""
    script = _SCRIPT.format(action=_IMPORT if arguments is None else _COMMAND)
    command = [sys.executable, "-c", script, *(arguments or ())]
    with TemporaryDirectory() as folder:
        (Path(folder) / "runs").mkdir()
        start = perf_counter()
        done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        return perf_counter() - start, done.stderr.splitlines()[-1] == "torch"
