"""`pyconv adopt TARGET --checkpoint FILE`: a backbone that somebody else has trained, in the place of its training."""

from pathlib import Path

import click

from experiments.spec import Experiment
from slurm.adopted import WeightsError, adopt
from slurm.commands import options
from slurm.commands.eval import one_network
from slurm.console import note
from slurm.profile import Profile


@click.command("adopt")
@options.target(required=True)
@click.option(
    "--checkpoint",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="Weights of a classification network: a file that the authors published, in their layout, or of this program.",
)
@options.mini
@options.profile
@options.runs
@options.as_json
def adopt_command(target: str, file: Path, mini: bool, profile: Profile, runs: Path | None, as_json: bool) -> None:
    """Start what is to be trained on the backbone of TARGET from the weights in FILE, not from a training of it here.

    TARGET: a row of segmentation or detection, or the backbone's own row of classification; every row that starts from
    this backbone, with every seed, then does. Their records say so. The backbone's own row is not touched: for its
    numbers there are `pyconv run` and `pyconv eval`. To undo it before anything has begun, delete the folder told.
    """
    work = one_network(options.selection(target, mini))
    backbone: Experiment = work.experiment.init or work.experiment
    try:
        made, released = adopt(options.runs_folder(runs, profile), backbone, file)
    except WeightsError as error:
        raise click.ClickException(str(error)) from error
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    beside = f"; left aside: {', '.join(released.ignored)}" if released.ignored else ""
    note(f"{file.name}: {released.tensors} tensors of {backbone.model.name}, {released.layout}{beside}")
    if as_json:
        about = {"file": str(file), "sha256": made.sha256, "layout": made.layout, "source": released.source}
        options.print_json({"backbone": backbone.name, "checkpoint": about, "folder": str(made.folder)})
    else:
        click.echo(f"{backbone.name}: what starts from it starts from {made.name}, kept in {made.folder}")
