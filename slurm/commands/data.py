"""`pyconv data`: bring a data set into its folders, check what you have, pack it into shards."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from slurm import profile as profiles
from slurm.commands import options
from slurm.console import Progress, note

READABLE = ("imagenet", "ade20k", "coco", "kinetics", *profiles.PACKAGED)
FOLDER = click.Path(path_type=Path, file_okay=False)
PLACE = click.Path(path_type=Path, exists=True)
_DOWNLOADS = {
    "ade20k": "ADEChallengeData2016.zip and release_test.zip",
    "coco": "train2017.zip, val2017.zip and annotations_trainval2017.zip",
}
_OPTIONS = {
    "source": "--from",
    "labels": "--labels",
    "synsets": "--synsets",
    "short_side": "--short-side",
    "key_frames": "--key-frames",
    "broken": "--broken",
    "workers": "--workers",
}
_OF_IMAGENET = ("--labels", "--synsets")
_OF_KINETICS = ("--short-side", "--key-frames", "--broken", "--workers")
_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}


class Size(click.ParamType[int]):
    """`1GB`, `250MB`."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Bytes."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d+)\s*(|KB|MB|GB)", value.strip().upper())
        if match is None or not int(match[1]):
            self.fail(f"{value!r} is no size; bytes, or like 250MB, 1GB", param, ctx)
        return int(match[1]) * _UNITS[match[2]]


class Decode(click.ParamType[str]):
    """`200`, `all`."""

    name = "n|all"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """As typed, checked."""
        if not (value == "all" or str(value).isdecimal()):
            self.fail(f"{value!r} is neither a number nor all", param, ctx)
        return str(value)


@click.group()
def data() -> None:
    """The data sets: prepare, check, pack into shards."""


@data.command()
@click.argument("name", type=click.Choice(READABLE))
@click.option("--root", type=FOLDER, help="Where to [default: the profile's folder; of what is packaged runs/data].")
@click.option(
    "--from",
    "source",
    type=PLACE,
    help="The downloads, a folder or an archive [imagenet: default ROOT/val]; of kinetics what is to be re-encoded.",
)
@click.option("--labels", type=PLACE, help="imagenet: ground truth of val, any form [default: looked for beside it].")
@click.option("--synsets", type=PLACE, help="imagenet: class list for Caffe's val.txt [default: ROOT/train's folders].")
@click.option("--short-side", type=click.IntRange(2), help="kinetics: re-encode --from's videos to so many pixels.")
@click.option("--key-frames", type=click.IntRange(1), help="kinetics: a key frame every so many frames [default: 24].")
@click.option("--broken", type=click.Choice(("skip", "refuse")), help="kinetics: unusable videos [default: skip].")
@click.option("--workers", type=click.IntRange(1), help="kinetics: processes that decode [default: one a core].")
@options.profile
@options.as_json
def prepare(name: str, root: Path | None, profile: profiles.Profile, as_json: bool, **given: Any) -> None:
    """Write the packaged images NAME, or bring downloads into the folders that are read; nothing is downloaded.

    imagenet: class folders. The labels are recognised by their content: the development kit (a folder or .tar.gz),
    Kaggle's LOC_val_solution.csv, Caffe's val.txt, or lines of `image wnid`. ade20k: images/ and annotations/ of
    ADEChallengeData2016.zip and release_test.zip, coco: train2017.zip, val2017.zip and annotations_trainval2017.zip,
    or of the folders they unpack to.

    kinetics: ROOT/{train,val}/<class>/<video>, or ROOT/{train,val}.csv with lines of path,label or Kinetics' own
    annotations. Every video is decoded once and indexed, and those that cannot be used are told, each in a word; runs
    use the others. With --from and --short-side 320 smaller copies of the videos are made in ROOT first.

    Nothing is deleted or overwritten; run it again after an interruption and it goes on.
    """
    from pyconv.data import layouts
    from pyconv.data import prepare as write

    _refuse_options(name, {_OPTIONS[word]: value for word, value in given.items()})
    if name in profiles.PACKAGED:
        folder = root or options.runs_folder(None, profile) / "data"
        with _explained():
            made = write(name, folder)
        _tell(made, folder / name, as_json)
        return
    folder = _folder(name, root, profile)
    with _explained(), Progress("Preparing", 1) as progress:
        done = _bring(name, folder, given, progress)
        made = {"name": name, "splits": {split: layouts.manifest(name, folder, split) for split in done}}
    for split, sentence in done.items():
        note(f"{split}: {sentence}")
    _tell(made, folder, as_json)


def _bring(name: str, folder: Path, given: dict[str, Any], progress: Progress) -> dict[str, str]:
    """What was done for each split, in a sentence."""
    from pyconv.data import prepare_ade20k, prepare_coco, prepare_imagenet, prepare_kinetics

    source, told = given["source"], progress.reached
    if name == "kinetics":
        small = None if source is None else prepare_kinetics.Reencoded(source, _encoding(given))
        workers = given["workers"] or len(os.sched_getaffinity(0))
        return prepare_kinetics.prepare(folder, small, workers=workers, broken=given["broken"] or "skip", told=told)
    if name in _DOWNLOADS:
        bring = prepare_ade20k.prepare if name == "ade20k" else prepare_coco.prepare
        return bring(folder, source, told=told)
    return prepare_imagenet.prepare(folder, source, labels=given["labels"], synsets=given["synsets"], told=told)


def _encoding(given: dict[str, Any]) -> Any:
    from pyconv.data.reencode import Encoding

    asked = {"short_side": given["short_side"], "keyframes_every": given["key_frames"]}
    try:
        return Encoding(**{word: value for word, value in asked.items() if value is not None})
    except ValueError as error:
        raise click.UsageError(str(error)) from error


@data.command()
@click.argument("name", type=click.Choice(READABLE))
@click.option("--root", type=FOLDER, help="The folder [default: the profile's].")
@click.option("--split", multiple=True, default=("train", "val"), show_default=True)
@click.option("--decode", type=Decode(), help="So many of a split are decoded, or all [default: 200; of scenes all].")
@click.option("--subset", is_flag=True, help="It is meant to differ from the release: no reason to exit 1.")
@click.option("--workers", type=click.IntRange(1), help="Processes that decode [default: one a core].")
@options.profile
@options.as_json
def check(
    name: str,
    root: Path | None,
    split: tuple[str, ...],
    decode: str | None,
    subset: bool,
    workers: int | None,
    profile: profiles.Profile,
    as_json: bool,
) -> None:
    """Say what is wrong with the images or videos of NAME, and keep their manifest for the runs that come.

    Exit 1 when they cannot be used, or are not the release (ILSVRC-2012: one of its files is a PNG named .JPEG and
    some are CMYK, they are read fine; ADE20K's scene parsing: 20,210, 2,000 and 3,352 photographs of the splits train,
    val and test, 150 classes; COCO 2017: 118,287 and 5,000 images with 860,001 and 36,781 annotations; Kinetics-400:
    one of the copies whose numbers of videos are known, it says which). Always looks at the size of every file; of
    scenes and of COCO at every header too, and whether label maps or annotations fit the photographs. Content is looked
    at in what is decoded, in shards, and in sets of up to 20,000 files. Videos that were not looked at before are all
    decoded, and their index is brought up to date; those that cannot be used are told, each in a word, and left out by
    runs.
    """
    from pyconv.data import layouts

    folder = _folder(name, root, profile)
    with _explained(), Progress("Checking", 1) as progress:
        many: Any = decode if decode in (None, "all") else int(decode)
        cores = workers or len(os.sched_getaffinity(0))
        splits = tuple(dict.fromkeys(split))
        found, findings = layouts.check_splits(name, folder, splits, decode=many, workers=cores, told=progress.reached)
    for one in found:
        if one.kept is not None:
            note(f"{one.split.name}: manifest kept in {one.kept}")
    for finding in findings:
        note(f"{finding.kind}: {finding.split}: {finding.text}")
    content = {"name": name, "splits": {one.split.name: one.manifest for one in found}}
    _tell(content, folder, as_json, findings=[asdict(finding) for finding in findings])
    kinds = {finding.kind for finding in findings}
    if "error" in kinds or ("difference" in kinds and not subset):
        why = "cannot be used" if "error" in kinds else f"not {layouts.RELEASES[name]}; if that is meant: --subset"
        note(f"{folder}: {why}")
        raise SystemExit(1)


@data.command()
@click.argument("name", type=click.Choice(READABLE))
@click.option("--root", type=FOLDER, help="The folder of single images [default: the profile's].")
@click.option("--output", type=FOLDER, required=True, help="A folder for the shards, given as the data set's later.")
@click.option("--split", multiple=True, default=("train", "val"), show_default=True)
@click.option("--size", type=Size(), default="1GB", show_default=True, help="Of a shard, about.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes that write.")
@options.profile
@options.as_json
def shard(
    name: str,
    root: Path | None,
    output: Path,
    split: tuple[str, ...],
    size: int,
    workers: int,
    profile: profiles.Profile,
    as_json: bool,
) -> None:
    """Pack the images of NAME into tar shards: the same data to every other verb, a few large files to the disk.

    Run it again after an interruption and it goes on; sound shards are kept.
    """
    from pyconv.data import layouts, manifest, pack

    if layouts.LAYOUTS[name] != "class folders":
        raise click.UsageError(
            f"shards are of class folders; {name} is read from its folders, {layouts.described(name, 'val')}"
        )
    folder = _folder(name, root, profile)
    with _explained(), Progress("Packing", 1) as progress:
        for one in dict.fromkeys(split):
            pack.shard(folder, one, output, size=size, workers=workers, told=progress.reached)
        content = {"name": name, "splits": {one: manifest(output, one) for one in split}}
    _tell(content, output, as_json)


def _refuse_options(name: str, given: dict[str, Any]) -> None:
    """Options of `prepare` that are not for this data set, or that it cannot do without."""
    used = [word for word, value in given.items() if value is not None]
    if name in profiles.PACKAGED and used:
        raise click.UsageError(f"{used[0]} is for downloads; {name} comes out of an installed package")
    for owner, words in (("imagenet", _OF_IMAGENET), ("kinetics", _OF_KINETICS)):
        if name != owner and (wrong := next((word for word in used if word in words), None)):
            raise click.UsageError(f"{wrong} is for {owner}")
    if name in _DOWNLOADS and not used:
        raise click.UsageError(f"--from DOWNLOADS is needed: the folder of {_DOWNLOADS[name]}")
    if name == "kinetics" and ("--from" in used) != ("--short-side" in used):
        raise click.UsageError("--from and --short-side belong together: videos are re-encoded from one folder to ROOT")
    if "--key-frames" in used and "--short-side" not in used:
        raise click.UsageError("--key-frames is for re-encoded videos; give --from and --short-side too")


def _folder(name: str, root: Path | None, profile: profiles.Profile) -> Path:
    folder = root or profiles.data_roots(profile, {}).get(name)
    if folder is None and name in profiles.PACKAGED:
        folder = options.runs_folder(None, profile) / "data" / name
    if folder is None:
        raise click.UsageError(f"no folder of {name} is known: give --root DIR or set PYCONV_DATA_{name.upper()}")
    return folder


@contextmanager
def _explained() -> Iterator[None]:
    """What is wrong with data and disks, as a message (exit 1)."""
    from pyconv.data import DataError

    try:
        yield
    except (DataError, OSError) as error:
        raise click.ClickException(str(error)) from error


def _tell(manifest: dict[str, Any], folder: Path, as_json: bool, **more: Any) -> None:
    if as_json:
        options.print_json({**manifest, "root": str(folder), **more})
        return
    from pyconv.data.layouts import LAYOUTS

    what = "videos" if LAYOUTS[manifest["name"]] == "videos" else "images"
    click.echo(f"{manifest['name']}: {folder}")
    for split, content in manifest["splits"].items():
        skipped = f" ({sum(content['skipped'].values())} skipped)" if content.get("skipped") else ""
        click.echo(
            f"  {split}: {content['samples']} {what}{skipped}, {content['classes']} classes, "
            f"sha256 {content['sha256'][:16]} of {content['hashed']}"
        )
