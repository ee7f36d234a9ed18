"""`pyconv logs TARGET`: what the last job of each unit wrote; `-f` follows it, `--failed` prints the tracebacks."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from results.evidence import Evidence
from slurm import traces
from slurm.commands import options
from slurm.commands.status import what
from slurm.console import note
from slurm.failures import log_end
from slurm.job import run_folder
from slurm.live import look
from slurm.profile import Profile
from slurm.selection import rows
from slurm.status import Board
from slurm.submit import LOGS
from slurm.units import LIVE, RowState, UnitState

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
    """The end of the logs of TARGET's last jobs, on the cluster or of `pyconv run`. Exit 1 when there is none."""
    chosen = rows(options.selection(target, mini))
    folder = options.runs_folder(runs, profile)

    def states() -> list[RowState]:
        return Board(Evidence.load(records), folder, look(folder)).rows(chosen, seeds or None)

    wanted = (unit for unit in _units(states()) if not failed or unit.state == "failed")
    found = [one for unit in wanted if (one := written(unit, folder, rank)) is not None]
    if not found:
        raise click.ClickException(f"{'nothing failed' if failed else 'nothing was submitted or run'} of {target}")
    if follow:
        live = [one for one in found if one.unit.state in LIVE] or found
        if len(live) > 1:
            names = ", ".join(dict.fromkeys(one.name for one in live[:5]))
            raise click.UsageError(f"-f follows one job, and {len(live)} of {target} are there: {names}; name one row")
        key = live[0].unit.unit.key
        _follow(live[0], lambda: any(u.state in LIVE for u in _units(states()) if u.unit.key == key))
        return
    for one in found:
        _print(one, lines, failed)


def _units(states: list[RowState]) -> Iterator[UnitState]:
    """Each unit once."""
    seen = {unit.unit.key: unit for row in states for unit in row.units}
    yield from seen.values()


@dataclass(frozen=True)
class Written:
    """What the last job of `unit` wrote. `traces`: the folder that keeps why it failed."""

    unit: UnitState
    name: str
    out: Path
    err: Path
    traces: Path


def written(unit: UnitState, runs: Path, rank: int) -> Written | None:
    """Where the logs of a submitted job are, or those of the last `pyconv run`; None when there is neither."""
    seed, place = unit.unit.experiment.seed, unit.place
    if place is not None:
        name = f"{', '.join(place.member.rows)} seed {seed}, {what(unit)}, job {unit.job_id}"
        return Written(unit, name, place.log("out", rank), place.log("err", rank), place.member.folder)
    if unit.unit.protocol is not None and unit.state != "failed":  # the same process as the training's
        return None
    folder = run_folder(runs, unit.unit.experiment)
    outs = sorted((folder / LOGS).glob(f"*_{rank}_log.out"), key=lambda path: path.stat().st_mtime)
    if not outs:
        return None
    name = f"{unit.unit.experiment.name} seed {seed}, {what(unit)}, run here"
    return Written(unit, name, outs[-1], outs[-1].with_suffix(".err"), folder)


def _print(one: Written, lines: int, failed: bool) -> None:
    unit = one.unit
    click.echo(f"== {one.name}: {unit.state}{f' ({unit.why})' if unit.why else ''}")
    error = traces.failed(one.traces)
    if failed and error is not None and error.job == (unit.job_id or ""):
        click.echo(error.traceback.rstrip())
        return
    for path in (one.err,) if failed else (one.out, one.err):
        click.echo(f"-- {path}")
        for line in log_end(path).splitlines()[-lines:]:
            click.echo(line)


def _follow(one: Written, alive: Callable[[], bool]) -> None:
    """Print what is appended to stdout and stderr, until the job no longer lives."""
    paths = [one.out, one.err]
    note(f"following {one.name}")
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
