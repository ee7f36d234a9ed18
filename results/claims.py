"""The paper's sentences, judged on the printed numbers and, where all of them were measured, on the measured ones.

A claim compares two terms. `d` is by how much it holds: right - left for `<`, left - right for `>`, tolerance -
|left - right| for `~`. Its noise (`results.noise`) is that of both cells, as of independent numbers: a printed number
is one run, with its evaluation noise and the spread assumed for a re-run; a measured one rests on its seeds; counts
have none.

Two measured error rates whose records say which of the same images were right are compared in pairs: in the place of
both evaluations stands McNemar's standard error of the difference (`results.sides`), beside the spread
over seeds of both. The images are shared, so what is hard for both cancels; seeds are not, so their spread stays: a
sentence is about two methods, not about two checkpoints. Where both cells are one training tested at two crops that
spread counts too, on the safe side.

The noisy relations of one sentence, on one side, are a family, tested together by Holm's rule (`results.holm`): the
chance that one or more of them is said to hold, or not to, by noise alone is at most 5%; u is the band of a relation at
its own level. What is told for the whole sentence is its weakest relation, which needs no correction of its own.

MATCH: d > u for an order (d >= 0 for `~` and for counts). INCONCLUSIVE: |d| <= u, the numbers lie within the noise of
each other. FAILED: the opposite is true by more than the noise. `==`: equal as printed. PENDING: a number is not
measured yet; EXTERNAL: only the test server can measure it; None: a printed number is not readable in our copy.
Quoted numbers of other papers stand for themselves on both sides.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from experiments.claims import CLAIMS, Claim, Difference, Layers, Ratio, Term
from experiments.claims import Cell as Place
from experiments.spec import ArchitectureTable, Table
from results.cell import Cell
from results.evidence import Evidence
from results.holm import levels
from results.noise import LEVEL, Noise, of_published
from results.verdict import Verdict

EXACT = Noise()
SIGN = {"<": "<", ">": ">", "==": "=", "~": "≈"}
# A sentence is as good as its weakest part; parts that cannot be read count only when there is nothing else.
WEAKEST_FIRST: tuple[Verdict, ...] = ("FAILED", "EXTERNAL", "PENDING", "INCONCLUSIVE", "MATCH")


@dataclass(frozen=True)
class Number:
    """A term's value with its noise, as text too; `verdict` says why there is no value."""

    value: float | None
    noise: Noise
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
            return Number(None, EXACT, "?")
        protocol = self._protocols[place.table, place.row, place.column, place.group]
        noise = of_published(value, cell.column, (protocol.samples if protocol else None) or 0)
        return Number(value, noise, f"{cell.published_text}{' (by hand)' if cell.entered else ''}")

    def measured(self, place: Place) -> Number:
        """The measured number; a quoted row's printed one."""
        cell = self._cells[place.table, place.row, place.column, place.group]
        if cell.verdict == "QUOTED":
            return self.published(place)
        if cell.measured is None:
            return Number(None, EXACT, cell.measured_text, cell.verdict or "PENDING")
        return Number(cell.measured, cell.noise, cell.measured_text)

    def paired(self, left: Term | float, right: Term | float) -> Noise | None:
        """The noise of two measured error rates' difference on the same images; None: they are not paired."""
        if not (isinstance(left, Place) and isinstance(right, Place)):
            return None
        places = [(place.table, place.row, place.column, place.group) for place in (left, right)]
        ours, theirs = (self._cells[place] for place in places)
        if ours.column.noise != "binomial" or ours.column.metric != theirs.column.metric:
            return None
        if not ours.records or not theirs.records:
            return None
        try:
            se = self._evidence.sides.difference_se(ours.records, theirs.records, ours.column.metric)
        except (KeyError, ValueError):  # the cell shows something else than runs, or they cannot be paired
            return None
        return Noise(normal=se) + (ours.seed_noise or EXACT) + (theirs.seed_noise or EXACT)


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
        _sentence(parts, page)
        for parts in groups.values()
        if all(page.knows(term) for part in parts for term in (part.left, part.right))
    ]


@dataclass(frozen=True)
class _Order:
    """A relation between two numbers before it is judged: by how much it holds (`d`), and what noise explains."""

    text: str
    d: float
    noise: Noise
    closeness: bool

    @property
    def p(self) -> float:
        """The p-value of an order, whichever way; of a closeness, only of being missed."""
        return self.noise.p(min(self.d, 0.0) if self.closeness else self.d)

    def verdict(self, level: float) -> Verdict:
        """By the rule of this module; no noise has to be exceeded by what is only required to be close."""
        u = self.noise.band(level)
        if self.d > (0 if self.closeness else u) or (self.closeness and self.d > -1e-9):
            return "MATCH"
        return "INCONCLUSIVE" if u > 0 and self.d >= -u else "FAILED"


def _sentence(parts: Sequence[Claim], page: Page) -> Sentence:
    """All the claims in one sentence of the paper."""
    published, measured = (_side(parts, page, on_measured) for on_measured in (False, True))
    relations = (f"{_name(part.left)} {SIGN[part.relation]} {_name(part.right)}" for part in parts)
    verified = tuple(map(Verified, parts, relations, published, measured))
    first = parts[0]
    return Sentence(first.key.split("/")[0], first.sentence, first.source, first.note, verified)


def _side(parts: Sequence[Claim], page: Page, on_measured: bool) -> list[Judged]:
    """The parts of a sentence on the printed or on the measured numbers; their noisy relations are one family."""
    found = [_relation(part, page, on_measured) for part in parts]
    noisy = [order for order in found if isinstance(order, _Order) and order.noise != EXACT]
    own = dict(zip(map(id, noisy), levels([order.p for order in noisy], LEVEL), strict=True))
    return [
        order if isinstance(order, Judged) else Judged(order.text, order.verdict(own.get(id(order), LEVEL)))
        for order in found
    ]


def _relation(claim: Claim, page: Page, measured: bool) -> Judged | _Order:
    """The claim on one side; judged at once where there is no noise to compare with."""
    left, right = (_number(term, page, measured) for term in (claim.left, claim.right))
    text = f"{left.text} {SIGN[claim.relation]} {right.text}"
    if left.value is None or right.value is None:
        return Judged(text, _weakest((left.verdict, right.verdict)))
    if claim.relation == "==":
        return Judged(text, "MATCH" if left.text == right.text else "FAILED")
    difference = right.value - left.value
    d = {"<": difference, ">": -difference, "~": claim.tolerance - abs(difference)}[claim.relation]
    paired = page.paired(claim.left, claim.right) if measured else None
    return _Order(text, d, paired or left.noise + right.noise, claim.relation == "~")


def _number(term: Term | float, page: Page, measured: bool) -> Number:
    if isinstance(term, (int, float)):
        return Number(term, EXACT, f"{term:g}")
    if isinstance(term, Layers):
        return Number(page.layers(term), EXACT, str(page.layers(term)))
    if isinstance(term, Place):
        return page.measured(term) if measured else page.published(term)
    left, right = (_number(part, page, measured) for part in (term.left, term.right))
    sign = "/" if isinstance(term, Ratio) else "-"
    text = f"{left.text} {sign} {right.text}"
    if left.value is None or right.value is None:
        return Number(None, EXACT, text, _weakest((left.verdict, right.verdict)))
    if isinstance(term, Difference):
        paired = page.paired(term.left, term.right) if measured else None
        value = left.value - right.value
        noise = paired or left.noise + right.noise
    else:
        value = left.value / right.value
        noise = (left.noise + right.noise.scaled(value)).scaled(1 / right.value)
    return Number(value, noise, f"{text} = {value:.3g}" if isinstance(term, Ratio) else f"{text} = {value:.2f}")


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
