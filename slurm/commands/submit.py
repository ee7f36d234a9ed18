"""`pyconv submit TARGET` and `pyconv retry TARGET`: hand what is missing, or what failed, to SLURM, and return."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import click

from results.evidence import Evidence
from slurm.commands import options
from slurm.console import note
from slurm.costs import totals
from slurm.environment import inherited
from slurm.failures import CLASSES
from slurm.live import Known, look
from slurm.plan import Plan, PlannedJob, plan
from slurm.profile import PACKAGED, Profile, ProfileError, data_roots
from slurm.retry import wanted as failed_again
from slurm.selection import rows
from slurm.send import Order, Outcome, Wanted, send
from slurm.snapshot import SnapshotError
from slurm.status import Board
from slurm.submissions import Submission, SubmissionError

Planner = Callable[[Known], Plan]


@click.command()
@options.target(required=True)
@options.mini
@options.profile
@options.seeds
@options.data
@options.records
@options.runs
@options.yes
@options.as_json
def submit(
    target: str,
    mini: bool,
    profile: Profile,
    seeds: tuple[int, ...],
    data: tuple[tuple[str, Path], ...],
    records: Path,
    runs: Path | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Submit what is missing of TARGET to SLURM and return at once with the ids.

    What is recorded, queued or running is not submitted again, however many people submit at the same moment. Arrays
    wait for the arrays they start from. The code is snapshotted: edits do not reach queued jobs. Exit 1 when SLURM or
    the disk refused, 2 for wrong usage.
    """
    order, planner = _prepared(target, mini, profile, seeds, data, records, runs)
    tell(_sent(order, lambda known: Wanted(planner(known).jobs), "skip", yes), as_json)


@click.command()
@options.target(required=True)
@options.mini
@options.profile
@options.seeds
@options.data
@options.records
@options.runs
@click.option("--class", "classes", multiple=True, type=click.Choice(CLASSES), help="Only failures of this class.")
@click.option("--own-errors", is_flag=True, help="Also what failed by an error of its own or diverged.")
@options.yes
@options.as_json
def retry(
    target: str,
    mini: bool,
    profile: Profile,
    seeds: tuple[int, ...],
    data: tuple[tuple[str, Path], ...],
    records: Path,
    runs: Path | None,
    classes: tuple[str, ...],
    own_errors: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Submit again what failed of TARGET, by the policy of its class of failure.

    \b
    oom        twice the memory (mem_gb), at most twice
    timeout    again, from the last checkpoint; not before its first one
    node_fail  again, without that node
    preempted, killed, cancelled, disk, blocked, unknown   again
    own, diverged   only with --own-errors: the same code would fail again
    """
    order, planner = _prepared(target, mini, profile, seeds, data, records, runs)

    def chosen(known: Known) -> Wanted:
        board = Board(Evidence.load(records), order.runs, known)
        return failed_again(planner(known).jobs, board, profile, classes=classes, own_errors=own_errors)

    tell(_sent(order, chosen, "again" if own_errors else "skip", yes), as_json)


def tell(outcome: Outcome, as_json: bool) -> None:
    """What was submitted: ids on stdout; what was not and what to do next on stderr."""
    if as_json:
        options.print_json(summary(outcome))
        return
    left = [job for job in outcome.jobs if job.action != "run"]
    for action, words in (
        ("recorded", "recorded already"),
        ("running", "queued or running already"),
        ("unneeded", "of no use: nothing that starts from them runs"),
    ):
        if number := sum(job.action == action for job in left):
            note(f"{number} jobs are {words}")
    for job in left:
        if job.action == "blocked":
            note(f"not submitted: {job.kind} of {', '.join(job.rows)}: {job.reason}")
    if outcome.submission is None:
        note("nothing to submit")
        return
    for array in outcome.submission.arrays:
        rows = dict.fromkeys(row for member in array.members for row in member.rows)
        waits = f", {array.dependency}" if array.dependency else ""
        jobs = f"{len(array.members)} job{'s' if len(array.members) > 1 else ''}"
        click.echo(f"{array.job_id}  {array.members[0].kind:<5} {jobs}{waits}: {_shortened(list(rows))}")
    note(f"logs: {outcome.submission.jobs}; next: pyconv status TARGET --watch, with the same --runs and --records")


def summary(outcome: Outcome) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "submission": _submission(outcome.submission),
        "not_submitted": [
            {"key": job.key, "kind": job.kind, "rows": list(job.rows), "action": job.action, "reason": job.reason}
            | ({"job_id": job.job_id} if job.job_id else {})
            for job in outcome.jobs
            if job.action != "run"
        ],
    }


def _submission(submission: Submission | None) -> dict[str, Any] | None:
    if submission is None:
        return None
    jobs = [
        {
            "job_id": array.member_id(index),
            "kind": member.kind,
            "experiment": member.name,
            "seed": member.seed,
            "rows": list(member.rows),
            "key": member.key,
            "dependency": array.dependency,
        }
        for array in submission.arrays
        for index, member in enumerate(array.members)
    ]
    return {"folder": str(submission.folder), "snapshot": submission.snapshot, "jobs": jobs}


def _prepared(
    target: str,
    mini: bool,
    profile: Profile,
    seeds: tuple[int, ...],
    data: tuple[tuple[str, Path], ...],
    records: Path,
    runs: Path | None,
) -> tuple[Order, Planner]:
    """Everything checked that can be before SLURM is asked."""
    if profile.executor != "slurm":
        raise click.UsageError(
            f"profile {profile.name} has no SLURM (executor = {profile.executor!r}): `pyconv run` runs here; for a "
            "cluster choose another with --profile, or copy the example that `pyconv doctor` names"
        )
    lines = rows(options.selection(target, mini))
    folder = options.runs_folder(runs, profile)
    roots = data_roots(profile, dict(data))
    order = Order(profile, records, folder, roots)

    def planner(known: Known) -> Plan:
        return plan(lines, options.evidence(records), folder, seeds=seeds, live=known.live(), mini=mini)

    if ignored := inherited():
        note(f"not passed on to the jobs: {', '.join(sorted(ignored))} (what they should have belongs in the profile)")
    return order, planner


def _sent(order: Order, wanted: Callable[[Known], Wanted], own_errors: Literal["skip", "again"], yes: bool) -> Outcome:
    """Ask where it is costly, then submit. SLURM's refusals are exit 1, a bad profile is wrong usage."""
    try:
        known = look(order.runs)
        for problem in known.problems:
            note(f"note: {problem}")
        jobs = wanted(known).jobs
        check_data(jobs, order.data)
        _approve(jobs, order, yes)
        return send(order, wanted, own_errors=own_errors)
    except ProfileError as error:
        raise click.UsageError(str(error)) from error
    except (SubmissionError, SnapshotError) as error:
        raise click.ClickException(str(error)) from error


def check_data(jobs: Sequence[PlannedJob], roots: Mapping[str, Path]) -> None:
    """Refuse jobs whose data set has no folder; whether a node can read it is the doctor's question."""
    for job in jobs:
        name = job.experiment.recipe.data if job.protocol is None else job.protocol.data
        if job.action == "run" and name not in roots and name not in PACKAGED:
            raise click.UsageError(
                f"{job.rows[0]} needs {name}, and no folder of it is known: name it under [data] of the profile, set "
                f"PYCONV_DATA_{name.upper()}, or give --data {name}=DIR (or try --mini)"
            )


def _approve(jobs: Sequence[PlannedJob], order: Order, yes: bool) -> None:
    """Ask a person before much is spent; who cannot be asked has to say --yes."""
    spent = totals(jobs, order.profile)
    limit = order.profile.ask_gpu_hours
    if yes or spent.gpu_hours <= limit:
        return
    cost = f", {spent.cost:,.0f} at the profile's price" if spent.cost is not None else ""
    question = f"This needs about {spent.gpu_hours:,.0f} GPU-hours{cost}. Submit?"
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Nobody is there to ask: give --yes (asked above {limit:g} GPU-hours)")
    click.confirm(question, abort=True, err=True)


def _shortened(rows: Sequence[str], most: int = 4) -> str:
    more = f" and {len(rows) - most} more" if len(rows) > most else ""
    return ", ".join(rows[:most]) + more
