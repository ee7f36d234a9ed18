"""Whether a set of videos can be used: every file looked at, the index brought up to date; and which copy it is.

Videos of Kinetics vanish from where they were published, and copies of the set differ: a number measured on one must
say which. Files that cannot be used are notes, each with its word: runs leave them out. No torch here.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from pyconv.data import kinetics
from pyconv.data.check import DECODED, NAMED, Checked, Finding, some
from pyconv.data.kinetics import VideoSplit
from pyconv.data.kinetics_entries import Entry, counted, entries_of
from pyconv.data.kinetics_index import Index, shown, write_index
from pyconv.data.kinetics_listing import NO_FILE
from pyconv.data.listing import Told, untold
from pyconv.recipe import KineticsAugment

CLASSES = 400
"""Of Kinetics-400 (Kay et al., 2017)."""
SPAN = (KineticsAugment.frames - 1) * KineticsAugment.frame_stride + 1
"""Frames from the first to the last of a clip."""


@dataclass(frozen=True)
class Copy:
    """A copy of Kinetics-400 that is known: videos of its splits, whose it is, where the numbers stand."""

    train: int
    val: int
    copy: str
    source: str


@cache
def known_copies() -> tuple[Copy, ...]:
    """Those whose owners or users state both numbers in public."""
    text = (files("pyconv.data") / "kinetics_copies.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return tuple(Copy(int(row["train"]), int(row["val"]), row["copy"], row["source"]) for row in rows)


def check(
    root: Path,
    name: str,
    *,
    decode: int | None = DECODED,
    workers: int = 1,
    told: Told = untold,
    release: bool = False,
) -> Checked:
    """Decode every video that was not looked at yet and `decode` (None: all) of the others; bring the index up to date.

    `release`: say which copy of Kinetics-400 it is, or that it is none that is known. Raises `DataError` where it
    cannot be listed, or no video can be used.
    """
    index = write_index(root, name, workers=workers, told=told, again=decode)
    split, manifest = kinetics.read_kinetics(root, name), kinetics.manifest(root, name)
    findings = [*_which_copy(index)] if release else []
    findings += [Finding(name, "note", text) for text in _notes(index)]
    if release and (looped := [entry for entry in _usable(index) if entry.facts and entry.facts.frames < SPAN]):
        findings.append(Finding(name, "note", some(_places(looped), f"have less than {SPAN} frames, a clip: looped")))
    return Checked(split, manifest, findings, index.path)


def compare(splits: Sequence[VideoSplit]) -> list[Finding]:
    """How splits differ from the first, whose classes number them, and which videos are in it too."""
    findings = []
    for split in splits[1:]:
        first = splits[0]
        if odd := sorted(set(split.classes) ^ set(first.classes)):
            named = ", ".join(map(shown, odd[:NAMED]))
            text = f"other classes than {first.name}: {len(odd)} are in one of them only ({named}); make them the same"
            findings.append(Finding(split.name, "error", text))
        there = _by_content(entries_of(first.root, first.name))
        again = _by_content(entries_of(split.root, split.name))
        if both := [f"{shown(again[key][0])} = {shown(there[key][0])}" for key in again if key in there]:
            text = some(both, f"are in {first.name} too, byte for byte: not independent of it")
            findings.append(Finding(split.name, "note", text))
    return findings


def _which_copy(index: Index) -> Iterator[Finding]:
    """Of Kinetics-400, by the number of videos: those that are there, or those of them that can be used."""
    name, there = index.listing.name, int((index.listing.sizes != NO_FILE).sum())
    if (classes := len(index.listing.classes)) != CLASSES:
        yield Finding(name, "difference", f"{classes} classes, Kinetics-400 has {CLASSES}")
    by_count: dict[int, list[str]] = {}
    for copy in known_copies():
        by_count.setdefault(copy.train if name == "train" else copy.val, []).append(f"{copy.copy} ({copy.source})")
    counts = {there: f"{there:,} videos", index.usable: f"{index.usable:,} usable videos of {there:,}"}
    if matching := [count for count in (there, index.usable) if count in by_count]:
        count = matching[0]
        yield Finding(name, "note", f"{counts[count]}: as many as the copy {' and '.join(by_count[count])}")
        return
    nearest = sorted(by_count, key=lambda count: abs(count - there))[:2]
    told = "; ".join(f"{count:,}: {' and '.join(by_count[count])}" for count in nearest)
    yield Finding(name, "difference", f"{there:,} videos, no copy that is known; nearest are {told}")


def _notes(index: Index) -> Iterator[str]:
    """What is worth knowing of a split, in sentences."""
    listing, usable = index.listing, _usable(index)
    for word, places in counted(index.entries):
        yield some(map(shown, places), f"are skipped: {word}")
    if varying := [entry for entry in usable if entry.facts and entry.facts.vfr]:
        yield some(_places(varying), "have a variable frame rate: frames are taken by number, not by time")
    if turned := [entry for entry in usable if entry.facts and entry.facts.rotation]:
        yield some(_places(turned), "are stored rotated: they are turned upright")
    same = [places for places in _by_content(index.entries).values() if len(places) > 1]
    if same:
        yield some((" = ".join(map(shown, places)) for places in same), "stand there more than once, byte for byte")
    if listing.others:
        yield some(map(shown, listing.others), "are no videos of this split and passed over")
    if listing.repeated:
        yield f"{listing.repeated:,} lines of the list repeat another one"
    left = {int(listing.labels[number]) for number, entry in enumerate(index.entries) if entry.facts}
    if empty := [shown(label) for number, label in enumerate(listing.classes) if number not in left]:
        yield f"{len(empty)} of {len(listing.classes)} classes have no usable video ({', '.join(empty[:NAMED])})"


def _usable(index: Index) -> list[Entry]:
    return [entry for entry in index.entries if entry.facts is not None]


def _places(entries: Sequence[Entry]) -> list[str]:
    return [shown(entry.place) for entry in entries]


def _by_content(entries: Sequence[Entry]) -> dict[str, list[str]]:
    """SHA-256 -> the usable videos that have it."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        if entry.sha256 is not None and entry.facts is not None:
            found.setdefault(entry.sha256, []).append(entry.place)
    return found
