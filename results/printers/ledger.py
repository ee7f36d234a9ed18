"""The ledger as a page shows it: every entry that concerns something in the report, with where it does."""

from collections.abc import Sequence
from dataclasses import dataclass

from results.cells import Cell
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
    made = [
        Entry(
            entry.key,
            "changes a verdict" if isinstance(entry, Deviation) else "explains",
            footnote(entry),
            tuple(sheet for sheet in sheets if entry in notes(sheet.name)),
            tuple(cell for cell in cells if entry == known(cell.target) or entry in notes(cell.target)),
        )
        for entry in everything
    ]
    return [entry for entry in made if entry.tables or entry.cells]
