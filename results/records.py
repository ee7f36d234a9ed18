"""Evidence: one measurement, one JSON file, written once, with everything that is needed to judge it.

    <root>/<name>-<family>/seed-<s>/<protocol>.json     a Record: one experiment, one seed, one test protocol
    <root>/<name>-<family>/released-<8 hex>/<protocol>.json   a Record of weights that were not trained here
    <root>/counts/<name>-<digest>-<HxW>.json            a CountRecord: one network at one input size
    <root>/<name>-<family>/external-seed-<s>/<protocol>.json   an ExternalRecord: a test server's answer, by hand

A file is complete or not there: it is written under a name of its own, synced, and linked into place without
overwriting, so the first of several writers wins. Files that are torn, tampered with or in the wrong place are named in
`Evidence.problems` and never rendered as truth. The checks of a file's content are in `results.validation`.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from results.digests import digest_of
from results.external import EXTERNAL_SCHEMA, ExternalRecord, check_external
from results.files import AlreadyRecorded, write_once
from results.json_text import json_object
from results.paths import candidates, count_path, default_root, places, record_path, released_path, size_text
from results.validation import RecordError, check_count, check_record

__all__ = [
    "RECORD_SCHEMA",
    "AlreadyRecorded",
    "CountRecord",
    "ExternalRecord",
    "Metric",
    "Record",
    "RecordError",
    "candidates",
    "count_path",
    "default_root",
    "evidence_in",
    "identity",
    "places",
    "plain",
    "read",
    "record_path",
    "released_path",
    "restored",
    "size_text",
    "write",
    "write_text",
]

# Raise it when a field of Record changes its name or meaning, and say in `_migrated` what older files hold.
RECORD_SCHEMA = 3
# The same for CountRecord.
COUNT_SCHEMA = 1
# Fields of Record that older schemas did not have, and since which one they are there.
_ADDED = {"outcomes": 2, "observed": 2, "per_class": 3}


@dataclass(frozen=True)
class Metric:
    """One measured number: `value` in `unit` over `n` samples; `se`: standard error, None where it is not known."""

    value: float
    unit: str
    n: int
    se: float | None


@dataclass(frozen=True)
class Record:
    """One experiment, one seed, one protocol: what was measured, on what, by which code, where. See design.md 3.

    `outcomes`: metric -> which images were right (`results.outcomes`). `observed`: what the test saw: `input`, height
    and width of the images that entered the network. `per_class`: of segmentation, pixels of each class, of those that
    are labelled: `intersection` (right), `predicted`, `labelled`.
    """

    kind: ClassVar[str] = "measurement"
    name: str
    fingerprint: str
    family: str
    seed: int
    experiment: dict[str, Any]
    protocol: dict[str, Any]
    metrics: dict[str, Metric]
    outcomes: dict[str, str]
    per_class: dict[str, list[int]]
    observed: dict[str, Any]
    expected_samples: int | None
    counted_samples: int
    complexity: dict[str, Any]
    checkpoint: dict[str, Any]
    data: dict[str, Any]
    code: dict[str, Any]
    environment: dict[str, Any]
    job: dict[str, Any]
    timings: dict[str, Any]
    history: list[dict[str, Any]]
    deviations: list[str]
    mini: bool

    @property
    def released(self) -> bool:
        """The weights come from a file: the network is the experiment's, its training is not known to be."""
        return self.checkpoint.get("source") == "released"

    @property
    def run(self) -> str:
        """The name of the record's folder: which weights were tested."""
        return f"released-{self.checkpoint['sha256'][:8]}" if self.released else f"seed-{self.seed}"

    @property
    def complete(self) -> bool:
        """Every expected sample was counted, once."""
        return self.expected_samples is None or self.counted_samples == self.expected_samples


@dataclass(frozen=True)
class CountRecord:
    """One network at one input size: exact integers, and for Tables 1 and 9 its stages (`complexity.stage_outputs`)."""

    kind: ClassVar[str] = "count"
    name: str
    network: dict[str, Any]
    network_digest: str
    input_size: list[int]
    params: int
    flops: dict[str, int]
    stages: list[Any]
    code: dict[str, Any]
    environment: dict[str, Any]


AnyRecord = Record | CountRecord | ExternalRecord
# Kind -> the schema that this program writes.
_SCHEMAS = {Record.kind: RECORD_SCHEMA, CountRecord.kind: COUNT_SCHEMA, ExternalRecord.kind: EXTERNAL_SCHEMA}
_CHECKS = {Record.kind: check_record, CountRecord.kind: check_count, ExternalRecord.kind: check_external}


def write(record: AnyRecord, path: Path) -> Path:
    """Write `record` at `path`, once and completely or not at all.

    Raises RecordError when the record is not valid, not complete or belongs elsewhere, AlreadyRecorded when a valid
    one stands there, OSError (disk full, read-only folder) with nothing left behind. A torn or invalid file in the
    place is moved aside to a name ending in `.invalid`, which `Evidence` tells.
    """
    return write_text(encode(record), path)


def write_text(text: str, path: Path) -> Path:
    """`write` of a record that is text already, such as another machine's, to the byte."""
    evidence_in(text, path)
    write_once(path, text, lambda standing: evidence_in(standing, path))
    return path


def read(path: Path) -> AnyRecord:
    """The record in the file `path`. Raises RecordError naming file, field and what would be right."""
    return parse(text_of(path), path)


def text_of(path: Path) -> str:
    """The text of a file. Raises RecordError where there is none."""
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecordError(
            f"{path}: not UTF-8 text ({error.reason} at byte {error.start}): torn or not a record"
        ) from None
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from error


def encode(record: AnyRecord) -> str:
    """The file's text: JSON, one field a line or more, the same bytes for the same record."""
    content = {"schema": _SCHEMAS[record.kind], "kind": record.kind, **asdict(record)}
    try:
        return json.dumps(content, indent=1, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise RecordError(
            f"{record.name}: cannot be written as JSON ({error}); use finite numbers, text, lists"
        ) from None


def parse(text: str, path: Path) -> AnyRecord:
    """The record that `text` (of the file `path`) holds, checked completely, its place included."""
    content = json_object(text, path)
    kind = content.get("kind")
    if not isinstance(kind, str) or kind not in _SCHEMAS:
        raise RecordError(f"{path}: kind is {kind!r}; valid: {', '.join(_SCHEMAS)}")
    content = _migrated(content, path)
    values = {key: value for key, value in content.items() if key not in ("schema", "kind")}
    _CHECKS[kind](values, path)
    record = restored(kind, values)
    _check_place(record, path)
    return record


def plain(record: AnyRecord) -> dict[str, Any]:
    """The fields of `record` by name, as JSON has them."""
    if not isinstance(record, Record):
        return vars(record)
    return {**vars(record), "metrics": {key: vars(metric) for key, metric in record.metrics.items()}}


def restored(kind: str, values: dict[str, Any]) -> AnyRecord:
    """The record of a kind with these `plain` fields, which have been checked."""
    if kind == CountRecord.kind:
        return CountRecord(**values)
    if kind == ExternalRecord.kind:
        return ExternalRecord(**values)
    metrics = {key: Metric(**metric) for key, metric in values["metrics"].items()}
    return Record(**{**values, "metrics": metrics})


def _migrated(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """The content of a file of an older schema as today's: what its writer did not keep is empty."""
    newest = _SCHEMAS[content["kind"]]
    schema = content.get("schema")
    if schema == newest:
        return content
    if not isinstance(schema, int) or isinstance(schema, bool) or schema not in range(1, newest):
        told = " or ".join(map(str, range(1, newest + 1)))
        raise RecordError(f"{path}: schema is {schema!r}; this program reads schema {told} of a {content['kind']}")
    added = {name: since for name, since in _ADDED.items() if since > schema}
    if later := sorted(set(added) & set(content)):
        raise RecordError(f"{path}: {later[0]} is not a field of schema {schema}; the record was edited")
    protocol = content.get("protocol")
    if schema == 1 and isinstance(protocol, dict):  # what it must be else is told by the check of the fields
        content = {**content, "protocol": {"weights": "last", **protocol}}
    return {**content, **{name: {} for name in added}}


def identity(record: AnyRecord) -> tuple[str, ...]:
    """What was measured: records of one identity measure one thing, wherever they lie and whatever they found."""
    if isinstance(record, CountRecord):
        return record.network_digest, size_text(record.input_size)
    if isinstance(record, ExternalRecord):
        return record.kind, record.run, record.fingerprint, digest_of(record.protocol)
    weights = (str(record.checkpoint["sha256"]),) if record.released else ()
    return record.fingerprint, digest_of(record.protocol), *weights


def evidence_in(text: str, path: Path) -> AnyRecord:
    """The record in `text`, valid, in its place and complete, or RecordError."""
    record = parse(text, path)
    if isinstance(record, Record) and not record.complete:
        raise RecordError(
            f"{path}: counted_samples is {record.counted_samples}, not the expected {record.expected_samples}: "
            "an incomplete test is no evidence; test again"
        )
    return record


def _check_place(record: AnyRecord, path: Path) -> None:
    """The path must say what the content says; only the label in front of the identity is free."""
    if isinstance(record, CountRecord):
        ending = f"-{record.network_digest}-{size_text(record.input_size)}.json"
        right = path.parent.name == "counts" and path.name.endswith(ending)
        wanted = f"counts/<name>{ending}"
    else:
        folder, seed, name = path.parts[-3:] if len(path.parts) >= 3 else ("", "", "")
        wanted = f"<name>-{record.family}/{record.run}/{record.protocol['key']}.json"
        right = folder.endswith(f"-{record.family}") and wanted.endswith(f"/{seed}/{name}")
    if not right:
        raise RecordError(f"{path}: the content belongs in {wanted}; the file was moved, renamed or edited")
