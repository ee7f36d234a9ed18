"""Twins of the tables for programs: JSON, with everything that is known of every cell."""

import json
from dataclasses import asdict
from typing import Any

from results.cell import Cell
from results.claims import Sentence
from results.gather import Report
from results.sheets import Sheet
from results.words import MEANING

JSON_SCHEMA = 1


def json_pages(report: Report) -> dict[str, str]:
    """The page `tables.json`: everything."""
    everything = {
        "schema": JSON_SCHEMA,
        "summary": asdict(report.summary),
        "verdicts": MEANING,
        "tables": [_table(page) for page in report.sheets],
        "claims": [_sentence(sentence) for sentence in report.sentences],
        "problems": report.problems,
    }
    return {"tables.json": json.dumps(everything, indent=1, ensure_ascii=False, allow_nan=False) + "\n"}


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
