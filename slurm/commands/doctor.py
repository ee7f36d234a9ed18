"""`pyconv doctor`: is this machine fit, and if not, what to do."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click

from slurm import doctor as checks
from slurm.commands import options
from slurm.profile import Profile

MARKS = {"ok": "ok     ", "note": "note   ", "problem": "PROBLEM"}


@click.command()
@options.profile
@options.records
@options.runs
@click.option(
    "--wait",
    type=click.FloatRange(min=0, min_open=True),
    default=120.0,
    show_default=True,
    help="Seconds that the small job on a cluster's nodes may wait in the queue.",
)
@options.as_json
def doctor(profile: Profile, records: Path, runs: Path | None, wait: float, as_json: bool) -> None:
    """Check versions, disk, profiles, data and devices; of a SLURM profile the cluster too, from one of its nodes.

    Exit 1 only when something keeps pyconv from working.
    """
    found = []
    for check in _checks(profile, records, options.runs_folder(runs, profile), wait):
        found.append(check)
        if not as_json:
            advice = f"\n{'':26}-> {check.advice}" if check.advice else ""
            click.echo(f"{MARKS[check.state]} {check.name:<17} {check.found}{advice}")
    problems = [check for check in found if check.state == "problem"]
    if as_json:
        options.print_json({"ok": not problems, "checks": [asdict(check) for check in found]})
    if problems:
        raise click.exceptions.Exit(1)


def _checks(place: Profile, records: Path, runs: Path, wait: float) -> Iterator[checks.Check]:
    yield from checks.examine(place, records, runs)
    if place.executor == "slurm":
        from slurm import cluster_doctor  # late: it imports submitit

        yield from cluster_doctor.examine(place, records, runs, wait)
