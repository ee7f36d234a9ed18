"""`pyconv bench`: how fast the suite itself is, and how fast it feeds, trains and tests."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from results import bench_counting, bench_report
from slurm.commands import options
from slurm.console import Progress, note

if TYPE_CHECKING:
    from pyconv.bench.paired import Comparison

CASES = ("pyconvresnet50", "resnet50", "memory", "pyconvhgresnet50", "pyconvsegnet50", "pyconvresnet3d50")
PYRAMIDS = ("pyconvresnet50", "pyconvhgresnet50")


@click.group()
def bench() -> None:
    """Benchmarks: each runs both sides in turn and prints the ratio."""


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


@bench.command("report")
@click.option("--number", type=click.IntRange(min=1), default=10_000, show_default=True, help="Made-up records.")
@click.option("--epochs", type=click.IntRange(min=1), default=90, show_default=True, help="In each one's history.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
@options.records
@options.as_json
def report_command(number: int, epochs: int, rounds: int, records: Path, as_json: bool) -> None:
    """All tables in every format, from what is recorded and from thousands of made-up records, in fresh processes.

    Exit 1 when the tables take more than 2 s or the many records more than 5 s.
    """
    timings = bench_report.bench(records, number, epochs, rounds, note)
    if as_json:
        options.print_json([timing.report() for timing in timings])
    else:
        click.echo(bench_report.text(timings))
    if not all(timing.met for timing in timings):
        raise click.exceptions.Exit(1)


@bench.command("data")
@click.option("--images", type=click.IntRange(min=32), default=256, show_default=True, help="Photographs a round.")
@click.option("--rounds", type=click.IntRange(min=1), default=7, show_default=True)
@options.as_json
def data_command(images: int, rounds: int, as_json: bool) -> None:
    """JPEG files to normalised batches: PIL and ImageFolder as the authors do it, against this pipeline.

    Exit 1 when training images on one core are not fed at least twice as fast.
    """
    from pyconv.bench import feeding

    comparisons, size = feeding.bench(images, rounds)
    if not as_json:
        note(f"photographs of {size / 1000:.0f} kB on average; partial decoder: {feeding.decoder()}")
    _tell(comparisons, as_json)
    if comparisons[0].ratio < feeding.AIM:
        raise click.exceptions.Exit(1)


@bench.command()
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
@options.as_json
def imagenet(rounds: int, as_json: bool) -> None:
    """PyConvResNet-50 end to end, the authors' way (eager, NCHW, PIL, no overlap) against ours. Some minutes.

    Exit 1 when the training step or the test pass is not at least 1.5 times as fast.
    """
    from pyconv.bench import steps

    comparisons = steps.bench(rounds)
    _tell(comparisons, as_json)
    if any(comparison.ratio < steps.AIM for comparison in comparisons):
        raise click.exceptions.Exit(1)


@bench.command()
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
@options.as_json
def segmentation(rounds: int, as_json: bool) -> None:
    """PyConvSegNet-50 tested with sliding windows at two scales, as the authors' script does, against ours. Minutes.

    Exit 1 when ours is not at least 1.5 times as fast, or when a label differs that is no tie.
    """
    from pyconv.bench import segmentation as sides

    comparison, agreement = sides.bench(rounds)
    if as_json:
        options.print_json([comparison.report() | {"labels": agreement.report()}])
    else:
        _tell([comparison], as_json)
        click.echo(agreement.line())
    if comparison.ratio < sides.AIM or not agreement.met:
        raise click.exceptions.Exit(1)


@bench.command()
@click.option("--rounds", type=click.IntRange(min=1), default=7, show_default=True)
@options.as_json
def detection(rounds: int, as_json: bool) -> None:
    """Post-processing, and matching with the loss, of 8,732 boxes and 81 classes: the textbook's loops against ours.

    Exit 1 when the first is not at least 5 times, the second not 3 times as fast, or when their results differ.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # huge pages; torch reads it once
    from pyconv.bench import detection as sides

    comparisons, agreement = sides.bench(rounds)
    if as_json:
        found = [comparison.report() for comparison in comparisons]
        options.print_json({"comparisons": found, "agreement": agreement.report()})
    else:
        _tell(comparisons, as_json)
        click.echo(agreement.line())
    too_slow = any(found.ratio < aim for found, aim in zip(comparisons, sides.AIMS, strict=True))
    if too_slow or not agreement.met:
        raise click.exceptions.Exit(1)


@bench.command("video")
@click.option("--rounds", type=click.IntRange(min=1), default=7, show_default=True, help="Of reading.")
@click.option("--views/--no-views", default=True, help="Whether testing with 30 views is timed too (minutes).")
@options.as_json
def video_command(rounds: int, views: bool, as_json: bool) -> None:
    """Clips out of videos, every frame decoded against our reader; then 30 views of a video one by one, and together.

    Exit 1 when, with key frames at most 24 frames apart, clips are not read at least 3 times as fast; when the views
    are not tested at least 1.3 times as fast together; or when what comes out differs.
    """
    from pyconv.bench import video as reading
    from pyconv.bench import views as testing

    readings = reading.bench(rounds)
    comparisons, agreement = testing.bench() if views else ([], None)
    if as_json:
        found = [reading.report(comparison, "views") for comparison in comparisons]
        both = {"views": found, "agreement": agreement.report()} if agreement else {}
        options.print_json({"reader": [one.report() for one in readings]} | both)
    else:
        click.echo(reading.text(readings))
    if agreement and not as_json:
        click.echo(f"\n{reading.views_text(comparisons)}\n{agreement.line()}")
    too_slow = any(comparison.ratio < testing.AIM for comparison in comparisons)
    if too_slow or not all(one.met for one in readings) or (agreement and not agreement.met):
        raise click.exceptions.Exit(1)


@bench.command()
@click.argument("names", type=click.Choice(CASES), nargs=-1)
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
@options.as_json
def model(names: tuple[str, ...], rounds: int, as_json: bool) -> None:
    """PyConv's networks as their definition is written (eager, NCHW, a grouped convolution a level) against ours.

    Inference and training steps of NAMES, by default of all; "resnet50" sets PyConvResNet-50 beside ResNet-50, "memory"
    weighs its training step. Some minutes. Exit 1 when a ratio misses its goal, or when the sides do not compute the
    same.
    """
    from pyconv.bench import measured
    from pyconv.bench import model as sides

    note(sides.machine())
    found = sides.bench(names, rounds, note)
    if as_json:
        options.print_json([one.report() for one in found])
    else:
        click.echo(measured.text(found))
    if not all(one.met for one in found):
        raise click.exceptions.Exit(1)


@bench.command()
@click.argument("names", type=click.Choice(PYRAMIDS), nargs=-1)
@click.option("--images", type=click.IntRange(min=1), default=8, show_default=True, help="Of 224x224 pixels.")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--markdown", is_flag=True, help="The tables in Markdown.")
@options.as_json
def levels(names: tuple[str, ...], images: int, rounds: int, markdown: bool, as_json: bool) -> None:
    """The roofline of every level: operations, bytes, what this machine can do, and what each formulation takes.

    Of the networks NAMES, by default of both. Milliseconds, the fastest of the rounds; a minute or two.
    """
    from pyconv.bench import levels as roofline

    ceiling = roofline.ceilings()
    found = {
        name: roofline.bench(roofline.NETWORKS[name], ceiling, images, rounds, note)
        for name in dict.fromkeys(names or PYRAMIDS)
    }
    if as_json:
        told = {name: [one.report() for one in readings] for name, readings in found.items()}
        options.print_json({"ceilings": ceiling.report(), "levels": told})
        return
    click.echo(ceiling.line())
    for name, readings in found.items():
        click.echo(f"\n{name}, {images} images\n\n{roofline.text(readings, 'pipe' if markdown else 'simple')}")


@bench.command("commands")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
@options.as_json
def commands_command(rounds: int, as_json: bool) -> None:
    """How fast `pyconv` answers, in fresh processes: its import, --help, list, status, report and verify.

    Exit 1 when the first two take 0.3 s or verify 10 s, or when one of the others imports torch.
    """
    from pyconv.bench import commands

    answers = commands.bench(rounds, note)
    if as_json:
        options.print_json([one.report() for one in answers])
    else:
        click.echo(commands.text(answers))
    if not all(one.met for one in answers):
        raise click.exceptions.Exit(1)


def _tell(comparisons: "list[Comparison]", as_json: bool) -> None:
    from pyconv.bench import paired

    if as_json:
        options.print_json([comparison.report() for comparison in comparisons])
    else:
        click.echo(paired.text(comparisons))


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
