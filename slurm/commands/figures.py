"""`pyconv report --figures`: what networks predict, drawn from what tests have kept below the runs folder."""

from collections.abc import Sequence
from pathlib import Path

import click

from experiments import tables
from experiments.figures import FIGURES, Figure, Pictured, SegmentationFigure, figures_of, pictured
from pyconv.data import DataError
from results.figures.segmentations import FigureError
from results.report import write_pages
from slurm.commands import options
from slurm.commands.figure_pages import detection_pages, segmentation_pages
from slurm.commands.figure_sources import Asked
from slurm.console import note
from slurm.selection import Selected, rows

__all__ = ["Asked", "write_figures"]


def write_figures(selected: Sequence[Selected], asked: Asked, output: Path, as_json: bool) -> None:
    """Write the figures that show a selected row to `output`; exit 1 when one of them cannot be drawn."""
    written: list[Path] = []
    problems: list[str] = []
    for figure, columns in _chosen(selected, asked.mini):
        name = f"{'mini-' if asked.mini else ''}{figure.name}"
        try:
            pages = _pages(figure, columns, asked)
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


def _chosen(selected: Sequence[Selected], mini: bool) -> list[tuple[Figure, tuple[Pictured, ...]]]:
    """The figures with their columns; a target that is in no figure is wrong usage."""
    chosen = [(figure, pictured(figure, tables(mini=mini))) for figure in figures_of(rows(selected))]
    if found := [(figure, columns) for figure, columns in chosen if columns]:
        return found
    shown = ", ".join(
        f"{figure.name}: {', '.join(one.target for one in pictured(figure, tables()))}" for figure in FIGURES
    )
    raise click.BadParameter(f"it is in none of the figures{' that have a mini version' if mini else ''} ({shown})")


def _pages(figure: Figure, columns: Sequence[Pictured], asked: Asked) -> dict[str, str | bytes]:
    """The picture by its format, and what is in it as JSON."""
    if isinstance(figure, SegmentationFigure):
        return segmentation_pages(figure, columns, asked)
    return detection_pages(figure, columns, asked)
