"""The paper's sentences, judged on the printed numbers and, where all of them were measured, on the measured ones.

A claim compares two terms. `d` is by how much it holds: right - left for `<`, left - right for `>`, tolerance -
|left - right| for `~`. `u` is half the 95% interval of `d`: the uncertainties of the cells, combined as independent
ones (a printed number is one run: its evaluation noise and the spread assumed for a re-run; counts have none).

Two measured error rates whose records say which of the same images were right are compared in pairs:

    u^2 = z^2 se^2 + r_left^2 + r_right^2

se is that of `results.paired.difference_se` (McNemar's), r the part of a cell's uncertainty that other seeds would
change (`results.verdict.rerun_uncertainty`). The images are shared, so what is hard for both cancels; seeds are not,
so their spread stays: a sentence is about two methods, not about two checkpoints. Where both cells are one training
tested at two crops that spread counts too, on the safe side.

MATCH: d > u for an order (d >= 0 for `~` and for counts). INCONCLUSIVE: |d| <= u, the numbers lie within the noise of
each other. FAILED: the opposite is true by more than the noise. `==`: equal as printed. PENDING: a number is not
measured yet; EXTERNAL: only the test server can measure it; None: a printed number is not readable in our copy.
Quoted numbers of other papers stand for themselves on both sides.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import hypot

from experiments.claims import CLAIMS, Claim, Difference, Layers, Ratio, Term
from experiments.claims import Cell as Place
from experiments.spec import ArchitectureTable, Table
from results.cells import Cell
from results.paired import difference_se
from results.records import Evidence
from results.verdict import Verdict, Z, published_uncertainty, rerun_uncertainty

SIGN = {"<": "<", ">": ">", "==": "=", "~": "≈"}
# A sentence is as good as its weakest part; parts that cannot be read count only when there is nothing else.
WEAKEST_FIRST: tuple[Verdict, ...] = ("FAILED", "EXTERNAL", "PENDING", "INCONCLUSIVE", "MATCH")


@dataclass(frozen=True)
class Number:
    """A term's value with half its 95% interval, as text too; `verdict` says why there is no value."""

    value: float | None
    uncertainty: float
    text: str
    verdict: Verdict | None = None


@dataclass(frozen=True)
class Judged:
    """One relation on one side (published or measured): `text` is "21.52 < 21.55", `verdict` None: not readable."""

    text: str
    verdict: Verdict | None


@dataclass(frozen=True)
class Verified:
    """A claim with its two judgements; `relation` names the cells."""

    claim: Claim
    relation: str
    published: Judged
    measured: Judged


@dataclass(frozen=True)
class Sentence:
    """A sentence of the paper with all the claims in it."""

    key: str
    text: str
    source: str
    note: str
    parts: tuple[Verified, ...]

    @property
    def on_published(self) -> Verdict | None:
        """The weakest verdict of the parts on the printed numbers."""
        return _weakest(part.published.verdict for part in self.parts)

    @property
    def on_measured(self) -> Verdict | None:
        """The weakest verdict of the parts on measured numbers."""
        return _weakest(part.measured.verdict for part in self.parts)


class Page:
    """Cells by their place, the evidence behind them, and the depth of the networks of the rows."""

    def __init__(self, tables: Iterable[Table | ArchitectureTable], cells: Sequence[Cell], evidence: Evidence) -> None:
        self._evidence = evidence
        paper = [table for table in tables if isinstance(table, Table) and not table.mini]
        self._rows = {(table.number, row.key, row.group): row for table in paper for row in table.rows}
        self._protocols = {
            (table.number, row.key, column.key, row.group): table.protocol(row, column)
            for table in paper
            for row, column, _ in table.cells()
        }
        places = {table.name: table.number for table in paper}
        self._cells = {
            (places[cell.table], cell.row, cell.column.key, cell.group): cell for cell in cells if cell.table in places
        }

    def knows(self, term: Term | float) -> bool:
        """Whether every cell of the term is among the cells: a report may be of some rows only."""
        if isinstance(term, (int, float)):
            return True
        if isinstance(term, (Ratio, Difference)):
            return self.knows(term.left) and self.knows(term.right)
        if isinstance(term, Layers):
            return (term.table, term.row, term.group) in self._rows
        return (term.table, term.row, term.column, term.group) in self._cells

    def layers(self, place: Layers) -> int:
        """The depth of a row's network."""
        experiment = self._rows[place.table, place.row, place.group].experiment
        depth = getattr(experiment.model if experiment else None, "depth", None)
        if not isinstance(depth, int):
            raise ValueError(f"table{place.table}/{place.row}: the network has no number of layers")
        return depth

    def published(self, place: Place) -> Number:
        """The printed number (or the computed one where it is not readable) as one run's."""
        cell = self._cells[place.table, place.row, place.column, place.group]
        value = cell.published if isinstance(cell.published, (int, float)) else cell.reference
        if value is None:
            return Number(None, 0.0, "?")
        protocol = self._protocols[place.table, place.row, place.column, place.group]
        spread = published_uncertainty(value, cell.column, (protocol.samples if protocol else None) or 0)
        return Number(value, spread, f"{value:.{cell.column.decimals}f}")

    def measured(self, place: Place) -> Number:
        """The measured number; a quoted row's printed one."""
        cell = self._cells[place.table, place.row, place.column, place.group]
        if cell.verdict == "QUOTED":
            return self.published(place)
        if cell.measured is None:
            return Number(None, 0.0, cell.measured_text, cell.verdict or "PENDING")
        return Number(cell.measured, cell.uncertainty or 0.0, cell.measured_text)

    def paired(self, left: Term | float, right: Term | float) -> float | None:
        """Half the 95% interval of two measured error rates' difference on the same images; None: not in pairs."""
        if not (isinstance(left, Place) and isinstance(right, Place)):
            return None
        places = [(place.table, place.row, place.column, place.group) for place in (left, right)]
        ours, theirs = (self._cells[place] for place in places)
        if ours.column.noise != "binomial" or ours.column.metric != theirs.column.metric:
            return None
        if not ours.records or not theirs.records:
            return None
        try:
            left_side, right_side = ([self._evidence.records[name] for name in cell.records] for cell in (ours, theirs))
            se = difference_se(left_side, right_side, ours.column.metric)
        except (KeyError, ValueError):  # the cell shows something else than runs, or they cannot be paired
            return None
        spreads = (rerun_uncertainty(side, ours.column) for side in (left_side, right_side))
        return hypot(Z * se, *spreads)


def evaluate(
    tables: Iterable[Table | ArchitectureTable],
    cells: Sequence[Cell],
    evidence: Evidence,
    claims: Sequence[Claim] = CLAIMS,
) -> list[Sentence]:
    """Every sentence whose cells are all among `cells`, judged on them and the `evidence` that they were built from."""
    page = Page(tables, cells, evidence)
    groups: dict[str, list[Claim]] = {}
    for claim in claims:
        groups.setdefault(claim.key.split("/")[0], []).append(claim)
    return [
        Sentence(key, parts[0].sentence, parts[0].source, parts[0].note, tuple(_verify(part, page) for part in parts))
        for key, parts in groups.items()
        if all(page.knows(term) for part in parts for term in (part.left, part.right))
    ]


def _verify(claim: Claim, page: Page) -> Verified:
    relation = f"{_name(claim.left)} {SIGN[claim.relation]} {_name(claim.right)}"
    sides = [[_number(term, page, measured) for term in (claim.left, claim.right)] for measured in (False, True)]
    published, measured = (
        _judge(claim, left, right, noise)
        for (left, right), noise in zip(sides, (None, page.paired(claim.left, claim.right)), strict=True)
    )
    return Verified(claim, relation, published, measured)


def _judge(claim: Claim, left: Number, right: Number, paired: float | None) -> Judged:
    """`paired`: the noise of the difference where it is not that of independent numbers."""
    text = f"{left.text} {SIGN[claim.relation]} {right.text}"
    if left.value is None or right.value is None:
        return Judged(text, _weakest((left.verdict, right.verdict)))
    if claim.relation == "==":
        return Judged(text, "MATCH" if left.text == right.text else "FAILED")
    difference = right.value - left.value
    holds = {"<": difference, ">": -difference, "~": claim.tolerance - abs(difference)}[claim.relation]
    noise = hypot(left.uncertainty, right.uncertainty) if paired is None else paired
    exact = noise == 0 or claim.relation == "~"
    if holds > noise or (exact and (holds > 0 or (claim.relation == "~" and holds > -1e-9))):
        return Judged(text, "MATCH")
    return Judged(text, "INCONCLUSIVE" if noise > 0 and holds >= -noise else "FAILED")


def _number(term: Term | float, page: Page, measured: bool) -> Number:
    if isinstance(term, (int, float)):
        return Number(term, 0.0, f"{term:g}")
    if isinstance(term, Layers):
        return Number(page.layers(term), 0.0, str(page.layers(term)))
    if isinstance(term, Place):
        return page.measured(term) if measured else page.published(term)
    left, right = (_number(part, page, measured) for part in (term.left, term.right))
    sign = "/" if isinstance(term, Ratio) else "-"
    text = f"{left.text} {sign} {right.text}"
    if left.value is None or right.value is None:
        return Number(None, 0.0, text, _weakest((left.verdict, right.verdict)))
    if isinstance(term, Difference):
        paired = page.paired(term.left, term.right) if measured else None
        value = left.value - right.value
        spread = hypot(left.uncertainty, right.uncertainty) if paired is None else paired
    else:
        value = left.value / right.value
        spread = hypot(left.uncertainty, value * right.uncertainty) / abs(right.value)
    return Number(value, spread, f"{text} = {value:.3g}" if isinstance(term, Ratio) else f"{text} = {value:.2f}")


def _name(term: Term | float) -> str:
    if isinstance(term, (int, float)):
        return f"{term:g}"
    if isinstance(term, (Ratio, Difference)):
        return f"{_name(term.left)} {'/' if isinstance(term, Ratio) else '-'} {_name(term.right)}"
    column = "layers" if isinstance(term, Layers) else term.column
    return " ".join(part for part in (f"table{term.table}", term.row, term.group, column) if part)


def _weakest(verdicts: Iterable[Verdict | None]) -> Verdict | None:
    found = set(verdicts)
    return next((verdict for verdict in WEAKEST_FIRST if verdict in found), None)
