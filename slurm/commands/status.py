"""`pyconv status [TARGET]`: where every row stands. The record is the truth, SLURM's word a hint."""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from tabulate import tabulate

from results.evidence import Evidence
from slurm.commands import options
from slurm.console import duration, note
from slurm.live import look
from slurm.profile import Profile
from slurm.selection import rows
from slurm.status import Board
from slurm.units import LIVE, RowState, UnitState

HEADERS = ("row", "seed", "state", "epoch", "last metric", "ETA", "job", "node", "restarts")
FAILED = ("failed", "blocked")
LEAST = 5.0  # seconds between two questions to SLURM


@click.command()
@options.target()
@options.mini
@options.profile
@options.seeds
@click.option("--watch", is_flag=True, help="Again and again, until nothing waits or runs.")
@click.option("--every", type=click.FloatRange(min=LEAST), default=15.0, show_default=True, help="Seconds, of --watch.")
@options.records
@options.runs
@options.as_json
def status(
    target: str,
    mini: bool,
    profile: Profile,
    seeds: tuple[int, ...],
    watch: bool,
    every: float,
    records: Path,
    runs: Path | None,
    as_json: bool,
) -> None:
    """State, epoch, last metric, ETA, job, node and restarts of every row of TARGET.

    One question to SLURM for all jobs; without accounting, or without any answer, the jobs' own words are shown.
    Seeds: those that were submitted or recorded. Exit 1 when a shown run failed or cannot start.
    """
    lines = rows(options.selection(target, mini))
    folder = options.runs_folder(runs, profile)
    while True:
        known = look(folder)
        board = Board(Evidence.load(records), folder, known)
        states = board.rows(lines, seeds or None)
        if as_json:
            options.print_json(summary(states, known.answer.silence, board.silence))
        else:
            show(states, [*known.problems, *filter(None, (known.answer.silence, _no_accounts(board.silence)))], watch)
        if not watch or not any(unit.state in LIVE for row in states for unit in row.units):
            break
        time.sleep(every)
    if any(row.deciding.state in FAILED for row in states):
        raise click.exceptions.Exit(1)


def show(states: Sequence[RowState], remarks: Sequence[str], watch: bool) -> None:
    """The table on stdout, then why some wait or failed."""
    if watch and sys.stdout.isatty():
        click.clear()
    lines = [line(row) for row in states if row.deciding.state != "missing"]
    if lines:
        click.echo(tabulate(lines, HEADERS, disable_numparse=True))
    for row in states:
        unit = row.deciding
        if unit.why and unit.state not in ("missing", "recorded"):
            click.echo(f"{row.target} seed {row.seed}: {what(unit)} {unit.state}: {unit.why}")
    count = Counter(row.deciding.state for row in states)
    click.echo(", ".join(f"{number} {state}" for state, number in count.most_common()) or "nothing here is measured")
    for remark in remarks:
        note(f"note: {remark}")
    if count["failed"] or count["cancelled"]:
        note("next: pyconv logs TARGET --failed, pyconv retry TARGET")


def line(row: RowState) -> tuple[str, ...]:
    """One row of the table."""
    unit = row.deciding
    metric = " ".join(f"{name} {value:.2f}" for name, value in unit.metric.items())
    eta = duration(unit.eta) if unit.eta is not None else ""
    state = unit.state if unit.unit.kind == "train" or unit.state == "recorded" else f"test {unit.state}"
    epoch = f"{unit.epoch}/{unit.epochs}" if unit.epochs and unit.unit.kind == "train" else ""
    restarts = str(sum(other.restarts for other in row.units))
    return (row.target, str(row.seed), state, epoch, metric, eta, unit.job_id or "", unit.nodes, restarts)


def what(unit: UnitState) -> str:
    """`training`, or `test mini-crop224`."""
    return "training" if unit.unit.protocol is None else f"test {unit.unit.protocol.key}"


def _no_accounts(silence: str) -> str:
    """What that costs: how a job ended is then known from its own words and its log alone."""
    return f"no accounting ({silence}): how jobs ended is read from their logs" if silence else ""


def summary(states: Sequence[RowState], silence: str, no_accounts: str) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "slurm": silence or "answered",
        "accounting": no_accounts or None,
        "rows": [
            {
                "target": row.target,
                "seed": row.seed,
                "state": row.deciding.state,
                "units": [_unit(unit) for unit in row.units],
            }
            for row in states
        ],
    }


def _unit(state: UnitState) -> dict[str, Any]:
    return {
        "kind": state.unit.kind,
        "protocol": state.unit.protocol.key if state.unit.protocol else None,
        "key": state.unit.key,
        "state": state.state,
        "why": state.why,
        "failure": state.failure,
        "done": round(state.done, 4),
        "epoch": state.epoch,
        "epochs": state.epochs,
        "metric": dict(state.metric),
        "eta_seconds": None if state.eta is None else round(state.eta),
        "job_id": state.job_id,
        "nodes": state.nodes,
        "restarts": state.restarts,
        "attempts": state.attempts,
    }
