"""What a record's JSON must hold: every field there, none unknown, of its type, finite, and true to itself.

Each check raises RecordError with the file, the field and what would be right. A fingerprint is recomputed from the
spec inside: a record that was edited no longer carries its own name.
"""

from collections.abc import Mapping
from math import isclose, sqrt
from pathlib import Path
from typing import Any

from experiments.spec import digest_resolved
from results.checks import RecordError, fields, finite, is_kind, is_object, is_pixels, part, same, short, typed
from results.classes import check_classes
from results.digests import content_of, digest, digest_with_seed, sound
from results.histories import check_entries, odd_entries
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
STAGE_FIELDS = {"stage": "text", "output": "list", "blocks": "count", "layers": "list", "shortcut": "list"}
LAYER_FIELDS: dict[str, dict[str, str]] = {
    "conv": {"kernel": "list", "out": "count", "groups": "count", "stride": "list"},
    "pyconv": {"out": "count", "stride": "list", "levels": "list"},
    "max_pool": {"kernel": "list", "stride": "list"},
    "avg_pool": {},
    "linear": {"out": "count"},
}
LEVEL_FIELDS = {"kernel": "list", "out": "count", "groups": "count"}
# Parts of a measurement that are the same in many others: each content is searched for infinite numbers once.
_OFTEN_EQUAL = ("protocol", "complexity", "data", "code", "environment")


def check_record(values: Mapping[str, Any], where: Path | str) -> None:
    """Refuse the content of a measurement's file unless every field is right and they agree with each other."""
    fields(values, MEASUREMENT_FIELDS, f"{where}: ")
    odd = odd_entries(values["history"])
    of_any_seed = content_of({**values["experiment"], "seed": 0})
    looked_at: dict[str, Any] = {"history": odd}
    if sound(of_any_seed):
        looked_at["experiment"] = {"seed": values["experiment"].get("seed")}
    if sound(content_of([values[key] for key in _OFTEN_EQUAL])):
        looked_at.update(dict.fromkeys(_OFTEN_EQUAL))
    finite({**values, **looked_at}, f"{where}: ")
    _identity(values, of_any_seed, where)
    if not values["metrics"]:
        raise RecordError(f"{where}: metrics is empty; a measurement has at least one")
    for key, metric in values["metrics"].items():
        _metric(key, metric, f"{where}: metrics.{key}")
    _outcomes(values, where)
    if values["per_class"]:
        check_classes(values["per_class"], values["metrics"], where)
    if "input" in values["observed"]:
        is_pixels(values["observed"]["input"], f"{where}: observed.input")
    part(values, "complexity", COMPLEXITY_FIELDS, where)
    _counts(values["complexity"]["flops"], f"{where}: complexity.flops")
    _checkpoint(values, where)
    part(values, "data", DATA_FIELDS, where)
    for split, content in values["data"]["splits"].items():
        is_object(content, SPLIT_FIELDS, f"{where}: data.splits.{split}")
        typed(content.get("trainable", 0), "count", f"{where}: data.splits.{split}.trainable")
        typed(content.get("skipped", {}), "object", f"{where}: data.splits.{split}.skipped")
        for word, number in content.get("skipped", {}).items():
            typed(number, "count", f"{where}: data.splits.{split}.skipped.{word}")
    part(values, "code", CODE_FIELDS, where)
    for key, seconds in values["timings"].items():
        typed(seconds, "number", f"{where}: timings.{key}")
    check_entries(odd, where)
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


def _identity(values: Mapping[str, Any], of_any_seed: bytes, where: Path | str) -> None:
    """Fingerprint, family, seed, protocol and sample count must be those of the specs stored inside.

    `of_any_seed`: `content_of` the experiment with the seed 0.
    """
    spec, protocol = values["experiment"], values["protocol"]
    same("fingerprint", values["fingerprint"], digest_with_seed(of_any_seed, spec.get("seed")), where)
    same("family", values["family"], digest(of_any_seed), where)
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


def _counts(flops: Mapping[str, Any], where: str) -> None:
    for convention, count in flops.items():
        typed(count, "count", f"{where}.{convention}")
