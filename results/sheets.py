"""A table ready to be printed: headers with their spans, lines of cells in page order, numbered footnotes.

Every printer (Markdown, LaTeX, HTML) prints the same sheets, so they cannot disagree.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING

from experiments.columns import PAPER_CONVENTION
from experiments.spec import ArchitectureTable, Table
from results.architecture import StageRow, stage_rows
from results.cell import Cell
from results.cells import grid, whole
from results.deviations import footnote, notes
from results.evidence import Evidence
from results.pairs import Pair, pairs
from results.trend import told, trends

if TYPE_CHECKING:
    import pandas as pd

LEGEND = (
    "Errors, accuracies, IoU, AP and AR in %. Parameters in millions. GFLOPs: billions, one multiply-add is one FLOP, "
    f"counted under the paper's convention ({PAPER_CONVENTION})."
)


ON_ONE_LINE = "Rows on one line are quoted from other papers and were not run."


@dataclass(frozen=True)
class Heading:
    """A header cell over `span` columns."""

    text: str
    span: int = 1


@dataclass(frozen=True)
class SheetRow:
    """One row of the page: its label with footnote marks, and a cell a column (None: the paper has none there)."""

    label: str
    marks: tuple[int, ...]
    cells: tuple[Cell | None, ...]
    quoted: bool = False


@dataclass(frozen=True)
class Sheet:
    """One table. `headings`: header lines from the top, the last one column by column; `footnotes`: text by number.

    `together`: what its measured cells say as a whole against the printed ones. `pairs`: its rows against the first
    one, image by image, where the records allow it.
    """

    name: str
    number: int
    caption: str
    row_header: str
    headings: tuple[tuple[Heading, ...], ...]
    rows: tuple[SheetRow, ...]
    footnotes: tuple[str, ...]
    remarks: tuple[str, ...]
    mini: bool = False
    stages: tuple[StageRow, ...] = ()
    together: tuple[str, ...] = ()
    pairs: tuple[Pair, ...] = ()

    @property
    def title(self) -> str:
        """`Table 2`, or `Mini table 2`."""
        return f"{'Mini table' if self.mini else 'Table'} {self.number}"

    @property
    def flat_headings(self) -> list[str]:
        """One text a column: the group's and the column's header together."""
        texts = [""] * len(self.headings[-1])
        for line in self.headings:
            spread = [heading.text for heading in line for _ in range(heading.span)]
            texts = [f"{above} {below}".strip() for above, below in zip(texts, spread, strict=True)]
        return texts

    def marks(self, cell: Cell) -> tuple[int, ...]:
        """The numbers of the cell's footnotes."""
        return tuple(self._numbers[text] for text in cell.footnotes)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {text: number for number, text in enumerate(self.footnotes, start=1)}

    @property
    def conventions(self) -> list[Cell]:
        """The FLOP cells, whose counts under the other conventions are shown below the table."""
        return [cell for row in self.rows for cell in row.cells if cell is not None and cell.conventions]


def sheet(table: Table | ArchitectureTable, data: "pd.DataFrame", evidence: Evidence) -> Sheet:
    """The sheet of `table` from the frame of all cells."""
    page = grid(data, table.name)
    lines = [tuple(cells) for cells in page.itertuples(index=False, name=None)]
    if isinstance(table, ArchitectureTable):
        return _architecture(table, lines, evidence)
    footnotes: dict[str, int] = {}
    rows = [_row(table, key, cells, footnotes) for key, cells in zip(page.index, lines, strict=True)]
    remarks = list(map(footnote, notes(table.name)))
    own = [r.footnote for r in table.rows if r.footnote and _is_marked(r.footnote, r.label)]
    shown = [cell for cells in lines for cell in cells if cell]
    is_whole = whole(table).rows == table.rows  # a part of the table says nothing about all of it
    return Sheet(
        table.name,
        table.number,
        table.caption,
        table.row_header,
        _headings(table),
        tuple(rows),
        tuple(footnotes),
        tuple(dict.fromkeys([*own, *table.footnotes, *remarks, *_about_rows(rows), LEGEND])),
        table.mini,
        together=tuple(_as_a_whole(table, shown)) if is_whole else (),
        pairs=tuple(pairs(table, shown, evidence)) if is_whole else (),
    )


def lines_of(row: SheetRow, sheet: Sheet) -> tuple[str, ...]:
    """Which lines a row is printed on: quoted rows and mini tables have nothing to compare, pending ones no delta."""
    if row.quoted:
        return ("quoted",)
    if sheet.mini:
        return ("measured",)
    compared = any(cell is not None and cell.delta is not None for cell in row.cells)
    return ("published", "measured", "delta") if compared else ("published", "measured")


def _architecture(table: ArchitectureTable, lines: Sequence[tuple[Cell | None, ...]], evidence: Evidence) -> Sheet:
    footnotes = tuple(dict.fromkeys(text for cells in lines for cell in cells if cell for text in cell.footnotes))
    rows = tuple(SheetRow(cells[0].label if cells[0] else "", (), cells) for cells in lines)
    remarks = list(map(footnote, notes(table.name)))
    return Sheet(
        table.name,
        table.number,
        table.caption,
        "Network",
        ((Heading("params"), Heading("FLOPs")),),
        rows,
        footnotes,
        (*table.footnotes, *remarks, LEGEND),
        stages=tuple(stage_rows(table, evidence)),
    )


def _headings(table: Table) -> tuple[tuple[Heading, ...], ...]:
    """Groups of the table, groups of columns, columns; lines that say nothing are left out."""
    groups = [header for _, header in table.groups] or [""]
    columns = [column for _ in groups for column in table.columns]
    lines = [
        tuple(Heading(text, len(table.columns)) for text in groups),
        tuple(Heading(text, len(list(same))) for text, same in groupby(column.group for column in columns)),
    ]
    bottom = tuple(Heading(column.header) for column in columns)
    return (*(line for line in lines if any(heading.text for heading in line)), bottom)


def _row(table: Table, key: str, cells: tuple[Cell | None, ...], footnotes: dict[str, int]) -> SheetRow:
    """The row's cells in the order of all columns, its new footnotes numbered behind those of the page."""
    rows = [row for row in table.rows if row.key == key]
    found = {(cell.group, cell.column.key): cell for cell in cells if cell is not None}
    places = [(group, column.key) for group in ([g for g, _ in table.groups] or [""]) for column in table.columns]
    own = [row.footnote for row in rows if row.footnote and not _is_marked(row.footnote, row.label)]
    for text in [*own, *(text for place in places if place in found for text in found[place].footnotes)]:
        footnotes.setdefault(text, len(footnotes) + 1)
    marks = tuple(dict.fromkeys(footnotes[text] for text in own))
    quoted = all(row.experiment is None for row in rows)
    return SheetRow(rows[0].label, marks, tuple(found.get(place) for place in places), quoted)


def _about_rows(rows: Sequence[SheetRow]) -> list[str]:
    """What the lines themselves do not say: who was not run, and on how many seeds a number rests."""
    said = [ON_ONE_LINE] if any(row.quoted for row in rows) else []
    cells = [cell for row in rows for cell in row.cells if cell is not None and cell.seeds]
    seeds = {cell.seeds for cell in cells}
    if seeds == {1}:
        known = all(cell.seed_noise is not None and cell.seed_noise.student for cell in cells)
        spread = "that of other seeds of the recipe" if known else "assumed, not measured"
        said.append(f"Measured accuracies are of one seed each: the spread between runs is {spread}.")
    elif seeds:
        number = f"{min(seeds)} to {max(seeds)}" if len(seeds) > 1 else f"{min(seeds)}"
        said.append(f"Measured accuracies are means over {number} seeds.")
    return said


def _as_a_whole(table: Table, shown: Sequence[Cell]) -> list[str]:
    """What the measured cells say together: how sharp they are, and whether a column is shifted."""
    cells = [cell for cell in shown if cell.tested]
    if not cells:
        return []
    losses = [cell.detectable for cell in cells if cell.detectable is not None]
    about = f"{min(losses):.1f}" if max(losses) - min(losses) < 0.1 else f"{min(losses):.1f} to {max(losses):.1f}"
    n = cells[0].tested
    together = f"{n} measured cells are tested together" if n > 1 else "One measured cell is tested"
    sharp = (
        f"{together}: noise alone would give one or more a false BETTER or WORSE in at most 5% of all cases. "
        f"A loss of {about} points in one cell would be seen in 80%."
    )
    return [sharp, *told(trends(table, cells))]


def _is_marked(footnote: str, label: str) -> bool:
    """Whether the label carries the footnote's own sign, as the paper's daggers do."""
    sign = footnote.strip()[:1]
    return bool(sign) and not sign.isalnum() and sign in label
