"""JSON as evidence holds it: no NaN, no infinity, no key twice, nothing that JSON is not.

Two readers: `json` refuses all of that with a sentence of its own and takes its time; orjson (three times as fast, for
thousands of long histories) silently keeps the last of two values with one key. So what orjson read is taken only where
its colons prove that nothing is gone: JSON has one for each key, and those inside of texts. Written again, a content
that lost a value has fewer; an escaped colon could make up for one, so texts with such escapes are read slowly.
"""

import json
from pathlib import Path
from typing import Any

import orjson

from results.checks import RecordError


def json_object(text: str, path: Path) -> dict[str, Any]:
    """The JSON object in `text`, of the file `path`. Raises RecordError for all that is none."""
    try:
        content = orjson.loads(text)
        complete = "\\u" not in text and orjson.dumps(content).count(b":") == text.count(":")
    except (ValueError, TypeError):  # TypeError: of numbers that it does not write
        complete = False
    return content if complete and type(content) is dict else _slowly(text, path)


def _slowly(text: str, path: Path) -> dict[str, Any]:
    """As `json_object`, by the reader that says what is wrong."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) != len(pairs):
            twice = sorted({key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1})
            raise RecordError(f"{path}: {', '.join(twice)} given twice; one value each")
        return content

    def refuse(number: str) -> None:
        raise RecordError(f"{path}: {number} is no number of evidence; numbers are finite")

    try:
        content = json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    except RecordError:
        raise
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{path}: not JSON ({error}): torn or not a record") from None
    if not isinstance(content, dict):
        raise RecordError(f"{path}: holds a {type(content).__name__}, a record is a JSON object")
    return content
