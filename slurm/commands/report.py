"""`pyconv report`: the tables as they stand, rendered from records, never typed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from results.report import FORMATS, Page, link_to, render, write_pages
from slurm.commands import options
from slurm.commands.again import again
from slurm.console import note
from slurm.selection import narrowed


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
    "--from",
    "bundle",
    type=click.Path(path_type=Path, exists=True),
    help="Render a bundle of `pyconv archive`, a file or a folder: checked before; its TARGET unless one is given.",
)
@options.records
@options.as_json
@click.pass_context
def report(
    ctx: click.Context,
    target: str,
    mini: bool,
    formats: tuple[str, ...] | None,
    output: Path | None,
    bundle: Path | None,
    records: Path,
    as_json: bool,
) -> None:
    """Published, measured and delta of TARGET; pending cells say so, deviations are footnotes.

    Without --output one format is printed, Markdown unless --format or --json says another.
    """
    chosen = formats or (tuple(FORMATS) if output is not None else ("json",) if as_json else ("md",))
    if output is None and len(chosen) != 1:
        raise click.UsageError("several formats need a folder: give --output DIR")
    if bundle is not None:
        given = {name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE}
        if "records" in given:
            raise click.UsageError("--from has records of its own: leave --records out")
        pages = again(bundle, (target, mini) if given & {"target", "mini"} else None, chosen)
    else:
        tables, evidence = narrowed(options.selection(target, mini)), options.evidence(records)
        pages = render(tables, evidence, chosen, link_to(evidence.root, output) if output is not None else "")
    if output is not None:
        _write(pages, output, as_json)
        return
    if any(isinstance(page, bytes) for page in pages.values()):
        raise click.UsageError(f"{chosen[0]} is not text: give --output DIR")
    click.echo("\n".join(str(page).rstrip("\n") + "\n" for page in pages.values()), nl=False)


def _write(pages: Mapping[str, Page], output: Path, as_json: bool) -> None:
    written = write_pages(pages, output)
    if as_json:
        options.print_json({"written": [str(path) for path in written]})
    else:
        index = output / "index.html"
        note(f"{len(written)} pages in {output}" + (f": open {index}" if index in written else ""))
