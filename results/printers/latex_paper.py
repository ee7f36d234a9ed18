"""The view `table<n>-paper.tex`: the paper's layout, one line a row, with the numbers that were measured here.

No published number of a network that is run here stands in it: what is not measured is a dash. Numbers that the paper
itself quotes from others stay, and a note says whose they are. The ledger's long notes are left to the other view.
"""

from experiments.columns import PAPER_CONVENTION
from results.cell import Cell
from results.cells import COUNT_METRICS
from results.deviations import footnote
from results.deviations import notes as known_notes
from results.printers import latex_rows as rows
from results.printers.latex_emphasis import measured_best
from results.printers.latex_numbers import Entry, Style
from results.sheets import LEGEND, ON_ONE_LINE, Sheet, SheetRow

DASHES = {
    "PENDING": "not measured yet",
    "EXTERNAL": "known only from the test server",
    "QUOTED": "not reported there",
    None: "not in the paper's table either",
}


def body(sheet: Sheet) -> rows.Body:
    """The rows as printed, the best of each column emphasised where numbers of it were measured."""
    styles = measured_best(sheet)
    lines = [
        rows.Line(
            rows.label(row.label, row.marks),
            tuple(entry(cell, row, sheet, styles.get((number, n), "plain")) for n, cell in enumerate(row.cells)),
        )
        for number, row in enumerate(sheet.rows)
    ]
    return rows.body(sheet, lines, notes(sheet))


def entry(cell: Cell | None, row: SheetRow, sheet: Sheet, style: Style) -> Entry:
    """The measured number, a quoted one, or a dash."""
    if cell is None:
        return rows.NOTHING
    if row.quoted:
        return rows.published(cell, sheet, style)
    if cell.measured is None:
        return Entry("-", rows.marks(sheet.marks(cell)))
    return rows.measured(cell, sheet.marks(cell), style)


def notes(sheet: Sheet) -> list[rows.Note]:
    """Footnotes, whose numbers are quoted, what a dash means, the sheet's remarks without the ledger's, units."""
    left_out = {*map(footnote, known_notes(sheet.name)), ON_ONE_LINE, LEGEND}
    quoted = [row.label for row in sheet.rows if row.quoted]
    said = [f"Quoted from other papers, not run here: {', '.join(quoted)}."] if quoted else []
    texts = [*said, *_dashes(sheet), *(text for text in sheet.remarks if text not in left_out), _units(sheet)]
    return [*rows.numbered(sheet), *(("", text) for text in texts)]


def _dashes(sheet: Sheet) -> list[str]:
    reasons = {
        cell.verdict
        for row in sheet.rows
        for cell in row.cells
        if cell is not None and (cell.published == "-" if row.quoted else cell.measured is None)
    }
    told = [text for verdict, text in DASHES.items() if verdict in reasons]
    return [f"A dash: {', or '.join(told)}."] if told else []


def _units(sheet: Sheet) -> str:
    """Of the columns of this table only; a table of architectures prints its units itself."""
    metrics = {cell.column.metric for row in sheet.rows for cell in row.cells if cell is not None}
    counted = f"One multiply-add is one FLOP (convention {PAPER_CONVENTION})."
    if sheet.stages:
        return counted
    said = ["Results in %."] if metrics - set(COUNT_METRICS) else []
    said += ["Parameters in millions."] if "params" in metrics else []
    return " ".join([*said, *([counted] if "flops" in metrics else [])])
