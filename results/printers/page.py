"""One self-contained page: what was checked, what was measured here, what is pending and why; then every table."""

from pathlib import Path

from results.gather import Report
from results.sheets import lines_of
from results.words import CLAIM, MEANING, claim_word, tally

TEMPLATES = Path(__file__).parents[1] / "templates"


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
    page = environment.get_template("page.html.j2").render(
        summary=report.summary,
        paper=[sheet for sheet in report.sheets if not sheet.mini],
        minis=[sheet for sheet in report.sheets if sheet.mini],
        sentences=report.sentences,
        problems=report.problems,
        meaning=MEANING,
        claim_words=CLAIM,
        claim_word=claim_word,
        tally=tally,
        lines_of=lines_of,
    )
    return {"index.html": page}
