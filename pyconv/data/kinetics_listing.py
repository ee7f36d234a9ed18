"""Which videos a split of Kinetics' layouts holds: class folders, or a CSV list.

    root/<split>/<class>/<video>    or    root/<split>.csv with lines of path,label (`pyconv.data.kinetics_lists`)

Where both stand the list is read. Classes are numbered in the order of their sorted names, those that are all numbers
in the order of the numbers. No file is opened here, but each is asked for its size and time. No torch here.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NoReturn

import numpy as np

from pyconv.data.files import visible
from pyconv.data.kinetics_lists import Listed, is_video, read_list
from pyconv.data.listing import ASKING
from pyconv.data.split import DataError, Names

NO_FILE = -1
"""The size of what is no file: a folder, a link that leads nowhere, a video of the list that is not there."""
_ASKED = 500  # files by one thread in a row


@dataclass(frozen=True, eq=False)
class Listing:
    """Videos by class and name: where each stands (below the root, or absolute), labels (int32), bytes, time in ns.

    `others`: files that are no videos by their names, or that a list of annotations does not name. `repeated`: lines
    of the list that say what another one said already.
    """

    root: Path
    name: str
    classes: tuple[str, ...]
    labels: np.ndarray
    places: Names
    sizes: np.ndarray
    times: np.ndarray
    others: tuple[str, ...]
    repeated: int = 0

    def __len__(self) -> int:
        return len(self.labels)


def stands(root: Path, name: str) -> bool:
    """Whether there is anything of a split."""
    return (Path(root) / name).is_dir() or _list_file(Path(root), name).is_file()


def described(name: str) -> str:
    """What is expected below the root."""
    return f"{name}/<class>/<video> or {name}.csv with lines of path,label"


def listed(root: Path, name: str) -> Listing:
    """List a split. Raises `DataError` for one that is missing, empty or of another layout."""
    root = Path(root)
    if not stands(root, name):
        _missing(root, name)
    repeated = 0
    if _list_file(root, name).is_file():
        found = read_list(_list_file(root, name))
        by_label, others = _located(root, name, found)
        repeated = found.repeated
    else:
        by_label, others = _class_folders(root, name)
    numeric = all(label.isdecimal() for label in by_label)
    classes = tuple(sorted(by_label, key=int) if numeric else sorted(by_label))
    labels = np.repeat(np.arange(len(classes), dtype=np.int32), [len(by_label[label]) for label in classes])
    places = [place for label in classes for place in sorted(by_label[label])]
    sizes, times = _sizes_and_times(root, places).T
    if (sizes == NO_FILE).all():
        raise DataError(f"{root}: none of the {len(places):,} videos of {name} is there (first: {places[0]})")
    return Listing(root, name, classes, labels, Names.of(places), sizes, times, tuple(others), repeated)


def _list_file(root: Path, name: str) -> Path:
    return root / f"{name}.csv"


def _missing(root: Path, name: str) -> NoReturn:
    found = [entry.name for entry in visible(root)] if root.is_dir() else None
    state = f"{root} does not exist" if found is None else f"{root} holds {', '.join(found[:10]) or 'nothing'}"
    raise DataError(f"{root / name}: no such split ({state}); expected {described(name)}")


def _class_folders(root: Path, name: str) -> tuple[dict[str, list[str]], list[str]]:
    """Videos by class, and what is none."""
    folder = root / name
    entries = visible(folder)
    labels = [entry.name for entry in entries if entry.is_dir()]
    others = [f"{name}/{entry.name}" for entry in entries if not entry.is_dir()]
    if flat := [place for place in others if is_video(place)]:
        advice = f"give their classes in {folder}.csv, or move them to {folder}/<class>/"
        raise DataError(f"{folder}: {len(flat)} videos stand outside class folders (first: {flat[0]}); {advice}")
    if not labels:
        raise DataError(f"{folder}: no class folder; expected {described(name)}")
    by_label: dict[str, list[str]] = {}
    for label in labels:
        inside = visible(folder / label)
        videos = [entry.name for entry in inside if is_video(entry.name)]
        if nested := [entry.name for entry in inside if entry.is_dir() and not is_video(entry.name)]:
            raise DataError(f"{folder / label}: holds the folder {nested[0]}; expected videos only")
        if not videos:
            raise DataError(f"{folder / label}: a class without videos (its number would still be counted); delete it")
        by_label[label] = [f"{name}/{label}/{video}" for video in videos]
        others += [f"{name}/{label}/{entry.name}" for entry in inside if not is_video(entry.name)]
    return by_label, others


def _located(root: Path, name: str, found: Listed) -> tuple[dict[str, list[str]], list[str]]:
    """The places of a list by label; those of annotations are looked for below `root/name`, whatever the folders."""
    by_label: dict[str, list[str]] = {}
    if not found.annotated:
        for place, label in found.labels.items():
            by_label.setdefault(label, []).append(place)
        return by_label, []
    there: dict[str, str] = {}
    others = []
    for place in _below(root, name):
        stem = os.path.splitext(os.path.basename(place))[0]  # noqa: PTH119, PTH122 - a million names: no Path for each
        if not is_video(place) or stem not in found.labels or stem in there:
            others.append(place)
        else:
            there[stem] = place
    for stem, label in found.labels.items():
        by_label.setdefault(label, []).append(there.get(stem, f"{name}/{label}/{stem}.mp4"))
    return by_label, others


def _below(root: Path, name: str) -> Iterator[str]:
    """What stands in a split's folder and in its folders."""
    for entry in visible(root / name) if (root / name).is_dir() else []:
        if entry.is_dir() and not is_video(entry.name):
            yield from (f"{name}/{entry.name}/{inside.name}" for inside in visible(entry.path))
        else:
            yield f"{name}/{entry.name}"


def _sizes_and_times(root: Path, places: list[str]) -> np.ndarray:
    """int64 (videos, 2): one question a file, several at once."""
    parts = [places[start : start + _ASKED] for start in range(0, len(places), _ASKED)]
    with ThreadPoolExecutor(ASKING) as pool:
        asked: Iterable[list[tuple[int, int]]] = pool.map(lambda part: [_ask(root, place) for place in part], parts)
        return np.array([*chain.from_iterable(asked)], np.int64).reshape(-1, 2)


def _ask(root: Path, place: str) -> tuple[int, int]:
    try:
        found = os.stat(os.path.join(root, place))  # noqa: PTH116, PTH118 - as above
    except (OSError, ValueError):
        return NO_FILE, 0
    return (found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else (NO_FILE, 0)
