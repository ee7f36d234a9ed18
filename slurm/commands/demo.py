"""`pyconv demo`: the first five minutes."""

from pathlib import Path

import click
from tabulate import tabulate

from experiments.mini import CAVEATS
from slurm import demo as work
from slurm import profile as profiles
from slurm.commands import options
from slurm.commands.run import AGAIN
from slurm.console import duration, note


@click.command()
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for everything it makes [default: runs/demo].",
)
@click.option("--fresh", is_flag=True, help="Forget what earlier demos recorded there.")
@options.as_json
def demo(output: Path | None, fresh: bool, as_json: bool) -> None:
    """Count every network of the paper, train and test eight small ones, show all tables. Under five minutes.

    A second call goes on where the first was interrupted and does not repeat what is recorded.
    """
    here = profiles.read(profiles.SHIPPED / f"{profiles.DEFAULT}.toml")
    folder = output or options.runs_folder(None, here) / "demo"
    try:
        done = work.demo(folder, here, fresh=fresh)
    except work.NotOursError as error:
        raise click.UsageError(str(error)) from error
    except KeyboardInterrupt:
        note(AGAIN)
        raise click.exceptions.Exit(130) from None
    if as_json:
        options.print_json(
            {
                "ok": done.ok,
                "seconds": round(done.seconds, 1),
                "page": str(done.page),
                "rows": [dict(zip(work.KEYS, line, strict=True)) for line in done.lines],
                "failed": list(done.failed),
                "counts": done.verification.summary,
            }
        )
    else:
        tell(done)
    if not done.ok:
        raise click.exceptions.Exit(1)


def tell(done: work.Demo) -> None:
    """The result in the terminal, and where to go from here."""
    click.echo()
    click.echo(tabulate(done.lines, work.HEADER, tablefmt="simple", disable_numparse=True, stralign="left"))
    click.echo(f"\n{CAVEATS['imagenet']} Guessing would err on 90 %.")
    click.echo(f"{duration(done.seconds)} in all. Every table: {done.page}")
    click.echo(
        "\nNext:\n"
        "  pyconv show table2/final      one row: network, recipe, numbers, records\n"
        "  pyconv verify                 the counts of all tables, row by row\n"
        "  pyconv run table2/final --data imagenet=DIR     the real thing, on ImageNet"
    )
