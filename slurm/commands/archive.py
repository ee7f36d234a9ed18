"""`pyconv archive`: one file with everything that a report rests on, and its check."""

from pathlib import Path

import click

from results.bundle import About, make
from results.bundle_check import opened
from results.bundle_layout import BundleError
from results.crate import NoLibrary
from slurm.commands import options
from slurm.console import note
from slurm.selection import narrowed


class Digest(click.ParamType[str]):
    """64 hex digits."""

    name = "hex"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """In lower case."""
        digest = value.strip().lower()
        if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
            self.fail(f"{value!r} is no digest; `pyconv archive` prints one of 64 hex digits", param, ctx)
        return digest


@click.command()
@options.target()
@options.mini
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="The bundle to write, a .zip file.")
@click.option(
    "--check",
    type=click.Path(path_type=Path, exists=True),
    help="Only check this bundle, a .zip file or the folder it was unpacked to; exit 1 if it is not as it was made.",
)
@click.option("--digest", type=Digest(), help="With --check: the digest that was published with it.")
@click.option("--license", "license_", default="", metavar="URL", help="To be stated in it: a URL or a sentence.")
@click.option("--published", default="", metavar="DAY", help="To be stated in it [default: of the program's commit].")
@options.records
@options.as_json
def archive(
    target: str,
    mini: bool,
    output: Path | None,
    check: Path | None,
    digest: str | None,
    license_: str,
    published: str,
    records: Path,
    as_json: bool,
) -> None:
    """One file with TARGET's records, specs, environments, data manifests, report and checksums: an RO-Crate.

    The same records give the same bytes. Prints the bundle's digest, which pins every byte in it: publish these 64 hex
    digits where the bundle cannot be changed together with them. `pyconv report --from FILE.zip` renders it again.

    --check finds every member that was changed, removed or added. Somebody who changes a member and makes the manifest
    anew is found only with --digest (or where a record contradicts itself).
    """
    if (output is None) == (check is None):
        raise click.UsageError("give either --output FILE.zip or --check BUNDLE")
    if check is not None:
        _check(check, digest or "", as_json)
        return
    assert output is not None
    if digest or output.suffix != ".zip":
        raise click.UsageError("--digest goes with --check" if digest else f"{output}: the bundle is a .zip file")
    try:
        about = About(target, mini, license_, published)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--published") from error
    _make(about, output, records, as_json)


def _make(about: About, output: Path, records: Path, as_json: bool) -> None:
    tables = narrowed(options.selection(about.target, about.mini))
    evidence = options.evidence(records)
    try:
        made = make(tables, evidence, about, output)
    except (BundleError, NoLibrary) as error:
        raise click.ClickException(str(error)) from error
    if others := len(evidence.all()) - made.records:
        note(f"note: {others} other records in {records} are not of {about.target} and were left out")
    note(f"{output}: {made.records} records, {made.pages} pages, {made.bytes / 1e6:.1f} MB; its digest:")
    if as_json:
        options.print_json({"written": str(output), "digest": made.digest, "records": made.records})
    else:
        click.echo(made.digest)


def _check(path: Path, digest: str, as_json: bool) -> None:
    """Exit 1 with every problem named."""
    try:
        with opened(path, digest) as bundle:
            found = {"ok": True, "digest": bundle.digest, "members": bundle.members, "problems": []}
    except BundleError as error:
        if as_json:
            options.print_json({"ok": False, "digest": None, "members": None, "problems": error.problems})
            raise click.exceptions.Exit(1) from error
        raise click.ClickException(str(error)) from error
    if as_json:
        options.print_json(found)
        return
    note(f"{path}: all {found['members']} members are as they were made" + ("" if digest else "; its digest:"))
    click.echo(found["digest"])
