"""LaTeX for a paper, two views a table: published beside measured, and the paper's own layout with measured numbers.

`table2.tex` compares: the published numbers, below them the measured ones and their deltas. `table2-paper.tex` is laid
out as printed, one line a row, and holds what was measured here; what is pending is a dash there, never a published
number. Both are floats to be read by `\\input` into any document with the packages of `preamble.tex`; `macros.tex` has
the numbers for the running text, `claims.tex` the paper's sentences, `tables.tex` is a document of all tables.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from results.gather import Report
from results.printers import latex_compared, latex_paper, latex_stages
from results.printers.latex_macros import macros
from results.printers.latex_numbers import OPTIONS
from results.printers.latex_rows import Body
from results.printers.latex_text import Tex, escape
from results.sheets import Sheet
from results.words import tally

if TYPE_CHECKING:
    from jinja2 import Environment

SPANNING = 5  # columns of numbers; wider tables span both columns of a two-column paper
SMALL = 8  # wider tables are set smaller and closer, and so are those of architectures
MANY_NOTES = 6  # more of them are set smaller, or table and notes would not fit one page
TEMPLATES = Path(__file__).parents[1] / "templates"


def pages(report: Report) -> dict[str, str]:
    """`table<n>.tex` of every table, `table<n>-paper.tex` of those of the paper, `claims.tex`, and what belongs to all.

    A mini table has no second view: it is one line a row already, and no table of a paper.
    """
    found: dict[str, str] = {}
    for sheet in report.sheets:
        found[f"{sheet.name}.tex"] = compared(sheet)
        if not sheet.mini:
            found[f"{sheet.name}-paper.tex"] = as_printed(sheet)
    if report.sentences:
        found["claims.tex"] = _templates().get_template("claims.tex.j2").render(sentences=report.sentences, tally=tally)
    return found | {
        "preamble.tex": _templates().get_template("preamble.tex.j2").render(),
        "macros.tex": _templates().get_template("macros.tex.j2").render(macros=macros(report)),
        "tables.tex": _templates()
        .get_template("tables.tex.j2")
        .render(sheets=report.sheets, claims=bool(report.sentences), tex=Tex),
    }


def compared(sheet: Sheet) -> str:
    """The page `table<n>.tex`: published, measured, delta."""
    return _page(sheet, "", latex_stages.compared if sheet.stages else latex_compared.body)


def as_printed(sheet: Sheet) -> str:
    """The page `table<n>-paper.tex`: the paper's layout, measured numbers."""
    return _page(sheet, "-paper", latex_stages.as_printed if sheet.stages else latex_paper.body)


def _page(sheet: Sheet, view: str, make: Callable[[Sheet], Body]) -> str:
    columns, body = len(sheet.headings[-1]), make(sheet)
    small = bool(sheet.stages) or columns > SMALL
    notes_are_long = not view and not sheet.mini  # the ledger's stand below the comparison only
    return (
        _templates()
        .get_template("table.tex.j2")
        .render(
            sheet=sheet,
            body=body,
            caption=_sentence(sheet.caption),
            label=Tex(f"tab:pyconv-{sheet.name}{view}"),
            float=Tex("table*" if small or notes_are_long or columns > SPANNING else "table"),
            size=Tex(r"\footnotesize" if small else r"\small"),
            gap=Tex("3pt" if small else "4pt"),
            notes_size=Tex(r"\scriptsize" if len(body.notes) > MANY_NOTES else r"\footnotesize"),
            notes_width=Tex(r"\linewidth" if notes_are_long else r"\wd\pyconvbox"),
            options=Tex(OPTIONS),
            title=Tex(f"{sheet.title}{', laid out as printed' if view else ''}"),
        )
    )


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


@cache
def _templates() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
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
