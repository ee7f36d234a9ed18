"""Histories looked at key by key: what passes is what passes entry by entry, with the checks that name a fault."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.checks import RecordError, finite
from results.histories import check_entries, odd_entries

GOOD = {"epoch": 1, "lr": 0.1, "steps": 5, "samples": 1280, "batch": [128, 256], "norm_batch": 32}
WHOLE = GOOD | {"input": [224, 224], "lrs": [[0.1, 3], [0.01, 2]], "top1_err": 25.5, "train_loss": 1, "seconds": 0.5}
values = st.one_of(
    st.integers(-(2**64), 2**64),
    st.floats(allow_nan=False),
    st.booleans(),
    st.none(),
    st.text(max_size=2),
    st.lists(st.one_of(st.integers(-1, 300), st.floats(allow_nan=False), st.booleans()), max_size=3),
    st.lists(st.lists(st.one_of(st.integers(-1, 3), st.floats(allow_nan=False), st.text()), max_size=3), max_size=2),
)
changes = st.dictionaries(st.sampled_from([*WHOLE, "other", "\ud800"]), values, max_size=2)


@given(st.lists(changes, min_size=1, max_size=4))
def test_what_passes_at_first_sight_passes_every_check(changed: list[dict[str, object]]) -> None:
    history = [WHOLE | change for change in changed]
    odd = odd_entries(history)
    for entry in history:
        if entry not in odd:
            finite(entry, "")
            check_entries([entry], "")


def test_a_right_history_passes_at_first_sight() -> None:
    long = [WHOLE | {"epoch": number, "train_loss": 7 / number} for number in range(1, 91)]
    assert odd_entries(long) == []
    assert odd_entries([*long, {"epoch": 91}, {}, WHOLE | {"lrs": []}]) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"epoch": 1.5}, "history.epoch is 1.5"),
        ({"epoch": True}, "history.epoch is True"),
        ({"steps": -1}, "history.steps is -1"),
        ({"lr": "0.1"}, "history.lr is"),
        ({"batch": [1]}, "batch is"),
        ({"batch": [1, 2.0]}, "batch is"),
        ({"input": [0, 224]}, "in whole pixels"),
        ({"lrs": [[0.1, 0]]}, "learning rate, steps"),
        ({"lrs": [[0.1, 3], [True, 2]]}, "learning rate, steps"),
        ({"lrs": [[0.1, 3], 2]}, "learning rate, steps"),
    ],
)
def test_one_wrong_epoch_of_many_is_found_and_named(change: dict[str, object], told: str) -> None:
    history = [WHOLE] * 50 + [WHOLE | change] + [WHOLE] * 39
    with pytest.raises(RecordError, match=told):
        check_entries(odd_entries(history), "record.json")


@pytest.mark.parametrize("value", [float("inf"), 2**63, "text", None, [1], {"a": 1}, True])
def test_values_of_other_keys_are_numbers_or_looked_at_again(value: object) -> None:
    assert odd_entries([WHOLE, WHOLE | {"seconds": value}]) == [WHOLE, WHOLE | {"seconds": value}]


def test_an_entry_that_is_no_object_is_odd() -> None:
    assert odd_entries([WHOLE, 7]) == [7]
    with pytest.raises(RecordError, match="history is 7"):
        check_entries([7], "record.json")
