"""What several verbs share: targets, places, JSON, and mistakes turned into messages (exit 2)."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from experiments import targets
from results.evidence import Evidence
from results.records import default_root
from slurm import profile as profiles
from slurm.console import note
from slurm.selection import Selected

RUNS = "PYCONV_RUNS"


class Target(click.ParamType[str]):
    """`table2`, `table2/final`, `table3/*/50`, `all`; it becomes tables and rows in `selection`."""

    name = "target"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        """Tables; a table's rows once its name stands."""
        depth = incomplete.count("/")
        return [CompletionItem(n) for n in targets.names() if n.startswith(incomplete) and n.count("/") <= depth]


class ProfileName(click.ParamType[profiles.Profile]):
    """The name of a profile, or a TOML file."""

    name = "profile"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> profiles.Profile:
        """The profile, checked."""
        if isinstance(value, profiles.Profile):
            return value
        try:
            return profiles.load(value)
        except profiles.ProfileError as error:
            self.fail(str(error), param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        """The profiles there are."""
        return [CompletionItem(name) for name in profiles.available() if name.startswith(incomplete)]


class DataRoot(click.ParamType[tuple[str, Path]]):
    """`imagenet=/data/imagenet`."""

    name = "name=dir"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Path]:
        """The data set's name, known, and its folder, there."""
        if isinstance(value, tuple):
            return value
        name, equals, folder = value.partition("=")
        if not equals or not folder:
            self.fail(f"{value!r} is not NAME=DIR, e.g. imagenet=/data/imagenet", param, ctx)
        if name not in profiles.DATA_SETS:
            near = profiles.nearest(name, profiles.DATA_SETS)
            self.fail(f"no data set {name!r}{near}; valid: {', '.join(profiles.DATA_SETS)}", param, ctx)
        if not Path(folder).expanduser().is_dir():
            self.fail(f"{name}: {folder} is not a folder", param, ctx)
        return name, Path(folder).expanduser().absolute()


class Seeds(click.ParamType[tuple[int, ...]]):
    """`0,1,2`."""

    name = "seeds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """The numbers, each once."""
        if isinstance(value, tuple):
            return value
        words = [word.strip() for word in value.split(",")]
        if not all(word.isdecimal() for word in words):
            self.fail(f"{value!r} is no list of seeds; numbers from 0 up, like 0,1,2", param, ctx)
        return tuple(dict.fromkeys(int(word) for word in words))


Command = Callable[..., Any]


def target(*, required: bool = False) -> Callable[[Command], Command]:
    """The TARGET argument, `all` unless required."""
    default: dict[str, Any] = {"required": True} if required else {"default": "all"}
    return click.argument("target", type=Target(), **default)


def several_targets(command: Command) -> Command:
    """TARGET arguments; none is `all`."""
    return click.argument("target", type=Target(), nargs=-1, metavar="[TARGET]...")(command)


def records(command: Command) -> Command:
    """`--records DIR`."""
    return click.option(
        "--records",
        type=click.Path(path_type=Path, file_okay=False),
        default=default_root,
        help="Folder of the evidence [default: results/records, or PYCONV_RECORDS].",
    )(command)


def runs(command: Command) -> Command:
    """`--runs DIR`."""
    return click.option(
        "--runs",
        type=click.Path(path_type=Path, file_okay=False),
        envvar=RUNS,
        help="Folder of checkpoints and logs [default: the profile's, or runs/ of the checkout].",
    )(command)


def profile(command: Command) -> Command:
    """`--profile P`."""
    return click.option(
        "--profile",
        type=ProfileName(),
        default="",
        help="Where to run: a name or a TOML file [default: PYCONV_PROFILE, the one for this host, or local].",
    )(command)


def data(command: Command) -> Command:
    """`--data NAME=DIR`, several times."""
    return click.option(
        "--data", type=DataRoot(), multiple=True, help="Folder of a data set, e.g. imagenet=/data/imagenet."
    )(command)


def seeds(command: Command) -> Command:
    """`--seeds 0,1,2`, or `--seed 5`."""
    return click.option(
        "--seeds", "--seed", type=Seeds(), default=(), help="Seeds, like 0,1,2 [default: the experiments' own]."
    )(command)


def yes(command: Command) -> Command:
    """`--yes`."""
    return click.option("--yes", is_flag=True, help="Do not ask, however much it costs.")(command)


def mini(command: Command) -> Command:
    """`--mini`."""
    return click.option(
        "--mini", is_flag=True, help="The minutes-on-a-CPU version of each experiment, on packaged real images."
    )(command)


def as_json(command: Command) -> Command:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")(command)


def runs_folder(given: Path | None, place: profiles.Profile) -> Path:
    """Where checkpoints and logs go: `--runs` or PYCONV_RUNS, the profile's, `runs/` of the checkout or right here."""
    if given is not None or place.runs is not None:
        return Path(given or place.runs or "").absolute()
    checkout = Path(__file__).resolve().parents[2]
    return (checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()) / "runs"


def selection(target: str, small: bool = False) -> list[Selected]:
    """The tables and rows of a target; a misspelt one is told with the nearest valid name (exit 2)."""
    try:
        return targets.find(target, mini=small)
    except targets.TargetError as error:
        raise click.BadParameter(str(error), param_hint="TARGET") from error


def selections(given: Sequence[str], small: bool = False) -> list[Selected]:
    """`selection` of several targets, each row once; of none those of `all`."""
    found = [one for target in given or (targets.ALL,) for one in selection(target, small)]
    return list({(table.name, row and (row.key, row.group)): (table, row) for table, row in found}.values())


def evidence(root: Path) -> Evidence:
    """What is recorded under `root`; a folder that is not there and files that are no evidence are told on stderr."""
    if not root.is_dir():
        note(f"note: {root} does not exist: nothing is recorded there")
    found = Evidence.load(root)
    for problem in found.problems:
        note(f"note: not evidence: {problem}")
    return found


def print_json(value: Any) -> None:
    """`value` on stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
