"""One TOML file a place: submitit's own keywords, set-up, data roots, limits, GPUs.

Files of this package and of `$XDG_CONFIG_HOME/pyconv/profiles/` (the user's shadow ours). Everything in a file is
checked when it is read, the names of submitit's keywords too, whether or not SLURM is installed.
"""

import os
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, get_args

from experiments import mini
from experiments.spec import Task
from slurm import keywords, schema
from slurm.keywords import Executor, Request
from slurm.schema import COUNT, NUMBER, TEXT, TEXTS, ProfileError, nearest

__all__ = ["DATA_SETS", "PACKAGED", "Profile", "ProfileError", "available", "data_roots", "load", "nearest", "read"]

DEFAULT = "local"
VARIABLE = "PYCONV_PROFILE"
SHIPPED = Path(__file__).resolve().parent / "profiles"
PACKAGED = mini.PACKAGED
DATA_SETS: tuple[str, ...] = (*get_args(Task), *PACKAGED)
MINUTES = 60  # a job's wall time where the profile names neither timeout_min nor limits.time_min

_TOP = {"description": TEXT, "executor": schema.one_of(*keywords.EXECUTORS), "runs": TEXT, "hosts": TEXTS}
_SECTIONS: dict[str, Mapping[str, schema.Kind]] = {
    "setup": {"modules": TEXTS, "lines": TEXTS, "python": TEXT, "container": TEXT},
    "data": dict.fromkeys(DATA_SETS, TEXT),
    "limits": {
        **dict.fromkeys(("jobs", "threads", "workers", "micro_batch", "time_min", "gpus", "array"), COUNT),
        "ask_gpu_hours": NUMBER,
    },
    "gpu": {
        "request": schema.one_of(*keywords.REQUESTS),
        "type": TEXT,
        "price_per_hour": NUMBER,
        "gmacs": NUMBER,
    },
}
_SUBMITIT = ("submitit", "test")


@dataclass(frozen=True)
class Profile:
    """A place to run. `jobs`: live at once on this machine (None: as many as its cores or GPUs carry).

    `submitit`: keywords of every job, `test`: those that differ for tests. `setup`: shell lines before a job, `python`:
    its interpreter as a shell command (None: this one). Of one job: `threads` of torch, `workers` that read images,
    `micro_batch`: at most so many samples at once. `time_min`: longest wall time of a job. `gpus`: at once, of all
    jobs that were submitted from one runs folder (`slurm.room`). `array`: most jobs in one array. `ask_gpu_hours`:
    above it, `submit` asks. `gpu_request`, `gpu_type`: how sbatch is asked for GPUs. `gpu_gmacs`: 1e9 multiply-adds
    per second that one GPU sustains in training.
    """

    name: str
    path: Path
    description: str = ""
    executor: Executor = "local"
    runs: Path | None = None
    hosts: tuple[str, ...] = ()
    submitit: Mapping[str, Any] = field(default_factory=dict)
    test: Mapping[str, Any] = field(default_factory=dict)
    setup: tuple[str, ...] = ()
    python: str | None = None
    data: Mapping[str, Path] = field(default_factory=dict)
    jobs: int | None = None
    threads: int = 1
    workers: int = 0
    micro_batch: int | None = None
    time_min: int | None = None
    gpus: int | None = None
    array: int = 1000
    ask_gpu_hours: float = 100.0
    gpu_request: Request = "gpus-per-node"
    gpu_type: str | None = None
    price_per_gpu_hour: float | None = None
    gpu_gmacs: float | None = None

    def keywords(self, kind: Literal["train", "test"]) -> dict[str, Any]:
        """submitit's keywords of a job of this kind: GPUs asked for as the cluster wants, arrays within the limits."""
        words = keywords.request(self._plain(kind), self.gpu_request, self.gpu_type)
        own = words.get("slurm_array_parallelism")
        if self.gpus is not None and (each := self.gpus_of(kind)):
            fits = max(1, self.gpus // each)
            words["slurm_array_parallelism"] = min(own or fits, fits)
        return words

    def gpus_of(self, kind: Literal["train", "test"]) -> int:
        """All GPUs of a job of this kind, 0 for none."""
        return keywords.gpus(self._plain(kind))

    def ranks_of(self, kind: Literal["train", "test"]) -> int:
        """Processes of a job of this kind, on all its nodes."""
        words = self._plain(kind)
        return int(words["nodes"] * words["tasks_per_node"])

    def _plain(self, kind: Literal["train", "test"]) -> dict[str, Any]:
        always = {"nodes": 1, "tasks_per_node": 1, "timeout_min": self.time_min or MINUTES}
        return {**always, **self.submitit, **(self.test if kind == "test" else {})}


def folders() -> tuple[Path, ...]:
    """Where profiles are looked for, the user's first."""
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return (config / "pyconv" / "profiles", SHIPPED)


def available() -> dict[str, Path]:
    """Every profile by name."""
    return {path.stem: path for folder in reversed(folders()) for path in sorted(folder.glob("*.toml"))}


def load(name: str | None = None) -> Profile:
    """The profile `name`, or $PYCONV_PROFILE, or the one whose `hosts` match this machine, or `local`.

    `name` may also be the path of a TOML file.
    """
    chosen = name or os.environ.get(VARIABLE) or _of_this_host() or DEFAULT
    if chosen.endswith(".toml"):
        if not Path(chosen).is_file():
            raise ProfileError(f"profile file {chosen} does not exist")
        return read(Path(chosen))
    found = available()
    if chosen not in found:
        where = " and ".join(str(folder) for folder in folders())
        raise ProfileError(f"no profile {chosen!r}{nearest(chosen, found)}; valid: {', '.join(found)} (from {where})")
    return read(found[chosen])


def read(path: Path) -> Profile:
    """The profile in the file `path`, with every key checked. Raises ProfileError naming file and key."""
    content = _toml(path)
    sections = {name: content.pop(name, {}) for name in (*_SUBMITIT, *_SECTIONS)}
    schema.known(path, "", content, (*_TOP, *sections))
    schema.check(path, "", content, _TOP)
    for name, section in sections.items():
        if not isinstance(section, dict):
            raise ProfileError(f"{path}: {name} must be a section: [{name}]")
    for name, kinds in _SECTIONS.items():
        schema.check(path, name, sections[name], kinds)
    executor = content.get("executor", "local")
    for name in _SUBMITIT:
        keywords.check(path, name, sections[name], executor)
    profile = _profile(path, content, sections)
    _check_together(profile)
    return profile


def data_roots(profile: Profile, given: Mapping[str, Path]) -> dict[str, Path]:
    """Where each data set lies: `--data NAME=DIR` before $PYCONV_DATA_NAME before the profile's [data]."""
    variables = {name: os.environ.get(f"PYCONV_DATA_{name.upper()}") for name in DATA_SETS}
    from_environment = {name: Path(value).expanduser().absolute() for name, value in variables.items() if value}
    return {**profile.data, **from_environment, **given}


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path}: not valid TOML: {error}") from error
    except OSError as error:
        raise ProfileError(f"{path}: cannot be read: {error.strerror}") from error


def _profile(path: Path, top: Mapping[str, Any], sections: Mapping[str, Any]) -> Profile:
    """The profile that checked content says."""
    setup, gpu = sections["setup"], sections["gpu"]
    return Profile(
        name=path.stem,
        path=path,
        description=top.get("description", ""),
        executor=top.get("executor", "local"),
        runs=_folder(path, top["runs"]) if top.get("runs") else None,
        hosts=tuple(top.get("hosts", ())),
        submitit=sections["submitit"],
        test=sections["test"],
        setup=(*(f"module load {name}" for name in setup.get("modules", ())), *setup.get("lines", ())),
        python=_python(path, setup),
        data={key: _folder(path, value) for key, value in sections["data"].items()},
        gpu_request=gpu.get("request", "gpus-per-node"),
        gpu_type=gpu.get("type"),
        price_per_gpu_hour=gpu.get("price_per_hour"),
        gpu_gmacs=gpu.get("gmacs"),
        **sections["limits"],
    )


def _python(path: Path, setup: Mapping[str, str]) -> str | None:
    """The container's command in front of the interpreter's, which inside a container cannot be this one."""
    if "container" in setup and "python" not in setup:
        raise ProfileError(f'{path}: setup.container needs setup.python, the interpreter inside it, e.g. "python3"')
    return " ".join(filter(None, (setup.get("container"), setup.get("python")))) or None


def _check_together(profile: Profile) -> None:
    """What no key alone shows: times beyond the limit, requests that contradict each other or cannot be met."""
    path = profile.path
    for kind, section in (("train", "submitit"), ("test", "test" if profile.test else "submitit")):
        words = profile._plain(kind)  # type: ignore[arg-type]
        keywords.check_together(path, section, words, profile.executor, profile.gpu_request)
        if profile.time_min is not None and words["timeout_min"] > profile.time_min:
            raise ProfileError(
                f"{path}: {section}.timeout_min = {words['timeout_min']} is above limits.time_min = {profile.time_min}"
            )
        if profile.gpus is not None and keywords.gpus(words) > profile.gpus:
            raise ProfileError(
                f"{path}: [{section}] asks for {keywords.gpus(words)} GPUs a job, limits.gpus = {profile.gpus}"
            )


def _of_this_host() -> str | None:
    """The profile whose `hosts` name this machine. Raises ProfileError when two do."""
    patterns = {name: _toml(path).get("hosts", []) for name, path in available().items()}
    if not any(patterns.values()):
        return None
    here = {name.lower() for name in (socket.gethostname(), socket.getfqdn())}
    match = [
        name
        for name, hosts in patterns.items()
        if isinstance(hosts, list)
        and any(fnmatchcase(host, str(pattern).lower()) for host in here for pattern in hosts)
    ]
    if len(match) > 1:
        places = " and ".join(f"{name} ({available()[name]})" for name in match)
        raise ProfileError(f"the host {min(here)} is in `hosts` of two profiles, {places}: choose one with --profile")
    return match[0] if match else None


def _folder(path: Path, value: str) -> Path:
    """`~` and variables expanded; what is relative is relative to the profile's own folder."""
    expanded = os.path.expandvars(value)
    if "$" in expanded:
        raise ProfileError(f"{path}: {value!r} names an environment variable that is not set")
    return (path.resolve().parent / Path(expanded).expanduser()).absolute()
