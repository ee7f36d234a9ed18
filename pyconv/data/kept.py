"""Manifests kept in a file, with a cheap witness: a later run trusts one without asking for 1.28 million sizes.

The witness is over the classes, how many images each holds, and when its folder last changed (a file added, removed
or renamed); of shards over their index, sizes and times. An image overwritten in place does not change it:
`pyconv data check` always looks at the files themselves. Other layouts than class folders bring their own witness.
"""

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from pyconv.data.split import DataError, Split
from pyconv.files import publish

FORMAT = 1
FOLDER = ".pyconv"


class Listed(Protocol):
    """What is kept of: the split `name` of the data set in `root`."""

    @property
    def root(self) -> Path: ...  # noqa: D102

    @property
    def name(self) -> str: ...  # noqa: D102


def witness(split: Split) -> str:
    """A SHA-256 that changes when something is added to the split, removed or renamed."""
    folder = split.root / split.name
    lines = [f"{label}\t{stop - start}" for label, start, stop in split.by_class()]
    try:
        if split.shards is None:
            lines += [str((folder / label).stat().st_mtime_ns) for label in split.classes]
        else:
            lines += [
                f"{digest}\t{stamp}" for digest, stamp in zip(split.shards.digests, split.shards.stamps, strict=True)
            ]
    except OSError as error:
        raise DataError(f"{error.filename}: gone while it was looked at; check the disk and try again") from error
    return hashlib.sha256(os.fsencode("\n".join(lines))).hexdigest()


def keep(split: Listed, manifest: dict[str, Any], seen: str) -> Path | None:
    """Write the manifest of a split whose witness was `seen` before it was computed; where, None if nowhere.

    Below the root, or in the user's cache where that is read-only.
    """
    content = {"format": FORMAT, "split": split.name, "witness": seen, "manifest": manifest}
    text = json.dumps(content | {"sha256": _digest(content)}, indent=2) + "\n"
    for path in _places(split):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            publish(path, lambda file: file.write(text.encode()))
        except OSError:
            continue
        return path
    return None


def forget(split: Listed) -> None:
    """What was kept of a split that is found wrong must not be trusted, where it can be deleted."""
    for path in _places(split):
        with suppress(OSError):
            path.unlink(missing_ok=True)


def recall(split: Split) -> dict[str, Any] | None:
    """The kept manifest of a split that has not changed since; a damaged or stale one is passed over."""
    return recall_if(split, lambda: witness(split))


def recall_if(split: Listed, seen_now: Callable[[], str]) -> dict[str, Any] | None:
    """The same for any layout; its witness is only asked for where something was kept."""
    for path in _places(split):
        try:
            content = json.loads(path.read_bytes())
            digest = content.pop("sha256")
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            continue
        if digest == _digest(content) and content["format"] == FORMAT and content["witness"] == seen_now():
            return content["manifest"]
    return None


def _places(split: Listed) -> tuple[Path, Path]:
    name = f"manifest-{split.name}.json"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    key = hashlib.sha256(os.fsencode(split.root.resolve())).hexdigest()[:16]
    return split.root / FOLDER / name, cache / "pyconv" / "manifests" / key / name


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
