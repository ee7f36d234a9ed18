"""Figures 7 and 9 as pictures: training (dashed) and validation (solid) top-1 error over epochs, from records.

What is drawn is what the report's page draws (`results.printers.curves`); thin levels are the printed final errors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from experiments.spec import Table
from results.cells import build
from results.evidence import Evidence
from results.figures import canvas
from results.printers.curves import Wanted
from results.printers.panels import NAMES, POINTS, Extent, Network, extent_of, network

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METRIC = "top1_err"
COLOURS = ("#b4501a", "#1f5fb4", "#00735a")
"""Of the networks, in the order of the figure's rows; as on the report's page."""
LINES: dict[str, Any] = {"train": (0, (3, 1.2)), "validation": "solid"}
NAMED = {"train": "training", "validation": "validation"}
THICK, THIN = 1.0, 0.5  # points: of curves and levels
NARROW, HIGH = 3.5, 2.2  # inches: the width of a figure of one panel, the height of the panels
LETTERS = 17  # of a line of text below the panels, an inch
GREY = "0.35"


@dataclass(frozen=True)
class Curves:
    """`panels`: (column group of the table, what of it has a history). `missing`: (label, target) of the others."""

    wanted: Wanted
    panels: tuple[tuple[str, tuple[Network, ...]], ...]
    missing: tuple[tuple[str, str], ...]
    mini: bool

    @property
    def networks(self) -> list[Network]:
        """Those of all panels."""
        return [network for _, own in self.panels for network in own]


def curves(wanted: Wanted, table: Table, evidence: Evidence) -> Curves:
    """What the records hold of a figure of the paper; `table`: its table, or the mini version of it."""
    cells = [cell for cell in build([table], evidence) if cell.column.metric == METRIC and cell.row in wanted.rows]
    found = [network(cell, evidence, wanted.rows.index(cell.row) + 1) for cell in cells]
    groups = [key for key, _ in table.groups] or [""]
    panels = [
        (group, sorted((n for n in found if n.runs and n.cell.group == group), key=lambda n: n.colour))
        for group in groups
    ]
    missing = (n.cell for n in found if not n.runs)
    return Curves(
        wanted,
        tuple((group, tuple(own)) for group, own in panels if own),
        tuple((f"{c.label} {c.group}".strip(), c.target.removesuffix(f"/{c.column.key}")) for c in missing),
        table.mini,
    )


def draw(shown: Curves, note: str = "") -> dict[str, bytes]:
    """The picture by its format, `png` and `pdf`; `note`: a line below it."""
    with canvas.style():
        return canvas.saved(_figure(shown, note))


def told(shown: Curves) -> list[dict[str, Any]]:
    """What is drawn, network by network: `runs` as lists of [epoch, percent] by the kind of line."""
    return [
        {
            "label": n.label,
            "group": group,
            "target": n.cell.target.removesuffix(f"/{n.cell.column.key}"),
            "published": n.cell.published,
            "departures": list(n.cell.departures),
            "records": list(n.cell.records),
            "runs": [{kind: [list(point) for point in found] for kind, found in run.items()} for run in n.runs],
        }
        for group, own in shown.panels
        for n in own
    ]


def published(shown: Curves) -> str:
    """Where the levels are from; "" without levels. Several views are told of: a curve's point is of one."""
    cells = [n.cell for n in shown.networks if isinstance(n.cell.published, (int, float))]
    if not cells:
        return ""
    protocol = cells[0].column.protocol
    clips, crops = (1, 1) if protocol is None else protocol.views
    views = "" if clips * crops == 1 else f", by {clips} clips x {crops} crops a video where the curves are by one clip"
    return f"Published: Table {cells[0].table.removeprefix('table')}{views}."


def _figure(shown: Curves, note: str) -> "Figure":
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    width = canvas.WIDTH if len(shown.panels) > 1 else NARROW
    lines = [part for line in (published(shown), _lacking(shown), note) for part in wrap(line, round(width * LETTERS))]
    entries = _entries(shown)
    columns = 3 if width > NARROW else 2
    below = 0.05 + 1.1 * canvas.ENTRY * -(-len(entries) // columns) + canvas.LINE * len(lines)
    total = HIGH + below
    layout = ConstrainedLayoutEngine(rect=(0, below / total, 1, HIGH / total))
    figure = Figure(figsize=(width, total), layout=layout)
    axes = figure.subplots(1, len(shown.panels), sharey=True, squeeze=False)[0]
    extent = extent_of(shown.networks)
    for place, (group, own) in zip(axes, shown.panels, strict=True):
        _panel(place, f"{group} layers" if group else "", own, extent)
    axes[0].set_ylabel(f"{NAMES[METRIC]} (%)")
    middle = 0.5, canvas.LINE * len(lines) / total
    figure.legend(
        handles=entries, loc="lower center", bbox_to_anchor=middle, ncols=columns, frameon=False, borderaxespad=0
    )
    for number, line in enumerate(reversed(lines)):
        figure.text(2 * canvas.MARGIN / width, (number + 0.35) * canvas.LINE / total, line, parse_math=False)
    return figure


def _panel(axes: "Axes", title: str, own: Sequence[Network], extent: Extent) -> None:
    """The lines of one panel, all panels at one scale."""
    from matplotlib.ticker import MaxNLocator

    for one in own:
        colour = COLOURS[one.colour - 1]
        if isinstance(one.cell.published, (int, float)):
            axes.axhline(one.cell.published, color=colour, linewidth=THIN)
        for run in one.runs:
            for kind, found in run.items():
                epochs, errors = zip(*found, strict=True) if found else ((), ())
                alone = "." if len(found) == 1 else ""  # of one point there is no line
                axes.plot(epochs, errors, color=colour, linestyle=LINES[kind], linewidth=THICK, marker=alone)
    axes.set_title(title, fontsize="medium")
    axes.set_xlabel("epoch")
    axes.set_xlim(0, extent.epochs)
    axes.set_ylim(extent.low, extent.high)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color="0.9", linewidth=THIN)
    axes.set_axisbelow(True)


def _entries(shown: Curves) -> list[Any]:
    """Of the legend: the networks' colours, then the kinds of line."""
    from matplotlib.lines import Line2D

    labels = {n.colour: n.label for n in sorted(shown.networks, key=lambda n: bool(n.cell.departures))}
    networks = [Line2D([], [], color=COLOURS[c - 1], linewidth=2 * THICK, label=labels[c]) for c in sorted(labels)]
    kinds = {kind for n in shown.networks for run in n.runs for kind, found in run.items() if found}
    lines = [
        Line2D([], [], color=GREY, linestyle=LINES[kind], linewidth=THICK, label=NAMED[kind])
        for kind in POINTS[METRIC]
        if kind in kinds
    ]
    level = Line2D([], [], color=GREY, linewidth=THIN, label="published final error")
    return networks + lines + ([level] if published(shown) else [])


def _lacking(shown: Curves) -> str:
    if not shown.missing:
        return ""
    return f"Not drawn, no run with a history is recorded: {', '.join(label for label, _ in shown.missing)}."
