"""`pyconv report --into FILE`: the markers of Markdown files filled, or checked by CI."""

from pathlib import Path

import click

from experiments.spec import ArchitectureTable, Table
from results.evidence import Evidence
from slurm.commands import options
from slurm.console import note


def fill(
    files: tuple[Path, ...], tables: list[Table | ArchitectureTable], evidence: Evidence, check: bool, as_json: bool
) -> None:
    """Exit 1 where `check` finds a file that is not fresh; a file that cannot be filled is wrong usage."""
    from results.inject import InjectError, inject  # with pandas behind it

    try:
        filled = inject(files, tables, evidence, dry=check)
    except InjectError as error:
        raise click.UsageError(str(error)) from error
    stale = [file for file in filled if file.stale]
    for file in stale:
        for line, name in file.stale:
            note(f"{file.path}:{line}: {name} {'is not what is rendered now' if check else 'filled'}")
    if as_json:
        options.print_json({"stale" if check else "written": [str(file.path) for file in stale]})
    elif not stale:
        note("nothing to do: every block is fresh")
    if check and stale:
        raise click.exceptions.Exit(1)
