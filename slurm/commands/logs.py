"""`pyconv logs TARGET`: what the last job of each unit wrote; `-f` follows it, `--failed` prints the tracebacks."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from results.records import Evidence
from slurm import traces
from slurm.commands import options
from slurm.commands.status import what
from slurm.console import note
from slurm.failures import log_end
from slurm.live import look
from slurm.profile import Profile
from slurm.selection import rows
from slurm.status import LIVE, Board, RowState, UnitState

POLL = 0.5  # seconds between two looks at a growing file
CHECK = 20.0  # seconds between two questions whether the job still lives


@click.command()
@options.target(required=True)
@options.mini
@options.profile
@options.seeds
@click.option("-f", "--follow", is_flag=True, help="Go on as the job writes; of one row (Ctrl-C ends it).")
@click.option("--failed", is_flag=True, help="Only what failed: its traceback, or the end of its stderr.")
@click.option("--rank", type=click.IntRange(min=0), default=0, show_default=True, help="Whose log.")
@click.option("--lines", type=click.IntRange(min=1), default=20, show_default=True, help="Of the end of each log.")
@options.records
@options.runs
def logs(
    target: str,
    mini: bool,
    profile: Profile,
    seeds: tuple[int, ...],
    follow: bool,
    failed: bool,
    rank: int,
    lines: int,
    records: Path,
    runs: Path | None,
) -> None:
    """The end of the logs of TARGET's last jobs. Exit 1 when there is none."""
    chosen = rows(options.selection(target, mini))
    folder = options.runs_folder(runs, profile)

    def states() -> list[RowState]:
        return Board(Evidence.load(records), folder, look(folder)).rows(chosen, seeds or None)

    units = [unit for unit in _units(states()) if unit.place is not None and (not failed or unit.state == "failed")]
    if not units:
        raise click.ClickException(f"{'nothing failed' if failed else 'nothing was submitted'} of {target}")
    if follow:
        live = [unit for unit in units if unit.state in LIVE] or units
        if len(live) > 1:
            names = ", ".join(dict.fromkeys(_name(unit) for unit in live[:5]))
            raise click.UsageError(f"-f follows one job, and {len(live)} of {target} are there: {names}; name one row")
        _follow(live[0], rank, lambda: any(u.state in LIVE for u in _units(states()) if u.unit.key == live[0].unit.key))
        return
    for unit in units:
        _print(unit, rank, lines, failed)


def _units(states: list[RowState]) -> Iterator[UnitState]:
    """Each unit once."""
    seen = {unit.unit.key: unit for row in states for unit in row.units}
    yield from seen.values()


def _name(unit: UnitState) -> str:
    assert unit.place is not None
    return f"{', '.join(unit.place.member.rows)} seed {unit.unit.experiment.seed}, {what(unit)}, job {unit.job_id}"


def _print(unit: UnitState, rank: int, lines: int, failed: bool) -> None:
    assert unit.place is not None
    click.echo(f"== {_name(unit)}: {unit.state}{f' ({unit.why})' if unit.why else ''}")
    error = traces.failed(unit.place.member.folder)
    if failed and error is not None and error.job == unit.job_id:
        click.echo(error.traceback.rstrip())
        return
    for ending in ("err",) if failed else ("out", "err"):
        path = unit.place.log(ending, rank)
        click.echo(f"-- {path}")
        for line in log_end(path).splitlines()[-lines:]:
            click.echo(line)


def _follow(unit: UnitState, rank: int, alive: Callable[[], bool]) -> None:
    """Print what is appended to stdout and stderr, until the job no longer lives."""
    assert unit.place is not None
    paths = [unit.place.log(ending, rank) for ending in ("out", "err")]
    note(f"following {_name(unit)}")
    read, checked = dict.fromkeys(paths, 0), time.monotonic()
    while True:
        for path in paths:
            read[path] = _new(path, read[path])
        if time.monotonic() - checked > CHECK:
            checked = time.monotonic()
            if not alive():
                return
        time.sleep(POLL)


def _new(path: Path, start: int) -> int:
    """Print what stands in `path` after byte `start`; where it ends now."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            content = file.read()
    except OSError:
        return start
    if content:
        click.echo(content.decode(errors="replace"), nl=False)
    return start + len(content)
