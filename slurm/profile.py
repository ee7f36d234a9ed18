"""One TOML file a place: submitit's own keywords, data roots, limits.

Files of this package and of `$XDG_CONFIG_HOME/pyconv/profiles/` (the user's shadow ours). Keys we know are checked
here; the keywords under `[submitit]` are checked by submitit itself when the first job is submitted.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from experiments import mini
from experiments.spec import Task

DEFAULT = "local"
SHIPPED = Path(__file__).resolve().parent / "profiles"
PACKAGED = (mini.DATA,)
DATA_SETS: tuple[str, ...] = (*get_args(Task), *PACKAGED)
_TOP = ("description", "runs", "submitit", "data", "limits")
_LIMITS = ("jobs", "threads", "workers", "micro_batch")


class ProfileError(ValueError):
    """A profile that does not exist or says something it cannot: names the file, the key and what would be right."""


@dataclass(frozen=True)
class Profile:
    """A place to run. `jobs`: live at once (None: as many as its cores or GPUs carry).

    Of one job: `threads` of torch, `workers` that read images, `micro_batch`: at most so many samples at once.
    """

    name: str
    path: Path
    description: str = ""
    runs: Path | None = None
    submitit: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Path] = field(default_factory=dict)
    jobs: int | None = None
    threads: int = 1
    workers: int = 0
    micro_batch: int | None = None


def folders() -> tuple[Path, ...]:
    """Where profiles are looked for, the user's first."""
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return (config / "pyconv" / "profiles", SHIPPED)


def available() -> dict[str, Path]:
    """Every profile by name."""
    return {path.stem: path for folder in reversed(folders()) for path in sorted(folder.glob("*.toml"))}


def load(name: str | None = None) -> Profile:
    """The profile called `name`, or $PYCONV_PROFILE, or `local`; `name` may also be the path of a TOML file."""
    chosen = name or os.environ.get("PYCONV_PROFILE") or DEFAULT
    if chosen.endswith(".toml"):
        if not Path(chosen).is_file():
            raise ProfileError(f"profile file {chosen} does not exist")
        return read(Path(chosen))
    known = available()
    if chosen not in known:
        where = " and ".join(str(folder) for folder in folders())
        raise ProfileError(f"no profile {chosen!r}{nearest(chosen, known)}; valid: {', '.join(known)} (from {where})")
    return read(known[chosen])


def read(path: Path) -> Profile:
    """The profile in the file `path`, with every key of ours checked."""
    try:
        content = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path}: not valid TOML: {error}") from error
    _known(path, "", content, _TOP)
    for section in ("submitit", "data", "limits"):
        if not isinstance(content.get(section, {}), dict):
            raise ProfileError(f"{path}: {section} must be a section: [{section}]")
    limits, data = content.get("limits", {}), content.get("data", {})
    _known(path, "limits", limits, _LIMITS)
    _known(path, "data", data, DATA_SETS)
    for key, value in limits.items():
        if type(value) is not int or value < 1:
            raise ProfileError(f"{path}: limits.{key} must be a positive integer, got {value!r}")
    texts = {"description": content.get("description", ""), "runs": content.get("runs", "")}
    texts |= {f"data.{key}": value for key, value in data.items()}
    for key, value in texts.items():
        if not isinstance(value, str):
            raise ProfileError(f"{path}: {key} must be text, got {value!r}")
    return Profile(
        name=path.stem,
        path=path,
        description=texts["description"],
        runs=_folder(path, texts["runs"]) if texts["runs"] else None,
        submitit=content.get("submitit", {}),
        data={key: _folder(path, value) for key, value in data.items()},
        **limits,
    )


def data_roots(profile: Profile, given: Mapping[str, Path]) -> dict[str, Path]:
    """Where each data set lies: `--data NAME=DIR` before $PYCONV_DATA_NAME before the profile's [data]."""
    variables = {name: os.environ.get(f"PYCONV_DATA_{name.upper()}") for name in DATA_SETS}
    from_environment = {name: Path(value).expanduser().absolute() for name, value in variables.items() if value}
    return {**profile.data, **from_environment, **given}


def nearest(word: str, names: Any) -> str:
    """` (did you mean 'imagenet'?)`, or nothing when no name is near."""
    close = get_close_matches(word, list(names), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _known(path: Path, section: str, content: Mapping[str, Any], valid: tuple[str, ...]) -> None:
    for key in content:
        if key not in valid:
            full = f"{section}.{key}" if section else key
            raise ProfileError(f"{path}: unknown key {full!r}{nearest(key, valid)}; valid: {', '.join(valid)}")


def _folder(path: Path, value: str) -> Path:
    """`~` and variables expanded; what is relative is relative to the profile's own folder."""
    expanded = os.path.expandvars(value)
    if "$" in expanded:
        raise ProfileError(f"{path}: {value!r} names an environment variable that is not set")
    return (path.resolve().parent / Path(expanded).expanduser()).absolute()
