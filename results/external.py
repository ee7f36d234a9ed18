"""A score that a data set's own test server gave: entered by hand, once, with its day and its source.

    <root>/<name>-<family>/external-seed-<s>/<protocol>.json           of weights that were trained here
    <root>/<name>-<family>/external-released-<8 hex>/<protocol>.json   of weights from a file
    score = (miou + pixel_acc) / 2, all three in percent

The rule of the score is the MIT Scene Parsing Benchmark's (its development kit, CSAILVision/sceneparsing, "Evaluation
routines"). Nothing here can measure it again, so a file says who can be asked: the source, and the weights' checksum.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, ClassVar

from experiments.spec import Experiment, Protocol, digest_resolved, family, fingerprint, resolved
from results.checks import RecordError, fields, finite, same, short, typed

EXTERNAL_SCHEMA = 1
FIELDS: dict[str, str] = {
    "name": "text",
    "fingerprint": "digest",
    "family": "digest",
    "seed": "count",
    "experiment": "object",
    "protocol": "object",
    "metrics": "object",
    "date": "text",
    "source": "text",
    "entered_by": "text or null",
    "weights": "object",
    "submission": "object",
}
METRICS = {"miou": "number", "pixel_acc": "number", "score": "number"}
WEIGHTS = {"source": "text", "sha256": "sha256 or null", "file": "text or null"}
SUBMISSION = {"sha256": "sha256 or null", "images": "count or null"}
SOURCES = ("trained", "released", "not told")
# The server rounds all three to two digits: half a digit of the mean, half a digit of the score.
SCORE_ROUNDING = 0.01
NOT_TOLD: dict[str, Any] = {"source": "not told", "sha256": None, "file": None}
NO_SUBMISSION: dict[str, Any] = {"sha256": None, "images": None}


@dataclass(frozen=True)
class ExternalRecord:
    """What a server answered on `date` (ISO) for one run under `protocol`: `metrics` in percent.

    `source`: where the answer can be looked up. `weights`: what was submitted: trained here, released (from a file) or
    not told, with its SHA-256. `submission`: SHA-256 of the file that was sent, and how many images were in it.
    """

    kind: ClassVar[str] = "external"
    name: str
    fingerprint: str
    family: str
    seed: int
    experiment: dict[str, Any]
    protocol: dict[str, Any]
    metrics: dict[str, float]
    date: str
    source: str
    entered_by: str | None
    weights: dict[str, Any]
    submission: dict[str, Any]

    @property
    def released(self) -> bool:
        """The submitted weights come from a file: no training of this program is known to have made them."""
        return bool(self.weights["source"] == "released")

    @property
    def run(self) -> str:
        """The name of the record's folder: which run was submitted."""
        return f"external-released-{self.weights['sha256'][:8]}" if self.released else f"external-seed-{self.seed}"


def entry(
    experiment: Experiment,
    protocol: Protocol,
    metrics: Mapping[str, float],
    day: str,
    source: str,
    *,
    entered_by: str | None = None,
    weights: Mapping[str, Any] = NOT_TOLD,
    submission: Mapping[str, Any] = NO_SUBMISSION,
) -> ExternalRecord:
    """The record of one answer; `metrics` without `score` get the mean. Not checked: `results.records.write` does."""
    mean = round((metrics["miou"] + metrics["pixel_acc"]) / 2, 9)
    return ExternalRecord(
        name=experiment.name,
        fingerprint=fingerprint(experiment),
        family=family(experiment),
        seed=experiment.seed,
        experiment=resolved(experiment),
        protocol=resolved(protocol),
        metrics={"score": mean, **metrics},
        date=day,
        source=source,
        entered_by=entered_by,
        weights=dict(weights),
        submission=dict(submission),
    )


def check_external(values: Mapping[str, Any], where: Path | str) -> None:
    """Refuse the content of a file unless every field is right and they agree with each other. Raises RecordError."""
    fields(values, FIELDS, f"{where}: ")
    finite(values, f"{where}: ")
    spec = values["experiment"]
    same("fingerprint", values["fingerprint"], digest_resolved(spec), where)
    same("family", values["family"], digest_resolved({**spec, "seed": 0}), where)
    same("seed", values["seed"], spec.get("seed"), where)
    typed(values["protocol"].get("key"), "text", f"{where}: protocol.key")
    _check_metrics(values["metrics"], where)
    _check_date(values["date"], where)
    _check_weights(values["weights"], where)
    fields(values["submission"], SUBMISSION, f"{where}: submission.")


def _check_metrics(metrics: Mapping[str, Any], where: Path | str) -> None:
    fields(metrics, METRICS, f"{where}: metrics.")
    for key, value in metrics.items():
        if not 0 <= value <= 100:
            raise RecordError(f"{where}: metrics.{key} is {value}; percent, 0 to 100, is right")
    mean = (metrics["miou"] + metrics["pixel_acc"]) / 2
    if abs(metrics["score"] - mean) > SCORE_ROUNDING + 1e-9:
        raise RecordError(
            f"{where}: metrics.score is {metrics['score']}; the mean of miou and pixel_acc is {mean:.4f}: "
            "one of the three is not the server's"
        )


def _check_date(text: str, where: Path | str) -> None:
    try:
        right = date.fromisoformat(text).isoformat() == text
    except ValueError:
        right = False
    if not right:
        raise RecordError(f"{where}: date is {short(text)}; a day like 2026-11-30 is right")


def _check_weights(weights: Mapping[str, Any], where: Path | str) -> None:
    fields(weights, WEIGHTS, f"{where}: weights.")
    if weights["source"] not in SOURCES:
        raise RecordError(f"{where}: weights.source is {short(weights['source'])}; valid: {', '.join(SOURCES)}")
    if (weights["sha256"] is None) != (weights["source"] == "not told"):
        raise RecordError(f"{where}: weights.sha256 is {short(weights['sha256'])} of weights {weights['source']}")
