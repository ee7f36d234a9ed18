"""The index of a split of videos, `root/index/<split>.jsonl`: what each holds, or in a word why it is not used.

    {"format": 1, "split": "val"}
    {"place": "val/abseiling/x.mp4", "size": 1048576, "time": ..., "sha256": "...", "facts": {"frames": 250, ...}}
    {"place": "val/abseiling/y.mp4", "size": 31, "time": ..., "word": "unreadable"}
    {"videos": 2, "sha256": "..."}

One line a video, in the order of the listing; the last line is over all before. `pyconv.data.kinetics_index` writes it.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pyconv.data.kinetics_listing import NO_FILE, Listing, listed, stands
from pyconv.data.split import DataError
from pyconv.data.video import Facts

FORMAT = 1
FOLDER = "index"
_PARSED = 1000


@dataclass(frozen=True, slots=True)
class Entry:
    """A video: bytes and time of change in ns when it was looked at, and `facts` or the `word` why it is not used.

    `sha256`: of the content, when every frame was decoded.
    """

    place: str
    size: int
    time: int
    sha256: str | None = None
    facts: Facts | None = None
    word: str | None = None

    def line(self) -> str:
        """As it stands in the index."""
        content: dict[str, Any] = {"place": self.place, "size": self.size, "time": self.time}
        content |= {key: value for key, value in (("sha256", self.sha256), ("word", self.word)) if value is not None}
        return json.dumps(content | ({"facts": asdict(self.facts)} if self.facts else {})) + "\n"

    @classmethod
    def read(cls, content: Any) -> "Entry":
        """The same back, of the line's JSON. Raises `ValueError` for what is none."""
        try:
            facts = content.pop("facts", None)
            return cls(**content, facts=facts and Facts(**facts))
        except (AttributeError, TypeError) as error:
            raise ValueError(f"no entry: {error}") from error


def index_file(root: Path, name: str) -> Path:
    """Where the index of a split stands."""
    return Path(root) / FOLDER / f"{name}.jsonl"


def journal_file(root: Path, name: str) -> Path:
    """Where it grows, in the order in which the videos are looked at; whole lines of it hold."""
    return Path(root) / FOLDER / f".{name}.jsonl-preparing"


def first_line(name: str) -> str:
    """Of an index and of its journal."""
    return json.dumps({"format": FORMAT, "split": name}) + "\n"


def render(name: str, entries: Iterable[Entry]) -> bytes:
    """The file's content."""
    lines = [entry.line() for entry in entries]
    text = (first_line(name) + "".join(lines)).encode()
    return text + last_line(len(lines), text)


def last_line(videos: int, before: bytes) -> bytes:
    """Closes an index: without it, or where it does not fit, the file is not whole."""
    return json.dumps({"videos": videos, "sha256": hashlib.sha256(before).hexdigest()}).encode() + b"\n"


def entries_of(root: Path, name: str) -> list[Entry]:
    """What an index says, whether it is still true or not. Raises `DataError` for a missing or damaged one."""
    file = index_file(root, name)
    try:
        content = file.read_bytes()
    except FileNotFoundError as error:
        unfinished = journal_file(root, name).exists()
        state = "the index is not finished" if unfinished else "no index yet"
        raise DataError(f"{file}: {state}; {_advice(root)}{', it goes on' if unfinished else ''}") from error
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from error
    lines = content.splitlines(keepends=True)
    whole = len(lines) > 1 and last_line(len(lines) - 2, content[: -len(lines[-1])]) == lines[-1]
    try:
        if not whole or lines[0] != first_line(name).encode():
            raise ValueError("not as it was written")
        return [*_parsed(lines[1:-1])]
    except ValueError as error:
        raise DataError(f"{file}: damaged, or of another version; delete it, then {_advice(root)}") from error


def _parsed(lines: Sequence[bytes]) -> Iterator[Entry]:
    """Many lines by one call of the parser: there are a quarter of a million."""
    for start in range(0, len(lines), _PARSED):
        yield from map(Entry.read, json.loads(b"[" + b",".join(lines[start : start + _PARSED]) + b"]"))


def indexed(root: Path, name: str) -> tuple[Listing, list[Entry]]:
    """A split and its index, entry by entry. Raises `DataError` where they do not agree.

    They do where the same videos are there, of the same sizes: nothing is opened for that.
    """
    if not stands(root, name):
        listed(root, name)  # refuses it
    entries, listing = entries_of(root, name), listed(root, name)
    places = [*listing.places]
    sizes = np.array([entry.size for entry in entries], np.int64)
    if [entry.place for entry in entries] == places and (sizes == listing.sizes).all():
        return listing, entries
    known = {entry.place: entry.size for entry in entries}
    now = dict(zip(places, listing.sizes.tolist(), strict=True))
    raise DataError(f"{index_file(root, name)}: {_changes(known, now)}; {_advice(root)}, it looks at these only")


def _changes(known: dict[str, int], now: dict[str, int]) -> str:
    """What happened since, in words."""
    changes = {
        "were added": [place for place in now if place not in known],
        "are gone": [place for place in known if now.get(place, NO_FILE) == NO_FILE != known[place]],
        "are of another size": [place for place, size in now.items() if NO_FILE != size != known.get(place, size)],
    }
    told = [f"{len(places):,} videos {what} (first: {places[0]})" for what, places in changes.items() if places]
    return f"{', '.join(told) or 'the list or its classes changed'} since it was written"


def _advice(root: Path) -> str:
    return f"run `pyconv data prepare kinetics --root {root}`"


def counted(entries: Iterable[Entry]) -> Iterator[tuple[str, list[str]]]:
    """(word, the places it is said of), by the word."""
    by_word: dict[str, list[str]] = {}
    for entry in entries:
        if entry.word is not None:
            by_word.setdefault(entry.word, []).append(entry.place)
    yield from sorted(by_word.items())
