"""`pyconv report`: the tables as they stand, rendered from records, never typed."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from results.report import BESIDE_OTHERS, EXPORTS, FORMATS, render, write_reports
from slurm.commands import options
from slurm.commands.into import fill
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
        if unknown := [part for part in wanted if part not in FORMATS | EXPORTS]:
            self.fail(f"{unknown[0]!r} is none of {', '.join(FORMATS | EXPORTS)}", param, ctx)
        if "parquet" in wanted and find_spec("pyarrow") is None:
            self.fail("parquet needs pyarrow: pip install 'pyconv[parquet]'", param, ctx)
        return wanted


@click.command()
@options.target()
@options.mini
@click.option("--format", "formats", type=Formats(), help=f"{', '.join(FORMATS | EXPORTS)}; several with commas.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write the pages to [default: print one format].",
)
@click.option(
    "--into",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    help="Fill a Markdown file between <!-- pyconv:table2 --> and <!-- /pyconv:table2 -->; several times.",
)
@click.option("--check", is_flag=True, help="With --into: write nothing, exit 1 when a block is not fresh.")
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
    into: tuple[Path, ...],
    check: bool,
    runs: Path | None,
    records: Path,
    as_json: bool,
) -> None:
    """Published, measured and delta of TARGET; pending cells say so, deviations are footnotes.

    Without --output one format is printed, Markdown unless --format or --json says another.
    """
    if (check and not into) or (into and (output is not None or formats not in (None, ("md",)))):
        raise click.UsageError(
            "--into fills Markdown files: leave out --output and other formats; --check goes with it"
        )
    selected = options.selection(target, mini)
    found, evidence = narrowed(selected), options.evidence(records)
    if into:
        fill(into, found, evidence, check, as_json)
        return
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
    if not pages:
        note(f"nothing was measured: there is no {chosen[0]} page")
    shown = (str(page) for name, page in pages.items() if name not in BESIDE_OTHERS)
    click.echo("\n".join(page.rstrip("\n") + "\n" for page in shown), nl=False)
