"""The view `table<n>.tex`: the published numbers of a row, below them the measured ones and their deltas."""

from collections.abc import Iterator

from results.cell import Cell
from results.printers import latex_rows as rows
from results.printers.latex_emphasis import measured_best, published_best
from results.printers.latex_numbers import Entry, Style
from results.sheets import Sheet, lines_of

LETTERS = {"BETTER": "b", "WORSE": "w", "INCONCLUSIVE": "i", "DEVIATION": "d", "FAILED": "f"}


def body(sheet: Sheet) -> rows.Body:
    """Three lines a row, one where there is nothing to compare; the best of each kind emphasised."""
    return rows.body(sheet, list(_lines(sheet)), notes(sheet))


def notes(sheet: Sheet) -> list[rows.Note]:
    """Footnotes, how to read the lines, and the remarks of the sheet."""
    reading = [] if sheet.mini else [("", _reading(sheet))]
    return [*rows.numbered(sheet), *reading, *(("", text) for text in (*sheet.together, *sheet.remarks))]


def delta(cell: Cell | None) -> Entry:
    """measured - published with the letter of its verdict."""
    if cell is None or cell.delta is None:
        return rows.NOTHING
    return Entry(cell.delta_text, LETTERS.get(cell.verdict or "", ""))


def _lines(sheet: Sheet) -> Iterator[rows.Line]:
    best = {"published": published_best(sheet), "measured": measured_best(sheet)}
    best["quoted"] = best["published"]
    for number, row in enumerate(sheet.rows):
        kinds = lines_of(row, sheet)
        for line, kind in enumerate(kinds):
            styles = best.get(kind, {})
            entries = (_entry(cell, kind, sheet, styles.get((number, n), "plain")) for n, cell in enumerate(row.cells))
            label = rows.label(row.label, row.marks) if line == 0 else rf"\quad {kind}"
            yield rows.Line(label, tuple(entries), apart=line == 0 and number > 0 and len(kinds) > 1)


def _entry(cell: Cell | None, kind: str, sheet: Sheet, style: Style) -> Entry:
    if kind == "delta":
        return delta(cell)
    if kind == "measured":
        return rows.measured(cell, sheet.marks(cell) if cell and sheet.mini else (), style)
    return rows.published(cell, sheet, style)


def _reading(sheet: Sheet) -> str:
    """What the lines of a row are, and the letters that stand in this table."""
    text = "A row's lines: published, measured, delta (measured minus published)."
    verdicts = {cell.verdict for row in sheet.rows for cell in row.cells if cell is not None and cell.delta is not None}
    found = [f"{letter} {verdict}" for verdict, letter in LETTERS.items() if verdict in verdicts]
    if not verdicts:
        return text
    return (
        f"{text} Verdicts on the deltas: {', '.join(found)}, without a letter MATCH." if found else f"{text} All MATCH."
    )
