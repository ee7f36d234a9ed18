"""`pyconv verify`: the counts of networks against the printed numbers; `--protocol`: runs against their specs."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import click

from experiments.spec import ArchitectureTable, Table
from results import verify as counts
from results.audit import audit
from results.evidence import Evidence
from results.verification import Verification
from slurm.commands import options
from slurm.console import Progress, note
from slurm.selection import narrowed


@click.command()
@options.several_targets
@click.option("--recount", is_flag=True, help="Count anew in every convention, fvcore too (under a minute).")
@click.option("--record", is_flag=True, help="First write a record of each count that has none yet.")
@click.option(
    "--convention",
    type=click.Choice(counts.CONVENTIONS),
    multiple=True,
    help="Show FLOPs of these only [default: all].",
)
@click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), help="Write a JUnit file for CI.")
@click.option(
    "--summary", type=click.Path(path_type=Path, dir_okay=False), help="Append Markdown: a GitHub step summary."
)
@click.option("--protocol", is_flag=True, help="Check recorded runs against their recipes and tests instead.")
@click.option("--mini", is_flag=True, help="With --protocol: of the mini tables.")
@options.records
@options.as_json
def verify(
    target: tuple[str, ...],
    recount: bool,
    record: bool,
    convention: tuple[str, ...],
    junit: Path | None,
    summary: Path | None,
    protocol: bool,
    mini: bool,
    records: Path,
    as_json: bool,
) -> None:
    """Count the networks of every TARGET, or of all, and compare with the paper.

    Exit 1 when a count drifts and no deviation knows it.

    --protocol compares what recorded runs were seen to do with their own specs. Exit 1 when one departs.
    """
    if protocol:
        if recount or record or convention or summary:
            raise click.UsageError("--protocol counts nothing: leave out --recount, --record, --convention, --summary")
        _check_protocols(target, mini, junit, records, as_json)
        return
    if mini:
        raise click.UsageError("--mini goes with --protocol: the paper prints no counts of mini networks")
    if recount is False and convention == ("fvcore",):
        note("note: fvcore's recorded counts are shown; --recount counts them anew")
    selected = narrowed(options.selections(target))
    if record:
        for path in write_records(selected, records):
            note(f"recorded {path}")
    verification = with_progress(selected, options.evidence(records), recount)
    if not verification.cells:
        raise click.BadParameter("these rows are quoted from other papers: nothing to count", param_hint="TARGET")
    if convention:
        # What failed is shown whatever was asked for, or a drift would pass in silence.
        shown = (None, *convention)
        kept = tuple(c for c in verification.cells if c.convention in shown or c.verdict == "FAILED")
        verification = replace(verification, cells=kept)
    if junit is not None:
        verification.to_junit(junit)
    if summary is not None:
        append(summary, verification.to_summary())
    if as_json:
        options.print_json(verification.to_json())
    else:
        click.echo(verification.to_text())
    if not verification.ok:
        raise click.exceptions.Exit(1)


def _check_protocols(target: tuple[str, ...], mini: bool, junit: Path | None, records: Path, as_json: bool) -> None:
    found = audit(narrowed(options.selections(target, mini)), options.evidence(records))
    if junit is not None:
        found.to_junit(junit)
    if as_json:
        options.print_json(found.to_json())
    else:
        click.echo(found.to_text())
    if not found.ok:
        raise click.exceptions.Exit(1)


def with_progress(tables: Iterable[Table | ArchitectureTable], evidence: Evidence, recount: bool) -> Verification:
    """`results.verify` with its progress on stderr."""
    with Progress("Counting", 1) as progress:
        return counts.verify(tables, evidence, recount=recount, progress=progress.reached)


def write_records(tables: Iterable[Table | ArchitectureTable], records: Path) -> list[Path]:
    """`results.verify.record_counts` with its progress on stderr."""
    with Progress("Recording", 1) as progress:
        return counts.record_counts(tables, records, progress=progress.reached)


def append(path: Path, text: str) -> None:
    """Add to what other steps of a CI job have written there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(text)
