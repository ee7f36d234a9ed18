"""Specs known again by their content: never two different ones for one."""

import copy
import json
from typing import Any

import pytest
from evidence import measurement
from hypothesis import example, given
from hypothesis import strategies as st

from experiments.spec import digest_resolved
from results.digests import content_of, digest_of, digest_with_seed, sound

plain = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
)


@given(plain, plain)
def test_equal_contents_are_equal_json(one: Any, other: Any) -> None:
    assert (content_of(one) == content_of(other)) == (json.dumps(one) == json.dumps(other))


@given(plain)
def test_the_digest_is_that_of_the_spec(value: Any) -> None:
    assert digest_of(value) == digest_resolved(value)
    assert content_of(json.loads(json.dumps(value))) == content_of(value)


@pytest.mark.parametrize("others", [(1, 1.0, True), (0, 0.0, -0.0, False), ("1", 1)])
def test_equal_numbers_of_other_kinds_are_other_contents(others: tuple[Any, ...]) -> None:
    assert len({content_of({"a": value}) for value in others}) == len(others)


def test_a_spec_that_is_changed_in_place_is_another_one() -> None:
    spec = copy.deepcopy(measurement().experiment)
    before = digest_of(spec)
    spec["recipe"]["epochs"] += 1
    assert digest_of(spec) == digest_resolved(spec) != before


def test_infinite_numbers_and_halves_of_pairs_are_not_sound() -> None:
    assert sound(content_of({"a": [1, 2.5, "text", None, True]}))
    for value in (float("inf"), 2**63, "\ud800"):
        assert not sound(content_of({"a": [value]}))
        assert not sound(content_of({"a": [value]}))


@given(st.dictionaries(st.sampled_from(["seed", "a", "z"]), plain, max_size=3), st.one_of(st.integers(), plain))
@example({"a": {"seed": 0}, "z": 1}, 7)
@example({"a": 0, "z": [0, 1]}, -1)
def test_specs_that_differ_in_the_seed_have_digests_of_their_own(spec: dict[str, Any], seed: Any) -> None:
    of_any_seed = content_of({**spec, "seed": 0})
    assert digest_with_seed(of_any_seed, seed) == digest_resolved({**spec, "seed": seed})
