"""`pyconv eval TARGET --checkpoint FILE`: test weights that were not trained here, such as the authors' own."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from experiments.spec import Protocol, fingerprint
from slurm.commands import options, predict_test
from slurm.commands.run import check_splits, job_of
from slurm.console import note
from slurm.job import Job
from slurm.profile import Profile, data_roots
from slurm.selection import Selected, Work, protocols, rows, tasks_here

if TYPE_CHECKING:
    from pyconv.checkpoints import Released


@click.command("eval")
@options.target(required=True)
@click.option(
    "--checkpoint",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The weights: a file that the authors published, in their layout, or of this program.",
)
@click.option(
    "--export",
    "exported",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the weights in the authors' names to this .pt or .safetensors, and test nothing.",
)
@click.option(
    "--predict-test",
    "predicted",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write what the network predicts on the test split to this folder, zipped for the data set's test server. "
    "Without --checkpoint the weights that were trained here, below --runs.",
)
@click.option("--seed", type=click.IntRange(min=0), help="With --predict-test: of the training [default: the row's].")
@options.mini
@options.profile
@options.data
@options.records
@options.runs
@options.as_json
def eval_command(
    target: str,
    file: Path | None,
    exported: Path | None,
    predicted: Path | None,
    seed: int | None,
    mini: bool,
    profile: Profile,
    data: tuple[tuple[str, Path], ...],
    records: Path,
    runs: Path | None,
    as_json: bool,
) -> None:
    """Test the weights in FILE as the network of TARGET, a row, by every protocol of the row. Nothing is trained.

    The numbers are recorded as those of released weights: beside the row's trainings, never as one of them. With
    --predict-test nothing is recorded: upload DIR/submission.zip, then enter the answer with `pyconv score`.
    """
    if predicted is not None:
        if exported is not None:
            raise click.UsageError("--export and --predict-test: one of the two")
        place = predict_test.Place(options.runs_folder(runs, profile), data_roots(profile, dict(data)), profile)
        predict_test.run(target, mini, file, seed, place, predicted, as_json)
        return
    if file is None or seed is not None:
        raise click.UsageError("--seed goes with --predict-test" if file else "give the weights: --checkpoint FILE")
    work = one_network(options.selection(target, mini))
    roots = data_roots(profile, dict(data))
    job = job_of(work, records, options.runs_folder(runs, profile), roots, profile, mini)
    if exported is None:
        check_testable(work, roots)
    content = _export(job, file, exported) if exported else _test(job, file)
    if as_json:
        options.print_json({"targets": list(work.targets), "experiment": job.experiment.name, **content})
    for key, metrics in content["metrics"].items() if not as_json else ():
        click.echo(f"{key}: " + ", ".join(f"{name} {value:.2f} %" for name, value in metrics.items()))


def one_network(selected: list[Selected]) -> Work:
    """The one experiment of the selected rows with the protocols of all of them; several are wrong usage."""
    found: dict[str, Work] = {}
    for table, row in rows(selected):
        if row.experiment is None:
            continue
        key = fingerprint(row.experiment)
        before = found.get(key, Work(row.experiment, (), ()))
        union: dict[str, Protocol] = {p.key: p for p in (*before.protocols, *protocols(table, row))}
        found[key] = Work(row.experiment, tuple(union.values()), (*before.targets, table.target(row)))
    if not found:
        raise click.BadParameter("no row of it has a network to test here; give a row like table3/pyconvresnet/50")
    if len(found) > 1:
        names = ", ".join(work.targets[0] for work in list(found.values())[:4])
        raise click.BadParameter(f"{len(found)} trainings ({names}, ...) and one file: give the row that it belongs to")
    return next(iter(found.values()))


def check_testable(work: Work, roots: dict[str, Path]) -> None:
    """Refuse before the network is built what cannot be tested: a task without code, data without a folder."""
    if not work.protocols:
        raise click.UsageError(f"{work.targets[0]}: nothing of it is measured here")
    if work.experiment.task not in tasks_here():
        here = ", ".join(tasks_here())
        raise click.UsageError(f"{work.targets[0]}: no test for {work.experiment.task} yet (available: {here})")
    check_splits(work.targets[0], {(p.data, p.split) for p in work.protocols}, roots)


def _test(job: Job, file: Path) -> dict[str, Any]:
    from slurm import trial  # torch, and --help answers at once

    model, weights = _loaded(job, file)
    try:
        records = trial.tested(job, file, model, weights)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    for path in records:
        note(f"recorded {path}")
    metrics = {
        str(record.protocol["key"]): {name: metric.value for name, metric in record.metrics.items()}
        for record in records.values()
    }
    return {"checkpoint": _about(file, weights), "records": [str(path) for path in records], "metrics": metrics}


def _export(job: Job, file: Path, exported: Path) -> dict[str, Any]:
    from pyconv.checkpoints import save_released

    model, weights = _loaded(job, file)
    try:
        sha256 = save_released(exported, model)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    note(f"written {exported} in the authors' names")
    written = {"file": str(exported), "sha256": sha256}
    return {"checkpoint": _about(file, weights), "exported": written, "metrics": {}}


def _loaded(job: Job, file: Path) -> "tuple[Any, Released]":
    """The network with the file's weights; a file that is not of it is wrong usage."""
    from slurm import trial

    try:
        model, weights = trial.loaded(job, file)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    beside = f"; left aside: {', '.join(weights.ignored)}" if weights.ignored else ""
    note(f"{file.name}: {weights.tensors} tensors of {job.experiment.model.name}, {weights.layout}{beside}")
    return model, weights


def _about(file: Path, weights: "Released") -> dict[str, Any]:
    return {"file": str(file), "sha256": weights.sha256, "layout": weights.layout, "source": weights.source}
