"""Two sets of records side by side: Markdown, JSON and CSV of one comparison."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

from results.compare import FAMILY_ERROR, MEANING, Compared, Comparison, Page, Side
from results.printers.markdown import escape

JSON_SCHEMA = 1


def markdown(comparison: Comparison) -> str:
    """A table of what differs in origin, then a table a table, its reasons as footnotes, then what the words mean."""
    parts = ["# Left and right", _origins(comparison)]
    parts += [_page(page) for page in comparison.pages]
    parts.append("\n".join(f"* {word}: {MEANING[word]}" for word in comparison.words))
    parts.append(
        "Differences are right - left. p: two-sided, of equal runs; in brackets after Holm's correction for the table, "
        f"with which at most {FAMILY_ERROR:.0%} of truly equal tables have a cell that is called better."
    )
    parts.append("\n".join(f"* {side}, not evidence: {escape(text)}" for side, text in comparison.problems))
    return "\n\n".join(part for part in parts if part) + "\n"


def json_text(comparison: Comparison) -> str:
    """Everything, for programs."""
    everything = {
        "schema": JSON_SCHEMA,
        "family_error": FAMILY_ERROR,
        "words": comparison.words,
        "missing": comparison.missing,
        "origins": [{"fact": name, "left": left, "right": right} for name, left, right in comparison.origins],
        "tables": [
            {"name": page.name, "caption": page.caption, "tests": page.tests, "cells": list(map(_cell, page.cells))}
            for page in comparison.pages
        ],
        "problems": [{"side": side, "told": text} for side, text in comparison.problems],
    }
    return json.dumps(everything, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def csv_text(comparison: Comparison) -> str:
    """A line a cell; lists are joined by spaces."""
    lines = [_line(_cell(cell)) for page in comparison.pages for cell in page.cells]
    file = io.StringIO()
    writer = csv.DictWriter(file, fieldnames=list(lines[0]) if lines else ["target"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return file.getvalue()


FORMATS: dict[str, Callable[[Comparison], str]] = {"md": markdown, "json": json_text, "csv": csv_text}


def _origins(comparison: Comparison) -> str:
    if not comparison.origins:
        return (
            "The records of both sides come from the same code, libraries, machines and data."
            if comparison.common
            else ""
        )
    rows = [
        [escape(name), *(escape(", ".join(values) or "not told") for values in sides)]
        for name, *sides in comparison.origins
    ]
    return _table(["Where they come from", "left", "right"], rows)


def _page(page: Page) -> str:
    reasons = list(dict.fromkeys(cell.reason for cell in page.cells if cell.reason))
    headers = ["", "", "left", "right", "difference", "se", "p", ""]
    table = _table(headers, [_row(cell, reasons) for cell in page.cells], numbers_from=2)
    notes = "\n".join(f"{number}. {escape(reason)}" for number, reason in enumerate(reasons, start=1))
    return "\n\n".join(part for part in (f"## {escape(page.caption)}", table, notes) if part)


def _row(cell: Compared, reasons: Sequence[str]) -> list[str]:
    ours, digits = cell.left.cell, max(2, cell.left.cell.column.decimals)
    label = escape(" ".join(part for part in (ours.label, ours.group) if part))
    mark = f"<sup>{reasons.index(cell.reason) + 1}</sup>" if cell.reason else ""
    apart = "" if cell.difference is None else f"{cell.difference:+.{digits}f}"
    apart = apart.lstrip("+-") if apart and float(apart) == 0 else apart
    chance = "" if cell.p is None or cell.adjusted is None else f"{_level(cell.p)} ({_level(cell.adjusted)})"
    error = "" if cell.se is None else f"{cell.se:.{digits}f}"
    sides = [escape(_value(cell.left)), escape(_value(cell.right))]
    return [label, escape(ours.column.key), *sides, apart, error, chance, f"{cell.word}{mark}"]


def _value(side: Side) -> str:
    """`22.30 (3 seeds, n = 50,000)`."""
    cell = side.cell
    if cell.measured is None:
        return "-"
    seeds = f"{len(side.seeds)} seed{'s' if len(side.seeds) > 1 else ''}" if side.seeds else "weights from a file"
    told = f"n = {cell.n:,}" if cell.n is not None else "n not told"
    return cell.measured_text if cell.raw is not None else f"{cell.measured_text} ({seeds}, {told})"


def _level(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _cell(cell: Compared) -> dict[str, Any]:
    column = cell.left.cell.column
    return {
        "target": cell.left.cell.target,
        "metric": column.metric,
        "unit": column.unit,
        "better": column.better,
        "word": cell.word,
        "reason": cell.reason,
        "left": _side(cell.left),
        "right": _side(cell.right),
        "difference": _rounded(cell.difference),
        "se": _rounded(cell.se),
        "p": _rounded(cell.p),
        "adjusted": _rounded(cell.adjusted),
    }


def _side(side: Side) -> dict[str, Any]:
    cell = side.cell
    return {
        "measured": _rounded(cell.measured),
        "raw": cell.raw,
        "seeds": list(side.seeds),
        "n": cell.n,
        "records": list(cell.records),
    }


def _line(cell: dict[str, Any]) -> dict[str, Any]:
    """The cell flat: `left_measured` for the measured number on the left."""
    flat: dict[str, Any] = {}
    for key, value in cell.items():
        inner = {f"{key}_{name}": part for name, part in value.items()} if isinstance(value, dict) else {key: value}
        flat |= {name: " ".join(map(str, part)) if isinstance(part, list) else part for name, part in inner.items()}
    return flat


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]], numbers_from: int = 9) -> str:
    """An aligned pipe table of texts that are escaped already; columns from `numbers_from` on are flush right."""
    from tabulate import tabulate  # only where a table is shown

    align = ["left" if number < numbers_from or number == 7 else "right" for number in range(len(headers))]
    return str(tabulate(rows, headers, tablefmt="pipe", colalign=align, disable_numparse=True))


def _rounded(value: float | None) -> float | None:
    """Nine decimals: the last bits of a mathematical function may differ between machines, the pages may not."""
    return None if value is None else round(value, 9)
