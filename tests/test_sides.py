"""One side of a comparison: the share of its records that errs on each image, and how often it is decoded."""

from dataclasses import replace

import numpy as np
import pytest
from evidence import CROP, measurement, scored

from results import sides
from results.outcomes import mean_wrong
from results.records import Record
from results.sides import Sides, difference_se

TEN = replace(CROP, samples=10)


def record(right: np.ndarray, seed: int = 0) -> Record:
    return replace(measurement(protocol=TEN), **scored(top1_err=right), seed=seed)


@pytest.mark.parametrize("number", [1, 2, 254, 255, 256, 600])
def test_the_share_is_the_mean_whatever_a_byte_can_count(number: int) -> None:
    right = np.random.default_rng(number).random((number, 10)) < 0.7
    right[:, 0], right[:, 1] = False, True
    texts = [record(one).outcomes["top1_err"] for one in right]
    assert mean_wrong(texts, 10).tolist() == ((~right).sum(0) / number).tolist()


def test_sides_are_decoded_once_and_found_by_their_places(monkeypatch: pytest.MonkeyPatch) -> None:
    right = np.random.default_rng(0).random((6, 10)) < 0.6
    records = {f"place{number}": record(one, number) for number, one in enumerate(right)}
    places, decoded = tuple(records), []
    whole = sides.mean_wrong
    monkeypatch.setattr(sides, "mean_wrong", lambda texts, n: decoded.append(n) or whole(texts, n))
    known = Sides(records)
    for left in (places[:2], places[2:4]):
        found = known.difference_se(left, places[4:], "top1_err")
        assert known.difference_se(places[4:], left, "top1_err") == pytest.approx(found)
    assert len(decoded) == 3
    assert found == difference_se([records[p] for p in places[2:4]], [records[p] for p in places[4:]], "top1_err")


def test_other_images_on_one_side_or_between_them_are_refused() -> None:
    one = record(np.arange(10) < 5)
    other = replace(one, data={**one.data, "name": "digits"})
    known = Sides({"a": one, "b": one, "c": other})
    for left, right in ((("a",), ("c",)), (("a", "c"), ("b",)), (("a",), ("b", "c"))):
        with pytest.raises(ValueError, match="use the same data"):
            known.difference_se(left, right, "top1_err")
    with pytest.raises(KeyError):
        known.difference_se(("a",), ("released",), "top1_err")
