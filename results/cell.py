"""The one cell model: a printed number beside the measured one, with its verdict and all that it rests on."""

from dataclasses import dataclass, field

from experiments.spec import Column, Published
from results.noise import Noise
from results.verdict import Delta, Verdict, printed

MARK = "‡"  # on a measured number that is off its protocol


@dataclass(frozen=True)
class Cell:
    """One printed number. `measured`, `delta`, `band`, `se`: in the printed unit; `raw`: the exact integer of a count.

    `published`: as in `experiments.spec`: a number, "-" for a printed dash, None where our copy is not readable;
    `reference`: what a count is compared with instead. `entered`: where `published` was read by whom, when it was
    entered by hand. `verdict` None: nothing to compare (a dash, a mini run). `values`: of each seed. `seed_noise`: of
    `measured`, of seeds alone. `test`: a measured number against the printed one, with its p-value `p`, Holm's
    `adjusted` one among the `tested` cells of the table, and the loss that such a cell would show in 80% of all cases,
    `detectable`. `conventions`: a FLOP cell's counts under every convention. `records`: where the
    evidence is, under the records' folder. `departures`: what puts the measured number off its protocol; the number
    then carries `MARK` in every format.
    """

    table: str
    row: str
    label: str
    group: str
    column: Column
    published: Published
    reference: float | None = None
    entered: str = ""
    measured: float | None = None
    raw: int | None = None
    delta: float | None = None
    band: float | None = None
    verdict: Verdict | None = None
    reason: str = ""
    seeds: int = 0
    n: int | None = None
    se: float | None = None
    values: tuple[float, ...] = ()
    seed_noise: Noise | None = None
    test: Delta | None = None
    p: float | None = None
    adjusted: float | None = None
    tested: int = 0
    detectable: float | None = None
    conventions: dict[str, int] = field(default_factory=dict)
    footnotes: tuple[str, ...] = ()
    records: tuple[str, ...] = ()
    departures: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    mini: bool = False
    own: bool = False

    @property
    def target(self) -> str:
        """`table3/resnet/50/top1_err`: how the ledger and the claims name the cell."""
        return "/".join(part for part in (self.table, self.row, self.group, self.column.key) if part)

    @property
    def noise(self) -> Noise:
        """Of `measured` about its experiment: the test's evaluation and the spread over seeds; none for a count."""
        return Noise(normal=self.se or 0.0) + (self.seed_noise or Noise())

    @property
    def published_text(self) -> str:
        """As printed; where our copy of the paper is not readable "?", or in brackets what was computed instead.

        Nothing on a line that a user added.
        """
        if isinstance(self.published, str):
            return self.published
        if self.published is None and self.reference is not None:
            return f"[{self.reference:.{self.column.decimals}f}]"
        if self.published is None:
            return "" if self.own else "?"
        return f"{self.published:.{self.column.decimals}f}"

    @property
    def measured_text(self) -> str:
        """The measured number with the printed decimals, or in a word why there is none."""
        if self.measured is None:
            return "-" if self.verdict is None else self.verdict.lower()
        number = printed(self.raw if self.raw is not None else self.measured * self.column.scale, self.column)
        return f"{number}{MARK if self.departures else ''}"

    @property
    def delta_text(self) -> str:
        """measured - published with its sign and the printed decimals; empty where there is none."""
        if self.delta is None:
            return ""
        text = f"{self.delta:+.{self.column.decimals}f}"
        return text.lstrip("+-") if float(text) == 0 else text
