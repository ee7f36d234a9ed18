"""The report as CI reads it: a suite a table, a case a cell.

WORSE and FAILED are failures; what has no measured number is skipped, with the reason; the rest passed, INCONCLUSIVE
and known deviations among it.
"""

from xml.etree.ElementTree import Element

from results import junit
from results.cell import Cell
from results.claims import Sentence
from results.gather import Report
from results.verdict import Verdict
from results.words import claim_word

FAILURES = ("WORSE", "FAILED")
CLAIMS: dict[Verdict | None, junit.Outcome] = {
    "FAILED": "failure",
    "MATCH": "system-out",
    "INCONCLUSIVE": "system-out",
}


def pages(report: Report) -> dict[str, str]:
    """The page `report.xml`: the tables, the sentences of the paper, and files that are no evidence (failures)."""
    suites = [
        (sheet.name, [_case(cell) for row in sheet.rows for cell in row.cells if cell is not None])
        for sheet in report.sheets
    ]
    claims = [case for sentence in report.sentences for case in _claims(sentence)]
    problems = [
        junit.case("evidence", f"problem {number}", "failure", text)
        for number, text in enumerate(report.problems, start=1)
    ]
    return {"report.xml": junit.text("pyconv report", [*suites, ("claims", claims), ("evidence", problems)])}


def _case(cell: Cell) -> Element:
    told = f"{cell.verdict}: {cell.reason}" if cell.verdict else cell.reason
    if cell.measured is not None:
        told = f"printed {cell.published_text}, measured {cell.measured_text}; {told}"
    passed: junit.Outcome = "skipped" if cell.measured is None else "system-out"
    return junit.case(cell.table, cell.target, "failure" if cell.verdict in FAILURES else passed, told)


def _claims(sentence: Sentence) -> list[Element]:
    """A relation of the sentence a case, judged on measured numbers."""
    cases = []
    for part in sentence.parts:
        told = f"{claim_word(part.measured.verdict)}: {part.measured.text}; {sentence.text}"
        cases.append(junit.case("claims", part.claim.key, CLAIMS.get(part.measured.verdict, "skipped"), told))
    return cases
