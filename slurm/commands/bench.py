"""`pyconv bench`: how fast the suite itself is."""

import click

from results import bench_counting
from slurm.commands import options
from slurm.console import Progress, note


@click.group()
def bench() -> None:
    """Benchmarks of the suite itself, not of the networks."""


@bench.command()
@options.as_json
def counting(as_json: bool) -> None:
    """Plain fvcore against our count on the meta device, in seconds. Exit 1 when their totals differ."""
    total = len(bench_counting.NETWORKS)
    with Progress("Counting both ways", total) as progress:
        done = iter(range(total))
        timings = bench_counting.bench(progress=lambda network: progress.update(next(done), network))
    if as_json:
        options.print_json(bench_counting.report(timings))
    else:
        click.echo(bench_counting.text(timings))
    if not all(timing.equal for timing in timings):
        raise click.exceptions.Exit(1)


@bench.command()
@click.option("--seeds", type=click.IntRange(min=1), default=63, show_default=True, help="Of Table 2: 16 jobs each.")
@click.option("--accounting/--no-accounting", default=True, help="Whether the disposable cluster keeps accounts.")
@options.as_json
def slurm(seeds: int, accounting: bool, as_json: bool) -> None:
    """A thousand held jobs planned, submitted and looked at on a disposable cluster, beside SLURM's own time.

    Exit 1 when one of them takes 2 s or more beyond SLURM's own.
    """
    from slurm import bench_slurm
    from slurm.lab import LabError

    note("bringing up a cluster of its own")
    try:
        timings = bench_slurm.bench(seeds, accounting=accounting)
    except LabError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        options.print_json(bench_slurm.report(timings))
    else:
        click.echo(bench_slurm.text(timings))
    if any(timing.own >= bench_slurm.AIM for timing in timings):
        raise click.exceptions.Exit(1)
