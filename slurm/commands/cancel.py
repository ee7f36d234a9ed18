"""`pyconv cancel TARGET`: take its jobs out of the queue. Checkpoints and records stay."""

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

    A training that several rows share is cancelled for all of them. Exit 1 when SLURM does not answer.
    """
    lines = rows(options.selection(target, mini))
    folder = options.runs_folder(runs, profile)
    try:
        with submissions.alone(folder):
            ids = _cancelled(lines, folder, records, seeds)
    except SubmissionError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        options.print_json({"cancelled": ids})
        return
    for job_id in ids:
        click.echo(job_id)
    note(f"{len(ids)} jobs cancelled; their checkpoints stay" if ids else "nothing of this waits or runs")


def _cancelled(lines: list[tuple[Table, Row]], folder: Path, records: Path, seeds: tuple[int, ...]) -> list[str]:
    known = look(folder)
    if known.answer.silence:
        raise SubmissionError(f"{known.answer.silence}; nothing was cancelled")
    board = Board(Evidence.load(records), folder, known)
    keys = dict.fromkeys(unit.unit.key for row in board.rows(lines, seeds or None) for unit in row.units)
    waiting = [
        seen.id
        for key in keys
        for place in known.places.get(key, [])
        if (seen := known.seen(place)) is not None and seen.live
    ]
    for start in range(0, len(waiting), AT_ONCE):
        _scancel(waiting[start : start + AT_ONCE])
    return waiting


def _scancel(ids: list[str]) -> None:
    if failed := ask("scancel", *ids).failed:
        raise SubmissionError(f"{failed}; look at `pyconv status`")
