"""The inside of a tabular: headers with rules under their groups, and rows of entries under aligned columns."""

from collections.abc import Sequence
from dataclasses import dataclass

from results.cell import MARK, Cell
from results.printers.latex_numbers import Column, Entry, Style, column
from results.printers.latex_text import Tex, escape
from results.sheets import Heading, Sheet

NOTHING = Entry("")
Note = tuple[str, str]  # its mark, "" for none, and its text


@dataclass(frozen=True)
class Body:
    """A tabular: `columns` of its preamble, `header` and `lines` in LaTeX, `notes` below it."""

    columns: Tex
    header: tuple[Tex, ...]
    lines: tuple[Tex, ...]
    notes: tuple[Note, ...]


@dataclass(frozen=True)
class Line:
    """One line: its label in LaTeX, an entry a column; `apart`: with some space above."""

    label: str
    entries: tuple[Entry, ...]
    apart: bool = False


def body(sheet: Sheet, lines: Sequence[Line], notes: Sequence[Note]) -> Body:
    """`lines` under the headers of `sheet`, each column as wide as its widest number."""
    columns = [column(line.entries[place] for line in lines) for place in range(len(sheet.headings[-1]))]
    rows = []
    for line in lines:
        rows += [Tex(r"\addlinespace")] if line.apart else []
        rows.append(_row(line, columns))
    return Body(Tex("l" + "".join(col.spec for col in columns)), _header(sheet), tuple(rows), tuple(notes))


def published(cell: Cell | None, sheet: Sheet, style: Style = "plain") -> Entry:
    """The printed number, with the marks of the cell's footnotes."""
    return NOTHING if cell is None else Entry(cell.published_text, marks(sheet.marks(cell)), style)


def measured(cell: Cell | None, numbers: Sequence[int] = (), style: Style = "plain") -> Entry:
    """The measured number or the word in its place; `MARK` and the `numbers` of footnotes behind it."""
    if cell is None:
        return NOTHING
    off = [MARK] if cell.departures else []
    return Entry(cell.measured_text.removesuffix(MARK), ",".join([*off, *map(str, numbers)]), style)


def numbered(sheet: Sheet) -> list[Note]:
    """The sheet's footnotes with their numbers."""
    return [(str(number), text) for number, text in enumerate(sheet.footnotes, start=1)]


def marks(numbers: Sequence[int]) -> str:
    """Footnote numbers as they stand behind a label or a number."""
    return ",".join(map(str, numbers))


def label(text: str, numbers: Sequence[int]) -> str:
    """The label of a row with its footnote marks, in LaTeX."""
    return escape(text) + (rf"\textsuperscript{{{marks(numbers)}}}" if numbers else "")


def _row(line: Line, columns: Sequence[Column]) -> Tex:
    sources = (col.source(entry) for col, entry in zip(columns, line.entries, strict=True))
    return Tex(" & ".join([line.label, *sources]) + r" \\")


def _header(sheet: Sheet) -> tuple[Tex, ...]:
    lines = []
    for line in sheet.headings[:-1]:
        lines += [" & ".join(["", *map(_spanning, line)]).lstrip() + r" \\", _rules(line)]
    bottom = (f"{{{escape(heading.text)}}}" for heading in sheet.headings[-1])
    lines.append(" & ".join([escape(sheet.row_header), *bottom]) + r" \\")
    return tuple(map(Tex, lines))


def _spanning(heading: Heading) -> str:
    return rf"\multicolumn{{{heading.span}}}{{c}}{{{escape(heading.text)}}}"


def _rules(line: Sequence[Heading]) -> str:
    """A rule under every group that has a name."""
    rules, start = [], 2
    for heading in line:
        if heading.text:
            rules.append(rf"\cmidrule(lr){{{start}-{start + heading.span - 1}}}")
        start += heading.span
    return " ".join(rules)
