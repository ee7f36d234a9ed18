"""`pyconv doctor`: is this machine fit, and if not, what to do."""

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
@options.as_json
def doctor(profile: Profile, records: Path, runs: Path | None, as_json: bool) -> None:
    """Check versions, disk, profiles, data and devices. Exit 1 only when something keeps pyconv from working."""
    found = []
    for check in checks.examine(profile, records, options.runs_folder(runs, profile)):
        found.append(check)
        if not as_json:
            advice = f"\n{'':26}-> {check.advice}" if check.advice else ""
            click.echo(f"{MARKS[check.state]} {check.name:<17} {check.found}{advice}")
    problems = [check for check in found if check.state == "problem"]
    if as_json:
        options.print_json({"ok": not problems, "checks": [asdict(check) for check in found]})
    if problems:
        raise click.exceptions.Exit(1)
