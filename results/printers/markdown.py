"""Markdown for GitHub: three lines a row (published, measured, delta with its verdict), aligned, footnotes below.

A measured number links to its record by reference (`[22.30][table2-r1]`, the address below the table), so that the
columns stay narrow enough to be read as text, and are the same wherever the page stands.
"""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from results.architecture import Entry
from results.cell import Cell
from results.claims import Sentence
from results.gather import Report
from results.links import record_url
from results.pairs import HEADINGS, TITLE, explained
from results.sheets import Sheet, SheetRow, lines_of
from results.summary import Summary
from results.words import MEANING, claim_word, tally

NOT_TEXT = re.compile(r"([\\`*_\[\]{}#|~$^!])")
# What starts a list or underlines a heading where a line begins; after it comes the backslash or before it.
STARTS_BLOCK = re.compile(r"^(?:(\d+)(?=[.)])|(?=[-+=]))")


def escape(text: str) -> str:
    """`text` as text: nothing in it is Markdown, HTML, a link, a mention, or the end of a table cell.

    An entity is not enough for "@": e-mail addresses are looked for in the rendered text.
    """
    flat = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    plain = NOT_TEXT.sub(r"\\\1", flat).replace("://", ":&#47;&#47;").replace("www.", r"www\.")
    return plain.replace("@", "<span>&#64;</span>")


def pages(report: Report) -> dict[str, str]:
    """The pages `table<n>.md`, and `claims.md` where there are claims."""
    found = {f"{sheet.name}.md": render(sheet, report.records_link) for sheet in report.sheets}
    return found | ({"claims.md": render_claims(report.sentences)} if report.sentences else {})


def blocks(report: Report) -> dict[str, str]:
    """What can stand between two markers of another page, by the markers' name: the pages without their titles."""
    found = {sheet.name: body(sheet, report.records_link) for sheet in report.sheets}
    if report.sentences:
        found["claims"] = _claims(report.sentences)
    return found | {"summary": _summary(report.summary)}


def render(sheet: Sheet, link: str = "") -> str:
    """The page `table<n>.md`; `link`: what stands before a record's place, "" for a page without links."""
    return f"# {escape(sheet.title)}: {escape(sheet.caption)}\n\n{body(sheet, link)}"


def body(sheet: Sheet, link: str) -> str:
    """The page below its title."""
    parts = []
    if sheet.mini:
        parts.append("**A mini run: small real images, minutes on a CPU. It checks the pipeline, not the paper.**")
    if sheet.stages:
        parts.append(_stages(sheet))
    references = _references(sheet) if link else {}
    parts.append(_cells(sheet, references))
    parts.append("\n".join(f"* {_line(text)}" for text in (*sheet.together, *sheet.remarks)))
    if sheet.pairs:
        parts.append(_pairs(sheet))
    if sheet.conventions:
        parts.append(_conventions(sheet))
    parts.append(_seeds(sheet, references))
    numbered = enumerate(sheet.footnotes, start=1)
    parts.append("\n".join(f"[^{sheet.name}-{number}]: {_line(text)}" for number, text in numbered))
    parts.append("\n".join(f"[{name}]: {record_url(link, place)}" for place, name in references.items()))
    return "\n\n".join(part for part in parts if part) + "\n"


def render_claims(sentences: Sequence[Sentence]) -> str:
    """The page `claims.md`: a line a sentence, then every relation in them."""
    details = [_relations(sentence) for sentence in sentences]
    return "\n\n".join(["# The paper's claims", _claims(sentences).rstrip(), "## Every relation", *details]) + "\n"


def _claims(sentences: Sequence[Sentence]) -> str:
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
    return table(headers, rows) + "\n"


def _summary(summary: Summary) -> str:
    """A line a verdict: how many cells of counts and of accuracies it was given."""
    headers = ["Verdict", "It means", "cells of counts", "cells of accuracies"]
    rows = [
        [verdict, meaning, str(summary.counts.get(verdict, 0)), str(summary.measurements.get(verdict, 0))]
        for verdict, meaning in MEANING.items()
        if verdict in summary.counts or verdict in summary.measurements
    ]
    return table(headers, rows, numbers_from=2) + "\n"


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
    relations = table(["Relation", "published", "", "measured", ""], rows)
    note = f" {escape(sentence.note)}" if sentence.note else ""
    return f"**{escape(sentence.text)}**{note}\n\n{relations}"


def _cells(sheet: Sheet, references: dict[str, str]) -> str:
    headers = [escape(sheet.row_header), "", *(escape(text) for text in sheet.flat_headings)]
    rows = []
    for row in sheet.rows:
        for number, kind in enumerate(lines_of(row, sheet)):
            texts = [_text(cell, kind, references) for cell in row.cells]
            if number == 0:  # footnotes stand once, on whatever line comes first
                found = [_marks(sheet, sheet.marks(cell) if cell else ()) for cell in row.cells]
                texts = [text + marks for text, marks in zip(texts, found, strict=True)]
            rows.append([escape(row.label) + _marks(sheet, row.marks) if number == 0 else "", kind, *texts])
    return table(headers, rows, numbers_from=2)


def _text(cell: Cell | None, kind: str, references: dict[str, str]) -> str:
    if cell is None:
        return ""
    if kind in ("published", "quoted"):
        return escape(cell.published_text)
    if kind == "measured":
        text = escape(cell.measured_text)
        linked = cell.measured is not None and cell.records and cell.records[0] in references
        return f"[{text}][{references[cell.records[0]]}]" if linked else text
    return f"{cell.verdict or ''} {cell.delta_text}".strip() if cell.delta is not None else ""


def _references(sheet: Sheet) -> dict[str, str]:
    """The label of each record that the table shows, by its place."""
    cells = [cell for row in sheet.rows for cell in row.cells if cell is not None and cell.measured is not None]
    places = dict.fromkeys(place for cell in cells for place in cell.records)
    return {place: f"{sheet.name}-r{number}" for number, place in enumerate(places, start=1)}


def _seeds(sheet: Sheet, references: dict[str, str]) -> str:
    """Every record of the numbers that are means over several: in the table they link to the first one."""
    lines = [line for row in sheet.rows for line in _seeds_of(row, sheet, references)] if references else []
    summary = "<details><summary>Every record of a mean over seeds</summary>"
    return f"{summary}\n\n" + "\n".join(lines) + "\n\n</details>" if lines else ""


def _seeds_of(row: SheetRow, sheet: Sheet, references: dict[str, str]) -> list[str]:
    shared: dict[tuple[str, ...], list[str]] = {}
    for cell, heading in zip(row.cells, sheet.flat_headings, strict=True):
        if cell is not None and cell.measured is not None and len(cell.records) > 1:
            shared.setdefault(cell.records, []).append(escape(heading))
    return [
        f"* {_line(row.label)}, {', '.join(headings)}: "
        + ", ".join(f"[{escape(PurePosixPath(place).parent.name)}][{references[place]}]" for place in records)
        for records, headings in shared.items()
    ]


def _stages(sheet: Sheet) -> str:
    headers = ["stage", "output", *(escape(row.label) for row in sheet.rows)]
    rows = [[row.stage, escape(row.output), *(_entry(entry) for entry in row.entries)] for row in sheet.stages]
    return table(headers, rows)


def _entry(entry: Entry) -> str:
    lines = [("&nbsp;&nbsp;" * indent) + escape(text) for indent, text in entry.lines]
    return "<br>".join(lines) + (f"<br>**× {entry.times}**" if entry.times else "")  # noqa: RUF001 (the paper's sign)


def _pairs(sheet: Sheet) -> str:
    rows = [[escape(text) for text in pair.line()] for pair in sheet.pairs]
    compared = table(HEADINGS, rows, numbers_from=2)
    return f"**{TITLE}**\n\n{_line(explained(sheet.pairs))}\n\n{compared}"


def _conventions(sheet: Sheet) -> str:
    names = sorted({name for cell in sheet.conventions for name in cell.conventions})
    rows = [
        [escape(cell.label), escape(cell.group), escape(cell.column.key)]
        + [f"{cell.conventions[name]:,}" if name in cell.conventions else "" for name in names]
        for cell in sheet.conventions
    ]
    counted = table([escape(sheet.row_header), "", "", *names], rows, numbers_from=3)
    return f"<details><summary>FLOPs under every convention, exactly</summary>\n\n{counted}\n\n</details>"


def _marks(sheet: Sheet, numbers: Sequence[int]) -> str:
    """GitHub's footnotes; their names carry the table's, because a page may show several tables."""
    return " ".join(f"[^{sheet.name}-{number}]" for number in numbers)


def _line(text: str) -> str:
    """Escaped text for the beginning of a line."""
    return STARTS_BLOCK.sub(lambda start: f"{start[0]}\\", escape(text))


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], numbers_from: int | None = None) -> str:
    """An aligned pipe table; columns from `numbers_from` on are flush right. The texts are escaped already.

    tabulate measures wide characters as wcwidth does, which is therefore a dependency: the same bytes on any machine.
    """
    from tabulate import tabulate  # late: the records and verdicts need no printer

    right = len(headers) if numbers_from is None else numbers_from
    align = ["left" if number < right else "right" for number in range(len(headers))]
    return str(tabulate(rows, headers, tablefmt="pipe", colalign=align if rows else None, disable_numparse=True))
