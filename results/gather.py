"""Everything that a report says, decided once, before any printer sees it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.spec import ArchitectureTable, Table
from results.cell import Cell
from results.cells import build, frame
from results.claims import Sentence, evaluate
from results.evidence import Evidence
from results.running import Live
from results.sheets import Sheet, sheet
from results.summary import Summary, summarise

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Report:
    """What the printers print. `data`: one line a cell (`results.cells.frame`); `problems`: files that are no evidence.

    `records_link`: what stands before a record's place in a link to it ("../records/"), "" for pages without links.
    `live`: what is under way, None where that was not asked for: only then are the same records the same bytes.
    """

    tables: tuple[Table | ArchitectureTable, ...]
    evidence: Evidence
    cells: tuple[Cell, ...]
    data: "pd.DataFrame"
    sheets: tuple[Sheet, ...]
    sentences: tuple[Sentence, ...]
    summary: Summary
    problems: tuple[str, ...]
    records_link: str = ""
    live: Live | None = None


def gather(
    tables: Iterable[Table | ArchitectureTable], evidence: Evidence, records_link: str = "", live: Live | None = None
) -> Report:
    """The report on `tables` from `evidence`."""
    tables = tuple(tables)
    cells = build(tables, evidence)
    data = frame(cells)
    return Report(
        tables,
        evidence,
        tuple(cells),
        data,
        tuple(sheet(table, data, evidence) for table in tables),
        tuple(evaluate(tables, cells, evidence)),
        summarise(data),
        tuple(dict.fromkeys([*evidence.problems, *(text for cell in cells for text in cell.problems)])),
        records_link,
        live,
    )
