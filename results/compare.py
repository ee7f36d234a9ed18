"""Two sets of records, cell by cell: two clusters, two commits, two people. Same numbers, or who has the better ones?

Each cell that both sides measured is held against the other side's by `results.differences`. The p-values of a table
are one family and corrected by Holm's procedure (`results.holm`): of tables whose sides are truly equal at most
FAMILY_ERROR have a cell that is called better on a side. Counts are exact: any other integer is a different count.

Records that are the same on both sides, and runs that came to the same weights and results, need no test: SAME, and the
reason says which of the two it is, for a copied file is no evidence that anything can be repeated.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from experiments.spec import ArchitectureTable, Table
from results.cell import Cell
from results.cells import COUNT_METRICS, build
from results.differences import difference, p_value
from results.evidence import Evidence
from results.external import ExternalRecord
from results.holm import adjusted
from results.noise import RERUN_SD
from results.origins import gathered
from results.records import AnyRecord, Record
from results.repeats import in_common, repeated

FAMILY_ERROR = 0.05

Word = Literal[
    "SAME",
    "EQUAL WITHIN NOISE",
    "LEFT BETTER",
    "RIGHT BETTER",
    "DIFFERENT COUNT",
    "NOT COMPARABLE",
    "ONLY LEFT",
    "ONLY RIGHT",
]
MEANING: dict[Word, str] = {
    "SAME": "the same record, the same count, or runs that came to the same weights and results",
    "EQUAL WITHIN NOISE": "the difference is no larger than that of equal runs; more cannot be said",
    "LEFT BETTER": "the left side is better by more than the noise",
    "RIGHT BETTER": "the right side is better by more than the noise",
    "DIFFERENT COUNT": "an exact count that is not the other side's",
    "NOT COMPARABLE": "both sides have a number, but no test of the two is right",
    "ONLY LEFT": "the right side has no number",
    "ONLY RIGHT": "the left side has no number",
}
DIFFERENT: tuple[Word, ...] = ("LEFT BETTER", "RIGHT BETTER", "DIFFERENT COUNT")
ONE_SIDED: tuple[Word, ...] = ("ONLY LEFT", "ONLY RIGHT")


@dataclass(frozen=True)
class Side:
    """A side's cell, as in a report of its own, and the records behind it, by their place under the side's folder."""

    cell: Cell
    records: dict[str, AnyRecord]

    @property
    def runs(self) -> tuple[Record, ...]:
        """The measurements among the records."""
        return tuple(record for record in self.records.values() if isinstance(record, Record))

    @property
    def answers(self) -> tuple[ExternalRecord, ...]:
        """What test servers answered, among the records."""
        return tuple(record for record in self.records.values() if isinstance(record, ExternalRecord))

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that were trained; none for weights from a file and for counts."""
        counted = self.cell.raw is not None
        found: tuple[Record | ExternalRecord, ...] = (*self.runs, *self.answers)
        return tuple(sorted(record.seed for record in found if not record.released and not counted))


@dataclass(frozen=True)
class Compared:
    """A cell with a number on a side. `difference`: right - left in the printed unit; `se`, `p`: `results.differences`.

    `adjusted`: p after Holm's correction for its table.
    """

    left: Side
    right: Side
    word: Word
    reason: str
    difference: float | None = None
    se: float | None = None
    p: float | None = None
    adjusted: float | None = None


@dataclass(frozen=True)
class Page:
    """The cells of one table of which a side has a number; `tests`: how many p-values were corrected together."""

    name: str
    caption: str
    cells: tuple[Compared, ...]
    tests: int


@dataclass(frozen=True)
class Comparison:
    """`origins`: (fact, left's values, right's values) where the compared records differ in where they come from.

    `problems`: (side, file that is no evidence and why). `missing`: cells without a number on both sides.
    """

    pages: tuple[Page, ...]
    origins: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]
    problems: tuple[tuple[str, str], ...]
    missing: int

    @property
    def words(self) -> dict[Word, int]:
        """Cells by what is said of them."""
        counted = Counter(cell.word for page in self.pages for cell in page.cells)
        return {word: counted[word] for word in MEANING if word in counted}

    @property
    def common(self) -> int:
        """Cells with a number on both sides."""
        return sum(number for word, number in self.words.items() if word not in ONE_SIDED)

    @property
    def ok(self) -> bool:
        """Nothing differs by more than the noise."""
        return not any(word in DIFFERENT for word in self.words)


def compare(tables: Iterable[Table | ArchitectureTable], left: Evidence, right: Evidence) -> Comparison:
    """The cells of `tables` as both sides' records have them. Quoted cells and those without an answer are left out."""
    pages, missing = [], 0
    for table in tables:
        cells = zip(build([table], left), build([table], right), strict=True)
        pairs = [pair for pair in cells if {cell.verdict for cell in pair} not in ({"QUOTED"}, {"EXTERNAL"})]
        found = [pair for pair in pairs if any(cell.measured is not None for cell in pair)]
        missing += len(pairs) - len(found)
        compared = [_compared(_side(ours, left), _side(theirs, right)) for ours, theirs in found]
        if compared:
            mini = isinstance(table, Table) and table.mini
            caption = table.caption if mini else f"Table {table.number}: {table.caption}"
            pages.append(_corrected(table.name, caption, compared))
    problems = [*(("left", text) for text in left.problems), *(("right", text) for text in right.problems)]
    return Comparison(tuple(pages), _origins(pages), tuple(problems), missing)


def _side(cell: Cell, evidence: Evidence) -> Side:
    known = dict(evidence.all())
    return Side(cell, {place: known[place] for place in cell.records})


def _corrected(name: str, caption: str, cells: Sequence[Compared]) -> Page:
    """The page of a table, the words of its tested cells decided by the corrected p-values."""
    tested = [cell for cell in cells if cell.p is not None]
    values = dict(zip(map(id, tested), adjusted([cell.p for cell in tested if cell.p is not None]), strict=True))
    decided = (_decided(cell, values[id(cell)]) if id(cell) in values else cell for cell in cells)
    return Page(name, caption, tuple(decided), len(tested))


def _decided(cell: Compared, value: float) -> Compared:
    assert cell.difference is not None
    if value > FAMILY_ERROR:
        return replace(cell, adjusted=value)
    right = (cell.difference < 0) == (cell.left.cell.column.better == "lower")
    return replace(cell, adjusted=value, word="RIGHT BETTER" if right else "LEFT BETTER")


def _compared(left: Side, right: Side) -> Compared:
    """What can be said of a cell by itself; a tested one is equal until its table's correction is made."""
    ours, theirs = left.cell.measured, right.cell.measured
    if ours is None or theirs is None:
        return Compared(left, right, "ONLY LEFT" if theirs is None else "ONLY RIGHT", "")
    if left.cell.column.metric in COUNT_METRICS:
        return _counts(left, right)
    if left.answers and right.answers:
        return _answers(left, right)
    metric = left.cell.column.metric
    sizes = sorted({run.metrics[metric].n for side in (left, right) for run in side.runs})
    if len(sizes) > 1:
        told = " and ".join(f"{n:,}" for n in sizes)
        reason = f"tests of {told} samples are not one test: use copies of the data with the same samples"
        return Compared(left, right, "NOT COMPARABLE", reason, theirs - ours)
    if same := repeated(left.runs, right.runs, metric):
        return Compared(left, right, "SAME", same, theirs - ours)
    found = difference(left.runs, right.runs, left.cell.column, mini=left.cell.mini)
    reason = "; ".join([found.told, *in_common(left.runs, right.runs, metric), *_reservations(left, right)])
    if found.p is None:
        return Compared(left, right, "NOT COMPARABLE", f"{reason}: run more seeds on both sides", found.value)
    return Compared(left, right, "EQUAL WITHIN NOISE", reason, found.value, found.se, found.p)


def _counts(left: Side, right: Side) -> Compared:
    """Exact integers: the cell's own, and of FLOPs those under every convention that both sides counted."""
    sides = [{"": side.cell.raw, **side.cell.conventions} for side in (left, right)]
    other = [key for key in sides[0] if key in sides[1] and sides[0][key] != sides[1][key]]
    assert left.cell.measured is not None
    assert right.cell.measured is not None
    apart = right.cell.measured - left.cell.measured
    if not other:
        return Compared(left, right, "SAME", "the same integers", apart)
    told = (f"{key + ': ' if key else ''}{sides[0][key]:,} left, {sides[1][key]:,} right" for key in other)
    return Compared(left, right, "DIFFERENT COUNT", "; ".join(told), apart)


def _answers(left: Side, right: Side) -> Compared:
    """What test servers answered: the same entries, or means of single submissions with the spread of a re-run."""
    column = left.cell.column
    assert left.cell.measured is not None
    assert right.cell.measured is not None
    d = right.cell.measured - left.cell.measured
    if left.answers == right.answers:
        return Compared(left, right, "SAME", "the same entry on both sides: a copy, which repeats nothing", d)
    sd = RERUN_SD[column.noise] / column.scale
    spread = sd**2 * (1 / len(left.answers) + 1 / len(right.answers))
    told = f"the test server's answers; a re-run's standard deviation is assumed to be {sd:.2f}"
    reason = "; ".join([told, *_reservations(left, right)])
    return Compared(left, right, "EQUAL WITHIN NOISE", reason, d, spread**0.5, p_value(d, 0.0, spread, None))


def _reservations(left: Side, right: Side) -> list[str]:
    """What a reader must know of a side before believing the comparison."""
    told = []
    for name, side in (("left", left), ("right", right)):
        if not side.cell.seeds:
            told.append(f"{name}: weights from a file, not trained here")
        if side.cell.departures:
            told.append(f"{name}: off its protocol")
    return told


def _origins(pages: Sequence[Page]) -> tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]:
    """The facts in which the records behind the cells of both sides differ."""
    common = [cell for page in pages for cell in page.cells if cell.word not in ONE_SIDED]
    left, right = (
        gathered({id(record): record for side in sides for record in side.records.values()}.values())
        for sides in ([cell.left for cell in common], [cell.right for cell in common])
    )
    names = [name for name in sorted({*left, *right}) if left.get(name) != right.get(name)]
    return tuple((name, left.get(name, ()), right.get(name, ())) for name in names)
