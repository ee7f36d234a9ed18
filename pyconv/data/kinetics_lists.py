"""CSV lists of videos: lines of `path,label`, as `path label` too, and the annotation files of Kinetics.

(Kay et al., 2017.) Those have the header `label,youtube_id,time_start,time_end,split`, and name a file
`<youtube_id>_<start>_<end>.mp4`, the times in seconds and with six digits.
"""

import csv
import io
import os
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyconv.data.contents import read
from pyconv.data.split import DataError

VIDEO_SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".flv", ".wmv", ".mpg", ".mpeg", ".ts", ".3gp", ".ogv")
)
ANNOTATED = ("label", "youtube_id", "time_start", "time_end")
"""The columns that make a list one of Kinetics' annotation files."""
_EXPECTED = f"lines of path,label, or the columns {','.join(ANNOTATED)} under a header"


@dataclass(frozen=True)
class Listed:
    """Label by file, in the order of the list. `annotated`: the files are names without folder and ending.

    `repeated`: lines that say what another one said already.
    """

    labels: dict[str, str]
    annotated: bool
    repeated: int


def is_video(name: str) -> bool:
    """By the end of its name."""
    return f".{name.rpartition('.')[2].lower()}" in VIDEO_SUFFIXES  # a million names: no Path for each


def read_list(file: Path) -> Listed:
    """Read a list. Raises `DataError` naming the line that is wrong."""
    rows = list(_rows(file))
    header = [field.lower() for field in rows[0][1]] if rows else []
    annotated = set(ANNOTATED) <= set(header)
    labels: dict[str, str] = {}
    repeated = 0
    for line, name, label in _videos(file, rows, header, annotated):
        if labels.setdefault(name, label) != label:
            raise DataError(f"{file}, line {line}: {name} is {label!r} here and {labels[name]!r} above; keep one")
        repeated += 1
    if not labels:
        raise DataError(f"{file}: no video in it; expected {_EXPECTED}")
    return Listed(labels, annotated, repeated - len(labels))


def _rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """(line, fields) of the lines that are not blank. A list without a comma in its first line is split at spaces."""
    text = read(file).decode("utf-8-sig", "surrogateescape")
    lines = text.split("\n")
    first = next((line for line in lines if line.strip()), "")
    if "," not in first:
        rows = ((number, line.rsplit(None, 1)) for number, line in enumerate(lines, start=1))
    else:
        reader = csv.reader(io.StringIO(text, newline=""))
        rows = ((reader.line_num, row) for row in reader)
    try:
        for number, row in rows:
            fields = [field.strip() for field in row]
            if any(fields):
                yield number, fields
    except csv.Error as error:
        raise DataError(f"{file}: no CSV ({error}); expected {_EXPECTED}") from error


def _videos(
    file: Path, rows: Sequence[tuple[int, list[str]]], header: Sequence[str], annotated: bool
) -> Iterator[tuple[int, str, str]]:
    """(line, file, label)."""
    named = annotated or {"path", "label"} <= set(header)
    if not named and "youtube_id" in header:
        raise DataError(f"{file}: no label in its header, as for a test set; expected {_EXPECTED}")
    for line, fields in rows[1:] if named else rows:
        if len(fields) != (len(header) if named else 2):
            raise DataError(f"{file}, line {line}: {len(fields)} fields; expected {_EXPECTED}")
        columns = dict(zip(header if named else ("path", "label"), fields, strict=True))
        name = _annotated_name(file, line, columns) if annotated else _relative(file.parent, columns["path"])
        if not name or not columns["label"]:
            raise DataError(f"{file}, line {line}: without {'a label' if name else 'a path'}; expected {_EXPECTED}")
        if not annotated and not is_video(name):
            raise DataError(f"{file}, line {line}: {name} is no video by its name, as x.mp4; expected {_EXPECTED}")
        yield line, name, columns["label"]


def _annotated_name(file: Path, line: int, columns: dict[str, str]) -> str:
    try:
        start, end = int(columns["time_start"]), int(columns["time_end"])
    except ValueError as error:
        raise DataError(f"{file}, line {line}: {error}; time_start and time_end are whole seconds") from error
    return f"{columns['youtube_id']}_{start:06d}_{end:06d}" if columns["youtube_id"] else ""


def _relative(root: Path, path: str) -> str:
    """A path as it stands in the list, without detours; below the root where it leads there."""
    if not path:
        return ""
    path, start = posixpath.normpath(path), os.fspath(root.absolute()).rstrip("/") + "/"
    return path.removeprefix(start)
