"""One self-contained page: tables, curves, claims and ledger, readable without a script, a server or a network.

The page's own script, admitted by its hash and nothing else, opens the provenance of a cell and filters rows. It finds
the provenance as JSON in the page and places it as text: no text of a record is ever parsed as markup or run.
"""

import base64
import hashlib
from pathlib import Path
from typing import Any

from experiments.spec import ArchitectureTable
from results.cells import COUNT_METRICS
from results.gather import Report
from results.pairs import HEADINGS, TITLE, explained
from results.printers.curves import figures
from results.printers.ledger import entries
from results.printers.panels import BOTTOM, HEIGHT, LEFT, WIDTH
from results.printers.provenance_view import anchor, as_json
from results.sheets import SheetRow, lines_of
from results.words import CLAIM, MEANING, claim_word, tally

TEMPLATES = Path(__file__).parents[1] / "templates"
FRAME = {"width": WIDTH, "height": HEIGHT, "left": LEFT, "bottom": BOTTOM}
# What the page may do: its own style and script, nothing from anywhere, no forms.
POLICY = "default-src 'none'; style-src '{style}'; script-src '{script}'; base-uri 'none'; form-action 'none'"


def pages(report: Report) -> dict[str, str]:
    """The page `index.html`; every text of a record or a spec is escaped by the template engine."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    environment.filters["anchor"] = anchor
    style, script = (_source(name) for name in ("page_style.css", "page_script.js"))
    page = environment.get_template("page.html.j2").render(
        _context(report),
        style=style,
        script=script,
        policy=POLICY.format(style=_hash(style), script=_hash(script)),
    )
    return {"index.html": page.encode("utf-8", "backslashreplace").decode()}  # lone surrogates are no UTF-8


def _context(report: Report) -> dict[str, Any]:
    drawn = figures(report)
    return {
        "summary": report.summary,
        "paper": [sheet for sheet in report.sheets if not sheet.mini],
        "minis": [sheet for sheet in report.sheets if sheet.mini],
        "task": _tasks(report),
        "figures": [figure for figure in drawn if not figure.mini],
        "mini_figures": [figure for figure in drawn if figure.mini],
        "frame": FRAME,
        "sentences": report.sentences,
        "ledger": entries(report.sheets, report.cells),
        "live": report.live,
        "problems": report.problems,
        "provenance": as_json(report),
        "verdicts": [word for word in MEANING if any(cell.verdict == word for cell in report.cells)],
        "meaning": MEANING,
        "claim_words": CLAIM,
        "claim_word": claim_word,
        "tally": tally,
        "lines_of": lines_of,
        "pair_title": TITLE,
        "pair_headings": HEADINGS,
        "explained": explained,
        "state_of": _state,
    }


def _tasks(report: Report) -> dict[str, str]:
    """The task of each table, by the table's name; of one with quoted rows only none."""
    found: dict[str, str] = {}
    for table in report.tables:
        if isinstance(table, ArchitectureTable):
            experiments = [experiment for _, experiment, _, _ in table.networks]
        else:
            experiments = [row.experiment for row in table.rows if row.experiment is not None]
        found[table.name] = experiments[0].task if experiments else ""
    return found


def _state(row: SheetRow) -> str:
    """What the filter calls a row, by its accuracies: measured, pending or both; else quoted, external or counted."""
    if row.quoted:
        return "quoted"
    errors = [cell for cell in row.cells if cell is not None and cell.column.metric not in COUNT_METRICS]
    states = {
        "measured": any(cell.measured is not None for cell in errors),
        "pending": any(cell.verdict == "PENDING" for cell in errors),
    }
    other = "external" if any(cell.verdict == "EXTERNAL" for cell in errors) else "counted"
    return " ".join(state for state, is_so in states.items() if is_so) or other


def _source(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """As a content security policy names an inline text."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
