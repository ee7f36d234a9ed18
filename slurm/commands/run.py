"""`pyconv run TARGET`: train and test here, through submitit's local executor."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from pyconv.recipe import Recipe
from slurm import submit
from slurm.backbones import backbones, needs
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
    folder = options.runs_folder(runs, profile)
    todo, skipped = works(lines, options.evidence(records), folder, seeds)
    tell_skipped(skipped)
    tell_shared(todo)
    if not todo and not any(skip.recorded for skip in skipped):
        raise click.UsageError("nothing of this can be run here: " + why_nothing(skipped))
    roots = data_roots(profile, dict(data))
    first = backbones(todo, folder)
    tell_backbones(first)
    check_data([*first, *todo], roots)
    named = _named(first, todo, seeds)
    ready = {name: job_of(work, records, folder, roots, profile, mini) for name, work in named.items()}
    outcomes = run_jobs(ready, profile, jobs, needs(named, folder)) if ready else []
    if as_json:
        options.print_json(summary(named, outcomes, skipped))
    else:
        tell_outcomes(outcomes, skipped)
    if failures(outcomes):
        raise click.exceptions.Exit(1)


def _named(first: list[Work], todo: list[Work], seeds: tuple[int, ...]) -> dict[str, Work]:
    """By what a person calls them: the row, of a backbone its experiment, with the seed where there are several."""
    called = [(f"backbone {work.experiment.name}", work) for work in first]
    called += [(work.targets[0], work) for work in todo]
    return {f"{name} seed {work.experiment.seed}" if len(seeds) > 1 else name: work for name, work in called}


def tell_outcomes(outcomes: list[submit.Outcome], skipped: list[Skip]) -> None:
    """How many of what."""
    trained = sum(outcome.ok for outcome in outcomes if not outcome.job.protocols)
    recorded = sum(outcome.ok for outcome in outcomes) - trained
    alone = f"{trained} trained for others or for a test server, " if trained else ""
    note(f"{recorded} recorded, {alone}{failures(outcomes)} failed, {len(skipped)} skipped")


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
    from pyconv.data.layouts import described, expected

    for name, split in sorted(needed):
        if name not in roots and name not in PACKAGED:
            raise click.UsageError(
                f"{target} needs {name}, and no folder of it is known: give --data {name}=DIR, set "
                f"PYCONV_DATA_{name.upper()}, or name it under [data] of a profile (or try --mini)"
            )
        if name not in roots or name in PACKAGED:
            continue
        absent = [folder for folder in expected(name, split) if not (roots[name] / folder).is_dir()]
        if absent:
            raise click.UsageError(
                f"{name}: {roots[name]} has no folder {absent[0]}/; expected {described(name, split)}"
            )


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


def summary(named: Mapping[str, Work], outcomes: list[submit.Outcome], skipped: list[Skip]) -> dict[str, Any]:
    """What `--json` prints."""
    targets = {name: list(work.targets) for name, work in named.items()}
    runs = []
    for outcome in outcomes:
        standing = {p.key: outcome.job.record(p) for p in outcome.job.protocols}
        runs.append(
            {
                "targets": targets[outcome.name],
                "part": outcome.job.part,
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
