"""LaTeX for a paper: booktabs, groups as printed, three lines a row; needs `booktabs` and `graphicx`."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path

from results.architecture import Entry
from results.cell import Cell
from results.gather import Report
from results.sheets import Heading, Sheet, lines_of

SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    '"': "''",
    "[": "{[}",  # after \\ it would open an optional argument
    "]": "{]}",
    "*": "{*}",
    "×": r"$\times$",  # noqa: RUF001
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "♣": r"$\clubsuit$",
    "≈": r"$\approx$",
    "±": r"$\pm$",
}
ACCENTS = set("\u0300\u0301\u0302\u0303\u0308\u030a\u030c\u0327")  # those of LaTeX's default encoding
SPANNING = 4  # columns; wider tables span both columns of a paper
SCALED = 8  # columns; wider tables are scaled to the text width as well
TEMPLATES = Path(__file__).parents[1] / "templates"
NOTE = "A delta without a word is a MATCH."


class Tex(str):
    """LaTeX source, not text: the template prints it as it is."""


def escape(text: str) -> Tex:
    """`text` as text: no character of it is a command, an alignment, a comment or the end of a line."""
    flat = " ".join(text.split())
    return Tex("".join(map(_character, flat)).replace("--", "-{}-"))


def pages(report: Report) -> dict[str, str]:
    """The pages `table<n>.tex`."""
    return {f"{sheet.name}.tex": render(sheet) for sheet in report.sheets}


def render(sheet: Sheet) -> str:
    """The page `table<n>.tex`: one float, to be read by `\\input`."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
        finalize=lambda value: value if isinstance(value, Tex) else escape(str(value)),
    )
    body = _architecture(sheet) if sheet.stages else _table(sheet)
    columns = len(sheet.rows) if sheet.stages else len(sheet.headings[-1])
    return environment.get_template("table.tex.j2").render(
        sheet=sheet,
        scaled=columns > SCALED,
        float=Tex("table*" if sheet.stages or columns > SPANNING else "table"),
        columns=Tex("ll" + "c" * columns if sheet.stages else "l" + "r" * columns),
        header=[Tex(line) for line in body[0]],
        lines=[Tex(line) for line in body[1]],
        remarks=[*sheet.remarks, NOTE] if not sheet.mini else sheet.remarks,
    )


def _character(character: str) -> str:
    if character in SPECIAL:
        return SPECIAL[character]
    if " " <= character <= "~":
        return character
    parts = unicodedata.normalize("NFD", character)
    if len(parts) == 2 and parts[0].isascii() and parts[0].isalpha() and parts[1] in ACCENTS:
        return unicodedata.normalize("NFC", character)
    return f"{{[}}U+{ord(character):04X}{{]}}"


def _table(sheet: Sheet) -> tuple[list[str], list[str]]:
    header = []
    for line in sheet.headings[:-1]:
        header.append(" & ".join(["", *(_spanning(heading) for heading in line)]) + r" \\")
        header.append(_rules(line))
    header.append(" & ".join([escape(sheet.row_header), *(escape(h.text) for h in sheet.headings[-1])]) + r" \\")
    lines = []
    for number, row in enumerate(sheet.rows):
        if number and not row.quoted:
            lines.append(r"\addlinespace")
        for place, kind in enumerate(lines_of(row, sheet)):
            label = escape(row.label) + _marks(row.marks) if place == 0 else rf"\quad {kind}"
            cells = [_text(cell, kind, sheet) for cell in row.cells]
            lines.append(" & ".join([label, *cells]) + r" \\")
    return header, lines


def _text(cell: Cell | None, kind: str, sheet: Sheet) -> str:
    if cell is None:
        return ""
    if kind in ("published", "quoted"):
        return escape(cell.published_text) + _marks(sheet.marks(cell))
    if kind == "measured":
        return escape(cell.measured_text)
    if cell.delta is None:
        return ""
    word = "" if cell.verdict in ("MATCH", None) else rf"{{\tiny {escape(str(cell.verdict))}}} "
    return word + f"${cell.delta_text}$"


def _architecture(sheet: Sheet) -> tuple[list[str], list[str]]:
    """Stages from the top, then the counts of each network, as Tables 1 and 9 are printed."""
    header = [" & ".join(["stage", "output", *(escape(row.label) for row in sheet.rows)]) + r" \\"]
    lines = []
    for stage in sheet.stages:
        cells = [escape(stage.stage), escape(stage.output), *(_entry(entry) for entry in stage.entries)]
        lines += [" & ".join(cells) + r" \\", r"\midrule"]
    for number, heading in enumerate(sheet.headings[-1]):
        for kind in ("published", "measured", "delta"):
            cells = [_text(row.cells[number], kind, sheet) for row in sheet.rows]
            label = rf"\multicolumn{{2}}{{l}}{{{escape(heading.text)}, {kind}}}"
            lines.append(" & ".join([label, *cells]) + r" \\")
    return header, lines


def _entry(entry: Entry) -> str:
    """Lines in brackets, as many times as the stage has blocks."""
    texts = [r"\quad " * indent + escape(text) for indent, text in entry.lines]
    stacked = r"\begin{tabular}{@{}l@{}}" + r" \\ ".join(texts) + r"\end{tabular}"
    return rf"$\left[\mbox{{{stacked}}}\right]\times {entry.times}$" if entry.times else stacked


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


def _marks(marks: Sequence[int]) -> str:
    return rf"\textsuperscript{{{','.join(map(str, marks))}}}" if marks else ""
