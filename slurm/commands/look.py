"""`pyconv list` and `pyconv show`: what there is, what it is made of, and what is known about it."""

from itertools import groupby
from pathlib import Path
from typing import Any

import click
from tabulate import tabulate

from experiments.spec import ArchitectureTable, Row, Table, family, fingerprint, resolved
from results import cells
from results.evidence import Evidence
from results.paired import Paired, with_baseline
from slurm.commands import options
from slurm.selection import narrowed, protocols, state

DETAILS = ("kernels", "groups", "split")


@click.command("list")
@options.target()
@options.mini
@options.records
@options.as_json
def list_command(target: str, mini: bool, records: Path, as_json: bool) -> None:
    """Tables and rows: target, label, experiment, fingerprint, and whether it is recorded."""
    found, evidence = options.selection(target, mini), options.evidence(records)
    pages = [(table, [row for _, row in lines]) for table, lines in groupby(found, key=lambda pair: pair[0])]
    if as_json:
        options.print_json({"tables": [_page(table, rows, evidence) for table, rows in pages]})
        return
    for number, (table, rows) in enumerate(pages):
        click.echo(("\n" if number else "") + f"{table.name}: {table.caption}")
        lines = tabulate(_lines(table, rows, evidence), tablefmt="plain", disable_numparse=True)
        click.echo("\n".join(f"  {line}" for line in lines.splitlines()))


@click.command()
@options.target(required=True)
@options.mini
@options.records
@options.as_json
def show(target: str, mini: bool, records: Path, as_json: bool) -> None:
    """One row or table in full: spec, recipe, published numbers, counts, records, known deviations."""
    found, evidence = options.selection(target, mini), options.evidence(records)
    if as_json:
        options.print_json({"rows": [about(table, row, evidence) for table, row in found]})
        return
    for number, (table, row) in enumerate(found):
        click.echo(("\n" if number else "") + "\n".join(_text(about(table, row, evidence))))


def about(table: Table | ArchitectureTable, row: Row | None, evidence: Evidence) -> dict[str, Any]:
    """Everything that is known about one row (or one architecture table), as plain values."""
    own = cells.build(narrowed([(table, row)]), evidence)
    content: dict[str, Any] = {"target": table.name, "table": table.number, "caption": table.caption}
    if isinstance(table, Table) and row is not None:
        content |= {"target": table.target(row), "label": row.label, "state": state(table, row, evidence)}
        if row.experiment is not None:
            content |= {
                "experiment": row.experiment.name,
                "fingerprint": fingerprint(row.experiment),
                "family": family(row.experiment),
                "spec": resolved(row.experiment),
                "protocols": [resolved(protocol) for protocol in protocols(table, row)],
            }
    content["cells"] = [_cell(cell) for cell in own]
    if isinstance(table, Table) and row is not None:
        content["paired"] = [_compared(*found) for found in with_baseline(table, row, evidence)]
    content["records"] = list(dict.fromkeys(place for cell in own for place in cell.records))
    notes = [*(note for cell in own for note in cell.footnotes), *([row.footnote] if row else []), *table.footnotes]
    content["notes"] = list(dict.fromkeys(filter(None, notes)))
    return content


def _page(table: Table | ArchitectureTable, rows: list[Row | None], evidence: Evidence) -> dict[str, Any]:
    lines = []
    for row in rows:
        if isinstance(table, Table) and row is not None:
            experiment = row.experiment
            lines.append(
                {
                    "target": table.target(row),
                    "label": row.label,
                    "group": row.group,
                    "experiment": experiment.name if experiment else None,
                    "fingerprint": fingerprint(experiment) if experiment else None,
                    "state": state(table, row, evidence),
                }
            )
    return {"table": table.name, "number": table.number, "caption": table.caption, "rows": lines}


def _lines(table: Table | ArchitectureTable, rows: list[Row | None], evidence: Evidence) -> list[list[str]]:
    if isinstance(table, ArchitectureTable):
        return [
            [table.name, header, experiment.name, fingerprint(experiment), "architecture"]
            for header, experiment, _, _ in table.networks
        ]
    return [
        [line["target"], line["label"], line["experiment"] or "-", line["fingerprint"] or "-", line["state"]]
        for line in _page(table, rows, evidence)["rows"]
    ]


def _cell(cell: cells.Cell) -> dict[str, Any]:
    """A cell for people and programs: in the printed unit, counts also as raw integers."""
    return {
        "row": cell.row,
        "column": cell.column.key,
        "unit": cell.column.unit,
        "published": cell.published,
        "measured": cell.measured,
        "raw": cell.raw,
        "conventions": cell.conventions,
        "delta": cell.delta,
        "verdict": cell.verdict,
        "reason": cell.reason,
        "departures": list(cell.departures),
        "texts": [cell.published_text, cell.measured_text, cell.delta_text],
    }


def _compared(baseline: str, column: str, seed: int, found: Paired | str) -> dict[str, Any]:
    """The row against the baseline row, image by image: numbers in points, negative where the row errs less."""
    where = {"baseline": baseline, "column": column, "seed": seed}
    if isinstance(found, str):
        return {**where, "why_not": found}
    numbers = {name: getattr(found, name) for name in ("n", "b", "c", "difference", "se", "interval", "p", "mid_p")}
    return where | numbers


def _paired_line(found: dict[str, Any]) -> str:
    line = f"  against {found['baseline']}, image by image: {found['column']}, seed {found['seed']}: "
    if "why_not" in found:
        return line + f"not possible: {found['why_not']}"
    low, high = found["interval"]
    return line + (
        f"{found['difference']:+.2f} points (95%: {low:+.2f} to {high:+.2f}); of {found['n']:,} images "
        f"{found['b']:,} are right here only, {found['c']:,} there only; p = {found['p']:.2g} (McNemar, exact, of "
        "these two checkpoints)"
    )


def _text(content: dict[str, Any]) -> list[str]:
    title = content.get("label", content["caption"])
    lines = [f"{content['target']}: {title}" + (f"  ({content['state']})" if "state" in content else "")]
    if "spec" in content:
        spec = dict(content["spec"])
        lines += [f"  experiment   {content['experiment']}  {content['fingerprint']}", *_network(spec.pop("model"))]
        lines += ["  recipe", *_fields(spec.pop("recipe"), "    ")]
        if spec.get("init"):
            lines.append(f"  starts from  a trained {spec['init']['task']} network of the same backbone")
        lines += [line for protocol in content["protocols"] for line in ("  protocol", *_fields(protocol, "    "))]
    head = ["row", "column", "unit", "published", "measured", "delta", "verdict", "why"]
    body = [[c["row"], c["column"], c["unit"], *c["texts"], c["verdict"] or "", c["reason"]] for c in content["cells"]]
    table = tabulate(body, head, tablefmt="simple", disable_numparse=True)
    lines += ["", *(f"  {line}" for line in table.splitlines())]
    lines += [_paired_line(found) for found in content.get("paired", [])]
    lines += [f"  record: {place}" for place in content["records"]]
    return lines + [f"  note: {note}" for note in content["notes"]]


def _network(model: dict[str, Any]) -> list[str]:
    """A network in a few lines: one a stage, one a head."""
    lines = [f"  {model.pop('type')}"]
    backbone = model.pop("backbone", None)
    stages = model.pop("stages", ())
    lines += _fields(model, "    ")
    for number, stage in enumerate(stages, 1):
        pyramid = stage.pop("pyramid")
        stage.pop("type")
        shape = ", ".join(f"{key} {_inline(value)}" for key, value in stage.items())
        levels = "; ".join(f"{key} {_inline(pyramid[key])}" for key in DETAILS if pyramid.get(key) is not None)
        lines.append(f"    stage {number}: {shape}; {levels}")
    if backbone is not None:
        lines += ["  backbone", *(f"  {line}" for line in _network(backbone))]
    return lines


def _fields(value: dict[str, Any], indent: str) -> list[str]:
    lines = []
    for key, item in value.items():
        if isinstance(item, dict):
            lines += [f"{indent}{key}", *_fields(item, indent + "  ")]
        elif key != "type" and item is not None:
            lines.append(f"{indent}{key:<20} {_inline(item)}")
    return lines


def _inline(value: Any) -> str:
    return ", ".join(map(_inline, value)) if isinstance(value, list) else str(value)
