"""Two ways of doing one thing, timed in turn: the ratio of each pair holds when the machine's speed drifts."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter


@dataclass(frozen=True)
class Comparison:
    """Seconds a round of the `plain` (the authors') way and of ours. `work`: images a round, `unit`: of what."""

    name: str
    work: int
    plain: tuple[float, ...]
    ours: tuple[float, ...]

    @property
    def ratios(self) -> tuple[float, ...]:
        """How many times faster ours is, pair by pair."""
        return tuple(a / b for a, b in zip(self.plain, self.ours, strict=True))

    @property
    def ratio(self) -> float:
        """The median of the ratios."""
        return median(self.ratios)

    def report(self) -> dict[str, object]:
        """As plain values."""
        return {
            "name": self.name,
            "images_per_second": {"plain": self.work / median(self.plain), "ours": self.work / median(self.ours)},
            "ratio": self.ratio,
            "ratio_range": [min(self.ratios), max(self.ratios)],
            "rounds": len(self.ratios),
        }

    def line(self) -> list[str]:
        """For a table: name, images a second of both, ratio and its range."""
        plain, ours = (self.work / median(seconds) for seconds in (self.plain, self.ours))
        return [self.name, f"{plain:.1f}", f"{ours:.1f}", f"{self.ratio:.2f}", _range(self.ratios)]


HEADER = ("", "authors' way, images/s", "ours, images/s", "ratio", "range")


def compare(name: str, work: int, plain: Callable[[], object], ours: Callable[[], object], rounds: int) -> Comparison:
    """Time `plain` and `ours` in turn, `rounds` times each, after one round of each that is not counted."""
    plain()
    ours()
    seconds = [(_time(plain), _time(ours)) for _ in range(rounds)]
    return Comparison(name, work, tuple(a for a, _ in seconds), tuple(b for _, b in seconds))


def text(comparisons: list[Comparison]) -> str:
    """The comparisons as a table for a terminal."""
    from tabulate import tabulate  # only where a table is shown

    alignment = ("left", "right", "right", "right", "right")
    return str(tabulate([c.line() for c in comparisons], HEADER, colalign=alignment, disable_numparse=True))


def _time(call: Callable[[], object]) -> float:
    start = perf_counter()
    call()
    return perf_counter() - start


def _range(values: tuple[float, ...]) -> str:
    return f"{min(values):.2f}-{max(values):.2f}"
