"""`pyconv report`: the tables as they stand, rendered from records, never typed."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from results.report import BESIDE_OTHERS, EXPORTS, FORMATS, Page, link_to, render, write_pages
from slurm.commands import options
from slurm.commands.again import again
from slurm.commands.into import fill
from slurm.commands.under_way import live
from slurm.console import note
from slurm.profile import data_roots, load
from slurm.selection import Selected, narrowed, rows


class Names(click.ParamType[tuple[str, ...]]):
    """`ADE_val_00000001,ADE_val_00000002`."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Each of them, without the ending of a file."""
        if isinstance(value, tuple):
            return value
        names = tuple(Path(part.strip()).stem for part in value.split(",") if part.strip())
        return names or self.fail(f"{value!r} names no photograph", param, ctx)


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
    "--from",
    "bundle",
    type=click.Path(path_type=Path, exists=True),
    help="Render a bundle of `pyconv archive`, a file or a folder: checked before; its TARGET unless one is given.",
)
@click.option(
    "--runs",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder of checkpoints and logs: the page then shows what is under way there, too.",
)
@click.option(
    "--figures",
    is_flag=True,
    help="Instead: Figures 7 and 9 of recorded histories; 10, 11 and Table 8's detections of what --runs predicted.",
)
@click.option("--images", type=Names(), default=(), help="With --figures: names of photographs, with commas.")
@options.data
@options.records
@options.as_json
@click.pass_context
def report(
    ctx: click.Context,
    target: str,
    mini: bool,
    formats: tuple[str, ...] | None,
    output: Path | None,
    into: tuple[Path, ...],
    check: bool,
    bundle: Path | None,
    runs: Path | None,
    figures: bool,
    images: tuple[str, ...],
    data: tuple[tuple[str, Path], ...],
    records: Path,
    as_json: bool,
) -> None:
    """Published, measured and delta of TARGET; pending cells say so, deviations are footnotes.

    Without --output one format is printed, Markdown unless --format or --json says another. --figures draws training
    curves, and the photographs that --images names, else four that nobody picked, as PNG and PDF.
    """
    given = {name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    _fit_together(given, formats)
    if figures:
        _figures(options.selection(target, mini), mini, runs, data, images, records, output, as_json)
        return
    if into:
        fill(into, narrowed(options.selection(target, mini)), options.evidence(records), check, as_json)
        return
    chosen = formats or (tuple(FORMATS) if output is not None else ("json",) if as_json else ("md",))
    if output is None and len(chosen) != 1:
        raise click.UsageError("several formats need a folder: give --output DIR")
    if bundle is not None:
        pages = again(bundle, (target, mini) if given & {"target", "mini"} else None, chosen)
    else:
        selected, evidence = options.selection(target, mini), options.evidence(records)
        moment = None if runs is None else live(rows(selected), evidence, runs)
        link = "" if output is None else link_to(evidence.root, output)
        pages = render(narrowed(selected), evidence, chosen, link, moment)
    if output is not None:
        _write(pages, output, as_json)
    else:
        _print(pages, chosen[0])


def _figures(
    selected: list[Selected],
    mini: bool,
    runs: Path | None,
    data: tuple[tuple[str, Path], ...],
    images: tuple[str, ...],
    records: Path,
    output: Path | None,
    as_json: bool,
) -> None:
    """Draw instead of printing tables."""
    from slurm.commands.figures import Asked, write_figures  # with numpy and pillow, which no table needs

    if output is None:
        raise click.UsageError("--figures needs --output DIR")
    roots = data_roots(load(""), dict(data))
    asked = None if runs is None else Asked(mini, runs.absolute(), roots, images)
    write_figures(selected, mini, asked, options.evidence(records), output, as_json)


def _fit_together(given: set[str], formats: tuple[str, ...] | None) -> None:
    """Refuse options that say two things."""
    if "figures" in given and given & {"formats", "into", "check", "bundle"}:
        raise click.UsageError("--figures draws pictures: leave --format, --into, --check and --from out")
    if given & {"images", "data"} and "figures" not in given:
        raise click.UsageError("--images and --data go with --figures")
    if ("check" in given and "into" not in given) or (
        "into" in given and (given & {"output", "bundle", "runs"} or formats not in (None, ("md",)))
    ):
        raise click.UsageError("--into fills Markdown files: leave other outputs and formats out; --check goes with it")
    if "bundle" in given and given & {"records", "runs"}:
        raise click.UsageError("--from has records of its own: leave --records and --runs out")


def _write(pages: Mapping[str, Page], output: Path, as_json: bool) -> None:
    written = write_pages(pages, output)
    if as_json:
        options.print_json({"written": [str(path) for path in written]})
    else:
        index = output / "index.html"
        note(f"{len(written)} pages in {output}" + (f": open {index}" if index in written else ""))


def _print(pages: Mapping[str, Page], name: str) -> None:
    if any(isinstance(page, bytes) for page in pages.values()):
        raise click.UsageError(f"{name} is not text: give --output DIR")
    if not pages:
        note(f"nothing was measured: there is no {name} page")
    shown = (str(page) for file, page in pages.items() if file not in BESIDE_OTHERS)
    click.echo("\n".join(page.rstrip("\n") + "\n" for page in shown), nl=False)
