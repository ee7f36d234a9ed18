"""What a report says first, for a stranger: what was checked, what was measured here, what is pending."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Summary:
    """Verdicts counted: `counts` of parameters and FLOPs, `measurements` of accuracies, `mini` of mini runs.

    `counts` and `measurements`: number of cells by verdict, cells with nothing to compare left out.
    `mini_measured`, `mini_cells`: how many of the mini tables' cells have a number. `computed`: counts that our copy of
    the paper does not show and that were compared with a computed number.
    """

    counts: dict[str, int]
    measurements: dict[str, int]
    mini_measured: int
    mini_cells: int
    computed: int

    @property
    def counted(self) -> int:
        """How many count cells were counted here."""
        return sum(self.counts.get(verdict, 0) for verdict in ("MATCH", "DEVIATION", "FAILED"))

    @property
    def to_count(self) -> int:
        """How many count cells can be counted at all."""
        return self.counted + self.counts.get("PENDING", 0)

    @property
    def measured(self) -> int:
        """How many accuracy cells were measured here."""
        return sum(self.measurements.get(v, 0) for v in ("MATCH", "BETTER", "WORSE", "INCONCLUSIVE", "DEVIATION"))

    @property
    def to_measure(self) -> int:
        """How many accuracy cells can be measured at all."""
        return self.measured + self.measurements.get("PENDING", 0)


def summarise(data: "pd.DataFrame") -> Summary:
    """Count the verdicts in the frame of all cells."""
    paper = data[~data["mini"] & (data["verdict"] != "")]
    is_count = paper["metric"].isin(["params", "flops"])
    mini = data[data["mini"]]
    return Summary(
        _tally(paper[is_count]),
        _tally(paper[~is_count]),
        int(mini["measured"].notna().sum()),
        len(mini),
        int((is_count & paper["published"].isna() & paper["measured"].notna()).sum()),
    )


def _tally(part: "pd.DataFrame") -> dict[str, int]:
    return {str(verdict): int(n) for verdict, n in part["verdict"].value_counts().sort_index().items()}
