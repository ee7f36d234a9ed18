"""What the fields of a record may be: a check raises RecordError with the file, the field and what would be right."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LARGEST = 2**63  # numbers of evidence are smaller, and so finite


class RecordError(ValueError):
    """A file or a record is no evidence: which file, which field, and what would be right."""


def fields(values: Mapping[str, Any], wanted: Mapping[str, str], where: str, *, others: bool = False) -> None:
    """Every one of the `wanted` fields, of its kind; `others`: whether there may be more."""
    if missing := sorted(set(wanted) - set(values)):
        raise RecordError(f"{where}{missing[0]} is missing")
    if not others and (unknown := sorted(set(values) - set(wanted))):
        raise RecordError(f"{where}{unknown[0]} is not a field; valid: {', '.join(wanted)}")
    for key, kind in wanted.items():
        typed(values[key], kind, f"{where}{key}")


def part(values: Mapping[str, Any], key: str, wanted: Mapping[str, str], where: Path | str) -> None:
    """The object `key` of `values`, with at least the `wanted` fields."""
    fields(values[key], wanted, f"{where}: {key}.", others=True)


def is_object(value: object, wanted: Mapping[str, str], where: str) -> None:
    """An object with at least the `wanted` fields."""
    typed(value, "object", where)
    assert isinstance(value, dict)
    fields(value, wanted, f"{where}.", others=True)


def typed(value: object, kind: str, where: str) -> None:
    """A value of a kind, or of one of several: "text or null"."""
    if not any(is_kind(value, one) for one in kind.split(" or ")):
        raise RecordError(f"{where} is {short(value)} ({type(value).__name__}); right: {kind}")


def is_kind(value: object, kind: str) -> bool:
    """Whether `value` is text, number, integer, count (from 0), digest, sha256, object, list, true, false or null."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == "text":
        return isinstance(value, str) and bool(value)
    if kind in ("digest", "sha256"):
        digits = 12 if kind == "digest" else 64
        return isinstance(value, str) and re.fullmatch(rf"[0-9a-f]{{{digits}}}", value) is not None
    if kind == "number":
        return number
    if kind in ("integer", "count"):
        return number and isinstance(value, int) and (kind == "integer" or value >= 0)
    if kind in ("object", "list"):
        return isinstance(value, dict if kind == "object" else list)
    if kind == "null":
        return value is None
    return value is (kind == "true")


def same(field: str, value: object, right: object, where: Path | str) -> None:
    """A value that the specs inside the record give too."""
    if value != right:
        raise RecordError(f"{where}: {field} is {value!r}, the spec inside gives {right!r}; the record was edited")


def finite(value: object, where: str) -> None:
    """No number anywhere may be infinite, NaN or beyond 64 bits: `1e999` is valid JSON and infinite.

    Nor may a text hold half of a surrogate pair, which JSON can name and no page in UTF-8 can show.
    """
    if not _is_sound(value):
        _find_unsound(value, where)


def _is_sound(value: Any) -> bool:
    """Whether every number is finite and every text ASCII, in one pass; what is not is looked at again, with care."""
    rest: list[Any] = [value]
    while rest:
        one = rest.pop()
        kind = type(one)
        if kind is dict:
            rest += one.values()
            rest += one
        elif kind is list:
            rest += one
        elif kind is str:
            if not one.isascii():
                return False
        elif one is not None and not -LARGEST < one < LARGEST:
            return False
    return True


def _find_unsound(value: object, where: str) -> None:
    if isinstance(value, (int, float)) and not abs(value) < LARGEST:
        raise RecordError(f"{where}{short(value)} is no number of evidence; numbers are finite")
    if isinstance(value, str) and not value.isascii() and value.encode(errors="replace").decode() != value:
        raise RecordError(f"{where}{short(value)} is no text: half of a surrogate pair is in it")
    if isinstance(value, dict):
        for key, item in value.items():
            if not key.isascii():
                _find_unsound(key, where)
            _find_unsound(item, f"{where}{key}.")
    elif isinstance(value, list):
        for item in value:
            _find_unsound(item, where)


def short(value: object) -> str:
    """A value as a message shows it."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
