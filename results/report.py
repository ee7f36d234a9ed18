"""Cells to pages: Markdown, LaTeX, JSON and one HTML page, the same bytes for the same records on any machine."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from experiments.spec import ArchitectureTable, Table
from results import render_html, render_latex, render_markdown
from results.cells import Cell, build, frame
from results.claims import Sentence, evaluate
from results.files import write_over
from results.records import Evidence
from results.sheets import Sheet, sheet
from results.summary import summarise
from results.words import MEANING

FORMATS = ("md", "latex", "json", "html")
JSON_SCHEMA = 1
REFRESH = "pyconv report all --format md,latex,json --output results/tables"


def render(
    tables: Iterable[Table | ArchitectureTable], evidence: Evidence, formats: Sequence[str] = FORMATS
) -> dict[str, str]:
    """The text of every page by its file name. Raises ValueError for an unknown format.

    md: `table<n>.md`, `claims.md`. latex: `table<n>.tex`. json: `tables.json`, everything. html: `index.html`.
    """
    if unknown := [name for name in formats if name not in FORMATS]:
        raise ValueError(f"format {unknown[0]!r} is none of {', '.join(FORMATS)}")
    tables = tuple(tables)
    cells = build(tables, evidence)
    data = frame(cells)
    sheets = [sheet(table, data, evidence) for table in tables]
    sentences = evaluate(tables, cells, evidence)
    problems = tuple(dict.fromkeys([*evidence.problems, *(text for cell in cells for text in cell.problems)]))
    pages: dict[str, str] = {}
    if "md" in formats:
        pages |= {f"{page.name}.md": render_markdown.render(page) for page in sheets}
        if sentences:
            pages["claims.md"] = render_markdown.render_claims(sentences)
    if "latex" in formats:
        pages |= {f"{page.name}.tex": render_latex.render(page) for page in sheets}
    summary = summarise(data)
    if "json" in formats:
        everything = {
            "schema": JSON_SCHEMA,
            "summary": asdict(summary),
            "verdicts": MEANING,
            "tables": [_table(page) for page in sheets],
            "claims": [_sentence(sentence) for sentence in sentences],
            "problems": problems,
        }
        pages["tables.json"] = json.dumps(everything, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    if "html" in formats:
        pages["index.html"] = render_html.render(summary, sheets, sentences, problems)
    return pages


def write_reports(
    tables: Iterable[Table | ArchitectureTable], evidence: Evidence, out_dir: Path, formats: Sequence[str] = FORMATS
) -> list[Path]:
    """Write the pages of `render` into `out_dir`, each at once or not at all; returns their paths."""
    paths = []
    for name, text in render(tables, evidence, formats).items():
        write_over(out_dir / name, text)
        paths.append(out_dir / name)
    return paths


def stale(
    tables: Iterable[Table | ArchitectureTable],
    evidence: Evidence,
    out_dir: Path,
    formats: Sequence[str] = ("md", "latex", "json"),
) -> list[str]:
    """How the pages in `out_dir` differ from a fresh rendering, a sentence each; `REFRESH` is the command for it."""
    fresh = render(tables, evidence, formats)
    found = {path.name: path for path in out_dir.glob("*") if path.suffix in (".md", ".tex", ".json")}
    differences = [f"{name} is missing" for name in fresh if name not in found]
    differences += [f"{name} is not rendered from anything" for name in sorted(found) if name not in fresh]
    for name, text in fresh.items():
        if name in found and (old := found[name].read_text(encoding="utf-8")) != text:
            lines = zip([*old.splitlines(), ""], [*text.splitlines(), ""], strict=False)
            number = next((n for n, (a, b) in enumerate(lines, start=1) if a != b), 1)
            differences.append(f"{name} differs from line {number} on")
    return differences


def _table(page: Sheet) -> dict[str, Any]:
    return {
        "name": page.name,
        "number": page.number,
        "mini": page.mini,
        "caption": page.caption,
        "stages": [asdict(stage) for stage in page.stages],
        "cells": [_cell(cell, page) for row in page.rows for cell in row.cells if cell is not None],
        "footnotes": list(page.footnotes),
        "remarks": list(page.remarks),
    }


def _cell(cell: Cell, page: Sheet) -> dict[str, Any]:
    return {
        "target": cell.target,
        "row": cell.row,
        "label": cell.label,
        "group": cell.group,
        "column": cell.column.key,
        "metric": cell.column.metric,
        "unit": cell.column.unit,
        "decimals": cell.column.decimals,
        "better": cell.column.better,
        "published": cell.published,
        "reference": cell.reference,
        "measured": cell.measured,
        "raw": cell.raw,
        "delta": _rounded(cell.delta),
        "band": _rounded(cell.band),
        "verdict": cell.verdict,
        "reason": cell.reason,
        "seeds": cell.seeds,
        "n": cell.n,
        "se": _rounded(cell.se),
        "conventions": cell.conventions,
        "departures": list(cell.departures),
        "footnotes": list(page.marks(cell)),
        "records": list(cell.records),
    }


def _sentence(sentence: Sentence) -> dict[str, Any]:
    return {
        "key": sentence.key,
        "sentence": sentence.text,
        "source": sentence.source,
        "note": sentence.note,
        "published": sentence.on_published,
        "measured": sentence.on_measured,
        "parts": [
            {
                "key": part.claim.key,
                "kind": part.claim.kind,
                "relation": part.relation,
                "published": {"text": part.published.text, "verdict": part.published.verdict},
                "measured": {"text": part.measured.text, "verdict": part.measured.verdict},
            }
            for part in sentence.parts
        ],
    }


def _rounded(value: float | None) -> float | None:
    """Nine decimals: the last bits of a mathematical function may differ between machines, the pages may not."""
    return None if value is None else round(value, 9)
