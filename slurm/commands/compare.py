"""`pyconv compare` and `pyconv merge`: the records of two clusters, commits or people, side by side and in one."""

from pathlib import Path

import click

from results.merge import Merge, MergeError
from results.merge import merge as merged
from results.origins import one_line
from slurm.commands import options
from slurm.console import note

FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("sources", type=FOLDER, nargs=-1, required=True, metavar="SOURCE...")
@click.option("--into", type=FOLDER, required=True, metavar="DIR", help="The folder that gets them; made if needed.")
@click.option("--dry-run", is_flag=True, help="Tell what would happen, and copy nothing.")
@options.as_json
def merge(sources: tuple[Path, ...], into: Path, dry_run: bool, as_json: bool) -> None:
    """Copy the records of every SOURCE into DIR, to the byte; nothing that stands in DIR is touched.

    Another record of a measurement that DIR has is a conflict: it is told with what differs and left where it is, as
    are files that are no evidence. Exit 1 when there are some; the rest is copied all the same.
    """
    try:
        found = merged(sources, into, dry_run=dry_run)
    except MergeError as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        options.print_json(found.to_json())
    else:
        _tell_merge(found)
    for source in sources:
        if one_line(str(source)) not in {step.source for step in found.steps}:
            note(f"note: no records in {source}: a records folder holds <name>-<family>/seed-<s>/<protocol>.json")
    for problem in found.problems:
        note(f"note: in {into}, not evidence: {problem}")
    counts = ", ".join(f"{number} {what}" for what, number in found.summary.items()).replace("conflict", "in conflict")
    note(f"{counts} ({'nothing is written: a dry run for' if dry_run else 'into'} {into})")
    if not found.ok:
        raise click.exceptions.Exit(1)


def _tell_merge(found: Merge) -> None:
    """A line a file; those that are there already only where there is something to say."""
    for step in found.steps:
        if step.what != "already there" or step.told:
            click.echo(f"{step.what:<13}  {step.source}/{step.place}" + (f": {step.told}" if step.told else ""))
