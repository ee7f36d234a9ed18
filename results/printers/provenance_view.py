"""Where the numbers come from, as plain texts for the page's dialog: all words are found here, the script places them.

    {"texts": [...], "link": "../records/", "cells": {anchor: cell}, "records": [record, ...]}

Facts are pairs [what, text] of numbers into `texts`, because most records share their code, data and environment. A
cell refers to its records by number, each with its result; a record stands there once, however many cells rest on it.
Of a cell with more runs than `WHOLE` the first are told whole, the others by their result and where their record is.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from results.cell import Cell
from results.compliance import Check
from results.gather import Report
from results.printers.class_view import class_facts
from results.printers.panels import NAMES, POINTS, points
from results.records import AnyRecord, CountRecord, ExternalRecord, Metric, Record
from results.words import MEANING

WHOLE = 12
FIRST = next(iter(POINTS))  # the metric whose curves are shown beside numbers that have none
Fact = tuple[str, str]


def anchor(text: str) -> str:
    """A target as an element's id and as a link to it, the same characters in both."""
    return quote(text, safe="/")


def as_json(report: Report) -> str:
    """`provenance` as JSON that no HTML parser can take for markup, in ASCII."""
    text = json.dumps(provenance(report), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def provenance(report: Report) -> dict[str, Any]:
    """Everything that the dialog can show, of the report's cells and of the records that they rest on."""
    book = _Book(report)
    cells = {anchor(cell.target): book.cell(cell) for cell in report.cells}
    return {"texts": list(book.texts), "link": quote(report.records_link), "cells": cells, "records": book.records}


class _Book:
    """Texts and records by number, each once."""

    def __init__(self, report: Report) -> None:
        self.texts: dict[str, int] = {}
        self.records: list[dict[str, Any]] = []
        evidence = self._evidence = report.evidence
        self._found: Mapping[str, AnyRecord] = dict(evidence.all())
        self._logs = report.live.log_tails if report.live else {}
        self._numbers: dict[str, int] = {}

    def cell(self, cell: Cell) -> dict[str, Any]:
        """What is known of one number."""
        title = " · ".join(part for part in (cell.label, cell.group, cell.column.group, cell.column.header) if part)
        content: dict[str, Any] = {"title": self._text(title), "facts": self._facts(cell_facts(cell))}
        if cell.verdict:
            content["verdict"] = self._text(cell.verdict)
        metric = cell.column.metric if cell.column.metric in POINTS else FIRST
        content["curve"] = [metric, self._text(NAMES[metric])]
        if isinstance(cell.published, (int, float)) and cell.column.metric in POINTS:
            content["level"] = cell.published
        content["notes"] = [self._text(text) for text in cell.footnotes]
        content["records"] = [
            [self._record(place, number < WHOLE), self._text(_result(self._found[place], cell))]
            for number, place in enumerate(cell.records)
        ]
        return {key: value for key, value in content.items() if value != []}

    def _record(self, place: str, whole: bool) -> int:
        if place in self._numbers:
            if whole and "facts" not in self.records[self._numbers[place]]:
                self.records[self._numbers[place]] |= self._whole(place)
            return self._numbers[place]
        record = self._found[place]
        told = {"place": place, "title": self._text(_title(record))}
        self.records.append(told | (self._whole(place) if whole else {}))
        self._numbers[place] = len(self.records) - 1
        return self._numbers[place]

    def _whole(self, place: str) -> dict[str, Any]:
        record = self._found[place]
        if isinstance(record, CountRecord):
            return {"facts": self._facts(count_facts(record))}
        if isinstance(record, ExternalRecord):
            return {"facts": self._facts(answer_facts(record))}
        content: dict[str, Any] = {"facts": self._facts(record_facts(record, self._evidence.check(record)))}
        if curves := {metric: found for metric, keys in POINTS.items() if (found := _curves(record, keys))}:
            content["curves"] = curves
        if log := self._logs.get(record.fingerprint):
            content["log"] = self._text(log)
        return content

    def _facts(self, facts: Iterable[Fact]) -> list[list[int]]:
        return [[self._text(what), self._text(text)] for what, text in facts if text]

    def _text(self, text: str) -> int:
        return self.texts.setdefault(text, len(self.texts))


def cell_facts(cell: Cell) -> list[Fact]:
    """The number, what it is compared with, and how the verdict came about."""
    unit = cell.column.unit
    measured = f"{cell.measured_text} {unit}" if cell.measured is not None else cell.measured_text
    if cell.values:
        measured += f" ± {_number(cell.noise.band())} (95% interval)"
    shown = "?" if cell.reference is not None else cell.published_text
    printed = {"?": "not readable in our copy of the paper", "": "nothing", "-": "a dash"}
    return [
        ("published", "" if cell.mini else printed.get(shown, f"{shown} {unit}")),
        ("by hand", cell.entered),
        ("compared with", "" if cell.reference is None else f"{_number(cell.reference)} {unit}, computed"),
        ("measured", measured),
        ("exactly", "" if cell.raw is None else f"{cell.raw:,}"),
        ("delta", cell.delta_text and f"{cell.delta_text} {unit} (measured minus published)"),
        ("band", "" if cell.band is None else f"± {_number(cell.band)} {unit}: what rounding and noise explain"),
        ("p-value", _tested(cell)),
        (
            "would be seen",
            "" if cell.detectable is None else f"a loss of {_number(cell.detectable)} {unit}, in 80% of all cases",
        ),
        ("verdict", f"{cell.verdict}: {MEANING[cell.verdict]}" if cell.verdict else ""),
        ("because", cell.reason),
        ("seeds", _seeds(cell)),
        ("samples", "" if cell.n is None else f"{cell.n:,} a test"),
        ("standard error", "" if cell.se is None else f"{_number(cell.se)} {unit}, of the evaluation"),
        *((f"FLOPs, {name}", f"{count:,}") for name, count in cell.conventions.items()),
        *(("off its protocol", text) for text in cell.departures),
    ]


def _tested(cell: Cell) -> str:
    if cell.p is None or cell.adjusted is None:
        return ""
    together = f", {_number(cell.adjusted)} after Holm's correction for {cell.tested} cells" if cell.tested > 1 else ""
    return f"{_number(cell.p)}{together}"


def _seeds(cell: Cell) -> str:
    if not cell.seeds:
        return ""
    return f"{cell.seeds}" if cell.seeds == 1 else f"{cell.seeds}: {', '.join(map(_number, cell.values[:WHOLE]))}"


def record_facts(record: Record, kept: Check) -> list[Fact]:
    """Everything that is needed to judge and repeat a measurement; `kept`: how it kept to its protocol."""
    weights, training = record.checkpoint, record.checkpoint.get("training")
    facts = [
        ("experiment", f"{record.name}, fingerprint {record.fingerprint}"),
        *((key, _metric(metric)) for key, metric in record.metrics.items()),
        *(class_facts(record.per_class, str(record.data["name"])) if record.per_class else ()),
        ("protocol", _listed({key: value for key, value in record.protocol.items() if key != "type"})),
        ("kept to it", kept.text),
        ("counted", f"{record.counted_samples:,} samples of {_count(record.expected_samples)} expected"),
        ("data copy", record.data["name"]),
        *((f"data, {split}", _split(content)) for split, content in record.data["splits"].items()),
        ("code", _code(record.code)),
        ("weights", _listed({key: value for key, value in weights.items() if key != "training"})),
        ("environment", _listed(record.environment)),
        ("job", _listed(record.job)),
        ("seconds", _listed({key: round(value, 1) for key, value in record.timings.items()})),
        ("network", _listed({"params": record.complexity["params"], **record.complexity["flops"]})),
    ]
    if isinstance(training, Mapping):
        facts += [(f"training {key}", text) for key, text in _training(training, record)]
    return facts


def count_facts(record: CountRecord) -> list[Fact]:
    """Everything that is needed to judge and repeat a count."""
    return [
        ("network", f"{record.name}, digest {record.network_digest}"),
        ("input", " x ".join(map(str, record.input_size))),
        ("params", f"{record.params:,}"),
        *((f"FLOPs, {name}", f"{count:,}") for name, count in sorted(record.flops.items())),
        ("code", _code(record.code)),
        ("environment", _listed(record.environment)),
    ]


def answer_facts(record: ExternalRecord) -> list[Fact]:
    """Who says it, and of which weights."""
    return [
        ("experiment", f"{record.name}, fingerprint {record.fingerprint}"),
        *((key, f"{_number(value)} %") for key, value in record.metrics.items()),
        ("protocol", _listed({key: value for key, value in record.protocol.items() if key != "type"})),
        ("measured by", "the data set's own test server; entered by hand"),
        ("date", record.date),
        ("source", record.source),
        ("entered by", record.entered_by or ""),
        ("weights", _listed(record.weights)),
        ("submission", _listed(record.submission)),
    ]


def _curves(record: Record, keys: Mapping[str, str]) -> dict[str, list[list[float]]]:
    """The lines of one metric by their kind, two decimals."""
    found = {kind: [[epoch, round(y, 2)] for epoch, y in points(record, key)] for kind, key in keys.items()}
    return {kind: line for kind, line in found.items() if line}


def _training(training: Mapping[str, Any], record: Record) -> list[Fact]:
    """What trained the weights, where that differs from what tested them."""
    told = [("code", record.code, _code), ("environment", record.environment, _listed), ("job", record.job, _listed)]
    return [
        (key, tell(training[key]))
        for key, tested, tell in told
        if isinstance(training.get(key), Mapping) and training[key] != tested
    ]


def _title(record: AnyRecord) -> str:
    if isinstance(record, CountRecord):
        return "The count"
    weights = "Released weights" if record.released else f"Seed {record.seed}"
    return f"{weights}, test server" if isinstance(record, ExternalRecord) else weights


def _result(record: AnyRecord, cell: Cell) -> str:
    """What the record says of the cell, in few words."""
    if isinstance(record, ExternalRecord):
        return f"{_number(record.metrics[cell.column.metric])} %"
    metric = None if isinstance(record, CountRecord) else record.metrics.get(cell.column.metric)
    return _metric(metric) if metric is not None else f"{cell.raw or 0:,} {cell.column.metric}"


def _metric(metric: Metric) -> str:
    error = "" if metric.se is None else f", standard error {_number(metric.se)}"
    return f"{_number(metric.value)} {metric.unit} (n = {metric.n:,}{error})"


def _split(content: Mapping[str, Any]) -> str:
    return f"{content['samples']:,} samples in {content['classes']:,} classes, manifest SHA-256 {content['sha256']}"


def _code(code: Mapping[str, Any]) -> str:
    if not isinstance(code.get("commit"), str):
        return "not known: not under version control there"
    if not code.get("dirty"):
        return f"commit {code['commit']}"
    return f"commit {code['commit']} with changes, difference SHA-256 {_plain(code.get('diff_sha256'))}"


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {_plain(value)}" for key, value in values.items())


def _plain(value: object) -> str:
    """Any JSON value on one line, in words."""
    if value is None:
        return "not known"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return " ".join(map(_plain, value)) or "none"
    if isinstance(value, Mapping):
        return f"({_listed(value)})"
    return f"{value:,}" if isinstance(value, int) and abs(value) >= 10_000 else str(value)


def _count(number: int | None) -> str:
    return "an unknown number" if number is None else f"{number:,}"


def _number(value: float) -> str:
    """Up to four decimals, the same on any machine."""
    return f"{round(value, 9):.4f}".rstrip("0").rstrip(".")
