"""What a record's JSON must hold: every field there, none unknown, of its type, finite, and true to itself.

Each check raises RecordError with the file, the field and what would be right. A fingerprint is recomputed from the
spec inside: a record that was edited no longer carries its own name.
"""

import re
from collections.abc import Mapping
from math import isclose, sqrt
from pathlib import Path
from typing import Any

from experiments.spec import digest_resolved
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


class RecordError(ValueError):
    """A file or a record is no evidence: which file, which field, and what would be right."""


def check_record(values: Mapping[str, Any], where: Path | str) -> None:
    """Refuse the content of a measurement's file unless every field is right and they agree with each other."""
    _fields(values, MEASUREMENT_FIELDS, f"{where}: ")
    _finite(values, f"{where}: ")
    _identity(values, where)
    if not values["metrics"]:
        raise RecordError(f"{where}: metrics is empty; a measurement has at least one")
    for key, metric in values["metrics"].items():
        _metric(key, metric, f"{where}: metrics.{key}")
    _outcomes(values, where)
    if "input" in values["observed"]:
        _pixels(values["observed"]["input"], f"{where}: observed.input")
    _part(values, "complexity", COMPLEXITY_FIELDS, where)
    _counts(values["complexity"]["flops"], f"{where}: complexity.flops")
    _checkpoint(values, where)
    _part(values, "data", DATA_FIELDS, where)
    for split, content in values["data"]["splits"].items():
        _object(content, SPLIT_FIELDS, f"{where}: data.splits.{split}")
    _part(values, "code", CODE_FIELDS, where)
    for key, seconds in values["timings"].items():
        _typed(seconds, "number", f"{where}: timings.{key}")
    for epoch in values["history"]:
        _typed(epoch, "object", f"{where}: history")
        _epoch(epoch, f"{where}: history.")
    for sentence in values["deviations"]:
        _typed(sentence, "text", f"{where}: deviations")


def check_count(values: Mapping[str, Any], where: Path | str) -> None:
    """Refuse the content of a count's file unless every field is right and they agree with each other."""
    _fields(values, COUNT_FIELDS, f"{where}: ")
    _finite(values, f"{where}: ")
    _same("network_digest", values["network_digest"], digest_resolved(values["network"]), where)
    if not 3 <= len(values["input_size"]) <= 4:
        raise RecordError(f"{where}: input_size is {values['input_size']}; (C, H, W) or (C, T, H, W) is right")
    for size in values["input_size"]:
        _typed(size, "count", f"{where}: input_size")
    _counts(values["flops"], f"{where}: flops")
    for row in values["stages"]:
        _stage(row, f"{where}: stages")
    _part(values, "code", CODE_FIELDS, where)


def _stage(row: object, where: str) -> None:
    """A row of `complexity.stage_outputs`."""
    _object(row, STAGE_FIELDS, where)
    assert isinstance(row, dict)
    _sizes(row, ("output",), where)
    for layer in [*row["layers"], *row["shortcut"]]:
        _object(layer, {"op": "text", "output": "list"}, f"{where}.layers")
        if layer["op"] not in LAYER_FIELDS:
            raise RecordError(f"{where}.layers.op is {_short(layer['op'])}; valid: {', '.join(LAYER_FIELDS)}")
        _object(layer, LAYER_FIELDS[layer["op"]], f"{where}.layers")
        _sizes(layer, ("output", "kernel", "stride"), f"{where}.layers")
        for level in layer.get("levels", []):
            _object(level, LEVEL_FIELDS, f"{where}.layers.levels")
            _sizes(level, ("kernel",), f"{where}.layers.levels")


def _sizes(values: Mapping[str, Any], keys: tuple[str, ...], where: str) -> None:
    for key in keys:
        if key in values and not (values[key] and all(_is(size, "count") for size in values[key])):
            raise RecordError(f"{where}.{key} is {_short(values[key])}; a list of whole numbers is right")


def _object(value: object, fields: Mapping[str, str], where: str) -> None:
    """An object with at least `fields`."""
    _typed(value, "object", where)
    assert isinstance(value, dict)
    _fields(value, fields, f"{where}.", others=True)


def _identity(values: Mapping[str, Any], where: Path | str) -> None:
    """Fingerprint, family, seed, protocol and sample count must be those of the specs stored inside."""
    spec, protocol = values["experiment"], values["protocol"]
    _same("fingerprint", values["fingerprint"], digest_resolved(spec), where)
    _same("family", values["family"], digest_resolved({**spec, "seed": 0}), where)
    _same("seed", values["seed"], spec.get("seed"), where)
    _typed(protocol.get("key"), "text", f"{where}: protocol.key")
    if protocol.get("samples") is not None:
        _same("expected_samples", values["expected_samples"], protocol["samples"], where)


def _checkpoint(values: Mapping[str, Any], where: Path | str) -> None:
    """Records from before there were others do not say that their weights were trained."""
    source = values["checkpoint"].get("source", "trained")
    if source not in ("trained", "released"):
        raise RecordError(f"{where}: checkpoint.source is {_short(source)}; valid: trained, released")
    _part(values, "checkpoint", RELEASED_FIELDS if source == "released" else CHECKPOINT_FIELDS, where)


def _same(field: str, value: object, right: object, where: Path | str) -> None:
    if value != right:
        raise RecordError(f"{where}: {field} is {value!r}, the spec inside gives {right!r}; the record was edited")


def _metric(key: str, metric: object, where: str) -> None:
    _typed(metric, "object", where)
    assert isinstance(metric, dict)
    _fields(metric, METRIC_FIELDS, f"{where}.")
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
        _typed(text, "text", here)
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
    if not (isinstance(size, list) and len(size) == 2 and all(_is(side, "count") and side > 0 for side in size)):
        raise RecordError(f"{where} is {_short(size)}; [height, width] in whole pixels is right")


def _epoch(entry: Mapping[str, Any], where: str) -> None:
    """What an entry of the history says, it says in the form that `pyconv.progress` gives it."""
    _fields(entry, {key: kind for key, kind in EPOCH_FIELDS.items() if key in entry}, where, others=True)
    if "input" in entry:
        _pixels(entry["input"], f"{where}input")
    batch = entry.get("batch", [0, 0])
    if not (len(batch) == 2 and all(_is(size, "count") for size in batch)):
        raise RecordError(f"{where}batch is {_short(batch)}; [smallest, largest] in whole images is right")
    for run in entry.get("lrs", []):
        if not (isinstance(run, list) and len(run) == 2 and _is(run[0], "number") and _is(run[1], "count") and run[1]):
            raise RecordError(f"{where}lrs has {_short(run)}; [learning rate, steps] is right")


def _counts(flops: Mapping[str, Any], where: str) -> None:
    for convention, count in flops.items():
        _typed(count, "count", f"{where}.{convention}")


def _part(values: Mapping[str, Any], key: str, fields: Mapping[str, str], where: Path | str) -> None:
    _fields(values[key], fields, f"{where}: {key}.", others=True)


def _fields(values: Mapping[str, Any], fields: Mapping[str, str], where: str, *, others: bool = False) -> None:
    """Every one of `fields` of its type; `others`: whether there may be more."""
    if missing := sorted(set(fields) - set(values)):
        raise RecordError(f"{where}{missing[0]} is missing")
    if not others and (unknown := sorted(set(values) - set(fields))):
        raise RecordError(f"{where}{unknown[0]} is not a field; valid: {', '.join(fields)}")
    for key, kind in fields.items():
        _typed(values[key], kind, f"{where}{key}")


def _typed(value: object, kind: str, where: str) -> None:
    if not any(_is(value, one) for one in kind.split(" or ")):
        raise RecordError(f"{where} is {_short(value)} ({type(value).__name__}); right: {kind}")


def _is(value: object, kind: str) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == "text":
        return isinstance(value, str) and bool(value)
    if kind in ("digest", "sha256"):
        digits = 12 if kind == "digest" else 64
        return isinstance(value, str) and re.fullmatch(rf"[0-9a-f]{{{digits}}}", value) is not None
    if kind == "number":
        return number
    if kind in ("integer", "count"):
        return number and isinstance(value, int) and (kind == "integer" or value >= 0)
    if kind in ("object", "list"):
        return isinstance(value, dict if kind == "object" else list)
    if kind == "null":
        return value is None
    return value is (kind == "true")


def _finite(value: object, where: str) -> None:
    """No number anywhere may be infinite, NaN or beyond 64 bits: `1e999` is valid JSON and infinite.

    Nor may a text hold half of a surrogate pair, which JSON can name and no page in UTF-8 can show.
    """
    if isinstance(value, (int, float)) and not abs(value) < 2**63:
        raise RecordError(f"{where}{_short(value)} is no number of evidence; numbers are finite")
    if isinstance(value, str) and not value.isascii() and value.encode(errors="replace").decode() != value:
        raise RecordError(f"{where}{_short(value)} is no text: half of a surrogate pair is in it")
    if isinstance(value, dict):
        for key, item in value.items():
            if not key.isascii():
                _finite(key, where)
            _finite(item, f"{where}{key}.")
    elif isinstance(value, list):
        for item in value:
            _finite(item, where)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
