"""Holm's step-down correction (Scandinavian Journal of Statistics 1979): many tests, one family, one error rate.

With the p-values sorted, p_(1) <= ... <= p_(m), the adjusted value of the i-th is

    max over j <= i of min(1, (m - j + 1) p_(j))

Calling different what has an adjusted value of at most a makes one or more false calls in the family with a probability
of at most a, whatever is true of the others and however the tests depend on each other.
"""

from collections.abc import Sequence


def adjusted(p: Sequence[float]) -> list[float]:
    """The adjusted p-values in the order of `p`. Raises ValueError for what is no probability."""
    if wrong := [value for value in p if not 0 <= value <= 1]:
        raise ValueError(f"p-value {wrong[0]!r}: numbers from 0 to 1 are right")
    values = [0.0] * len(p)
    floor = 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=lambda index: p[index])):
        floor = max(floor, min(1.0, (len(p) - rank) * p[index]))
        values[index] = floor
    return values
