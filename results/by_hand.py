"""Printed numbers that our copy of the paper lost, entered by a reader who has them on paper: one line a row.

    <root>/published.toml:
    "table8/ssd50" = {ap = 12.34, ap50 = 56.78, source = "arXiv:2006.11538v1, page 15", by = "A. Reader"}

A line fills cells that are not readable here and no others; every page says who entered them from where. Numbers are
taken letter by letter as they are printed. A file with a fault fills nothing: `Evidence.problems` says which.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import experiments
from experiments.spec import Column, Row, Table

FILE = "published.toml"
TOLD = ("source", "by")


@dataclass(frozen=True)
class Entered:
    """A printed number by hand: `number` in the column's unit; where it is printed, and who read it there."""

    number: float
    source: str
    by: str

    @property
    def words(self) -> str:
        """How every page calls it."""
        return f"entered by hand from {self.source} by {self.by}"


def read_by_hand(root: Path) -> tuple[dict[str, Entered], tuple[str, ...]]:
    """The numbers by the target of their cells (`table8/ssd50/ap`), and what is wrong with the file; no file: none."""
    path = root / FILE
    try:
        lines = tomllib.loads(path.read_bytes().decode("utf-8"), parse_float=str)
    except FileNotFoundError:
        return {}, ()
    except (OSError, ValueError) as error:  # no UTF-8, no TOML, a row twice
        return {}, (f"{FILE}: cannot be read: {error}",)
    valid = {table.target(row): (table, row) for table, row in experiments.rows(experiments.paper())}
    faults = [f"{FILE}: {target}: {fault}" for target, line in lines.items() for fault in _faults(target, line, valid)]
    if faults:
        return {}, tuple(faults)
    return {
        f"{target}/{key}": Entered(float(number), *(" ".join(line[name].split()) for name in TOLD))
        for target, line in lines.items()
        for key, number in line.items()
        if key not in TOLD and _published(valid[target], key) is None
    }, ()


def _faults(target: str, line: Any, valid: Mapping[str, tuple[Table, Row]]) -> Iterator[str]:
    """What is wrong with a line, a sentence each."""
    if target not in valid:
        near = get_close_matches(target, valid, 1)
        yield f"the paper prints no such row{f'; did you mean {near[0]}?' if near else ''}"
    elif not isinstance(line, dict):
        yield 'give {<column> = <number>, ..., source = "...", by = "..."}'
    else:
        for name in TOLD:
            if not (isinstance(line.get(name), str) and line[name].strip()):
                yield f"{name} is missing: {'where it is printed' if name == 'source' else 'who entered it'}"
        numbers = {key: number for key, number in line.items() if key not in TOLD}
        columns = {column.key: column for column in valid[target][0].columns}
        if not numbers:
            yield f"no number in it; columns: {', '.join(columns)}"
        for key, number in numbers.items():
            if key not in columns:
                yield f"{key} is no column; valid: {', '.join(columns)}"
            elif fault := _fault(columns[key], number, _published(valid[target], key)):
                yield f"{key} is {number}; {fault}"


def _fault(column: Column, number: Any, published: Any) -> str:
    """What is wrong with a number, "" if nothing is."""
    if not (isinstance(number, str) and re.fullmatch(rf"\d+\.\d{{{column.decimals}}}", number, re.ASCII)):
        return f"as it is printed, with {column.decimals} decimals, is right"
    if column.unit == "%" and float(number) > 100:
        return "percent, 0 to 100, is right"
    if published == "-":
        return "the paper prints a dash there"
    if published is not None and number != f"{published:.{column.decimals}f}":
        return (
            f"our copy of the paper prints {published:.{column.decimals}f} there, readably: one of the two is misread"
        )
    return ""


def _published(place: tuple[Table, Row], key: str) -> Any:
    table, row = place
    return table.published(row, table.column(key))
