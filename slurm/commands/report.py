"""`pyconv report`: the tables as they stand, rendered from records, never typed."""

from pathlib import Path
from typing import Any

import click

from results.report import FORMATS, render, write_reports
from slurm.commands import options
from slurm.commands.under_way import live
from slurm.console import note
from slurm.selection import narrowed, rows


class Formats(click.ParamType[tuple[str, ...]]):
    """`md,latex`."""

    name = "formats"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Each of them known."""
        if isinstance(value, tuple):
            return value
        wanted = tuple(part.strip() for part in value.split(",") if part.strip())
        if unknown := [part for part in wanted if part not in FORMATS]:
            self.fail(f"{unknown[0]!r} is none of {', '.join(FORMATS)}", param, ctx)
        return wanted


@click.command()
@options.target()
@options.mini
@click.option("--format", "formats", type=Formats(), help="md, latex, json, html; several with commas.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write the pages to [default: print one format].",
)
@click.option(
    "--runs",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder of checkpoints and logs: the page then shows what is under way there, too.",
)
@options.records
@options.as_json
def report(
    target: str,
    mini: bool,
    formats: tuple[str, ...] | None,
    output: Path | None,
    runs: Path | None,
    records: Path,
    as_json: bool,
) -> None:
    """Published, measured and delta of TARGET; pending cells say so, deviations are footnotes.

    Without --output one format is printed, Markdown unless --format or --json says another.
    """
    selected = options.selection(target, mini)
    found, evidence = narrowed(selected), options.evidence(records)
    moment = None if runs is None else live(rows(selected), evidence, runs)
    if output is not None:
        written = write_reports(found, evidence, output, formats or tuple(FORMATS), moment)
        if as_json:
            options.print_json({"written": [str(path) for path in written]})
        else:
            note(f"{len(written)} pages in {output}" + (f": open {output / 'index.html'}" if not formats else ""))
        return
    chosen = formats or (("json",) if as_json else ("md",))
    if len(chosen) != 1:
        raise click.UsageError("several formats need a folder: give --output DIR")
    pages = render(found, evidence, chosen, live=moment)
    if any(isinstance(page, bytes) for page in pages.values()):
        raise click.UsageError(f"{chosen[0]} is not text: give --output DIR")
    click.echo("\n".join(str(page).rstrip("\n") + "\n" for page in pages.values()), nl=False)
