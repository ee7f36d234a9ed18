"""YAML in less time: the bytes that PyYAML writes by itself, whatever the text."""

from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from results.printers.yaml_text import WIDTH, as_yaml

signs = st.text(alphabet="ab1 '\":#-?,[]{}&*!|>%@`=~\n\t\x85\u2028\xa0\ufeff\u2021.x", max_size=12)
words = st.lists(st.one_of(signs, st.text(max_size=5), st.sampled_from(["true", "null", "1e3", "--", "12:30", "0x1f"])))
texts = words.map("".join)


def plainly(value: Any) -> str:
    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=WIDTH))


@given(st.lists(texts, max_size=4), st.dictionaries(texts, texts, max_size=3))
@example(["---", "--- a", "...", "....", "- a", "-", "?a", "a: b", "a #b", "yes", "12", "0o17", "2026-01-01"], {})
def test_the_bytes_are_those_of_pyyaml(items: list[str], mapping: dict[str, str]) -> None:
    content = {"items": items, "mapping": mapping, "both": [mapping, {"of": items}]}
    assert as_yaml(content) == plainly(content)


@pytest.mark.parametrize("length", [WIDTH - 20, WIDTH - 4, WIDTH - 3, WIDTH, 3 * WIDTH])
@pytest.mark.parametrize("word", ["a: ", "it's: ", "word: of ", "'"])
def test_texts_about_as_long_as_a_line_are_wrapped_as_pyyaml_does(word: str, length: int) -> None:
    content = {"Notes": [(word * length)[:length], "short: one"]}
    assert as_yaml(content) == plainly(content)
