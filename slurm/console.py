"""What a person reads while something runs, on stderr: a bar on a terminal, an occasional plain line in a log."""

import sys
import time
from types import TracebackType
from typing import Any, Self

import click

LOG_EVERY = 15.0  # seconds between two plain lines of a log


def note(text: str) -> None:
    """A line for the person, never for the pipe."""
    click.echo(text, err=True)


def duration(seconds: float) -> str:
    """`8.3 s`, `2 min 05 s`, `3 h 20 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


class Progress:
    """`with Progress("Counting", 51) as progress: progress.update(done, "ResNet-50")`.

    Draws only when it is told something, from the caller's thread: nothing writes behind a subprocess's back.
    """

    def __init__(self, title: str, total: float) -> None:
        self._title, self._total, self._start = title, total, time.monotonic()
        self._printed, self._last = self._start, ""
        self._bar: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bar

            columns = (
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.percentage:>3.0f}%"),
                TimeElapsedColumn(),
                TextColumn("{task.fields[text]}"),
            )
            self._bar = Bar(*columns, console=Console(stderr=True), auto_refresh=False, transient=True)
            self._bar.start()
            self._task = self._bar.add_task(self._title, total=self._total, text="")
        return self

    def update(self, done: float, text: str = "", total: float | None = None) -> None:
        """`done` of `total` so far, `text` the thing at hand."""
        self._total = self._total if total is None else total
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=self._total, text=text, refresh=True)
            return
        now, percent = time.monotonic(), 100 * done / self._total if self._total else 0
        line = f"{percent:.0f}%{f': {text}' if text else ''}"
        if now - self._printed >= LOG_EVERY and line != self._last:
            self._printed, self._last = now, line
            note(f"{self._title} after {duration(now - self._start)}: {line}")

    def reached(self, done: int, total: int, text: str) -> None:
        """`update` in the order that `results.verify` tells its progress in."""
        self.update(done, text, total)

    def say(self, text: str) -> None:
        """A line that stays, above the bar."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            note(text)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
