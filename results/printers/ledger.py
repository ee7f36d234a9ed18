"""The ledger as a page shows it: every entry that concerns something in the report, with where it does."""

from collections.abc import Sequence
from dataclasses import dataclass

from results.cell import Cell
from results.deviations import LEDGER, NOTES, Deviation, Note, footnote, known, notes
from results.sheets import Sheet


@dataclass(frozen=True)
class Entry:
    """`kind`: whether it changes a verdict. `tables`, `cells`: what of the report it concerns."""

    key: str
    kind: str
    text: str
    tables: tuple[Sheet, ...]
    cells: tuple[Cell, ...]


def entries(sheets: Sequence[Sheet], cells: Sequence[Cell]) -> list[Entry]:
    """In the ledger's order, deviations before notes."""
    everything: tuple[Deviation | Note, ...] = (*LEDGER, *NOTES)
    on_sheet = [(sheet, notes(sheet.name)) for sheet in sheets]
    on_cell = [(cell, [known(cell.target), *notes(cell.target)]) for cell in cells]
    made = [
        Entry(
            entry.key,
            "changes a verdict" if isinstance(entry, Deviation) else "explains",
            footnote(entry),
            tuple(sheet for sheet, found in on_sheet if entry in found),
            tuple(cell for cell, found in on_cell if entry in found),
        )
        for entry in everything
    ]
    return [entry for entry in made if entry.tables or entry.cells]
