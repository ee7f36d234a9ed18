"""What the fields of a record may be: a check raises RecordError with the file, the field and what would be right."""

import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

LARGEST = 2**63  # numbers of evidence are smaller, and so finite


class RecordError(ValueError):
    """A file or a record is no evidence: which file, which field, and what would be right."""


def fields(values: Mapping[str, Any], wanted: Mapping[str, str], where: str, *, others: bool = False) -> None:
    """Every one of the `wanted` fields, of its kind; `others`: whether there may be more."""
    if (others or len(values) == len(wanted)) and _all_right(values, wanted):
        return
    if missing := sorted(set(wanted) - set(values)):
        raise RecordError(f"{where}{missing[0]} is missing")
    if not others and (unknown := sorted(set(values) - set(wanted))):
        raise RecordError(f"{where}{unknown[0]} is not a field; valid: {', '.join(wanted)}")
    for key, kind in wanted.items():
        typed(values[key], kind, f"{where}{key}")


def _all_right(values: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    """What nearly all records need; a loop, because it runs many times for each."""
    for key, kind in wanted.items():  # noqa: SIM110
        if key not in values or not _test(kind)(values[key]):
            return False
    return True


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
    if not is_kind(value, kind):
        raise RecordError(f"{where} is {short(value)} ({type(value).__name__}); right: {kind}")


def is_kind(value: object, kind: str) -> bool:
    """Whether `value` is of the kind, a key of `_KINDS`, or of one of several: "text or null"."""
    return _test(kind)(value)


@cache
def _test(kind: str) -> Callable[[Any], bool]:
    tests = [_KINDS[one] for one in kind.split(" or ")]
    return tests[0] if len(tests) == 1 else lambda value: any(test(value) for test in tests)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_DIGEST, _SHA256 = (re.compile(rf"[0-9a-f]{{{digits}}}") for digits in (12, 64))
_KINDS: dict[str, Callable[[Any], bool]] = {
    "text": lambda value: isinstance(value, str) and bool(value),
    "digest": lambda value: isinstance(value, str) and _DIGEST.fullmatch(value) is not None,
    "sha256": lambda value: isinstance(value, str) and _SHA256.fullmatch(value) is not None,
    "number": _is_number,
    "integer": _is_integer,
    "count": lambda value: _is_integer(value) and value >= 0,
    "object": lambda value: isinstance(value, dict),
    "list": lambda value: isinstance(value, list),
    "null": lambda value: value is None,
    "true": lambda value: value is True,
    "false": lambda value: value is False,
}


def same(field: str, value: object, right: object, where: Path | str) -> None:
    """A value that the specs inside the record give too."""
    if value != right:
        raise RecordError(f"{where}: {field} is {value!r}, the spec inside gives {right!r}; the record was edited")


def is_pixels(size: object, where: str) -> None:
    """The height and width of an image."""
    if not (isinstance(size, list) and len(size) == 2 and all(is_kind(side, "count") and side > 0 for side in size)):
        raise RecordError(f"{where} is {short(size)}; [height, width] in whole pixels is right")


def finite(value: object, where: str) -> None:
    """No number anywhere may be infinite, NaN or beyond 64 bits: `1e999` is valid JSON and infinite.

    Nor may a text hold half of a surrogate pair, which JSON can name and no page in UTF-8 can show.
    """
    if not is_sound(value):
        _find_unsound(value, where)


def is_sound(value: Any) -> bool:
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
