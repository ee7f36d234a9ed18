"""Look at every video of a split, several at once, and write its index: killed at any byte it goes on where it was.

What was looked at stands in a journal, line by line, until the index is complete; a video of an earlier index that has
the same size and time is not looked at again. The index depends on the videos alone, not on the way to it.
"""

import hashlib
import json
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from pyconv.data import isolated, kinetics_entries
from pyconv.data.files import alone
from pyconv.data.isolated import Lost
from pyconv.data.kinetics_entries import Entry, counted, first_line, index_file, journal_file
from pyconv.data.kinetics_listing import NO_FILE, Listing, listed
from pyconv.data.listing import Told, untold
from pyconv.data.split import DataError
from pyconv.data.video import WORDS, VideoError, probe
from pyconv.files import publish

Broken = Literal["skip", "refuse"]
"""Videos that cannot be used are left out, or make the index fail."""
MISSING, FOLDER, NO_REGULAR_FILE = "missing", "folder", "no file"
EMPTY, DENIED = "empty", "no permission"
LOST = {Lost.DIED: "crashes the decoder", Lost.SLOW: "hangs the decoder"}
LASTING = frozenset((*WORDS, EMPTY))
"""These words hold as long as the file does not change; what else went wrong is tried again each time."""
SEED = 0
"""Of the choice of those that are looked at again: the same ones each time."""
NAMED = 3
"""So many files of one word are named."""
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Index:
    """What was written: the split as it is listed, an entry a video, the file."""

    listing: Listing
    entries: list[Entry]
    path: Path

    @property
    def usable(self) -> int:
        """So many videos can be used."""
        return sum(entry.facts is not None for entry in self.entries)


def write_index(
    root: Path,
    split: str,
    *,
    workers: int = 1,
    decode: bool = True,
    broken: Broken = "skip",
    told: Told = untold,
    again: int | None = 0,
) -> Index:
    """Bring the index of a split up to date, decoding each video to its end, or with `decode` False its headers only.

    `workers`: processes; 0: this one, unprotected from what a damaged file does to a decoder. `again`: so many of the
    videos that are known already are looked at again; None: all. Raises `DataError` for a split that cannot be listed,
    one without a usable video, and with `broken` "refuse" for any that is not usable: all are looked at before.
    """
    root, file, journal = Path(root), index_file(root, split), journal_file(root, split)
    listing = listed(root, split)
    _see_that_it_can_be_written(file.parent)
    with alone(file.parent):
        found = _known(root, listing, decode, again)
        todo = [index for index in range(len(listing)) if listing.places[index] not in found]
        with _appending(journal) as append:
            for entry in _look_at(listing, todo, workers, decode, told):
                append(entry.line())
                found[entry.place] = entry
        entries = [found[place] for place in listing.places]
        _refuse(root, split, entries, broken)
        content = kinetics_entries.render(split, entries)
        if not file.exists() or file.read_bytes() != content:
            publish(file, lambda target: target.write(content))
        journal.unlink()
    return Index(listing, entries, file)


def look(task: tuple[str, int, int, Path, bool]) -> Entry:
    """What a file holds, or in a word why not. Task: place, size, time, path, whether to decode."""
    place, size, changed, path, decode = task
    try:
        if size == 0:
            return Entry(place, size, changed, word=EMPTY)
        with path.open("rb") as file:
            digest = _digest(file) if decode else None  # before the decoder, which finds the file in memory then
        return Entry(place, size, changed, digest, probe(path, decode=decode))
    except VideoError as error:
        return Entry(place, size, changed, word=error.word)
    except OSError as error:
        return Entry(place, size, changed, word=DENIED if isinstance(error, PermissionError) else MISSING)


def summary(entries: Sequence[Entry]) -> str:
    """`4 cut off (a, b, c, ...), 1 empty (d)`."""
    parts = []
    for word, places in counted(entries):
        more = ", ..." if len(places) > NAMED else ""
        parts.append(f"{len(places):,} {word} ({', '.join(map(shown, places[:NAMED]))}{more})")
    return ", ".join(parts)


def shown(place: str) -> str:
    """A name on one line, whatever is in it."""
    return place if place.isprintable() else ascii(place)


def _see_that_it_can_be_written(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise DataError(f"{folder}: cannot be written, and the index stands with its videos; let one prepare who may")


def _look_at(listing: Listing, todo: Sequence[int], workers: int, decode: bool, told: Told) -> Iterator[Entry]:
    """Entries as they come, first those that need no look."""
    tasks = []
    for index in todo:
        place, size = listing.places[index], int(listing.sizes[index])
        path = listing.root / place
        if size == NO_FILE:
            yield Entry(place, size, 0, word=_no_file(path))
        else:
            tasks.append((place, size, int(listing.times[index]), path, decode))
    start = time.monotonic()
    for done, (number, outcome) in enumerate(isolated.each(look, tasks, workers), start=1):
        place, size, changed, *_ = tasks[number]
        yield Entry(place, size, changed, word=LOST[outcome]) if isinstance(outcome, Lost) else outcome
        told(done, len(tasks), f"{listing.name}, {pace(done, len(tasks), time.monotonic() - start)}")


def pace(done: int, total: int, seconds: float) -> str:
    """`35.2 a second, 12 min left`."""
    rate = done / max(seconds, 1e-9)
    left = (total - done) / rate
    return f"{rate:.1f} a second, {f'{left / 60:.0f} min' if left >= 60 else f'{left:.0f} s'} left"


def _no_file(path: Path) -> str:
    if path.is_dir():
        return FOLDER
    return NO_REGULAR_FILE if path.exists() else MISSING


def _known(root: Path, listing: Listing, decode: bool, again: int | None) -> dict[str, Entry]:
    """The entries of an earlier index and of a journal that still hold, but for those to be looked at `again`."""
    standing: list[Entry] = []
    if index_file(root, listing.name).exists():
        try:
            standing = kinetics_entries.entries_of(root, listing.name)
        except DataError:  # a damaged one is written anew
            standing = []
    sure = {place: i for i, place in enumerate(listing.places)}
    known = {}
    for entry in (*standing, *_journalled(root, listing.name)):
        index = sure.get(entry.place)
        same = index is not None and (entry.size, entry.time) == (listing.sizes[index], listing.times[index])
        holds = entry.word in LASTING if entry.facts is None else entry.sha256 is not None or not decode
        if same and holds:
            known[entry.place] = entry
    dropped = [*known] if again is None else random.Random(SEED).sample(sorted(known), min(again, len(known)))
    for place in dropped:
        del known[place]
    return known


def _journalled(root: Path, name: str) -> list[Entry]:
    """The entries of a journal; it is cut after the last line that is whole, and begun anew where it is another's."""
    journal = journal_file(root, name)
    lines = journal.read_bytes().splitlines(keepends=True) if journal.exists() else []
    if not lines or lines[0] != first_line(name).encode():
        journal.write_bytes(first_line(name).encode())
        return []
    entries, valid = [], len(lines[0])
    for line in lines[1:]:
        try:
            entries.append(Entry.read(json.loads(line if line.endswith(b"\n") else b"")))
        except ValueError:
            break
        valid += len(line)
    os.truncate(journal, valid)
    return entries


@contextmanager
def _appending(journal: Path) -> Iterator[Callable[[str], None]]:
    """A function that adds a line, which is the system's to keep when it returns."""
    with journal.open("a", encoding="utf-8") as file:

        def append(line: str) -> None:
            file.write(line)
            file.flush()

        yield append


def _refuse(root: Path, name: str, entries: Sequence[Entry], broken: Broken) -> None:
    unusable = [entry for entry in entries if entry.facts is None]
    if len(unusable) == len(entries) or (unusable and broken == "refuse"):
        many = f"{len(unusable):,} of {len(entries):,} videos of {name} cannot be used: {summary(unusable)}"
        advice = "replace or delete them" + (", or leave them out with --broken skip" * (broken == "refuse"))
        raise DataError(f"{root}: {many}; {advice}")


def _digest(file: BinaryIO) -> str:
    total = hashlib.sha256()
    while block := file.read(_BLOCK):
        total.update(block)
    return total.hexdigest()
