"""Tables 1 and 9: networks side by side, stage by stage, then their counts, in both views."""

from collections.abc import Sequence
from itertools import groupby

from experiments.spec import Column
from results.architecture import Entry as Stage
from results.printers import latex_compared, latex_paper
from results.printers import latex_rows as rows
from results.printers.latex_emphasis import measured_best, published_best
from results.printers.latex_numbers import Entry, Style, raised, word
from results.printers.latex_text import Tex, escape
from results.sheets import Sheet


def compared(sheet: Sheet) -> rows.Body:
    """The stages, then published, measured and delta of each count."""
    lines = []
    for place, column in enumerate(_columns(sheet)):
        printed, ours = (_styles(found, place, sheet) for found in (published_best(sheet), measured_best(sheet)))
        cells = [row.cells[place] for row in sheet.rows]
        kinds: list[tuple[str, list[Entry]]] = [
            ("published", [rows.published(cell, sheet, style) for cell, style in zip(cells, printed, strict=True)]),
            ("measured", [rows.measured(cell, (), style) for cell, style in zip(cells, ours, strict=True)]),
            ("delta", [latex_compared.delta(cell) for cell in cells]),
        ]
        lines += [_count(f"{_name(column)}, {kind}", column, entries) for kind, entries in kinds]
    return _body(sheet, lines, latex_compared.notes(sheet))


def as_printed(sheet: Sheet) -> rows.Body:
    """The stages, then the counts that were made here."""
    lines = []
    for place, column in enumerate(_columns(sheet)):
        styles = _styles(measured_best(sheet), place, sheet)
        entries = [
            latex_paper.entry(row.cells[place], row, sheet, style)
            for row, style in zip(sheet.rows, styles, strict=True)
        ]
        lines.append(_count(_name(column), column, entries))
    return _body(sheet, lines, latex_paper.notes(sheet))


def _body(sheet: Sheet, counts: Sequence[Tex], notes: Sequence[rows.Note]) -> rows.Body:
    header = Tex(" & ".join(["stage", "output", *(escape(row.label) for row in sheet.rows)]) + r" \\")
    lines = []
    for stage in sheet.stages:
        cells = [escape(stage.stage), escape(stage.output), *map(_stage, stage.entries)]
        lines += [Tex(" & ".join(cells) + r" \\"), Tex(r"\midrule")]
    return rows.Body(Tex("cc" + "c" * len(sheet.rows)), (header,), (*lines, *counts), tuple(notes))


def _stage(stage: Stage) -> str:
    """Lines in brackets, as many times as the stage has blocks; the levels of a pyramid in brackets of their own."""
    texts: list[str] = []
    for indent, lines in groupby(stage.lines, key=lambda line: line[0]):
        level = [escape(text) for _, text in lines]
        texts += [_bracketed(level)] if indent else level
    return rf"{_bracketed(texts)}\,\ensuremath{{\times {stage.times}}}" if stage.times else _stacked(texts)


def _bracketed(texts: Sequence[str]) -> str:
    return rf"\ensuremath{{\left[\mbox{{{_stacked(texts)}}}\right]}}"


def _stacked(texts: Sequence[str]) -> str:
    return r"\begin{tabular}{@{}l@{}}" + r" \\ ".join(texts) + r"\end{tabular}"


def _columns(sheet: Sheet) -> list[Column]:
    return [cell.column for cell in sheet.rows[0].cells if cell is not None]


def _styles(found: dict[tuple[int, int], Style], place: int, sheet: Sheet) -> list[Style]:
    return [found.get((number, place), "plain") for number in range(len(sheet.rows))]


def _name(column: Column) -> str:
    return "# params" if column.metric == "params" else "FLOPs"


def _count(label: str, column: Column, entries: Sequence[Entry]) -> Tex:
    """A line of counts with their power of ten, as printed."""
    cells = [_scaled(entry, column) for entry in entries]
    return Tex(" & ".join([rf"\multicolumn{{2}}{{c}}{{{escape(label)}}}", *cells]) + r" \\")


def _scaled(entry: Entry, column: Column) -> str:
    """44.91 as 44.91 x 10^6; words as they are."""
    if not entry.text:
        return ""
    if entry.parts is None:
        return word(entry.text) + raised(entry.marks)
    number = rf"\ensuremath{{{entry.text}}}"
    power = rf"\ensuremath{{{{}}\times 10^{{{len(str(int(column.scale))) - 1}}}}}"
    # The marks stand before the power, lest they be read into it.
    return (rf"\textbf{{{entry.text}}}" if entry.style == "bold" else number) + raised(entry.marks) + power
