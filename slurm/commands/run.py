"""`pyconv run TARGET`: train and test here, through submitit's local executor."""

from collections import Counter
from pathlib import Path
from typing import Any

import click

from experiments.spec import fingerprint
from pyconv.recipe import Recipe
from slurm import submit
from slurm.backbones import backbones, parent
from slurm.commands import options
from slurm.console import Progress, note
from slurm.job import Job
from slurm.profile import PACKAGED, Profile, ProfileError, data_roots
from slurm.selection import Skip, Work, rows, tasks_here, works

AGAIN = "interrupted; the same command goes on from the last checkpoints"


@click.command()
@options.target(required=True)
@options.mini
@options.profile
@click.option("--jobs", type=click.IntRange(min=1), help="Jobs at once [default: as many as cores or GPUs carry].")
@options.seeds
@options.data
@options.records
@options.runs
@options.as_json
def run(
    target: str,
    mini: bool,
    profile: Profile,
    jobs: int | None,
    seeds: tuple[int, ...],
    data: tuple[tuple[str, Path], ...],
    records: Path,
    runs: Path | None,
    as_json: bool,
) -> None:
    """Train and test TARGET here; what is recorded is not run again, what was interrupted goes on.

    An experiment that stands in several rows is trained once, a backbone before what starts from it (unless `pyconv
    adopt` has given its weights). The records are the result; checkpoints and logs go
    to the runs folder. Exit 1 when a run failed; the others are not stopped by it.
    """
    lines = rows(options.selection(target, mini))
    todo, skipped = works(lines, options.evidence(records), seeds)
    tell_skipped(skipped)
    tell_shared(todo)
    if not todo and not any(skip.recorded for skip in skipped):
        raise click.UsageError("nothing of this can be run here: " + why_nothing(skipped))
    roots = data_roots(profile, dict(data))
    folder = options.runs_folder(runs, profile)
    first = backbones(todo, folder)
    tell_backbones(first)
    check_data([*first, *todo], roots)
    names = {fingerprint(work.experiment): name_of(work, seeds) for work in (*first, *todo)}
    ready = {name_of(work, seeds): job_of(work, records, folder, roots, profile, mini) for work in (*first, *todo)}
    needs = {name_of(work, seeds): names[key] for work in (*first, *todo) if (key := _parent(work, folder)) in names}
    outcomes = run_jobs(ready, profile, jobs, needs) if ready else []
    measured = [outcome for outcome in outcomes if outcome.job.protocols]
    if as_json:
        options.print_json(summary(todo, measured, skipped))
    else:
        note(f"{sum(outcome.ok for outcome in measured)} recorded, {failures(outcomes)} failed, {len(skipped)} skipped")
    if failures(outcomes):
        raise click.exceptions.Exit(1)


def name_of(work: Work, seeds: tuple[int, ...]) -> str:
    """What a person calls it: the row, with its seed where there are several; of a backbone its experiment."""
    name = work.targets[0] if work.protocols else f"backbone {work.experiment.name}"
    return f"{name} seed {work.experiment.seed}" if len(seeds) > 1 else name


def job_of(work: Work, records: Path, runs: Path, roots: dict[str, Path], profile: Profile, mini: bool) -> Job:
    """The job that does `work`: one without a test is a training only."""
    return Job(
        work.experiment,
        work.protocols,
        records=records.absolute(),
        runs=runs.absolute(),
        data=roots,
        threads=profile.threads,
        workers=profile.workers,
        micro_batch=profile.micro_batch,
        mini=mini,
        part="all" if work.protocols else "train",
    )


def run_jobs(
    jobs: dict[str, Job], profile: Profile, at_once: int | None, needs: dict[str, str]
) -> list[submit.Outcome]:
    """Run them with progress on stderr. A profile that submitit refuses is wrong usage."""
    try:
        with Progress("Training", len(jobs)) as progress:
            return submit.run(jobs, profile, needs=needs, at_once=at_once, progress=progress)
    except ProfileError as error:
        raise click.UsageError(str(error)) from error
    except KeyboardInterrupt:
        note(AGAIN)
        raise click.exceptions.Exit(130) from None


def check_data(todo: list[Work], roots: dict[str, Path]) -> None:
    """Refuse before anything is started when a data set has no folder or not the splits that are needed."""
    for work in todo:
        recipe: Recipe = work.experiment.recipe
        needed = {(recipe.data, recipe.split), *((p.data, p.split) for p in work.protocols)}
        check_splits(work.targets[0], needed, roots)


def check_splits(target: str, needed: set[tuple[str, str]], roots: dict[str, Path]) -> None:
    """Refuse when one of the (data set, split) that `target` needs has no folder."""
    for name, split in sorted(needed):
        if name not in roots and name not in PACKAGED:
            raise click.UsageError(
                f"{target} needs {name}, and no folder of it is known: give --data {name}=DIR, set "
                f"PYCONV_DATA_{name.upper()}, or name it under [data] of a profile (or try --mini)"
            )
        if name in roots and name == "imagenet" and not (roots[name] / split).is_dir():
            raise click.UsageError(f"{name}: {roots[name]} has no folder {split}/; expected {split}/<class>/<image>")


def tell_skipped(skipped: list[Skip]) -> None:
    """One line a reason when they are many, one a row when they are few."""
    if len(skipped) <= 10:
        for skip in skipped:
            note(f"skipped {skip.target}: {skip.reason}")
        return
    for reason, number in Counter(skip.reason for skip in skipped).items():
        note(f"skipped {number} rows: {reason}")


def tell_backbones(first: list[Work]) -> None:
    """Trainings that nobody asked for by name."""
    for work in first:
        more = f" and {len(work.targets) - 1} more" if len(work.targets) > 1 else ""
        note(f"{work.experiment.name} is trained first: {work.targets[0]}{more} start from it")


def _parent(work: Work, runs: Path) -> str:
    """Fingerprint of the training that has to end first, "" where there is none."""
    init = parent(work.experiment, runs)
    return "" if init is None else fingerprint(init)


def tell_shared(todo: list[Work]) -> None:
    """Rows that one run serves."""
    for first, *others in dict.fromkeys(work.targets for work in todo):
        if others:
            note(f"{first} is also {', '.join(others)}: one run")


def why_nothing(skipped: list[Skip]) -> str:
    """The reasons, each once, and what could be run."""
    reasons = dict.fromkeys(skip.reason for skip in skipped)
    can = f"tasks with training code: {', '.join(tasks_here())}"
    return "; ".join(reasons) if reasons else f"an architecture table has nothing to train ({can})"


def failures(outcomes: list[submit.Outcome]) -> int:
    """How many jobs ended without their records."""
    return sum(not outcome.ok for outcome in outcomes)


def summary(todo: list[Work], outcomes: list[submit.Outcome], skipped: list[Skip]) -> dict[str, Any]:
    """What `--json` prints."""
    targets = {fingerprint(work.experiment): list(work.targets) for work in todo}
    runs = []
    for outcome in outcomes:
        standing = {p.key: outcome.job.record(p) for p in outcome.job.protocols}
        runs.append(
            {
                "targets": targets[fingerprint(outcome.job.experiment)],
                "experiment": outcome.job.experiment.name,
                "seed": outcome.job.experiment.seed,
                "ok": outcome.ok,
                "seconds": round(outcome.seconds, 1),
                "metrics": {
                    key: {name: metric.value for name, metric in record.metrics.items()}
                    for key, record in standing.items()
                    if record is not None
                },
                "error": outcome.error,
                "log": str(outcome.log) if outcome.log else None,
            }
        )
    return {"runs": runs, "skipped": [{"target": skip.target, "reason": skip.reason} for skip in skipped]}
