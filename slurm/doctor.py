"""Is this machine fit to count, train and record? Each check says what it found and what to do about it."""

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from results import provenance
from slurm import profile as profiles
from slurm.machine import cores, gpus, memory
from slurm.submit import check_keywords

State = Literal["ok", "note", "problem"]
PACKAGE = "pyconv"
GIB = 2**30
SLURM_COMMANDS = ("sbatch", "squeue", "sacct", "scontrol", "scancel")
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)\s*(>=|==)\s*([0-9][A-Za-z0-9.+]*)")


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, whether it is fine, what was found, what to do when it is not."""

    name: str
    state: State
    found: str
    advice: str = ""


def examine(place: profiles.Profile, records: Path, runs: Path) -> Iterator[Check]:
    """Every check, in the order in which a beginner needs them."""
    yield python()
    yield from packages()
    yield from torch_here()
    yield crops()
    yield hardware()
    yield disk(runs)
    yield writable("records", records)
    yield writable("runs", runs)
    yield git()
    yield from every_profile(place)
    yield from data_sets(place)
    if place.executor == "local":
        yield slurm_commands()


def python() -> Check:
    """This Python against `requires-python`."""
    here, wanted = platform.python_version(), metadata.metadata(PACKAGE)["Requires-Python"]
    fits = _numbers(here) >= _numbers(wanted)
    return Check("python", "ok" if fits else "problem", here, "" if fits else f"{PACKAGE} needs {wanted}")


def packages(requirements: list[str] | None = None) -> Iterator[Check]:
    """Each required package: installed, and of a version that pyproject.toml allows."""
    for line in requirements if requirements is not None else metadata.requires(PACKAGE) or []:
        match = _REQUIREMENT.match(line)
        if match is None or "extra ==" in line:
            continue
        name, relation, wanted = match.groups()
        advice = f'pip install "{name}{relation}{wanted}"'
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Check(name, "problem", "not installed", advice)
            continue
        have, need = _numbers(found), _numbers(wanted)
        fits = have == need if relation == "==" else have >= need
        yield Check(name, "ok" if fits else "problem", found, "" if fits else f"{relation}{wanted} is needed: {advice}")


def crops() -> Check:
    """Whether the module that decodes only the crop of a JPEG was built."""
    if find_spec("pyconv.data._jpeg") is not None:
        return Check("jpeg crops", "ok", "decoded alone")
    advice = (
        "apt-get install libjpeg62-turbo-dev (or libjpeg-turbo's headers as your system names them), pip install again"
    )
    return Check("jpeg crops", "note", "whole images are decoded: the same pixels, more slowly", advice)


def torch_here() -> Iterator[Check]:
    """torch can be imported, and the GPUs it sees beside those of the machine."""
    try:
        import torch
        import torchvision  # noqa: F401 (a wrong pair of the two fails here)
    except Exception as error:  # whatever a broken installation raises
        yield Check("import torch", "problem", f"{type(error).__name__}: {error}", "reinstall torch and torchvision")
        return
    seen, there = torch.cuda.device_count(), len(gpus())
    if seen:
        yield Check("gpu", "ok", ", ".join(torch.cuda.get_device_name(index) for index in range(seen)))
    elif there:
        advice = "install a torch built for CUDA, or update the driver"
        yield Check("gpu", "problem", f"{there} in the machine, none that torch sees", advice)
    else:
        yield Check("gpu", "note", "none: counting, reports and --mini need none; the paper's recipes do")


def hardware() -> Check:
    """Cores this process may use, and memory."""
    count, free = cores(), memory()
    found = f"{count} core{'s' if count > 1 else ''}" + (f", {free / GIB:.1f} GiB memory free" if free else "")
    if free is not None and free < 2 * GIB:
        return Check("machine", "problem", found, "free 2 GiB, or run with --jobs 1 on a larger machine")
    return Check("machine", "ok", found)


def disk(folder: Path) -> Check:
    """Free space where checkpoints go."""
    free = shutil.disk_usage(_existing(folder)).free
    found = f"{free / GIB:.1f} GiB free at {folder}"
    if free < GIB:
        return Check("disk", "problem", found, "free 1 GiB for the demo, or choose another place with --runs DIR")
    low = free < 10 * GIB
    return Check(
        "disk", "note" if low else "ok", found, "enough for --mini; full runs keep 0.4 GiB each" if low else ""
    )


def writable(name: str, folder: Path) -> Check:
    """Whether files can be made in `folder`, or in the nearest folder above it that exists."""
    try:
        with tempfile.TemporaryFile(dir=_existing(folder)):
            return Check(name, "ok", str(folder))
    except OSError as error:
        return Check(name, "problem", f"{folder}: {error.strerror}", f"choose another place with --{name} DIR")


def git() -> Check:
    """Whether records can say which code made them."""
    code = provenance.code()
    if code["commit"] is None:
        return Check(
            "git", "note", "no commit is known", "records will not say which code made them: use a git checkout"
        )
    dirty = bool(code["dirty"])
    return Check(
        "git",
        "note" if dirty else "ok",
        f"{str(code['commit'])[:12]}{' with changes' if dirty else ''}",
        "records will carry the hash of the changes: commit first for evidence that others can repeat" if dirty else "",
    )


def every_profile(chosen: profiles.Profile) -> Iterator[Check]:
    """All profiles can be read; submitit accepts the chosen one's keywords."""
    for name, path in profiles.available().items():
        try:
            if path == chosen.path:
                check_keywords(chosen)
            else:
                profiles.read(path)
        except profiles.ProfileError as error:
            yield Check(f"profile {name}", "problem", str(error), "correct the file")
        else:
            yield Check(f"profile {name}", "ok", f"{path}{' (chosen)' if path == chosen.path else ''}")


def data_sets(place: profiles.Profile) -> Iterator[Check]:
    """Each data set's folder, where one is known."""
    roots = profiles.data_roots(place, {})
    for name in profiles.DATA_SETS:
        if name in profiles.PACKAGED and name not in roots:
            yield Check(f"data {name}", "ok", "shipped by an installed package, prepared on first use")
        elif name not in roots:
            advice = f"set PYCONV_DATA_{name.upper()} or [data] {name} of a profile to run its rows"
            yield Check(f"data {name}", "note", "no folder known", advice)
        elif not roots[name].is_dir() and place.executor == "slurm":
            yield Check(f"data {name}", "note", f"{roots[name]} is not a folder here", "it must be one on the nodes")
        elif not roots[name].is_dir():
            yield Check(f"data {name}", "problem", f"{roots[name]} is not a folder", "mount it or correct the profile")
        else:
            readable = os.access(roots[name], os.R_OK | os.X_OK)
            advice = "" if readable else "it cannot be read: ask its owner"
            yield Check(f"data {name}", "ok" if readable else "problem", str(roots[name]), advice)


def slurm_commands() -> Check:
    """Which of SLURM's commands are there: none is fine for a laptop."""
    found = [command for command in SLURM_COMMANDS if shutil.which(command)]
    if not found:
        return Check("slurm", "note", "not installed here: runs use this machine only")
    missing = [command for command in SLURM_COMMANDS if command not in found]
    return Check("slurm", "note", f"{', '.join(found)} found" + (f"; missing: {', '.join(missing)}" if missing else ""))


def _numbers(version: str) -> tuple[int, ...]:
    """`2.14.1+cpu` -> (2, 14, 1)."""
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("+")[0]))


def _existing(folder: Path) -> Path:
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.exists())
