"""`pyconv compare` and `pyconv merge`: the records of two clusters, commits or people, side by side and in one."""

from collections.abc import Sequence
from pathlib import Path

import click

from results.compare import Comparison
from results.compare import compare as compared
from results.evidence import Evidence
from results.merge import Merge, MergeError
from results.merge import merge as merged
from results.origins import one_line
from results.printers.comparison import FORMATS
from slurm.commands import options
from slurm.console import note
from slurm.selection import narrowed

FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("left", type=FOLDER)
@click.argument("right", type=FOLDER)
@options.target()
@options.mini
@click.option("--format", "kind", type=click.Choice(tuple(FORMATS)), help="[default: md]")
@options.as_json
def compare(left: Path, right: Path, target: str, mini: bool, kind: str | None, as_json: bool) -> None:
    """Compare the records in the folders LEFT and RIGHT, cell by cell of TARGET; differences are right - left.

    Exit 1 when a number differs by more than the noise of equal runs, or a count differs at all.
    """
    if as_json and kind not in (None, "json"):
        raise click.UsageError(f"--json and --format {kind}: one of the two")
    for folder, name in ((left, "LEFT"), (right, "RIGHT")):
        if not folder.is_dir():
            what = "is not a folder" if folder.exists() else "is not there"
            raise click.BadParameter(f"{folder} {what}; a records folder is right", param_hint=name)
    if left.resolve() == right.resolve():
        raise click.UsageError(f"{left} is {right}: two folders are compared; to look at one, use pyconv report")
    tables = narrowed(options.selection(target, mini))
    sides = [options.evidence(folder) for folder in (left, right)]
    found = compared(tables, *sides)
    if not found.common:
        raise click.UsageError(_nothing(found, target, mini, sides))
    click.echo(FORMATS["json" if as_json else kind or "md"](found), nl=False)
    words = ", ".join(f"{number} {word}" for word, number in found.words.items())
    note(f"{found.common} cells on both sides: {words}; {found.missing} on neither")
    if _holds_minis(sides) and not mini:
        note("note: both folders hold mini runs too; --mini compares those")
    if not found.ok:
        raise click.exceptions.Exit(1)


def _nothing(found: Comparison, target: str, mini: bool, sides: Sequence[Evidence]) -> str:
    """Why there is nothing to compare, and what would be right."""
    told = ", ".join(f"{number} {word.lower()}" for word, number in found.words.items()) or "none on either side"
    hint = ": both hold mini runs, add --mini" if _holds_minis(sides) and not mini else ""
    return f"no cell of {target} has a number in both folders ({told}){hint}"


def _holds_minis(sides: Sequence[Evidence]) -> bool:
    return all(any(record.mini for record in side.records.values()) for side in sides)


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
