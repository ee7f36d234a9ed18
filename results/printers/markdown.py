"""Markdown for GitHub: three lines a row (published, measured, delta with its verdict), aligned, footnotes below."""

import re
from collections.abc import Sequence

from results.architecture import Entry
from results.cell import Cell
from results.claims import Sentence
from results.gather import Report
from results.sheets import Sheet, lines_of
from results.words import claim_word, tally

NOT_TEXT = re.compile(r"([\\`*_\[\]{}#|~$^!])")


def escape(text: str) -> str:
    """`text` as text: nothing in it is Markdown, HTML, a link, a mention, or the end of a table cell."""
    flat = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return NOT_TEXT.sub(r"\\\1", flat).replace("://", ":&#47;&#47;").replace("@", "&#64;")


def pages(report: Report) -> dict[str, str]:
    """The pages `table<n>.md`, and `claims.md` where there are claims."""
    found = {f"{sheet.name}.md": render(sheet) for sheet in report.sheets}
    return found | ({"claims.md": render_claims(report.sentences)} if report.sentences else {})


def render(sheet: Sheet) -> str:
    """The page `table<n>.md`."""
    parts = [f"# {escape(sheet.title)}: {escape(sheet.caption)}"]
    if sheet.mini:
        parts.append("**A mini run: small real images, minutes on a CPU. It checks the pipeline, not the paper.**")
    if sheet.stages:
        parts.append(_stages(sheet))
    parts.append(_cells(sheet))
    parts.append("\n".join(f"{number}. {escape(text)}" for number, text in enumerate(sheet.footnotes, start=1)))
    parts.append("\n".join(f"* {escape(text)}" for text in sheet.remarks))
    if sheet.conventions:
        parts.append(_conventions(sheet))
    return "\n\n".join(part for part in parts if part) + "\n"


def render_claims(sentences: Sequence[Sentence]) -> str:
    """The page `claims.md`: a line a sentence, then every relation in them."""
    headers = ["The paper says", "Where", "on the printed numbers", "on measured numbers"]
    rows = [
        [
            escape(sentence.text),
            escape(sentence.source),
            tally(part.published.verdict for part in sentence.parts),
            tally(part.measured.verdict for part in sentence.parts),
        ]
        for sentence in sentences
    ]
    details = [_relations(sentence) for sentence in sentences]
    return "\n\n".join(["# The paper's claims", _table(headers, rows), "## Every relation", *details]) + "\n"


def _relations(sentence: Sentence) -> str:
    rows = [
        [
            escape(part.relation),
            escape(part.published.text),
            claim_word(part.published.verdict),
            escape(part.measured.text),
            claim_word(part.measured.verdict),
        ]
        for part in sentence.parts
    ]
    table = _table(["Relation", "published", "", "measured", ""], rows)
    note = f" {escape(sentence.note)}" if sentence.note else ""
    return f"**{escape(sentence.text)}**{note}\n\n{table}"


def _cells(sheet: Sheet) -> str:
    headers = [escape(sheet.row_header), "", *(escape(text) for text in sheet.flat_headings)]
    rows = []
    for row in sheet.rows:
        for number, kind in enumerate(lines_of(row, sheet)):
            label = escape(row.label) + _marks(row.marks) if number == 0 else ""
            rows.append([label, kind, *(_text(cell, kind, sheet) for cell in row.cells)])
    return _table(headers, rows, numbers_from=2)


def _text(cell: Cell | None, kind: str, sheet: Sheet) -> str:
    if cell is None:
        return ""
    if kind in ("published", "quoted"):
        return escape(cell.published_text) + _marks(sheet.marks(cell))
    if kind == "measured":
        return escape(cell.measured_text)
    return f"{cell.verdict or ''} {cell.delta_text}".strip() if cell.delta is not None else ""


def _stages(sheet: Sheet) -> str:
    headers = ["stage", "output", *(escape(row.label) for row in sheet.rows)]
    rows = [[row.stage, escape(row.output), *(_entry(entry) for entry in row.entries)] for row in sheet.stages]
    return _table(headers, rows)


def _entry(entry: Entry) -> str:
    lines = [("&nbsp;&nbsp;" * indent) + escape(text) for indent, text in entry.lines]
    return "<br>".join(lines) + (f"<br>**× {entry.times}**" if entry.times else "")  # noqa: RUF001 (the paper's sign)


def _conventions(sheet: Sheet) -> str:
    names = sorted({name for cell in sheet.conventions for name in cell.conventions})
    rows = [
        [escape(cell.label), escape(cell.group), escape(cell.column.key)]
        + [f"{cell.conventions[name]:,}" if name in cell.conventions else "" for name in names]
        for cell in sheet.conventions
    ]
    table = _table([escape(sheet.row_header), "", "", *names], rows, numbers_from=3)
    return f"<details><summary>FLOPs under every convention, exactly</summary>\n\n{table}\n\n</details>"


def _marks(marks: Sequence[int]) -> str:
    return f"<sup>{','.join(map(str, marks))}</sup>" if marks else ""


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]], numbers_from: int | None = None) -> str:
    """An aligned pipe table; columns from `numbers_from` on are flush right. The texts are escaped already."""
    from tabulate import tabulate  # late: the records and verdicts need no printer

    right = len(headers) if numbers_from is None else numbers_from
    align = ["left" if number < right else "right" for number in range(len(headers))]
    return str(tabulate(rows, headers, tablefmt="pipe", colalign=align if rows else None, disable_numparse=True))
