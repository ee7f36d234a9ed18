"""What a sentence of the paper can be made of: cells, layers, ratios, differences, and relations between them.

A `Claim` is one relation between two terms, or a term and a number; a sentence that says several things is several
claims. Cells are named by table, row, column and group, so a claim can be evaluated on the printed numbers and on
measured ones.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Relation = Literal["<", ">", "==", "~"]
Kind = Literal["count", "measured"]

COUNTS = ("params", "flops")


@dataclass(frozen=True)
class Cell:
    """The number where `row` (of column group `group`) meets `column` in table number `table`, in the printed unit."""

    table: int
    row: str
    column: str
    group: str = ""


@dataclass(frozen=True)
class Layers:
    """The depth of the network of a row: its weighted layers, `row.experiment.model.depth`."""

    table: int
    row: str
    group: str = ""


@dataclass(frozen=True)
class Ratio:
    """`left / right`."""

    left: Cell | Layers
    right: Cell | Layers


@dataclass(frozen=True)
class Difference:
    """`left - right`."""

    left: Cell
    right: Cell


Term = Cell | Layers | Ratio | Difference


@dataclass(frozen=True)
class Claim:
    """`left relation right`. `~`: at most `tolerance` apart; `==`: equal as printed.

    `tolerance` is of the printed numbers or of our reading; the noise of a measurement is not in it. `source`: where
    the paper says the sentence. `kind`: a count can be checked without training. `note`: our reading where the sentence
    gives no number, or why a claim cannot be checked fully.
    """

    key: str
    sentence: str
    source: str
    left: Term
    relation: Relation
    right: Term | float
    kind: Kind
    tolerance: float = 0.0
    note: str = ""


@dataclass(frozen=True)
class Line:
    """A row as the place of its cells: `Line(2, "final")["params"]`."""

    table: int
    row: str
    group: str = ""

    def __getitem__(self, column: str) -> Cell:
        return Cell(self.table, self.row, column, self.group)


@dataclass(frozen=True)
class Part:
    """One relation in a sentence; `key` tells it from the sentence's other ones."""

    key: str
    left: Term
    relation: Relation
    right: Term | float
    tolerance: float = 0.0


def says(key: str, source: str, sentence: str, *parts: Iterable[Part], note: str = "") -> tuple[Claim, ...]:
    """The claims in one `sentence` of the paper."""
    return tuple(
        Claim(
            f"{key}/{part.key}",
            sentence,
            source,
            part.left,
            part.relation,
            part.right,
            "count" if _counted(part.left) and _counted(part.right) else "measured",
            part.tolerance,
            note,
        )
        for some in parts
        for part in some
    )


def each(columns: Iterable[str], relation: Relation, *pairs: tuple[Line, Line]) -> list[Part]:
    """`left[column] relation right[column]` for every column of every pair of lines."""
    chosen, found = tuple(columns), []
    for left, right in pairs:
        place = [part for part in (left.row, left.group, f"vs-{right.row}") if part] if len(pairs) > 1 else []
        for column in chosen:
            found.append(Part("/".join([*place, column]), left[column], relation, right[column]))
    return found


def ratio(left: Line, right: Line, column: str, relation: Relation, value: float, tolerance: float = 0.0) -> list[Part]:
    """`left[column] / right[column] relation value`."""
    return [Part(f"{column}-ratio", Ratio(left[column], right[column]), relation, value, tolerance)]


def difference(
    left: Line, right: Line, column: str, relation: Relation, value: float, tolerance: float = 0.0
) -> list[Part]:
    """`left[column] - right[column] relation value`."""
    return [Part(f"{column}-difference", Difference(left[column], right[column]), relation, value, tolerance)]


def _counted(term: Term | float) -> bool:
    if isinstance(term, (Ratio, Difference)):
        return _counted(term.left) and _counted(term.right)
    return not isinstance(term, Cell) or term.column in COUNTS
