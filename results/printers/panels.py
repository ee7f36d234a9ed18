"""A panel of curves: networks with their runs as lines in a frame of `WIDTH` x `HEIGHT` units, y downwards.

What training saw is dashed, validation solid, the printed final number a level across the panel with its label beside
it. All numbers here are places; the template only writes them down.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from math import ceil, floor
from statistics import fmean

from results.cell import MARK, Cell
from results.evidence import Evidence
from results.records import Record

# Metric -> what is drawn of it (kind of line -> key in a history's entries), in percent. The IoU and the AP of training
# are not measured.
POINTS = {
    "top1_err": {"train": "train_top1_err", "validation": "top1_err"},
    "miou": {"validation": "miou"},
    "pixel_acc": {"train": "train_pixel_acc", "validation": "pixel_acc"},
    "ap": {"validation": "ap"},
}
# Metric -> its name for people.
NAMES = {"top1_err": "top-1 error", "miou": "mean IoU", "pixel_acc": "pixel accuracy", "ap": "average precision"}
WIDTH, HEIGHT = 380, 300
LEFT, TOP, BOTTOM = 36, 10, 36
RIGHT, LABELLED = 14, 78  # the margin without and with the labels of levels
DRAWN = 12  # runs of one network; more lines cannot be told apart
APART = 13.0  # units between two labels

Points = list[tuple[int, float]]


@dataclass(frozen=True)
class Trace:
    """One run's drawn line. `points`: as SVG wants them; `kind`: train, validation; `colour`: the network's number."""

    points: str
    kind: str
    colour: int


@dataclass(frozen=True)
class Level:
    """A published number across the panel at `y`, its label beside the panel at `label_y`."""

    y: str
    label_y: str
    text: str
    colour: int


@dataclass(frozen=True)
class Panel:
    """`name`: of what is drawn. `right`: where the drawing ends. `ticks_x`, `ticks_y`: (place, text).

    `rows`: the same in numbers, by epoch.
    """

    title: str
    name: str
    told: str
    right: int
    traces: tuple[Trace, ...]
    levels: tuple[Level, ...]
    ticks_x: tuple[tuple[str, str], ...]
    ticks_y: tuple[tuple[str, str], ...]
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Network:
    """`runs`: what is drawn of each, by the kind of line."""

    cell: Cell
    runs: tuple[Mapping[str, Points], ...]
    colour: int

    @property
    def label(self) -> str:
        """As in the table, marked where its runs are off their protocol."""
        return self.cell.label + (MARK if self.cell.departures else "")


def points(record: Record, key: str) -> Points:
    """(epoch, percent) of a history; entries that hold no such number are passed over."""
    return [(entry["epoch"], entry[key]) for entry in record.history if "epoch" in entry and _percent(entry.get(key))]


def _percent(value: object) -> bool:
    """A record's check looks at some of a history's keys only."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 100


def network(cell: Cell, evidence: Evidence, colour: int) -> Network:
    """What can be drawn of the runs behind a cell, of the first `DRAWN` with a history."""
    records = (evidence.records[place] for place in cell.records if place in evidence.records)
    keys = POINTS[cell.column.metric]
    runs = ({kind: points(record, key) for kind, key in keys.items()} for record in records)
    return Network(cell, tuple(islice((run for run in runs if any(run.values())), DRAWN)), colour)


@dataclass(frozen=True)
class Extent:
    """The last epoch, and the lowest and highest percentage in tens."""

    epochs: int
    low: int
    high: int


def extent_of(networks: Sequence[Network]) -> Extent:
    """What holds every line and every level of `networks`."""
    drawn = [point for network in networks for run in network.runs for found in run.values() for point in found]
    levels = [n.cell.published for n in networks if isinstance(n.cell.published, (int, float))]
    errors = [y for _, y in drawn] + levels
    low = 10 * floor(min(errors) / 10)
    return Extent(max(1, *(epoch for epoch, _ in drawn)), low, max(low + 10, 10 * ceil(max(errors) / 10)))


def panel(title: str, networks: Sequence[Network], extent: Extent) -> Panel:
    """The networks' lines and levels, of one metric, in one frame that holds `extent`."""
    step = 10 if extent.high - extent.low <= 50 else 20
    levels = [n for n in networks if isinstance(n.cell.published, (int, float))]
    right = WIDTH - (LABELLED if levels else RIGHT)

    def x(epoch: float) -> str:
        return f"{LEFT + (right - LEFT) * epoch / extent.epochs:.1f}"

    def y(error: float) -> str:
        return f"{TOP + (HEIGHT - TOP - BOTTOM) * (extent.high - error) / (extent.high - extent.low):.1f}"

    traces = [
        Trace(" ".join(f"{x(epoch)},{y(error)}" for epoch, error in found), kind, network.colour)
        for network in networks
        for run in network.runs
        for kind, found in run.items()
        if found
    ]
    headers, rows = _numbers(networks)
    return Panel(
        title,
        NAMES[networks[0].cell.column.metric],
        " ".join(map(_told, networks)),
        right,
        tuple(traces),
        _levels([(float(y(float(n.cell.published or 0))), n) for n in levels]),
        tuple((x(epoch), str(epoch)) for epoch in range(0, extent.epochs + 1, _step(extent.epochs))),
        tuple((y(error), str(error)) for error in range(step * ceil(extent.low / step), extent.high + 1, step)),
        headers,
        rows,
    )


def _told(network: Network) -> str:
    """The line in a sentence, for who does not see it."""
    last = [run["validation"][-1] for run in network.runs if run["validation"]]
    runs = f"{len(network.runs)} run{'s' if len(network.runs) > 1 else ''}"
    name = NAMES[network.cell.column.metric].removeprefix("top-1 ")
    end = f"validation {name} {fmean(y for _, y in last):.2f}% after epoch {last[0][0]}" if last else "not validated"
    level = network.cell.published
    printed = f", published {network.cell.published_text}%" if isinstance(level, (int, float)) else ""
    return f"{network.label}: {runs}, {end}{printed}."


def _levels(found: Sequence[tuple[float, Network]]) -> tuple[Level, ...]:
    """Labels from the bottom up, each far enough above the one before it; told from the top."""
    made: list[Level] = []
    limit = float(HEIGHT - BOTTOM)
    for y, network in sorted(found, key=lambda pair: pair[0], reverse=True):
        place = min(y, limit)
        limit = place - APART
        made.append(Level(f"{y:.1f}", f"{place:.1f}", f"paper {network.cell.published_text}", network.colour))
    return tuple(reversed(made))


def _numbers(networks: Sequence[Network]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """The means over the drawn runs, a line an epoch."""
    columns: dict[str, Mapping[int, list[float]]] = {}
    for network in networks:
        for kind in POINTS[network.cell.column.metric]:
            by_epoch: dict[int, list[float]] = {}
            for run in network.runs:
                for epoch, error in run[kind]:
                    by_epoch.setdefault(epoch, []).append(error)
            columns[f"{network.label} {kind}"] = by_epoch
    epochs = sorted({epoch for column in columns.values() for epoch in column})
    rows = (
        (str(epoch), *(f"{round(fmean(c[epoch]), 9):.2f}" if epoch in c else "" for c in columns.values()))
        for epoch in epochs
    )
    return ("epoch", *columns), tuple(rows)


def _step(epochs: int) -> int:
    """Of the ticks: round, and at most seven of them."""
    return next((step for step in (1, 2, 5, 10, 15, 30, 50, 100) if epochs / step <= 6.5), ceil(epochs / 6))
