"""`pyconv cancel TARGET`: take its jobs out of the queue. Checkpoints and records stay."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import click

from experiments.spec import Row, Table
from results.evidence import Evidence
from slurm import submissions
from slurm.asked import ask
from slurm.commands import options
from slurm.console import note
from slurm.live import look
from slurm.profile import Profile
from slurm.selection import rows
from slurm.status import Board
from slurm.submissions import SubmissionError

AT_ONCE = 500  # ids of one scancel


@dataclass(frozen=True)
class Cancelled:
    """`ids`: of jobs that are out of the queue. `refused`: in words, what SLURM did not cancel and why."""

    ids: tuple[str, ...]
    refused: tuple[str, ...]


@click.command()
@options.target(required=True)
@options.mini
@options.profile
@options.seeds
@options.records
@options.runs
@options.as_json
def cancel(
    target: str,
    mini: bool,
    profile: Profile,
    seeds: tuple[int, ...],
    records: Path,
    runs: Path | None,
    as_json: bool,
) -> None:
    """Cancel what waits or runs of TARGET; `pyconv submit` goes on from the last checkpoints.

    A training that several rows share is cancelled for all of them. Exit 1 when SLURM does not answer or refuses, as
    it does for jobs of others who share the runs folder.
    """
    lines = rows(options.selection(target, mini))
    folder = options.runs_folder(runs, profile)
    try:
        with submissions.alone(folder):
            done = _cancelled(lines, folder, records, seeds)
    except SubmissionError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        options.print_json({"cancelled": done.ids, "refused": done.refused})
    else:
        show(done)
    if done.refused:
        raise click.exceptions.Exit(1)


def show(done: Cancelled) -> None:
    """Ids on stdout, the rest on stderr."""
    for job_id in done.ids:
        click.echo(job_id)
    if done.ids:
        note(f"{len(done.ids)} jobs cancelled; their checkpoints stay")
    for words in done.refused:
        note(f"not cancelled: {words}")
    if not done.ids and not done.refused:
        note("nothing of this waits or runs")


def _cancelled(lines: list[tuple[Table, Row]], folder: Path, records: Path, seeds: tuple[int, ...]) -> Cancelled:
    known = look(folder)
    if known.answer.silence:
        raise SubmissionError(f"{known.answer.silence}; nothing was cancelled")
    board = Board(Evidence.load(records), folder, known)
    keys = dict.fromkeys(unit.unit.key for row in board.rows(lines, seeds or None) for unit in row.units)
    waiting: dict[str, list[str]] = defaultdict(list)
    for place in (place for key in keys for place in known.places.get(key, [])):
        if (seen := known.seen(place)) is not None and seen.live:
            waiting[place.submission.by].append(seen.id)
    cancelled: list[str] = []
    refused: list[str] = []
    for by, ids in waiting.items():
        for start in range(0, len(ids), AT_ONCE):
            some = ids[start : start + AT_ONCE]
            if words := _refusal(some, by):
                refused.append(words)
            else:
                cancelled += some
    return Cancelled(tuple(cancelled), tuple(refused))


def _refusal(ids: list[str], by: str) -> str:
    """Cancel jobs that one person, `by`, submitted. Why SLURM does not, "" when it does."""
    told = ask("scancel", *ids)
    if not told.failed:
        return ""
    if "denied" in told.complaint:
        only = "SLURM lets only their owner and its administrators cancel them (Access/permission denied)"
        return f"{', '.join(ids)}, submitted by {by}: {only}"
    raise SubmissionError(f"{told.failed}; look at `pyconv status`")
