"""One self-contained page: what was checked, what was measured here, what is pending and why; then every table."""

from collections.abc import Sequence
from pathlib import Path

from results.claims import Sentence
from results.sheets import Sheet, lines_of
from results.summary import Summary
from results.words import CLAIM, MEANING, claim_word, tally

TEMPLATES = Path(__file__).parent / "templates"


def render(summary: Summary, sheets: Sequence[Sheet], sentences: Sequence[Sentence], problems: Sequence[str]) -> str:
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
    return environment.get_template("page.html.j2").render(
        summary=summary,
        paper=[sheet for sheet in sheets if not sheet.mini],
        minis=[sheet for sheet in sheets if sheet.mini],
        sentences=sentences,
        problems=problems,
        meaning=MEANING,
        claim_words=CLAIM,
        claim_word=claim_word,
        tally=tally,
        lines_of=lines_of,
    )
