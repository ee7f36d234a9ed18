"""The training curves of a report: the paper's Figures 7 and 9, then a panel for every other network with a history."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from results.cell import Cell
from results.evidence import Evidence
from results.gather import Report
from results.printers.panels import NAMES, POINTS, Panel, extent_of, network, panel
from results.sheets import Sheet


@dataclass(frozen=True)
class Wanted:
    """A figure of the paper: which rows of which table, one panel a column group."""

    key: str
    title: str
    caption: str
    table: str
    rows: tuple[str, ...]


PAPER = (
    Wanted(
        "figure7",
        "Figure 7",
        "Training on ImageNet at depths 50, 101 and 152: ResNet beside PyConvResNet and PyConvHGResNet.",
        "table3",
        ("resnet", "pyconvresnet", "pyconvhgresnet"),
    ),
    Wanted(
        "figure9",
        "Figure 9",
        "Training on Kinetics-400, by independent clips: ResNet3D-50 beside PyConvResNet3D-50.",
        "table10",
        ("resnet3d50", "pyconvresnet3d50"),
    ),
)


@dataclass(frozen=True)
class Figure:
    """`legend`: networks by colour, where a panel has several. `missing`: those of which no run has a history."""

    key: str
    title: str
    caption: str
    panels: tuple[Panel, ...] = ()
    legend: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    mini: bool = False

    @property
    def kinds(self) -> set[str]:
        """The kinds of lines in the panels."""
        return {trace.kind for panel in self.panels for trace in panel.traces}


def figures(report: Report) -> list[Figure]:
    """The paper's figures whose rows are in the report, then panels for every other network with a history."""
    made: list[Figure | None] = []
    for metric in POINTS:
        cells = _first_cells(report.cells, metric)
        drawn: set[str] = set()
        for wanted in PAPER if metric == "top1_err" else ():
            own = [c for c in cells if c.table == wanted.table and c.row in wanted.rows]
            made.append(_paper_figure(wanted, own, report.evidence))
            drawn |= _runs(own, report.evidence)
        for sheet in report.sheets:
            own = [c for c in cells if c.table == sheet.name and not drawn & _runs([c], report.evidence)]
            made.append(_single_panels(sheet, metric, own, report.evidence))
            drawn |= _runs(own, report.evidence)
    return [figure for figure in made if figure is not None]


def _first_cells(cells: Iterable[Cell], metric: str) -> list[Cell]:
    """The cell of `metric` of each row; where it is tested in two ways the first one."""
    found: dict[tuple[str, str, str], Cell] = {}
    for cell in cells:
        if cell.column.metric == metric and cell.verdict != "QUOTED":
            found.setdefault((cell.table, cell.row, cell.group), cell)
    return list(found.values())


def _runs(cells: Iterable[Cell], evidence: Evidence) -> set[str]:
    """The trainings behind `cells`: tested in two ways they have one history."""
    places = (place for cell in cells for place in cell.records)
    return {evidence.records[place].fingerprint for place in places if place in evidence.records}


def _paper_figure(wanted: Wanted, cells: Sequence[Cell], evidence: Evidence) -> Figure | None:
    if not cells:
        return None
    networks = [network(cell, evidence, wanted.rows.index(cell.row) + 1) for cell in cells]
    drawn = sorted((n for n in networks if n.runs), key=lambda n: n.colour)
    groups = [group for group in dict.fromkeys(cell.group for cell in cells) if group in {n.cell.group for n in drawn}]
    panels = []
    for group in groups:
        own = [n for n in drawn if n.cell.group == group]
        panels.append(panel(f"depth {group}" if group else wanted.title, own, extent_of(drawn)))
    labels = {n.colour: n.label for n in sorted(networks, key=lambda n: bool(n.cell.departures))}  # a mark outlasts
    missing = tuple(f"{n.cell.label} {n.cell.group}".strip() for n in networks if not n.runs)
    legend = tuple(labels[colour] for colour in sorted(labels))
    return Figure(wanted.key, wanted.title, wanted.caption, tuple(panels), legend, missing)


def _single_panels(sheet: Sheet, metric: str, cells: Sequence[Cell], evidence: Evidence) -> Figure | None:
    networks = [n for n in (network(cell, evidence, 1) for cell in cells if cell.records) if n.runs]
    if not networks:
        return None
    extent = extent_of(networks)
    panels = (panel(f"{n.label} {n.cell.group}".strip(), [n], extent) for n in networks)
    first = metric in ("top1_err", "miou", "ap")
    key = f"curves-{sheet.name}" if first else f"curves-{sheet.name}-{metric}"
    title = sheet.title if first else f"{sheet.title}, {NAMES[metric]}"
    return Figure(key, title, "One network a panel, all on one scale.", tuple(panels), mini=sheet.mini)
