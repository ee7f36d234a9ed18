"""The measured cells of a table, judged together: one family of tests (`results.verdict`)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from results.cell import Cell
from results.deviations import footnote, known
from results.holm import adjusted, levels
from results.noise import LEVEL, Spread, of_seeds
from results.power import detectable
from results.verdict import Judgement, compared, measured_verdict


def together(cells: Sequence[Cell], spreads: Mapping[str, Spread | None]) -> list[Cell]:
    """The cells of one table with the verdicts of its measurements, which are one family of tests.

    `spreads`: target of a cell -> the spread of runs like its own, of all seeds there are (`results.pools`).
    """
    cells = [_compared(cell, spreads.get(cell.target)) for cell in cells]
    tests = {number: cell.test for number, cell in enumerate(cells) if cell.test is not None}
    p = [test.p for test in tests.values()]
    for (number, test), own, corrected, level in zip(tests.items(), p, adjusted(p), levels(p, LEVEL), strict=True):
        cell = cells[number]
        judgement = measured_verdict(test, cell.column, known(cell.target), level, len(p))
        if not cell.seeds:
            judgement = replace(judgement, reason=f"weights from a file, not trained here: {judgement.reason}")
        seen = detectable(test.noise, LEVEL / len(p))
        cells[number] = replace(judged(cell, judgement), p=own, adjusted=corrected, tested=len(p), detectable=seen)
    return cells


def judged(cell: Cell, judgement: Judgement) -> Cell:
    """The cell with its verdict; a deviation's reason and source become a footnote."""
    footnotes = cell.footnotes
    if judgement.verdict == "DEVIATION" and (entry := known(cell.target)) is not None:
        footnotes = (footnote(entry), *footnotes)
    return replace(
        cell,
        verdict=judgement.verdict,
        reason=f"off its protocol: {judgement.reason}" if cell.departures else judgement.reason,
        delta=judgement.delta,
        band=judgement.band,
        footnotes=footnotes,
    )


def _compared(cell: Cell, spread: Spread | None) -> Cell:
    """The cell with its noise and its test against the printed number."""
    if not cell.values:
        return cell
    cell = replace(cell, seed_noise=of_seeds(cell.values, cell.column, spread))
    if cell.mini or not isinstance(cell.published, (int, float)):
        return cell
    return replace(cell, test=compared(cell.values, cell.se, cell.n or 0, cell.published, cell.column, spread))
