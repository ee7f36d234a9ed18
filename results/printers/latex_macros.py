"""A macro for every number, so that running text cannot go stale: `\\pyconvTableTwoFinalTopOne`, and how it is named.

A name is `pyconv` and the words of the cell's target (`table2/final/top1_err`) with capitals: letters as they are,
digits spelled one by one, other characters left out, and of an error's key without its `err`. The numbers that the
paper's sentences compute from cells are named by the claim:
`\\pyconvClaimHgFiveZeroBeatsResnetOneFiveTwoParamsRatio`.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from experiments.claims import Cell as Place
from experiments.claims import Claim, Difference, Ratio
from results.cell import MARK, Cell
from results.gather import Report
from results.printers.latex_numbers import NUMBER, word
from results.printers.latex_text import Tex

DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")
SUFFIXES = ("", "Published", "Delta")
NONE = "none"


@dataclass(frozen=True)
class Macro:
    """`\\newcommand{\\<name>}{<value>}`."""

    name: Tex
    value: Tex


def macros(report: Report) -> list[Macro]:
    """Three macros a number: measured, and with the suffixes Published and Delta."""
    numbers = [*_cells(report.cells), *_claims(report)]
    names = named(target for target, _ in numbers)
    return [
        Macro(Tex(name + suffix), value)
        for (_, values), name in zip(numbers, names, strict=True)
        for suffix, value in zip(SUFFIXES, values, strict=True)
    ]


def named(targets: Iterable[str]) -> list[str]:
    """A name for each of `targets`, all different with every suffix; what would be named twice gets Again behind it."""
    names: list[str] = []
    taken: set[str] = set()
    for target in targets:
        name = "pyconv" + "".join(map(_words, target.split("/")))
        while any(name + suffix in taken for suffix in SUFFIXES):
            name += "Again"
        taken |= {name + suffix for suffix in SUFFIXES}
        names.append(name)
    return names


def _words(part: str) -> str:
    """`top1_err` is TopOne, `ke-gan` KeGan, `152` OneFiveTwo."""
    words = re.findall(r"[A-Za-z]+|[0-9]", re.sub(r"(?<=[0-9])_err(?![A-Za-z])", "", part))
    return "".join(DIGITS[int(text)] if text.isdecimal() else text[0].upper() + text[1:] for text in words)


def _cells(cells: Iterable[Cell]) -> Iterator[tuple[str, tuple[Tex, ...]]]:
    for cell in cells:
        without = NONE if cell.measured is not None else cell.measured_text
        yield (
            cell.target,
            (_value(cell.measured_text), _printed(cell), _value(cell.delta_text or without)),
        )


def _claims(report: Report) -> Iterator[tuple[str, tuple[Tex, ...]]]:
    """Ratios and differences of two cells, with two decimals as the paper prints them."""
    cells = {cell.target: cell for cell in report.cells}
    for claim in (part.claim for sentence in report.sentences for part in sentence.parts):
        places = _places(claim)
        if places is None:
            continue
        left, right = (cells[_target(place)] for place in places)
        printed = _compute(claim, _published(left), _published(right))
        ours = _compute(claim, _measured(left), _measured(right))
        word = next((cell.measured_text for cell in (left, right) if _measured(cell) is None), NONE)
        delta = _signed(ours - printed) if ours is not None and printed is not None else word
        texts = (f"{ours:.2f}" if ours is not None else word, f"{printed:.2f}" if printed is not None else "?", delta)
        yield f"Claim/{claim.key}", tuple(map(_value, texts))


def _signed(value: float) -> str:
    text = f"{value:+.2f}"
    return text.lstrip("+-") if float(text) == 0 else text


def _places(claim: Claim) -> tuple[Place, Place] | None:
    """The two cells that the claim computes a number from."""
    term = claim.left
    if isinstance(term, (Ratio, Difference)) and isinstance(term.left, Place) and isinstance(term.right, Place):
        return term.left, term.right
    return None


def _target(place: Place) -> str:
    return "/".join(part for part in (f"table{place.table}", place.row, place.group, place.column) if part)


def _compute(claim: Claim, left: float | None, right: float | None) -> float | None:
    if left is None or right is None:
        return None
    return left / right if isinstance(claim.left, Ratio) else left - right


def _published(cell: Cell) -> float | None:
    return cell.published if isinstance(cell.published, (int, float)) else cell.reference


def _measured(cell: Cell) -> float | None:
    """In the printed unit; the exact count where there is one."""
    return cell.raw / cell.column.scale if cell.raw is not None else cell.measured


def _printed(cell: Cell) -> Tex:
    """The published number; one that was entered by hand says so."""
    value = _value(cell.published_text or NONE)
    return Tex(rf"{value}\textsuperscript{{\S}}") if cell.entered else value


def _value(text: str) -> Tex:
    """A number in text and in formulas; what is not measured is a word that cannot be overlooked."""
    number = text.removesuffix(MARK)
    if NUMBER.fullmatch(number) is None:
        return Tex(word(text))
    signed = rf"\ensuremath{{{number}}}" if number[0] in "+-" else number
    return Tex(signed + (r"\ensuremath{^{\ddagger}}" if number != text else ""))
