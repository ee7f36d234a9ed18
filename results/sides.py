"""Records of one network as one side of a comparison on the same images: the share of them that errs on each image.

With d_i the share of the records on the left that get image i wrong minus that share on the right, of n images,

    se = sqrt((mean(d^2) - mean(d)^2) / n)

is the standard error of the mean error on the left minus that on the right. With one record a side it is
`results.paired.Paired.se`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Any

from results.outcomes import mean_wrong
from results.records import Record

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, eq=False)
class Side:
    """`wrong`: the share of the records that get each image wrong, float64 of shape (n,); `first`: one of them."""

    first: Record
    wrong: "np.ndarray"


def side(records: Sequence[Record], metric: str) -> Side:
    """The side that `records` are. Raises ValueError where they do not tell the same images one by one."""
    n = min(same_images(records[0], other, metric) for other in records)
    return Side(records[0], mean_wrong((record.outcomes[metric] for record in records), n))


def difference_se(left: Sequence[Record], right: Sequence[Record], metric: str) -> float:
    """The standard error of this module, in points. Raises ValueError as `same_images` does."""
    return _difference_se(side(left, metric), side(right, metric), metric)


class Sides:
    """Sides by the places of their `records`: each is decoded once, in however many pairs and sentences it stands."""

    def __init__(self, records: Mapping[str, Record]) -> None:
        self._records = records
        self._known: dict[tuple[tuple[str, ...], str], Side] = {}

    def difference_se(self, left: tuple[str, ...], right: tuple[str, ...], metric: str) -> float:
        """`difference_se` of the records at these places. KeyError where no record of a training is."""
        return _difference_se(self._side(left, metric), self._side(right, metric), metric)

    def _side(self, places: tuple[str, ...], metric: str) -> Side:
        if (places, metric) not in self._known:
            self._known[places, metric] = side([self._records[place] for place in places], metric)
        return self._known[places, metric]


def same_images(first: Record, second: Record, metric: str) -> int:
    """How many images both records were tested on; ValueError where they are not the same or not told one by one."""
    for record in (first, second):
        if metric not in record.outcomes:
            raise ValueError(
                f"{_told(record)} does not say which images were right by {metric}; test again to record it"
            )
    if (names := (first.data["name"], second.data["name"]))[0] != names[1]:
        raise ValueError(f"{_told(first)} was tested on {names[0]}, {_told(second)} on {names[1]}: use the same data")
    ours, theirs = _tested(first), _tested(second)
    if ours["sha256"] != theirs["sha256"]:
        raise ValueError(
            f"{_told(first)} and {_told(second)} were tested on different images (manifests {ours['sha256'][:12]} and "
            f"{theirs['sha256'][:12]}): use the same split of the same copy"
        )
    n = first.metrics[metric].n
    if n != second.metrics[metric].n:
        raise ValueError(f"{_told(first)} counted {n} images, {_told(second)} {second.metrics[metric].n}: test again")
    return n


def _difference_se(left: Side, right: Side, metric: str) -> float:
    n = same_images(left.first, right.first, metric)
    return 100 * float((left.wrong - right.wrong).std()) / sqrt(n)


def _tested(record: Record) -> dict[str, Any]:
    """The manifest of the split that `record` was tested on."""
    split = record.protocol["split"]
    if split not in record.data["splits"]:
        raise ValueError(f"{_told(record)} has no manifest of {split}, on which it was tested: test again")
    manifest: dict[str, Any] = record.data["splits"][split]
    return manifest


def _told(record: Record) -> str:
    return f"{record.name} (seed {record.seed}, {record.protocol['key']})"
