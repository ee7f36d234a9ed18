"""Where a figure's photographs and predictions are, and what to do where they are not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.figures import Pictured
from experiments.spec import fingerprint
from results.figures.segmentations import FigureError, Source
from slurm.job import predictions_folder, run_folder

MINI = "Small runs: they check the pipeline and say nothing about PyConv or the paper."


@dataclass(frozen=True)
class Asked:
    """`runs`: folder with the predictions. `roots`: of the data sets. `images`: names of photographs, () by a rule."""

    mini: bool
    runs: Path
    roots: Mapping[str, Path]
    images: tuple[str, ...]

    @property
    def note(self) -> str:
        """What stands below a figure."""
        return MINI if self.mini else ""


def data_of(columns: Sequence[Pictured], asked: Asked) -> tuple[Path, str]:
    """The folder of the data set, and the split, that all columns were tested on."""
    ((data, split),) = {(one.protocol.data, one.protocol.split) for one in columns}
    root = asked.roots.get(data, asked.runs / "data" / data)
    if not root.is_dir():
        raise FigureError(f"{data}: {root} is not there; give the folder of its photographs: --data {data}=DIR")
    return root, split


def sources_of(columns: Sequence[Pictured], runs: Path, files: str) -> list[Source]:
    """The predictions of each column, which are `files`."""
    return [Source(one.header, one.target, _folder(one, runs, files)) for one in columns]


def remedy(columns: Sequence[Pictured], asked: Asked, files: str) -> str:
    """How predictions come about: a test keeps them, and a recorded test is not run again."""
    lacking = [one for one in columns if not any(_folder(one, asked.runs, files).glob(files))] or columns
    commands = ", ".join(
        f"pyconv run {one.target.removeprefix('mini-')}{' --mini' if asked.mini else ''} --runs {asked.runs}"
        for one in lacking
    )
    return (
        f"tests keep their predictions there: {commands} (where it is recorded already, also --records of an empty "
        "folder: weights that stand are tested, not trained again)"
    )


def about(one: Pictured, source: Source, runs: Path) -> dict[str, Any]:
    """Which network stands in a column, tested how, and where its predictions are."""
    return {
        "header": " ".join(one.header),
        "target": one.target,
        "experiment": one.experiment.name,
        "fingerprint": fingerprint(one.experiment),
        "protocol": one.protocol.key,
        "folder": source.folder.relative_to(runs).as_posix(),
    }


def _folder(one: Pictured, runs: Path, files: str) -> Path:
    """The predictions of the training; where there are none, of weights from a file (`pyconv eval`)."""
    own = predictions_folder(run_folder(runs, one.experiment), one.protocol)
    others = sorted(own.parents[2].glob(f"released-*/{own.parent.name}/{own.name}"))
    return next((folder for folder in (own, *others) if any(folder.glob(files))), own)
