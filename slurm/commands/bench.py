"""`pyconv bench`: how fast the suite itself is."""

import click

from results import bench_counting
from slurm.commands import options
from slurm.console import Progress


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
