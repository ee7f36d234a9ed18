"""Where records come from: the software, the machines and the data sets behind them, each told once."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from results.evidence import Evidence
from results.records import AnyRecord, ExternalRecord, Record


def placed(evidence: Evidence) -> list[tuple[str, AnyRecord]]:
    """Every record with its place, by place."""
    return sorted(evidence.all(), key=lambda pair: pair[0])


def environments(evidence: Evidence) -> dict[str, Any]:
    """`environments` and `code`: each with the records that were measured (or counted), and trained, in or by it."""
    records = placed(evidence)
    return {
        "environments": [
            {"environment": value, **uses} for value, uses in _grouped(_uses(records, "environment")).values()
        ],
        "code": [{"code": value, **uses} for value, uses in _grouped(_uses(records, "code")).values()],
    }


def data_manifests(evidence: Evidence) -> dict[str, Any]:
    """`data`: the name, split, sample and class counts and checksum of each copy of a data set, and who used it."""
    pairs = (
        ({"name": record.data["name"], "split": split, **content}, "records", place)
        for place, record in placed(evidence)
        if isinstance(record, Record)
        for split, content in sorted(record.data["splits"].items())
    )
    return {"data": [{**value, **uses} for value, uses in _grouped(pairs).values()]}


def canonical(value: Any) -> str:
    """One text for equal JSON values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _uses(records: Iterable[tuple[str, AnyRecord]], key: str) -> Iterator[tuple[Any, str, str]]:
    """What was entered by hand has neither code nor machine."""
    for place, record in records:
        if isinstance(record, ExternalRecord):
            continue
        yield getattr(record, key), "measured", place
        training = record.checkpoint.get("training") if isinstance(record, Record) else None
        if isinstance(training, dict) and isinstance(training.get(key), dict):
            yield training[key], "trained", place


def _grouped(triples: Iterable[tuple[Any, str, str]]) -> dict[str, tuple[Any, dict[str, list[str]]]]:
    """Equal values together, by their canonical text: the value, and role -> places."""
    groups: dict[str, tuple[Any, dict[str, list[str]]]] = {}
    for value, role, place in triples:
        groups.setdefault(canonical(value), (value, {}))[1].setdefault(role, []).append(place)
    return dict(sorted(groups.items()))
