"""What a record's JSON must hold: every field there, none unknown, of its type, finite, and true to itself.

Each check raises RecordError with the file, the field and what would be right. A fingerprint is recomputed from the
spec inside: a record that was edited no longer carries its own name.
"""

from collections.abc import Mapping
from math import isclose, sqrt
from pathlib import Path
from typing import Any

from experiments.spec import digest_resolved
from results.checks import LARGEST, RecordError, fields, finite, is_kind, is_object, part, same, short, typed
from results.classes import check_classes
from results.outcomes import unpack

# Field -> what it must be; a tuple of words means one of them.
MEASUREMENT_FIELDS: dict[str, str] = {
    "name": "text",
    "fingerprint": "digest",
    "family": "digest",
    "seed": "integer",
    "experiment": "object",
    "protocol": "object",
    "metrics": "object",
    "outcomes": "object",
    "per_class": "object",
    "observed": "object",
    "expected_samples": "count or null",
    "counted_samples": "count",
    "complexity": "object",
    "checkpoint": "object",
    "data": "object",
    "code": "object",
    "environment": "object",
    "job": "object",
    "timings": "object",
    "history": "list",
    "deviations": "list",
    "mini": "true or false",
}
COUNT_FIELDS: dict[str, str] = {
    "name": "text",
    "network": "object",
    "network_digest": "digest",
    "input_size": "list",
    "params": "count",
    "flops": "object",
    "stages": "list",
    "code": "object",
    "environment": "object",
}
ERROR_RATES = ("top1_err", "top5_err")
METRIC_FIELDS = {"value": "number", "unit": "text", "n": "count", "se": "number or null"}
COMPLEXITY_FIELDS = {"params": "count", "flops": "object"}
CHECKPOINT_FIELDS = {"sha256": "sha256", "epochs": "count"}
# Of weights that were not trained here: where they came from; how long they were trained is not known.
RELEASED_FIELDS = {"sha256": "sha256", "file": "text", "layout": "text", "epochs": "null"}
DATA_FIELDS = {"name": "text", "splits": "object"}
SPLIT_FIELDS = {"samples": "count", "classes": "count", "sha256": "sha256"}
CODE_FIELDS = {"commit": "text or null", "dirty": "true or false or null", "diff_sha256": "sha256 or null"}
# Of an epoch's entry in the history; older runs do not say what their steps did.
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
}
STAGE_FIELDS = {"stage": "text", "output": "list", "blocks": "count", "layers": "list", "shortcut": "list"}
LAYER_FIELDS: dict[str, dict[str, str]] = {
    "conv": {"kernel": "list", "out": "count", "groups": "count", "stride": "list"},
    "pyconv": {"out": "count", "stride": "list", "levels": "list"},
    "max_pool": {"kernel": "list", "stride": "list"},
    "avg_pool": {},
    "linear": {"out": "count"},
}
LEVEL_FIELDS = {"kernel": "list", "out": "count", "groups": "count"}


def check_record(values: Mapping[str, Any], where: Path | str) -> None:
    """Refuse the content of a measurement's file unless every field is right and they agree with each other."""
    fields(values, MEASUREMENT_FIELDS, f"{where}: ")
    odd = [entry for entry in values["history"] if not _is_plain(entry)]
    finite({**values, "history": odd}, f"{where}: ")
    _identity(values, where)
    if not values["metrics"]:
        raise RecordError(f"{where}: metrics is empty; a measurement has at least one")
    for key, metric in values["metrics"].items():
        _metric(key, metric, f"{where}: metrics.{key}")
    _outcomes(values, where)
    if values["per_class"]:
        check_classes(values["per_class"], values["metrics"], where)
    if "input" in values["observed"]:
        _pixels(values["observed"]["input"], f"{where}: observed.input")
    part(values, "complexity", COMPLEXITY_FIELDS, where)
    _counts(values["complexity"]["flops"], f"{where}: complexity.flops")
    _checkpoint(values, where)
    part(values, "data", DATA_FIELDS, where)
    for split, content in values["data"]["splits"].items():
        is_object(content, SPLIT_FIELDS, f"{where}: data.splits.{split}")
    part(values, "code", CODE_FIELDS, where)
    for key, seconds in values["timings"].items():
        typed(seconds, "number", f"{where}: timings.{key}")
    for epoch in odd:
        typed(epoch, "object", f"{where}: history")
        _epoch(epoch, f"{where}: history.")
    for sentence in values["deviations"]:
        typed(sentence, "text", f"{where}: deviations")


def check_count(values: Mapping[str, Any], where: Path | str) -> None:
    """Refuse the content of a count's file unless every field is right and they agree with each other."""
    fields(values, COUNT_FIELDS, f"{where}: ")
    finite(values, f"{where}: ")
    same("network_digest", values["network_digest"], digest_resolved(values["network"]), where)
    if not 3 <= len(values["input_size"]) <= 4:
        raise RecordError(f"{where}: input_size is {values['input_size']}; (C, H, W) or (C, T, H, W) is right")
    for size in values["input_size"]:
        typed(size, "count", f"{where}: input_size")
    _counts(values["flops"], f"{where}: flops")
    for row in values["stages"]:
        _stage(row, f"{where}: stages")
    part(values, "code", CODE_FIELDS, where)


def _stage(row: object, where: str) -> None:
    """A row of `complexity.stage_outputs`."""
    is_object(row, STAGE_FIELDS, where)
    assert isinstance(row, dict)
    _sizes(row, ("output",), where)
    for layer in [*row["layers"], *row["shortcut"]]:
        is_object(layer, {"op": "text", "output": "list"}, f"{where}.layers")
        if layer["op"] not in LAYER_FIELDS:
            raise RecordError(f"{where}.layers.op is {short(layer['op'])}; valid: {', '.join(LAYER_FIELDS)}")
        is_object(layer, LAYER_FIELDS[layer["op"]], f"{where}.layers")
        _sizes(layer, ("output", "kernel", "stride"), f"{where}.layers")
        for level in layer.get("levels", []):
            is_object(level, LEVEL_FIELDS, f"{where}.layers.levels")
            _sizes(level, ("kernel",), f"{where}.layers.levels")


def _sizes(values: Mapping[str, Any], keys: tuple[str, ...], where: str) -> None:
    for key in keys:
        if key in values and not (values[key] and all(is_kind(size, "count") for size in values[key])):
            raise RecordError(f"{where}.{key} is {short(values[key])}; a list of whole numbers is right")


def _identity(values: Mapping[str, Any], where: Path | str) -> None:
    """Fingerprint, family, seed, protocol and sample count must be those of the specs stored inside."""
    spec, protocol = values["experiment"], values["protocol"]
    same("fingerprint", values["fingerprint"], digest_resolved(spec), where)
    same("family", values["family"], digest_resolved({**spec, "seed": 0}), where)
    same("seed", values["seed"], spec.get("seed"), where)
    typed(protocol.get("key"), "text", f"{where}: protocol.key")
    if protocol.get("samples") is not None:
        same("expected_samples", values["expected_samples"], protocol["samples"], where)


def _checkpoint(values: Mapping[str, Any], where: Path | str) -> None:
    """Records from before there were others do not say that their weights were trained."""
    source = values["checkpoint"].get("source", "trained")
    if source not in ("trained", "released"):
        raise RecordError(f"{where}: checkpoint.source is {short(source)}; valid: trained, released")
    part(values, "checkpoint", RELEASED_FIELDS if source == "released" else CHECKPOINT_FIELDS, where)


def _metric(key: str, metric: object, where: str) -> None:
    typed(metric, "object", where)
    assert isinstance(metric, dict)
    fields(metric, METRIC_FIELDS, f"{where}.")
    if metric["unit"] == "%" and not 0 <= metric["value"] <= 100:
        raise RecordError(f"{where}.value is {metric['value']} %; 0 to 100 is right")
    if metric["se"] is not None and metric["se"] < 0:
        raise RecordError(f"{where}.se is {metric['se']}; a standard error is not negative")
    if key in ERROR_RATES and metric["se"] is not None and metric["n"] > 0:
        binomial = sqrt(metric["value"] * (100 - metric["value"]) / metric["n"])
        if not isclose(metric["se"], binomial, rel_tol=1e-9, abs_tol=1e-9):
            raise RecordError(f"{where}.se is {metric['se']}; the value and n give {binomial!r} (binomial)")


def _outcomes(values: Mapping[str, Any], where: Path | str) -> None:
    """The bits of every image must give the metric, and what is first of all is among the first five."""
    right: dict[str, int] = {}
    for key, text in values["outcomes"].items():
        here = f"{where}: outcomes.{key}"
        if key not in values["metrics"]:
            raise RecordError(f"{here} belongs to no metric; valid: {', '.join(values['metrics'])}")
        typed(text, "text", here)
        value, n = values["metrics"][key]["value"], values["metrics"][key]["n"]
        try:
            right[key] = unpack(text, n)
        except ValueError as error:
            raise RecordError(f"{here} {error}") from None
        wrong = n - right[key].bit_count()
        if not isclose(value, 100 * wrong / n, rel_tol=1e-12, abs_tol=1e-12):
            raise RecordError(f"{here} has {wrong} wrong of {n}, which is {100 * wrong / n} %; the metric is {value}")
    if {"top1_err", "top5_err"} <= right.keys() and right["top1_err"] & ~right["top5_err"]:
        raise RecordError(f"{where}: outcomes.top5_err is wrong where outcomes.top1_err is right; the first is in five")


def _pixels(size: object, where: str) -> None:
    if not (isinstance(size, list) and len(size) == 2 and all(is_kind(side, "count") and side > 0 for side in size)):
        raise RecordError(f"{where} is {short(size)}; [height, width] in whole pixels is right")


def _epoch(entry: Mapping[str, Any], where: str) -> None:
    """What an entry of the history says, it says in the form that `pyconv.progress` gives it."""
    fields(entry, {key: kind for key, kind in EPOCH_FIELDS.items() if key in entry}, where, others=True)
    if "input" in entry:
        _pixels(entry["input"], f"{where}input")
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


def _is_plain(entry: Any) -> bool:
    """Whether an entry is right at first sight; checks that name a fault are ten times slower, and runs are long."""
    if type(entry) is not dict:
        return False
    for key, value in entry.items():
        kind, found = EPOCH_FIELDS.get(key), type(value)
        if kind is None and not key.isascii():
            return False
        if found is int or found is float:
            if not -LARGEST < value < LARGEST or (kind == "count" and (found is float or value < 0)) or kind == "list":
                return False
        elif found is not list or kind != "list":
            return False
    pairs = [entry[key] for key in ("input", "batch") if key in entry]
    whole = all(len(pair) == 2 and all(type(size) is int and 0 < size < LARGEST for size in pair) for pair in pairs)
    return whole and all(
        type(run) is list
        and len(run) == 2
        and type(run[0]) in (int, float)
        and -LARGEST < run[0] < LARGEST
        and type(run[1]) is int
        and 0 < run[1] < LARGEST
        for run in entry.get("lrs", [])
    )


def _counts(flops: Mapping[str, Any], where: str) -> None:
    for convention, count in flops.items():
        typed(count, "count", f"{where}.{convention}")
