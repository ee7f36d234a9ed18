"""`pyconv data`: prepare what a package ships, check what you have."""

from pathlib import Path
from typing import Any

import click

from slurm import profile as profiles
from slurm.commands import options
from slurm.console import note

READABLE = ("imagenet", *profiles.PACKAGED)  # those of the folder layout <split>/<class>/<image>


@click.group()
def data() -> None:
    """The data sets: prepare the packaged one, check your own."""


@data.command()
@click.argument("name", type=click.Choice(profiles.PACKAGED))
@click.option("--root", type=click.Path(path_type=Path, file_okay=False), help="Where to [default: runs/data].")
@options.as_json
def prepare(name: str, root: Path | None, as_json: bool) -> None:
    """Write the packaged real images NAME; nothing is downloaded."""
    from pyconv.data import DataError
    from pyconv.data import prepare as write

    folder = root or options.runs_folder(None, profiles.load()) / "data"
    try:
        manifest = write(name, folder)
    except DataError as error:
        raise click.ClickException(str(error)) from error
    _tell(manifest, folder / name, as_json)


@data.command()
@click.argument("name", type=click.Choice(READABLE))
@click.option("--root", type=click.Path(path_type=Path, file_okay=False), help="The folder [default: the profile's].")
@click.option("--split", multiple=True, default=("train", "val"), show_default=True)
@options.profile
@options.as_json
def check(name: str, root: Path | None, split: tuple[str, ...], profile: profiles.Profile, as_json: bool) -> None:
    """Count and hash the images of NAME, and say what is wrong with the folder. Exit 1 when it cannot be used."""
    from pyconv.data import DataError, manifest, read_split

    folder = root or profiles.data_roots(profile, {}).get(name)
    if folder is None and name in profiles.PACKAGED:
        folder = options.runs_folder(None, profile) / "data" / name
    if folder is None:
        raise click.UsageError(f"no folder of {name} is known: give --root DIR or set PYCONV_DATA_{name.upper()}")
    try:
        for one in split:
            for skipped in read_split(folder, one).skipped[:5]:
                note(f"note: not an image, passed over: {skipped}")
        content = {"name": name, "splits": {one: manifest(folder, one) for one in split}}
    except DataError as error:
        raise click.ClickException(str(error)) from error
    _tell(content, folder, as_json)


def _tell(manifest: dict[str, Any], folder: Path, as_json: bool) -> None:
    if as_json:
        options.print_json({**manifest, "root": str(folder)})
        return
    click.echo(f"{manifest['name']}: {folder}")
    for split, content in manifest["splits"].items():
        click.echo(
            f"  {split}: {content['samples']} images, {content['classes']} classes, "
            f"sha256 {content['sha256'][:16]} of {content['hashed']}"
        )
