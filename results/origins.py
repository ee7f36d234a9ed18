"""Where a record comes from, as a few facts in words: code, libraries, machine, data. To say how two records differ."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from results.records import AnyRecord, ExternalRecord, Record

LONGEST = 60  # characters of a fact


def facts(record: AnyRecord) -> dict[str, str]:
    """Fact -> what it is in `record`; the host, which tells nothing about the numbers, is not among them."""
    if isinstance(record, ExternalRecord):
        return {"test server": f"{record.date}, {printable(record.source)}"}
    found = {"commit": commit(record.code), **_flat(record.environment)}
    if not isinstance(record, Record):
        return found
    training = record.checkpoint.get("training")
    if isinstance(training, Mapping):  # tested elsewhere than trained, perhaps
        found["trained at commit"] = commit(training.get("code"))
        environment = training.get("environment")
        found |= {f"trained with {name}": text for name, text in _flat(environment).items()}
    found |= {f"job {name}": printable(record.job[name]) for name in ("executor", "ranks") if name in record.job}
    name = printable(record.data["name"])
    splits = record.data["splits"]
    return found | {f"{name}/{printable(split)}": splits[split]["sha256"][:12] for split in sorted(splits)}


def commit(code: Any) -> str:
    """`1f2e3d4c5b6a`, with what the checkout had beyond it, or that it is not known."""
    if not isinstance(code, Mapping) or code.get("commit") is None:
        return "unknown"
    changed = f" with changes {printable(code.get('diff_sha256'))[:8]}" if code.get("dirty") else ""
    return f"{printable(code['commit'])[:12]}{changed}"


def gathered(records: Iterable[AnyRecord]) -> dict[str, tuple[str, ...]]:
    """Fact -> every value that it has in `records`, sorted."""
    found: dict[str, set[str]] = {}
    for record in records:
        for name, text in facts(record).items():
            found.setdefault(name, set()).add(text)
    return {name: tuple(sorted(values)) for name, values in sorted(found.items())}


def contradictions(standing: Record, offered: Record) -> tuple[str, ...]:
    """How two records of one measurement differ: the numbers first, then where they come from, then what is left."""
    ours, theirs = ({key: metric.value for key, metric in one.metrics.items()} for one in (standing, offered))
    told = [
        f"{printable(key)} {_number(ours.get(key))} here, {_number(theirs.get(key))} there"
        for key in sorted({*ours, *theirs})
        if ours.get(key) != theirs.get(key)
    ] or ["the same numbers"]
    origins = [
        {**facts(one), "weights": one.checkpoint["sha256"][:12], "host": host(one)} for one in (standing, offered)
    ]
    told += [
        f"{name} {origins[0].get(name, 'not told')} here, {origins[1].get(name, 'not told')} there"
        for name in ("weights", "host", *sorted({*origins[0], *origins[1]} - {"weights", "host"}))
        if origins[0].get(name) != origins[1].get(name)
    ]
    left = [
        name
        for name in ("outcomes", "per_class", "complexity", "history", "timings")
        if _field(standing, name) != _field(offered, name)
    ]
    return (*told, f"also other {', '.join(left)}") if left else tuple(told)


def other_answer(standing: ExternalRecord, offered: ExternalRecord) -> str:
    """How two entries of one test server's answer differ, field by field."""
    names = [name for name in asdict(standing) if getattr(standing, name) != getattr(offered, name)]
    told = [f"{n} {printable(getattr(standing, n))} here, {printable(getattr(offered, n))} there" for n in names]
    return "; ".join(told)


def host(record: Record) -> str:
    """The machine that tested, as its job told it."""
    return printable(record.job.get("hostname", "not told"))


def one_line(text: str) -> str:
    """A text from outside as one line for a terminal: nothing in it moves a cursor, and all of it can be printed."""
    return "".join(character if character.isprintable() else "?" for character in text)


def printable(value: Any) -> str:
    """A value from a file as one short line."""
    line = one_line(value if isinstance(value, str) else json.dumps(value, sort_keys=True))
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}..."


def _field(record: Record, name: str) -> str:
    return json.dumps(getattr(record, name), sort_keys=True)


def _flat(environment: Any) -> dict[str, str]:
    values = environment if isinstance(environment, Mapping) else {}
    return {printable(name): printable(values[name]) for name in sorted(values)}


def _number(value: float | None) -> str:
    return "none" if value is None else f"{round(value, 9):g}"
