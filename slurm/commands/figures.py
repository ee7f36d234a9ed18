"""`pyconv report --figures`: what networks predict, from what tests have kept below the runs folder; training curves.

Figures 7 and 9 are drawn from the records' histories, the others from predictions.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import click

from experiments import tables
from experiments.figures import FIGURES, Figure, Pictured, SegmentationFigure, figures_of, pictured
from experiments.spec import Table
from pyconv.data import DataError
from results.evidence import Evidence
from results.figures.segmentations import FigureError
from results.printers.curves import PAPER, Wanted
from results.report import write_pages
from slurm.commands import options
from slurm.commands.figure_pages import curve_pages, detection_pages, segmentation_pages
from slurm.commands.figure_sources import Asked
from slurm.console import note
from slurm.selection import Selected, rows

__all__ = ["Asked", "write_figures"]

Pages = Mapping[str, str | bytes]
"""The picture by its format, and what is in it as JSON."""


def write_figures(
    selected: Sequence[Selected], mini: bool, asked: Asked | None, evidence: Evidence, output: Path, as_json: bool
) -> None:
    """Write the figures that show a selected row to `output`; exit 1 when one of them cannot be drawn.

    `asked` None: there is no runs folder; then only curves can be drawn.
    """
    written: list[Path] = []
    problems: list[str] = []
    for figure, draw in _chosen(selected, mini, asked, evidence).items():
        name = f"{'mini-' if mini else ''}{figure}"
        try:
            pages = draw()
        except (FigureError, DataError) as error:
            problems.append(f"{name}: {error}")
            continue
        written += write_pages({f"{name}.{kind}": page for kind, page in pages.items()}, output)
    for problem in problems:
        note(problem)
    if as_json:
        options.print_json({"written": [str(path) for path in written], "problems": problems})
    elif written:
        note(f"{', '.join(path.name for path in written)} in {output}")
    if problems:
        raise click.exceptions.Exit(1)


def _chosen(
    selected: Sequence[Selected], mini: bool, asked: Asked | None, evidence: Evidence
) -> dict[str, Callable[[], Pages]]:
    """How each figure is drawn, by its name; a target that is in no figure is wrong usage."""
    curves = {wanted.key: _curves(wanted, table, mini, evidence) for wanted, table in _curves_of(selected, mini)}
    predicted = [(figure, pictured(figure, tables(mini=mini))) for figure in figures_of(rows(selected))]
    predicted = [(figure, columns) for figure, columns in predicted if columns]
    if predicted and asked is None:
        names = ", ".join(figure.name for figure, _ in predicted)
        raise click.UsageError(f"--figures needs --runs DIR for {names}: the folder where the predictions are")
    pictures = {figure.name: _pictures(figure, columns, asked) for figure, columns in predicted if asked is not None}
    if found := curves | pictures:
        return found
    raise click.BadParameter(f"it is in none of the figures{' that have a mini version' if mini else ''} ({_shown()})")


def _curves_of(selected: Sequence[Selected], mini: bool) -> list[tuple[Wanted, Table]]:
    """The figures of curves that show a selected row, each with its whole table."""
    chosen = {(table.name.removeprefix("mini-"), row.key) for table, row in rows(selected)}
    numbered = {table.name.removeprefix("mini-"): table for table in tables(mini=mini) if isinstance(table, Table)}
    return [
        (wanted, numbered[wanted.table]) for wanted in PAPER if chosen & {(wanted.table, key) for key in wanted.rows}
    ]


def _curves(wanted: Wanted, table: Table, mini: bool, evidence: Evidence) -> Callable[[], Pages]:
    return lambda: curve_pages(wanted, table, mini, evidence)


def _pictures(figure: Figure, columns: tuple[Pictured, ...], asked: Asked) -> Callable[[], Pages]:
    if isinstance(figure, SegmentationFigure):
        return lambda: segmentation_pages(figure, columns, asked)
    return lambda: detection_pages(figure, columns, asked)


def _shown() -> str:
    """Which rows are in which figure."""
    curves = [f"{wanted.key}: {', '.join(f'{wanted.table}/{key}' for key in wanted.rows)}" for wanted in PAPER]
    pictures = [f"{figure.name}: {', '.join(one.target for one in pictured(figure, tables()))}" for figure in FIGURES]
    return "; ".join(curves + pictures)
