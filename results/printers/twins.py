"""Twins of the tables for programs: JSON with everything, CSV and Parquet with a line a cell."""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from results.cell import Cell
from results.claims import Sentence
from results.gather import Report
from results.junit import printable
from results.pairs import Pair
from results.sheets import Sheet
from results.words import MEANING

if TYPE_CHECKING:
    import pandas as pd

JSON_SCHEMA = 1
# What a spreadsheet takes for a formula, or cuts off to find one behind it, at the beginning of a text.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001 (full-width signs)
DTYPES: dict[type, str] = {str: "string", bool: "boolean", int: "Int64", float: "Float64"}

EXACT = ("measured", "reference")  # printed with every digit that they have
TEXTS = ("departures", "footnotes", "records")

# What a line says of the cell's place in the page and of its column, before the cell's own fields.
PLACE: dict[str, Callable[[Cell], Any]] = {
    "target": lambda cell: cell.target,
    "table": lambda cell: cell.table,
    "row": lambda cell: cell.row,
    "label": lambda cell: cell.label,
    "group": lambda cell: cell.group,
    "column": lambda cell: cell.column.key,
    "metric": lambda cell: cell.column.metric,
    "unit": lambda cell: cell.column.unit,
    "better": lambda cell: cell.column.better,
    "decimals": lambda cell: cell.column.decimals,
    "published": lambda cell: cell.published,
}


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


def csv_pages(report: Report) -> dict[str, str]:
    """The page `cells.csv` by RFC 4180: a header, CRLF, every digit of a number, an empty field for none.

    A text that a spreadsheet would run as a formula gets an apostrophe in front, the spreadsheets' own sign for text.
    """
    data = frame(report.cells)
    for name in data.columns[data.dtypes == "string"]:
        data[name] = data[name].map(_harmless, na_action="ignore")
    return {"cells.csv": data.to_csv(index=False, lineterminator="\r\n")}


def parquet_pages(report: Report) -> dict[str, bytes]:
    """The page `cells.parquet`: the same columns with their types; the same bytes from the same pandas and pyarrow.

    Uncompressed: a compressor's next version may choose other bytes. ModuleNotFoundError without pyarrow.
    """
    file = io.BytesIO()
    try:
        frame(report.cells).to_parquet(file, engine="pyarrow", index=False, compression=None)
    except ImportError as error:  # optional: no table of the paper needs it
        raise ModuleNotFoundError("parquet needs pyarrow: pip install 'pyconv[parquet]'", name="pyarrow") from error
    return {"cells.parquet": file.getvalue()}


def frame(cells: Sequence[Cell]) -> "pd.DataFrame":
    """A line a cell: `PLACE`, then every scalar field of `Cell`, then its texts and records, joined by semicolons.

    `published` is the printed number, missing where a dash is printed or our copy is not readable; `printed` is what
    the page shows there.
    """
    import pandas as pd

    place = {name: [value(cell) for cell in cells] for name, value in PLACE.items()}
    typed = {name: ("string", values) for name, values in place.items()}
    typed["decimals"] = ("Int64", place["decimals"])
    typed["published"] = ("Float64", [None if isinstance(value, str) else value for value in place["published"]])
    typed["printed"] = ("string", [cell.published_text for cell in cells])
    for name, dtype in scalar_fields().items():
        typed[name] = (dtype, [_plain(name, getattr(cell, name)) for cell in cells])
    for name in TEXTS:
        typed[name] = ("string", ["; ".join(getattr(cell, name)) for cell in cells])
    return pd.DataFrame({name: pd.array(values, dtype) for name, (dtype, values) in typed.items()})


def scalar_fields() -> dict[str, str]:
    """The fields of `Cell` that are one text, number or yes and no, with pandas' type; those of `PLACE` left out."""
    found = {field.name: _scalar(field.type) for field in fields(Cell) if field.name not in PLACE}
    return {name: DTYPES[kind] for name, kind in found.items() if kind is not None}


def _table(page: Sheet) -> dict[str, Any]:
    return {
        "name": page.name,
        "number": page.number,
        "mini": page.mini,
        "caption": page.caption,
        "stages": [asdict(stage) for stage in page.stages],
        "cells": [_cell(cell, page) for row in page.rows for cell in row.cells if cell is not None],
        "pairs": [_pair(pair) for pair in page.pairs],
        "footnotes": list(page.footnotes),
        "together": list(page.together),
        "remarks": list(page.remarks),
    }


def _pair(pair: Pair) -> dict[str, Any]:
    numbers = {name: _plain(name, getattr(pair, name)) for name in ("published", "difference", "half", "p", "adjusted")}
    place = {"row": pair.row, "group": pair.group, "column": pair.column.key, "baseline": pair.baseline}
    discordant = None
    if pair.discordant is not None:
        row_only, baseline_only, p = pair.discordant
        discordant = {"row_only": row_only, "baseline_only": baseline_only, "p": _plain("p", p)}
    return {**place, "n": pair.n, "seeds": list(pair.seeds), **numbers, "word": pair.word, "mcnemar": discordant}


def _cell(cell: Cell, page: Sheet) -> dict[str, Any]:
    return {
        **{name: value(cell) for name, value in PLACE.items()},
        **{name: _plain(name, getattr(cell, name)) for name in scalar_fields()},
        "values": list(cell.values),
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


def _scalar(annotation: Any) -> type | None:
    """The one type of a field's values, None aside; None for tuples, mappings and objects."""
    kinds = [kind for kind in get_args(annotation) or (annotation,) if kind is not NoneType]
    kind = type(get_args(kinds[0])[0]) if get_origin(kinds[0]) is Literal else kinds[0]
    return kind if len(kinds) == 1 and kind in DTYPES else None


def _plain(name: str, value: Any) -> Any:
    """Nine decimals of what was derived: the last bits of a mathematical function may differ between machines."""
    return round(value, 9) if isinstance(value, float) and name not in EXACT else value


def _harmless(text: str) -> str:
    told = printable(text)
    return f"'{told}" if told.startswith(FORMULA) and len(told) > 1 else told
