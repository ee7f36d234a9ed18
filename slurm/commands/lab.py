"""`pyconv lab`: a disposable SLURM cluster on this machine."""

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from slurm.commands import options
from slurm.console import note
from slurm.lab import Lab, LabError

FOLDER = "PYCONV_LAB"


def _default() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(os.environ.get(FOLDER) or Path(state) / "pyconv" / "lab")


def _folder(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--folder",
        type=click.Path(path_type=Path, file_okay=False),
        default=_default,
        help=f"Where it lives [default: {FOLDER}, or pyconv/lab of the XDG state folder].",
    )(command)


class _Lab(click.Group):
    """What a lab refuses is told without a traceback (exit 1)."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except LabError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Lab)
def lab() -> None:
    """A real SLURM with virtual nodes and fake GPUs on this machine, to try and to test submission."""


@lab.command()
@_folder
@click.option("--nodes", type=click.IntRange(1, 64), default=Lab.nodes, show_default=True, help="Virtual nodes.")
@click.option("--cpus", type=click.IntRange(1, 256), default=Lab.cpus, show_default=True, help="Claimed by a node.")
@click.option("--memory-mb", type=click.IntRange(1024), default=Lab.memory_mb, show_default=True, help="Claimed too.")
@click.option("--gpus", type=click.IntRange(0, 64), default=Lab.gpus, show_default=True, help="Fake GPUs of a node.")
@click.option("--port", type=click.IntRange(1024, 65_000), default=Lab.port, show_default=True, help="First TCP port.")
@click.option("--accounting/--no-accounting", default=True, help="With sacct (slurmdbd and MariaDB), or without.")
def up(folder: Path, **settings: Any) -> None:
    """Bring it up: install what is missing, start what does not run. Prints the line that points clients at it."""
    cluster = Lab(folder.absolute(), **settings)
    cluster.install()
    cluster.up()
    note(f"{cluster.nodes} nodes are up in {cluster.folder}; in your shell:")
    click.echo(_export(cluster))
    note("next: pyconv submit table2 --mini --profile lab; pyconv status table2 --mini --profile lab --watch")


@lab.command()
@_folder
@click.option("--keep", is_flag=True, help="Leave its folder, with the daemons' logs.")
def down(folder: Path, keep: bool) -> None:
    """Cancel its jobs, stop it, remove it."""
    Lab.found(folder.absolute()).down(keep=keep)


@lab.command()
@click.option("--accounting/--no-accounting", default=True, help="With slurmdbd and MariaDB, or without.")
def install(accounting: bool) -> None:
    """Install the Debian packages that are missing."""
    Lab(Path(), accounting=accounting).install()


@lab.command()
@_folder
@options.as_json
def status(folder: Path, as_json: bool) -> None:
    """The nodes and their states. Exit 1 when one is not in service."""
    cluster = Lab.found(folder.absolute())
    states = cluster.states()
    if as_json:
        options.print_json({"folder": str(folder.absolute()), **cluster.environment(), "nodes": states})
    else:
        for name in cluster.names:
            click.echo(f"{name} {states.get(name, 'unknown: the controller does not answer')}")
    if not cluster.ready():
        raise click.exceptions.Exit(1)


@lab.command()
@_folder
def env(folder: Path) -> None:
    """The shell line that points SLURM's commands at it: eval "$(pyconv lab env)"."""
    click.echo(_export(Lab.found(folder.absolute())))


@lab.command("kill-node")
@_folder
@click.argument("number", type=int)
def kill_node(folder: Path, number: int) -> None:
    """As a power cut; SLURM notices later."""
    Lab.found(folder.absolute()).kill_node(number)


@lab.command("fail-node")
@_folder
@click.argument("number", type=int)
def fail_node(folder: Path, number: int) -> None:
    """As a power cut that SLURM is told of."""
    Lab.found(folder.absolute()).fail_node(number)


@lab.command("start-node")
@_folder
@click.argument("number", type=int)
def start_node(folder: Path, number: int) -> None:
    """Start a node that was killed."""
    Lab.found(folder.absolute()).start_node(number)


@lab.command("stop-ctld")
@_folder
def stop_ctld(folder: Path) -> None:
    """Stop the controller; jobs go on."""
    Lab.found(folder.absolute()).stop_controller()


@lab.command("start-ctld")
@_folder
def start_ctld(folder: Path) -> None:
    """Start the controller again."""
    Lab.found(folder.absolute()).start_controller()


def _export(cluster: Lab) -> str:
    return "".join(f"export {key}={shlex.quote(value)}" for key, value in cluster.environment().items())
