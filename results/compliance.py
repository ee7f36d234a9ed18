"""The protocol check: what a run was seen to do, held against the recipe and the protocol inside its own record.

Compared is only what the training loop and the test observed (`pyconv.progress.Seen`, `Record.observed`): the epochs,
the learning rate of every step, the batches, what shared a batch norm, the size of the images, the epoch whose weights
were tested, the images that were counted. What leaves no trace of its own (CutMix, precision, flips, weight decay) is
not judged.

Three numbers prove the batches of an epoch: of s steps with n images together, none above B and one of n - (s - 1) B,
all others are B. After its warm-up a schedule is monotone, so a stretch of one learning rate is right when its two ends
are.
"""

import marshal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil, isclose
from operator import itemgetter
from typing import Any, Literal

from experiments import restore
from pyconv.recipe import CocoAugment, Recipe
from results.digests import content_of
from results.records import Record

Status = Literal["kept", "departs", "not checkable", "not trained here"]

# A key of the history's entries, and what it is.
SEEN = {
    "steps": "optimiser steps",
    "samples": "training images",
    "batch": "smallest and largest batch",
    "norm_batch": "images in one batch norm",
    "input": "training input",
}
_TOLD = ("epoch", *SEEN, "lrs")  # what an entry must say to be judged
# What makes an epoch the best one: 1 the lowest value, -1 the highest.
SELECTED_BY = {"top1_err": 1, "miou": -1, "ap": -1}
_RECIPES, _LOGS = 1024, 32  # are remembered: of some kilobytes, and of megabytes where every step has its own rate
SAME = 1e-12  # relative: the learning rate is a product of floats


@dataclass(frozen=True)
class Departure:
    """`what` was `observed` where `expected` is right; `where`: "epochs 3-7", "test"."""

    what: str
    where: str
    expected: float | str
    observed: float | str

    @property
    def text(self) -> str:
        """One line."""
        return f"{self.what} {_told(self.observed)} instead of {_told(self.expected)} ({self.where})"


@dataclass(frozen=True)
class Check:
    """`told`: the run's own sentences about what it left unkept. `silent`: what the record does not say."""

    departures: tuple[Departure, ...] = ()
    told: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    trained_here: bool = True

    @property
    def status(self) -> Status:
        """A departure outweighs what is not known; what is not known is no pass."""
        if self.departures or self.told:
            return "departs"
        if self.silent:
            return "not checkable"
        return "kept" if self.trained_here else "not trained here"

    @property
    def against(self) -> tuple[str, ...]:
        """Everything that puts the number off its protocol, a line each."""
        return (*(departure.text for departure in self.departures), *self.told)

    @property
    def text(self) -> str:
        """The status with its reasons, on one line."""
        if self.against:
            return f"departs: {'; '.join(self.against)}"
        training = "" if self.trained_here else "not trained here: nothing to check"
        silent = f"not checkable: {'; '.join(self.silent)}" if self.silent else ""
        return "; ".join(part for part in (training, silent) if part) or "kept"


def check(record: Record) -> Check:
    """Where the training and the test of `record` left their recipe and protocol; the record alone is asked."""
    found = [*(() if record.released else _training(record)), *_test(record)]
    return Check(
        departures=tuple(one for one in found if isinstance(one, Departure)),
        told=tuple(record.deviations),
        silent=tuple(one for one in found if isinstance(one, str)),
        trained_here=not record.released,
    )


def _training(record: Record) -> Iterator[Departure | str]:
    """What the log says against the recipe; a text is what it does not say."""
    content = content_of(record.experiment.get("recipe"))
    try:
        recipe = _recipe(content)
    except ValueError as error:
        yield f"the recipe is of another version of the specs ({error})"
        return
    if not all("epoch" in entry for entry in record.history) or not record.history:
        yield "the log does not say which epochs were trained"
        return
    epochs = [entry["epoch"] for entry in record.history]
    if epochs != list(range(1, recipe.epochs + 1)):
        yield Departure("epochs", "log", _ranges(list(range(1, recipe.epochs + 1))), _ranges(epochs))
    yield from _weights(record, recipe)
    split = record.data["splits"].get(recipe.split)
    if split is None:
        yield f"the record has no manifest of the training split {recipe.split}"
        return
    try:
        yield from _log(content, split.get("trainable", split["samples"]), record.history)
    except ValueError as error:
        yield str(error)


@lru_cache(_RECIPES)
def _recipe(content: bytes) -> Recipe:
    """The recipe with this `results.digests.content_of`. Raises ValueError as `restore.recipe` does."""
    return restore.recipe(marshal.loads(content))


def _log(recipe: bytes, samples: int, history: list[dict[str, Any]]) -> Iterable[Departure | str]:
    """What the steps of every epoch were. Logs that say the same of them, as those of seeds do, are looked at once."""
    try:
        told = list(map(itemgetter(*_TOLD), history))
    except KeyError:  # an older log, which does not say everything
        return tuple(_epochs(_recipe(recipe), samples, history))
    return _known_log(recipe, samples, content_of(told))


@lru_cache(_LOGS)
def _known_log(recipe: bytes, samples: int, told: bytes) -> tuple[Departure | str, ...]:
    history = [dict(zip(_TOLD, values, strict=True)) for values in marshal.loads(told)]
    return tuple(_epochs(_recipe(recipe), samples, history))


def _weights(record: Record, recipe: Recipe) -> Iterator[Departure | str]:
    """Of which epoch the weights are that were tested; the first one of equally good ones is the best."""
    expected = recipe.epochs
    if record.protocol.get("weights") == "best":
        best = _best(record.history)
        if best is None:
            yield "the log does not say which epoch was the best"
            return
        expected = best
    if record.checkpoint["epochs"] != expected:
        yield Departure("weights of epoch", "test", expected, record.checkpoint["epochs"])


def _best(history: list[dict[str, Any]]) -> int | None:
    """The first epoch of those with the best validation."""
    for metric, sign in SELECTED_BY.items():
        if validated := [entry for entry in history if metric in entry]:
            return int(min(validated, key=lambda entry: sign * entry[metric])["epoch"])
    return None


def _epochs(recipe: Recipe, samples: int, history: list[dict[str, Any]]) -> Iterator[Departure | str]:
    """The steps of every epoch; what departs in the same way in several is told once."""
    wanted = _wanted(recipe, samples)
    spoken = [entry for entry in history if set(_TOLD) <= set(entry)]
    if unspoken := [entry["epoch"] for entry in history if not set(_TOLD) <= set(entry)]:
        yield f"the log does not say what the steps of {_epoch_words(unspoken)} did"
    if spoken and recipe.batch_norm_batch == 0:
        yield "how many images share a synchronised batch norm leaves no trace on one rank"
    found: dict[str, list[tuple[int, Departure]]] = {}
    for entry in spoken:
        for departure in _epoch(recipe, wanted, entry):
            found.setdefault(departure.what, []).append((entry["epoch"], departure))
    for departures in found.values():
        first = departures[0][1]
        varies = any(departure != first for _, departure in departures)
        where = _epoch_words([epoch for epoch, _ in departures]) + (", values of the first" if varies else "")
        yield replace(first, where=where)


def _epoch(recipe: Recipe, wanted: dict[str, Any], entry: dict[str, Any]) -> Iterator[Departure]:
    for key, what in SEEN.items():
        if key in wanted and entry[key] != wanted[key]:
            yield Departure(what, "", _plain(key, wanted[key]), _plain(key, entry[key]))
    traced = sum(count for _, count in entry["lrs"])
    if traced != entry["steps"]:
        yield Departure("steps with a learning rate", "", entry["steps"], traced)
    elif entry["steps"] == wanted["steps"] and 1 <= entry["epoch"] <= recipe.epochs:
        yield from _learning_rate(recipe, entry, wanted["steps"])


def _learning_rate(recipe: Recipe, entry: dict[str, Any], steps: int) -> Iterator[Departure]:
    """The first step of the epoch whose learning rate is not the recipe's."""
    start = at = (entry["epoch"] - 1) * steps
    warm = ceil(recipe.warmup_epochs * steps)
    for lr, count in entry["lrs"]:
        stretch = range(at, at + count)
        asked = {*range(at, min(at + count, warm)), min(max(at, warm), stretch[-1]), stretch[-1]}
        if not all(isclose(lr, recipe.lr_at(step, steps), rel_tol=SAME) for step in asked):
            wrong = next(step for step in stretch if not isclose(lr, recipe.lr_at(step, steps), rel_tol=SAME))
            since = f" from step {wrong - start + 1} on" if wrong > start else ""
            yield Departure(f"learning rate{since}", "", recipe.lr_at(wrong, steps), lr)
            return
        at += count


def _wanted(recipe: Recipe, samples: int) -> dict[str, Any]:
    """What an epoch over `samples` images is by the recipe; the batch norm's images only where one rank sees them."""
    whole, rest = divmod(samples, recipe.batch_size)
    sizes = [recipe.batch_size] * min(whole, 1) + [rest] * (rest > 0 and not recipe.drop_last)
    if not sizes:
        raise ValueError(f"{samples} training images make no batch of {recipe.batch_size}")
    augment = recipe.augment
    side = augment.size if isinstance(augment, CocoAugment) else augment.crop
    wanted: dict[str, Any] = {
        "steps": whole + (rest > 0 and not recipe.drop_last),
        "samples": whole * recipe.batch_size if recipe.drop_last else samples,
        "batch": [min(sizes), max(sizes)],
        "input": [side, side],
    }
    if recipe.batch_norm_batch:
        wanted["norm_batch"] = max(_largest_norm_batch(size, recipe.batch_norm_batch) for size in sizes)
    return wanted


def _largest_norm_batch(size: int, norm_batch: int) -> int:
    """Of a batch of `size` images; a last one that would be alone joins the images before it."""
    joins = size > norm_batch and size % norm_batch == 1 % norm_batch
    return norm_batch + 1 if joins else min(size, norm_batch)


def _test(record: Record) -> Iterator[Departure | str]:
    """What the test saw against the protocol."""
    protocol = record.protocol
    expected = protocol.get("samples") or record.expected_samples
    if expected is not None and record.counted_samples != expected:
        yield Departure("images counted", "test", expected, record.counted_samples)
    split = record.data["splits"].get(protocol.get("split"))
    if split is None:
        yield f"the record has no manifest of the split {protocol.get('split')} that was tested"
    elif split["samples"] != (expected or record.counted_samples):
        yield Departure("images of the split", "test", expected or record.counted_samples, split["samples"])
    side = protocol.get("crop")
    if "input" not in record.observed:
        yield "the record does not say what size entered the network in the test"
    elif record.observed["input"] != [side, side]:
        yield Departure("input", "test", f"{side}x{side}", _plain("input", record.observed["input"]))


def _plain(key: str, value: Any) -> float | str:
    """A number, or several as text."""
    return value if not isinstance(value, list) else ("x" if key == "input" else " and ").join(map(str, value))


def _told(value: float | str) -> str:
    return f"{value:.13g}" if isinstance(value, float) else str(value)


def _epoch_words(epochs: list[int]) -> str:
    return f"epoch{'s' if len(epochs) > 1 else ''} {_ranges(epochs)}"


def _ranges(numbers: list[int]) -> str:
    """In the given order: 1-3, 5."""
    if numbers and numbers == list(range(numbers[0], numbers[0] + len(numbers))):  # as nearly all are
        return f"{numbers[0]}-{numbers[-1]}" if len(numbers) > 1 else f"{numbers[0]}"
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], number]
        else:
            runs.append([number, number])
    return ", ".join(f"{first}-{last}" if last > first else f"{first}" for first, last in runs)
