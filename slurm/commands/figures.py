"""`pyconv report --figures`: Figures 10 and 11 from the predictions that tests have kept below the runs folder."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from experiments import tables
from experiments.figures import FIGURES, Pictured, SegmentationFigure, figures_of, pictured
from experiments.spec import fingerprint
from pyconv.data import DataError
from pyconv.data.ade20k import Scenes, read_scenes
from results.bundle_layout import json_text
from results.figures.drawing import draw
from results.figures.segmentations import FigureError, NotPredicted, Panels, Source, choose, panels, pixel_acc
from results.report import write_pages
from slurm.commands import options
from slurm.console import note
from slurm.job import predictions_folder, run_folder
from slurm.selection import Selected, rows

MINI = "Small runs: they check the pipeline and say nothing about PyConv or the paper."
RULE = "in the middle of equal parts of those that all networks predicted, by name"


@dataclass(frozen=True)
class Asked:
    """`runs`: folder with the predictions. `roots`: of the data sets. `images`: names of photographs, () by `RULE`."""

    mini: bool
    runs: Path
    roots: Mapping[str, Path]
    images: tuple[str, ...]


def write_figures(selected: Sequence[Selected], asked: Asked, output: Path, as_json: bool) -> None:
    """Write the figures that show a selected row to `output`; exit 1 when one of them cannot be drawn."""
    written: list[Path] = []
    problems: list[str] = []
    for figure, columns in _chosen(selected, asked.mini):
        name = f"{'mini-' if asked.mini else ''}figure{figure.number}"
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


def _chosen(selected: Sequence[Selected], mini: bool) -> list[tuple[SegmentationFigure, tuple[Pictured, ...]]]:
    """The figures with their columns; a target that is in no figure is wrong usage."""
    chosen = [(figure, pictured(figure, tables(mini=mini))) for figure in figures_of(rows(selected))]
    if found := [(figure, columns) for figure, columns in chosen if columns]:
        return found
    shown = ", ".join(
        f"Figure {figure.number}: {', '.join(one.target for one in pictured(figure, tables()))}" for figure in FIGURES
    )
    raise click.BadParameter(f"it is in none of the figures{' that have a mini version' if mini else ''} ({shown})")


def _pages(figure: SegmentationFigure, columns: Sequence[Pictured], asked: Asked) -> dict[str, str | bytes]:
    """The picture by its format, and what is in it as JSON."""
    scenes = _scenes(columns, asked)
    sources = [Source(one.header, one.target, _folder(one, asked.runs)) for one in columns]
    try:
        chosen = choose(scenes, sources, asked.images)
        shown = panels(scenes, sources, chosen, MINI if asked.mini else "")
    except NotPredicted as error:
        raise FigureError(f"{error}\n{_remedy(columns, asked)}") from error
    about = {
        "figure": figure.number,
        "mini": asked.mini,
        "caption": figure.caption,
        "photographs": [row.stem for row in shown.rows],
        "chosen": "by name" if asked.images else RULE,
        "data": columns[0].protocol.data,
        "split": scenes.name,
        "networks": [_about(number, columns, sources, shown, asked) for number in range(len(columns))],
    }
    return {**draw(shown), "json": json_text(about)}


def _scenes(columns: Sequence[Pictured], asked: Asked) -> Scenes:
    """The split that all columns were tested on."""
    ((data, split),) = {(one.protocol.data, one.protocol.split) for one in columns}
    root = asked.roots.get(data, asked.runs / "data" / data)
    if not root.is_dir():
        raise FigureError(f"{data}: {root} is not there; give the folder of its photographs: --data {data}=DIR")
    return read_scenes(root, split)


def _folder(one: Pictured, runs: Path) -> Path:
    """The predictions of the training; where there are none, of weights from a file (`pyconv eval`)."""
    own = predictions_folder(run_folder(runs, one.experiment), one.protocol)
    files = sorted(own.parents[2].glob(f"released-*/{own.parent.name}/{own.name}"))
    return next((folder for folder in (own, *files) if any(folder.glob("*.png"))), own)


def _remedy(columns: Sequence[Pictured], asked: Asked) -> str:
    """How predictions come about: a test keeps them, and a recorded test is not run again."""
    lacking = [one for one in columns if not any(_folder(one, asked.runs).glob("*.png"))] or columns
    commands = ", ".join(
        f"pyconv run {one.target.removeprefix('mini-')}{' --mini' if asked.mini else ''} --runs {asked.runs}"
        for one in lacking
    )
    return (
        f"tests keep their predictions there: {commands} (where it is recorded already, also --records of an empty "
        "folder: weights that stand are tested, not trained again)"
    )


def _about(
    number: int, columns: Sequence[Pictured], sources: Sequence[Source], shown: Panels, asked: Asked
) -> dict[str, Any]:
    one, folder = columns[number], sources[number].folder
    predictions = {
        row.stem: {
            "pixel_acc": pixel_acc(row.predictions[number], row.truth),
            "sha256": hashlib.sha256((folder / f"{row.stem}.png").read_bytes()).hexdigest(),
        }
        for row in shown.rows
    }
    return {
        "header": " ".join(one.header),
        "target": one.target,
        "experiment": one.experiment.name,
        "fingerprint": fingerprint(one.experiment),
        "protocol": one.protocol.key,
        "folder": folder.relative_to(asked.runs).as_posix(),
        "predictions": predictions,
    }
