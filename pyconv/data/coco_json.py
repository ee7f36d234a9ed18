"""COCO's annotation file as arrays: {"images": [], "annotations": [], "categories": []} (Lin et al., ECCV 2014).

Every value that is used is checked, column by column: 860,001 annotations take seconds. What a file cannot do without
(its three lists, the keys and their types) raises `DataError`; rows whose values cannot be right are left out and told,
each by its id. Segmentations, captions and licences are not looked at. No torch here.
"""

import gc
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from pyconv.data.split import DataError

NAMED = 5
"""So many rows of one complaint are named."""
_WHOLE, _REAL, _FLAG, _TEXT, _LIST = (int,), (int, float), (int, bool), (str,), (list,)
_WORDS: dict[tuple[type, ...], str] = {
    _WHOLE: "a whole number",
    _REAL: "a number",
    _FLAG: "0 or 1",
    _TEXT: "a text",
    _LIST: "a list",
}
_EXCERPT = 30
_POLYGONS = re.compile(rb'(?<!\\)"segmentation"\s*:\s*\[[0-9\s.,eE+\[\]-]*\](?=\s*[,}])')
"""Two thirds of the file. A quote within a text of JSON has a backslash before it: nothing else can match."""


@dataclass(frozen=True)
class Category:
    """A class: its number in the file, and its name."""

    id: int
    name: str


@dataclass(frozen=True, eq=False)
class Annotations:
    """g boxes in the file's order.

    ids int64 (g,); boxes float64 (g, 4): x, y of the left upper corner, width, height in pixels as in the file; labels
    int64 (g,) from 1; areas float64 (g,) in square pixels as in the file, of the object, not its box; crowd bool (g,)
    """

    ids: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    areas: np.ndarray
    crowd: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, chosen: slice | np.ndarray) -> "Annotations":
        """These of them."""
        return Annotations(
            self.ids[chosen], self.boxes[chosen], self.labels[chosen], self.areas[chosen], self.crowd[chosen]
        )


@dataclass(frozen=True, eq=False)
class Content:
    """Images by ascending id: ids int64 (n,), sizes int64 (n, 2), height and width, files; categories by ascending id.

    Annotations `starts[i]` to `starts[i + 1]` (int64 (n + 1,)) are those of image i. `faults`: what was left out, a
    sentence a kind.
    """

    categories: tuple[Category, ...]
    ids: np.ndarray
    sizes: np.ndarray
    files: list[str]
    starts: np.ndarray
    every: Annotations
    faults: list[str]


@dataclass
class _Rows:
    """One of the file's lists by its `name`, `what` a row of it is, and which of them are sound."""

    path: Path
    name: str
    what: str
    rows: list[Any]
    ids: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    sound: np.ndarray = field(default_factory=lambda: np.empty(0, bool))
    faults: list[str] = field(default_factory=list)

    def column(self, key: str, kinds: tuple[type, ...]) -> list[Any]:
        """The values of a key. Raises `DataError` naming the first row where it is missing or of another type."""
        try:
            values = [row[key] for row in self.rows]
        except (KeyError, TypeError, IndexError):
            place = next(i for i, row in enumerate(self.rows) if not isinstance(row, dict) or key not in row)
            raise self.wrong(place, f'has no "{key}"') from None
        if set(map(type, values)) - set(kinds):
            place = next(i for i, value in enumerate(values) if type(value) not in kinds)
            raise self.wrong(place, f'"{key}" is {_shown(values[place])}; {_WORDS[kinds]} is right')
        return values

    def whole(self, key: str, kinds: tuple[type, ...] = _WHOLE) -> np.ndarray:
        """Whole numbers as int64."""
        values = self.column(key, kinds)
        try:
            return np.fromiter(values, np.int64, len(values))
        except OverflowError:
            place = next(i for i, value in enumerate(values) if not -(2**63) <= value < 2**63)
            raise self.wrong(place, f'"{key}" is {_shown(values[place])}: no number of 64 bits') from None

    def drop(self, wrong: Any, reason: str, values: Sequence[Any] | np.ndarray | None = None) -> None:
        """Tell of the rows where `wrong` is set, with their `values`, and count them as unsound."""
        if len(places := np.flatnonzero(wrong)):
            named = [self._name(i) + ("" if values is None else f": {_shown(values[i])}") for i in places[:NAMED]]
            more = f" and {len(places) - NAMED:,} more" if len(places) > NAMED else ""
            self.faults.append(f"{self.path}: {len(places):,} {self.name} {reason} ({', '.join(named)}{more})")
            self.sound &= ~wrong

    def identified(self) -> "_Rows":
        """With their ids; all but the first of one id are unsound."""
        self.ids = self.whole("id")
        self.sound = np.ones(len(self.ids), bool)
        again = np.ones(len(self.ids), bool)
        again[np.unique(self.ids, return_index=True)[1]] = False
        self.drop(again, "have an id that is there already")
        return self

    def _name(self, place: int) -> str:
        return f"{self.what} {self.ids[place]}" if len(self.ids) else f"{self.what} at place {place}"

    def wrong(self, place: int, reason: str) -> DataError:
        """The error about one row."""
        row = self.rows[place]
        named = f"{self.what} {_shown(row['id'])}" if isinstance(row, dict) and "id" in row else self._name(place)
        return DataError(f"{self.path}: {named} {reason}")


def read(path: Path) -> Content:
    """The content of an annotation file. Raises `DataError` where it is no JSON, torn, or not of COCO's form."""
    content = _parsed(path)
    images, annotations, categories = (_rows(path, content, key) for key in ("images", "annotations", "categories"))
    names = categories.column("name", _TEXT)
    categories.drop(_repeated(names), "have a name that is there already", names)
    files = _files(images)
    sizes = np.stack([images.whole("height"), images.whole("width")], 1)
    images.drop((sizes < 1).any(1), "have no size; height and width of 1 pixel or more are right", sizes)
    every, of_image = _annotations(annotations, images, categories)
    order = np.flatnonzero(images.sound)[np.argsort(images.ids[images.sound])]
    ids = images.ids[order]
    held = np.searchsorted(ids, of_image)
    place = np.flatnonzero(annotations.sound & np.isin(of_image, ids))
    place = place[np.argsort(held[place], kind="stable")]
    starts = np.searchsorted(held[place], np.arange(len(ids) + 1)).astype(np.int64)
    kept = np.flatnonzero(categories.sound)[np.argsort(categories.ids[categories.sound])].tolist()
    return Content(
        tuple(Category(int(categories.ids[i]), names[i]) for i in kept),
        ids,
        sizes[order],
        [files[i] for i in order.tolist()],
        starts,
        every.rows(place),
        [*categories.faults, *images.faults, *annotations.faults],
    )


def _annotations(rows: _Rows, images: _Rows, categories: _Rows) -> tuple[Annotations, np.ndarray]:
    """All of them in the file's order, sound or not, and the image id of each."""
    of_image, of_category = rows.whole("image_id"), rows.whole("category_id")
    rows.drop(rows.ids < 1, "have an id below 1: COCO's evaluation takes 0 for no match")
    rows.drop(~np.isin(of_image, images.ids), "are of an image that is not listed", of_image)
    rows.drop(~np.isin(of_category, categories.ids), "are of a category that is not listed", of_category)
    boxes, areas, crowd = _boxes(rows), _numbers(rows.column("area", _REAL)), rows.whole("iscrowd", _FLAG)
    rows.drop(~np.isfinite(boxes).all(1), "have a box with NaN or infinity", boxes)
    rows.drop((boxes[:, 2:] < 0).any(1), "have a box of negative width or height", boxes)
    rows.drop(~(np.isfinite(areas) & (areas >= 0)), "have an area that is negative, NaN or infinite", areas)
    rows.drop((crowd != 0) & (crowd != 1), 'have an "iscrowd" that is neither 0 nor 1', crowd)
    labels = np.searchsorted(np.sort(categories.ids[categories.sound]), of_category).astype(np.int64) + 1
    return Annotations(rows.ids, boxes, labels, areas, crowd == 1), of_image


def _boxes(rows: _Rows) -> np.ndarray:
    """float64 (a, 4). Raises `DataError` for one that is not of four numbers."""
    boxes = rows.column("bbox", _LIST)
    right = '"bbox" is {}; four numbers are right: x, y, width, height'
    if set(map(len, boxes)) - {4}:
        place = next(i for i, box in enumerate(boxes) if len(box) != 4)
        raise rows.wrong(place, right.format(_shown(boxes[place])))
    if set(map(type, chain.from_iterable(boxes))) - set(_REAL):
        place = next(i for i, box in enumerate(boxes) if set(map(type, box)) - set(_REAL))
        raise rows.wrong(place, right.format(_shown(boxes[place])))
    return _numbers(list(chain.from_iterable(boxes))).reshape(-1, 4)


def _numbers(values: list[Any]) -> np.ndarray:
    """As float64; a whole number beyond its range is infinite."""
    try:
        return np.fromiter(values, np.float64, len(values))
    except OverflowError:
        return np.array([float(v) if abs(v) < 2**1023 else np.inf for v in values], np.float64)


def _files(images: _Rows) -> list[str]:
    names = images.column("file_name", _TEXT)
    odd = np.fromiter((not _is_plain(name) for name in names), bool, len(names))
    images.drop(odd, 'have a "file_name" that is no plain name of a file in the folder of images', names)
    images.drop(_repeated(names) & ~odd, 'have a "file_name" that is there already', names)
    return names


def _is_plain(name: str) -> bool:
    """Neither a path nor hidden, and a name that a file system can hold."""
    hostile = not name or name[0] == "." or "/" in name or "\\" in name or "\0" in name
    return not hostile and (name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name))


def _repeated(names: list[str]) -> np.ndarray:
    """Where a name stood before."""
    found, seen = np.zeros(len(names), bool), set()
    for place, name in enumerate(names):
        found[place] = name in seen
        seen.add(name)
    return found


def _rows(path: Path, content: Any, key: str) -> _Rows:
    if not isinstance(content, dict) or not isinstance(content.get(key), list):
        raise DataError(f'{path}: no list "{key}"; an instances file of COCO is right: images, annotations, categories')
    what = {"images": "image", "annotations": "annotation", "categories": "category"}[key]
    if not content[key] and key != "annotations":
        raise DataError(f'{path}: "{key}" is empty')
    return _Rows(path, key, what, content[key]).identified()


def _parsed(path: Path) -> Any:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); it comes with the release's annotations"
        ) from error
    try:
        with _uncollected():  # with the polygons gone a third of the memory, and of the time
            return orjson.loads(_POLYGONS.sub(b'"segmentation":[]', content))
    except orjson.JSONDecodeError as error:
        if "end of data" in error.msg or not content.rstrip().endswith(b"}"):
            raise DataError(f"{path}: cut off after byte {len(content):,}; copy or download it again") from None
    return _leniently(path, content)


@contextmanager
def _uncollected() -> Iterator[None]:
    """No search for cycles while millions of objects are made that have none."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _leniently(path: Path, content: bytes) -> Any:
    """What Python's own reader makes of it, which lets NaN and infinity through: they are told by annotation, later."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: no UTF-8 at byte {error.start:,}; download it again") from error
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        here, byte = text[error.pos : error.pos + _EXCERPT], len(text[: error.pos].encode())
        raise DataError(f"{path}: no JSON at byte {byte:,}, {here!r} ({error.msg}); download it again") from None
    except RecursionError:
        raise DataError(f"{path}: lists within lists without end; an instances file of COCO is right") from None


def _shown(value: Any) -> str:
    text = repr(value.tolist() if isinstance(value, np.ndarray | np.generic) else value)
    return text if len(text) <= 2 * _EXCERPT else f"{text[: 2 * _EXCERPT]}..."
