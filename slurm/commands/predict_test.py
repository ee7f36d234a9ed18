"""`pyconv eval TARGET --predict-test DIR`: the files that a test server takes, from a file's or our own weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from experiments.spec import Experiment, Protocol
from slurm.commands import options
from slurm.commands.run import check_splits
from slurm.commands.score import asked_of_server
from slurm.console import note
from slurm.profile import PACKAGED, Profile
from slurm.selection import seeded
from slurm.submission import MANIFEST, ZIP, Submission


@dataclass(frozen=True)
class Place:
    """`runs`: folder of the trainings. `roots`: name -> folder of the data sets."""

    runs: Path
    roots: dict[str, Path]
    profile: Profile


def run(
    target: str, mini: bool, file: Path | None, seed: int | None, place: Place, folder: Path, as_json: bool
) -> None:
    """Predict, check, zip, and say what to do with it."""
    experiment, protocol = asked_of_server(options.selection(target, mini), target, mini)
    experiment = seeded(experiment, seed)
    check_splits(target, {(protocol.data, protocol.split)}, place.roots)
    made = _made(experiment, protocol, file, place, folder)
    if as_json:
        options.print_json({"folder": str(folder), "images": made.sent["images"], "sha256": made.sent["sha256"]})
    else:
        click.echo(folder / ZIP)
    note(
        f"{made.sent['images']} label maps of {made.name}: upload {folder / ZIP}, then enter the answer with "
        f"pyconv score {target} --miou X --pixel-acc Y --date YYYY-MM-DD --source URL --submission {folder / MANIFEST}"
    )


def _made(experiment: Experiment, protocol: Protocol, file: Path | None, place: Place, folder: Path) -> Submission:
    import torch  # here and not at the top: `--help` answers at once

    from pyconv import ranks
    from pyconv.data import prepare
    from pyconv.models import build
    from slurm.submission import make

    torch.set_num_threads(place.profile.threads)
    model = build(experiment.model)
    if protocol.data in PACKAGED and protocol.data not in place.roots:
        prepare(protocol.data, place.runs / "data")
    root = place.roots.get(protocol.data, place.runs / "data" / protocol.data)
    try:
        about = _trained_here(experiment, model, place.runs) if file is None else _from_file(model, file)
        model.to(ranks.device("auto"))
        return make(model, experiment, protocol, about, root, folder, workers=place.profile.workers)
    except ValueError as error:  # weights, data and label maps tell which file is wrong
        raise click.ClickException(str(error)) from error


def _trained_here(experiment: Experiment, model: Any, runs: Path) -> dict[str, Any]:
    """Give the network the weights of its training below `runs`."""
    from pyconv.checkpoints import load_weights
    from slurm import weights
    from slurm.job import run_folder

    at = run_folder(runs, experiment)
    made = weights.sound(at)
    model.load_state_dict(load_weights(at / made.file))
    return {"source": "trained", "sha256": made.sha256, "file": made.file}


def _from_file(model: Any, file: Path) -> dict[str, Any]:
    from pyconv.checkpoints import load_released

    read = load_released(model, file)
    return {"source": "released", "sha256": read.sha256, "file": file.name}
