"""Videos of Kinetics' layouts (Kay et al., 2017) as an index tells them: only those that decode, and what they hold.

    root/<split>/<class>/<video> or root/<split>.csv (`pyconv.data.kinetics_listing`), and root/index/<split>.jsonl

The index is written by `pyconv data prepare kinetics`, which looks at every file: a run meets none that nobody has
decoded. It must agree with what stands there now. No torch here.
"""

import hashlib
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pyconv.data.contents import size_and_digest
from pyconv.data.kinetics_entries import Entry, indexed
from pyconv.data.split import DataError, Names
from pyconv.data.video import Facts

__all__ = ["Facts", "VideoSplit", "manifest", "read_kinetics"]

VERIFIED = 1 << 28
"""Bytes: up to so many, as of the mini set, a manifest reads the content again; above it takes the index's word."""


@dataclass(frozen=True, eq=False)
class VideoSplit:
    """The usable videos of a split, by class and file name; `labels` (int32) number the classes.

    `places`: below the root, or absolute. `shapes`: int32 (n, 4): frames, height, width, rotation. `rates`: float64
    (n, 2): frames a second, seconds. `skipped`: (place, word) of those that are not used. Arrays and packed names:
    cheap to hand to a worker, and a forked one copies nothing.
    """

    root: Path
    name: str
    classes: tuple[str, ...]
    labels: np.ndarray
    places: Names
    shapes: np.ndarray
    rates: np.ndarray
    variable: np.ndarray
    skipped: tuple[tuple[str, str], ...]

    def __len__(self) -> int:
        return len(self.labels)

    def label(self, index: int) -> int:
        """The class number of video `index`."""
        return int(self.labels[index])

    def place(self, index: int) -> str:
        """Where video `index` stands: `<split>/<class>/<video>` below the root, or as the list has it."""
        return self.places[index]

    def path(self, index: int) -> Path:
        """The file of video `index`."""
        return self.root / self.places[index]

    def facts(self, index: int) -> Facts:
        """What video `index` holds."""
        frames, height, width, rotation = self.shapes[index].tolist()
        fps, seconds = self.rates[index].tolist()
        return Facts(frames, height, width, fps, seconds, rotation, bool(self.variable[index]))


def read_kinetics(root: Path, split: str) -> VideoSplit:
    """Read a split from its index. Raises `DataError` where there is none, or it does not agree with what is there."""
    listing, entries = indexed(root, split)
    usable = [entry.facts is not None for entry in entries]
    facts = [entry.facts for entry in entries if entry.facts is not None]
    if not facts:
        raise DataError(f"{Path(root) / split}: none of {len(entries):,} videos can be used; replace them")
    return VideoSplit(
        Path(root),
        split,
        listing.classes,
        listing.labels[usable],
        Names.of(entry.place for entry in entries if entry.facts is not None),
        np.array([(one.frames, one.height, one.width, one.rotation) for one in facts], np.int32),
        np.array([(one.fps, one.seconds) for one in facts], np.float64),
        np.array([one.vfr for one in facts], bool),
        tuple((entry.place, entry.word) for entry in entries if entry.word is not None),
    )


def manifest(root: Path, split: str) -> dict[str, object]:
    """Samples, classes, SHA-256 and what is skipped (word -> videos) of a split, as a record names its data.

    The hash is over one line a usable video, sorted: class, file name, size, and the SHA-256 of the content, or "-" in
    all where the index was written from headers alone; `hashed` says which. It does not depend on the layout, nor on
    where the data set stands.
    """
    root = Path(root)
    listing, entries = indexed(root, split)
    labels = {index: listing.classes[label] for index, label in enumerate(listing.labels.tolist())}
    usable = [(labels[index], entry) for index, entry in enumerate(entries) if entry.facts is not None]
    if sum(entry.size for _, entry in usable) <= VERIFIED:
        for _, entry in usable:
            _verify(root, entry)
    with_content = all(entry.sha256 for _, entry in usable)
    lines = sorted(
        f"{label}\t{os.path.basename(entry.place)}\t{entry.size}\t{entry.sha256 if with_content else '-'}\n"  # noqa: PTH119
        for label, entry in usable
    )
    return {
        "samples": len(usable),
        "classes": len(listing.classes),
        "sha256": hashlib.sha256(os.fsencode("".join(lines))).hexdigest(),
        "hashed": "class, name, size, content" if with_content else "class, name, size",
        "skipped": dict(sorted(Counter(entry.word for entry in entries if entry.word is not None).items())),
    }


def _verify(root: Path, entry: Entry) -> None:
    if entry.sha256 is not None and size_and_digest(root / entry.place)[1] != entry.sha256:
        raise DataError(f"{root / entry.place}: its content changed since it was decoded; prepare this data set again")
