"""What a history may hold: one entry an epoch, in the form that `pyconv.progress` gives it.

Runs are long, and their entries alike: those with the same keys are looked at key by key, all epochs together. What is
not right at that sight is looked at once more, entry by entry, by checks that name the fault.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from results.checks import LARGEST, RecordError, fields, is_kind, is_pixels, short, typed

# Of an epoch's entry; older runs do not say what their steps did.
EPOCH_FIELDS = {
    "epoch": "count",
    "lr": "number",
    "steps": "count",
    "samples": "count",
    "batch": "list",
    "norm_batch": "count",
    "input": "list",
    "lrs": "list",
    "top1_err": "number",
    "miou": "number",
    "ap": "number",
}


def odd_entries(history: Sequence[Any]) -> list[Any]:
    """The entries that are not right at first sight: `check_entries` and `results.checks.finite` must see them."""
    odd: list[Any] = []
    alike: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for entry in history:
        if type(entry) is dict:
            alike.setdefault(tuple(entry), []).append(entry)
        else:
            odd.append(entry)
    for keys, entries in alike.items():
        columns = zip(*(entry.values() for entry in entries), strict=True)
        if not all(map(_fits, keys, columns)):
            odd += entries
    return odd


def check_entries(entries: Iterable[Any], where: Path | str) -> None:
    """What an entry says, it says in the right form. Raises RecordError naming the field."""
    for entry in entries:
        typed(entry, "object", f"{where}: history")
        _check_entry(entry, f"{where}: history.")


def _check_entry(entry: Mapping[str, Any], where: str) -> None:
    fields(entry, {key: kind for key, kind in EPOCH_FIELDS.items() if key in entry}, where, others=True)
    if "input" in entry:
        is_pixels(entry["input"], f"{where}input")
    batch = entry.get("batch", [0, 0])
    if not (len(batch) == 2 and all(is_kind(size, "count") for size in batch)):
        raise RecordError(f"{where}batch is {short(batch)}; [smallest, largest] in whole images is right")
    for run in entry.get("lrs", []):
        if not (
            isinstance(run, list)
            and len(run) == 2
            and is_kind(run[0], "number")
            and is_kind(run[1], "count")
            and run[1]
        ):
            raise RecordError(f"{where}lrs has {short(run)}; [learning rate, steps] is right")


def _fits(key: str, column: tuple[Any, ...]) -> bool:
    """Whether the values of `key` in all entries are right; False where it takes a closer look to say."""
    kind = EPOCH_FIELDS.get(key)
    if kind == "list":
        return set(map(type, column)) == {list} and (_are_runs if key == "lrs" else _are_pairs)(column)
    return key.isascii() and _are_numbers(column, whole=kind == "count")


def _are_pairs(column: Sequence[list[Any]]) -> bool:
    """Two whole numbers from 1 up each."""
    flat = list(chain.from_iterable(column))
    return set(map(len, column)) == {2} and _are_numbers(flat, whole=True) and min(flat) > 0


def _are_runs(column: Sequence[list[Any]]) -> bool:
    """Lists of [learning rate, steps]."""
    runs = list(chain.from_iterable(column))
    if not runs:
        return True
    if set(map(type, runs)) != {list} or set(map(len, runs)) != {2}:
        return False
    rates, steps = zip(*runs, strict=True)
    return _are_numbers(rates, whole=False) and _are_numbers(steps, whole=True) and min(steps) > 0


def _are_numbers(values: Sequence[Any], *, whole: bool) -> bool:
    """Finite numbers, and of whole ones none negative."""
    if not set(map(type, values)) <= ({int} if whole else {int, float}):
        return False
    low = min(values)
    return (low >= 0 if whole else low > -LARGEST) and max(values) < LARGEST
