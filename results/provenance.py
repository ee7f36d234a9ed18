"""Which code on which machine made a record: enough to judge and repeat it, no paths and no user names."""

import hashlib
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

# What makes the numbers; the records and the pages rendered from them are not part of the code's state.
SOURCES = ("*.py", "*.toml", "*.j2")
EVIDENCE = (":(exclude)results/records", ":(exclude)results/tables")
_DIFF = ("diff", "--no-color", "--no-ext-diff", "--no-textconv", "--binary", "--full-index", "HEAD", "--", ".")
PACKAGES = ("torch", "torchvision", "numpy", "fvcore")


def code(folder: Path | None = None) -> dict[str, str | bool | None]:
    """`commit`, `dirty` and `diff_sha256` of the git checkout that holds this file (or `folder`).

    `dirty`: tracked files differ from the commit or a source file is not tracked; `diff_sha256` then identifies the
    difference. All None when git is missing or this file is not under version control there (an installed package).
    """
    here = _checkout(folder)
    commit = None if here is None else _git(here, "rev-parse", "HEAD")
    if here is None or commit is None:
        return {"commit": None, "dirty": None, "diff_sha256": None}
    changed = difference(folder)
    return {
        "commit": commit.decode().strip(),
        "dirty": bool(changed),
        "diff_sha256": hashlib.sha256(changed).hexdigest() if changed else None,
    }


def commit_day() -> str | None:
    """The day of the checkout's commit (2026-11-30), in its author's time zone; None where `code` knows no commit."""
    here = _checkout(None)
    day = None if here is None else _git(here, "show", "--no-patch", "--format=%as", "HEAD")
    return day.decode().strip() if day else None


def difference(folder: Path | None = None) -> bytes:
    """What the checkout has beyond its commit: git's binary patch, then each untracked source; b"" for nothing."""
    here = _checkout(folder)
    if here is None:
        return b""
    changed = _git(here, *_DIFF, *EVIDENCE) or b""
    untracked = _git(here, "ls-files", "--others", "--exclude-standard", "-z", "--", *SOURCES, *EVIDENCE) or b""
    for name in sorted(filter(None, untracked.split(b"\0"))):
        changed += b"\0untracked " + name + b"\0" + (here / os.fsdecode(name)).read_bytes()
    return changed


def environment(device: str, threads: int | None = None) -> dict[str, Any]:
    """Python, libraries, platform and processor; `device` and `threads` as the run used them. Imports no torch."""
    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "platform": f"{platform.system()}-{platform.machine()}",
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "device": device,
        "threads": threads,
    }


def _checkout(folder: Path | None) -> Path | None:
    """`folder`, or the checkout that holds this file; None where this file is not under version control."""
    here = Path(__file__).parent.parent if folder is None else folder
    if folder is None and not _git(here, "ls-files", "--error-unmatch", __file__):
        return None
    return here


def _git(folder: Path, *arguments: str) -> bytes | None:
    """What git answers, None when it refuses or is not there. Variables of a calling git (a hook) are not passed on."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, env=clean, capture_output=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or None
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or None
