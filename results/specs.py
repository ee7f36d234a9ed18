"""The specs of tables as plain JSON, and how two programs' specs differ, row by row.

A row is known by its target (`table2/final`) and is what its fingerprint says; experiments and protocols stand once
each, under their digests.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from experiments.columns import FLOPS, PARAMS
from experiments.spec import SCHEMA, ArchitectureTable, Experiment, Row, Table, digest, family, fingerprint, resolved
from results.inventory import canonical


def specs(tables: Iterable[Table | ArchitectureTable]) -> dict[str, Any]:
    """`tables` with their rows, the resolved `experiments` by fingerprint and `protocols` by digest."""
    content: dict[str, Any] = {"spec_schema": SCHEMA, "tables": [], "experiments": {}, "protocols": {}}
    for table in tables:
        if isinstance(table, ArchitectureTable):
            columns = [resolved(column) for column in (PARAMS, FLOPS)]
            rows = [
                {**_run(f"{table.name}/{header}", header, experiment, content), "published": {"params": p, "flops": f}}
                for header, experiment, p, f in table.networks
            ]
        else:
            columns = [resolved(column) for column in table.columns]
            rows = [_row(table, row, content) for row in table.rows]
        content["tables"].append(
            {"name": table.name, "number": table.number, "caption": table.caption, "columns": columns, "rows": rows}
        )
    return content


def check_specs(content: Any) -> None:
    """Raises ValueError unless `content` has the shape that `specs` gives."""
    tables = content.get("tables") if isinstance(content, dict) else None
    rows = [row for table in _list(tables) for row in _list(table.get("rows") if isinstance(table, dict) else None)]
    for row in rows:
        if not (isinstance(row, dict) and isinstance(row.get("target"), str)):
            raise ValueError("a row of the specs has no target")
        if not all(isinstance(row.get(key, {}), dict) for key in ("published", "protocols", "reference")):
            raise ValueError(f"{row['target']!a}: published, protocols and reference are objects, column by column")


def differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    """What this program (`ours`) takes for another thing than `theirs` does, a sentence each; both as `specs` gives."""
    mine, others = _by_target(ours), _by_target(theirs)
    told: list[str] = []
    for target, row in others.items():
        if target not in mine:
            told.append(f"{target!a}: this program has no such row, and shows none of its records")
        else:
            told += _changes(target, row, mine[target])
    return told


def _run(target: str, label: str, experiment: Experiment | None, content: dict[str, Any]) -> dict[str, Any]:
    if experiment is None:
        return {"target": target, "label": label, "fingerprint": None}
    content["experiments"][fingerprint(experiment)] = resolved(experiment)
    return {
        "target": target,
        "label": label,
        "fingerprint": fingerprint(experiment),
        "family": family(experiment),
        "network": digest(experiment.model),
    }


def _row(table: Table, row: Row, content: dict[str, Any]) -> dict[str, Any]:
    keys = [column.key for column in table.columns]
    protocols = {column.key: protocol for column in table.columns if (protocol := table.protocol(row, column))}
    content["protocols"] |= {digest(protocol): resolved(protocol) for protocol in protocols.values()}
    return {
        **_run(table.target(row), row.label, row.experiment, content),
        "published": dict(zip(keys, row.published, strict=True)),
        "reference": dict(row.reference),
        "protocols": {key: digest(protocol) for key, protocol in protocols.items()},
        "footnote": row.footnote,
    }


def _changes(target: str, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    told = []
    if theirs.get("fingerprint") != ours["fingerprint"]:
        was, now = canonical(theirs.get("fingerprint")), canonical(ours["fingerprint"])
        told.append(f"{target}: its experiment is {now} in this program, was {was}: records of that are not shown")
    for key, what in (("protocols", "test protocol"), ("published", "published number"), ("reference", "reference")):
        before, now = theirs.get(key, {}), ours.get(key, {})
        for column in sorted({*before, *now}):
            was, new = canonical(before.get(column)), canonical(now.get(column))
            if was != new:
                told.append(f"{target}/{column}: its {what} is {new} in this program, was {was}")
    return told


def _by_target(content: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {row["target"]: row for table in content["tables"] for row in table["rows"]}


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"the specs have a {type(value).__name__} where a list is right")
    return value
