"""Which numbers of a table are emphasised: the best of a column in bold, as printed, among what can be compared."""

from results.cell import MARK, Cell
from results.cells import COUNT_METRICS
from results.printers.latex_numbers import Style
from results.sheets import Sheet, SheetRow

# Counts are costs, and no row is "the best" for being small: they are plain. But for these (table number, metric): our
# copy of the paper underlines the fewest parameters and GFLOPs of Table 5's heads and sets Table 9's fewer FLOPs in
# bold. No other underline is in it; in particular the paper underlines no second best.
COUNTS: dict[tuple[int, str], Style] = {
    (5, "params"): "underlined",
    (5, "flops"): "underlined",
    (9, "flops"): "bold",
}


def published_best(sheet: Sheet) -> dict[tuple[int, int], Style]:
    """(row, column) -> style of the best of the printed numbers, quoted ones among them."""
    return _best(sheet, measured=False)


def measured_best(sheet: Sheet) -> dict[tuple[int, int], Style]:
    """(row, column) -> style of the best of the measured and the quoted numbers, where a column has measured ones.

    A number that is off its protocol (`MARK`) does not compete, and mini runs compete for nothing.
    """
    return _best(sheet, measured=True)


def _best(sheet: Sheet, measured: bool) -> dict[tuple[int, int], Style]:
    styles: dict[tuple[int, int], Style] = {}
    for place in range(len(sheet.headings[-1])) if not sheet.mini else ():
        cells = {number: row.cells[place] for number, row in enumerate(sheet.rows)}
        found = {n: value for n, cell in cells.items() if (value := _value(cell, sheet.rows[n], measured)) is not None}
        ours = [n for n in found if not (measured and sheet.rows[n].quoted)]
        column = next((cell.column for cell in cells.values() if cell is not None), None)
        if column is None or not ours or len(found) < 2:
            continue
        style = COUNTS.get((sheet.number, column.metric), "plain") if column.metric in COUNT_METRICS else "bold"
        best = (min if column.better == "lower" else max)(found.values())
        styles |= {(n, place): style for n, value in found.items() if value == best}
    return styles


def _value(cell: Cell | None, row: SheetRow, measured: bool) -> float | None:
    """The number with its printed digits, so that what looks equal is a tie."""
    if cell is None or (measured and cell.departures):
        return None
    if measured and not row.quoted:
        return None if cell.measured is None else float(cell.measured_text.rstrip(MARK))
    return float(cell.published_text) if isinstance(cell.published, (int, float)) else None
