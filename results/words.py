"""Verdicts in words that a stranger understands, the same in every format."""

from collections import Counter
from collections.abc import Iterable

from results.verdict import Verdict

MEANING: dict[str, str] = {
    "MATCH": "the measured number has the printed digits",
    "INCONCLUSIVE": "measured and printed agree within the noise; more cannot be said",
    "BETTER": "better than printed by more than the noise",
    "WORSE": "worse than printed by more than the noise",
    "DEVIATION": "differs from the printed number for a known reason, see the footnote",
    "FAILED": "an exact count that is not the printed one and for which no reason is known",
    "PENDING": "not measured here yet",
    "QUOTED": "another paper's number, shown but never run here",
    "EXTERNAL": "known only from the data set's test server",
}

CLAIM: dict[Verdict | None, str] = {
    "MATCH": "holds",
    "INCONCLUSIVE": "within the noise",
    "FAILED": "does not hold",
    "PENDING": "pending",
    "EXTERNAL": "test server only",
    None: "not readable",
}


def claim_word(verdict: Verdict | None) -> str:
    """A verdict on a sentence of the paper."""
    return CLAIM[verdict]


def tally(verdicts: Iterable[Verdict | None]) -> str:
    """ "3 hold, 1 within the noise": how the relations of one sentence came out."""
    counted = Counter(verdicts)
    total = sum(counted.values())
    if len(counted) == 1:
        (verdict,) = counted
        return CLAIM[verdict] if total == 1 else f"{'both' if total == 2 else f'all {total}'} {_many(verdict)}"
    return ", ".join(
        f"{counted[verdict]} {_many(verdict) if counted[verdict] > 1 else CLAIM[verdict]}"
        for verdict in CLAIM
        if verdict in counted
    )


def _many(verdict: Verdict | None) -> str:
    return {"holds": "hold", "does not hold": "do not hold"}.get(CLAIM[verdict], CLAIM[verdict])
