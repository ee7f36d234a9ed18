"""Two readers of JSON, one answer: what the fast one takes, the slow one reads the same; what one refuses, both do."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from results.checks import RecordError
from results.json_text import json_object


class Pairs(list[tuple[str, Any]]):
    """An object as its text has it: keys may be there twice."""


WHERE = Path("a.json")
keys = st.text(alphabet='ab:"\\é', max_size=2)
values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        keys,
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.lists(st.tuples(keys, inner), max_size=3).map(Pairs)),
)


def written(value: Any, ascii_only: bool) -> str:
    if isinstance(value, Pairs):
        pairs = (f"{json.dumps(key, ensure_ascii=ascii_only)} : {written(item, ascii_only)}" for key, item in value)
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(written(item, ascii_only) for item in value) + "]"
    return json.dumps(value, ensure_ascii=ascii_only)


def twice(value: Any) -> bool:
    if isinstance(value, Pairs):
        return len(dict(value)) < len(value) or any(twice(item) for _, item in value)
    return isinstance(value, list) and any(map(twice, value))


@given(st.lists(st.tuples(keys, values), max_size=4).map(Pairs), st.booleans())
@example(Pairs([("a", ":"), ("a", "::")]), False)
@example(Pairs([("a", Pairs([("b", 1)])), ("a", 1)]), True)
@example(Pairs([("a", 1), ("a", 2), ("\\u003a", 3)]), True)
def test_an_object_is_read_as_json_does_unless_a_key_is_there_twice(content: Pairs, ascii_only: bool) -> None:
    text = written(content, ascii_only)
    if twice(content):
        with pytest.raises(RecordError, match="given twice"):
            json_object(text, WHERE)
    else:
        assert repr(json_object(text, WHERE)) == repr(json.loads(text))


def test_an_escaped_colon_does_not_stand_for_a_lost_key() -> None:
    with pytest.raises(RecordError, match="a given twice"):
        json_object(r'{"a": 1, "a": 2, "b": "\u003a"}', WHERE)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "not JSON"),
        ("[1]", "holds a list, a record is a JSON object"),
        ('{"a": NaN}', "NaN is no number of evidence"),
        ('{"a": -Infinity}', "-Infinity is no number of evidence"),
        ('{"a": 1', "torn or not a record"),
        ('{"a": 1} {}', "not JSON"),
        ("{'a': 1}", "not JSON"),
        ('{"a": 1,}', "not JSON"),
        ('{"a": ' * 100_000, "torn or not a record"),
    ],
)
def test_what_is_no_record_s_json_is_told(text: str, told: str) -> None:
    with pytest.raises(RecordError, match=told) as caught:
        json_object(text, WHERE)
    assert str(caught.value).startswith("a.json: ")
