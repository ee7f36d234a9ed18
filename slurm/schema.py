"""What the keys of a TOML file may hold, and the words for whoever wrote something else."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import Any


class ProfileError(ValueError):
    """A profile that does not exist or says something it cannot: names the file, the key and what would be right."""


@dataclass(frozen=True)
class Kind:
    """A kind of value: `fits` tells one, `words` say what it is."""

    words: str
    fits: Callable[[Any], bool]


def _is_count(value: Any, least: int = 1) -> bool:
    return type(value) is int and value >= least  # `true` is an int of Python's, and no number of GPUs


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and isfinite(value) and value > 0


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


COUNT = Kind("a positive integer", _is_count)
COUNT_OR_NONE = Kind("an integer from 0 up", lambda value: _is_count(value, 0))
NUMBER = Kind("a positive number", _is_number)
TEXT = Kind("text", lambda value: isinstance(value, str))
TEXTS = Kind('a list of texts, like ["one", "two"]', _is_texts)
FLAG = Kind("true or false", lambda value: type(value) is bool)
PLAIN = Kind("text or a number", lambda value: type(value) in (str, int, float))
FLAG_OR_TEXT = Kind("true, false or text", lambda value: type(value) in (str, bool))
TABLE = Kind(
    "a table of texts, numbers and true, like { reservation = 'papers' }",
    lambda value: isinstance(value, dict) and all(type(item) in (str, int, float, bool) for item in value.values()),
)


def one_of(*choices: str) -> Kind:
    """One of a few words."""
    return Kind(f"one of {', '.join(choices)}", lambda value: value in choices)


def check(path: Path, section: str, content: Mapping[str, Any], kinds: Mapping[str, Kind]) -> None:
    """Refuse keys that are not in `kinds` and values that are not of their kind. `section` "": the top of the file."""
    known(path, section, content, kinds)
    for key, value in content.items():
        if not kinds[key].fits(value):
            raise ProfileError(f"{path}: {full(section, key)} must be {kinds[key].words}, got {value!r}")


def known(path: Path, section: str, content: Iterable[str], valid: Iterable[str]) -> None:
    """Refuse a key that is not `valid`, with the nearest one and all."""
    valid = list(valid)
    for key in content:
        if key not in valid:
            near, names = nearest(key, valid), ", ".join(valid)
            raise ProfileError(f"{path}: unknown key {full(section, key)!r}{near}; valid: {names}")


def nearest(word: str, names: Iterable[str]) -> str:
    """` (did you mean 'imagenet'?)`, or nothing when no name is near."""
    close = get_close_matches(word, list(names), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def full(section: str, key: str) -> str:
    """`limits.jobs`."""
    return f"{section}.{key}" if section else key
