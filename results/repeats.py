"""Records of one experiment on two sides that agree to the bit: copies of a file, or a training that was repeated."""

from collections.abc import Sequence

from results.records import Record, encode


def repeated(left: Sequence[Record], right: Sequence[Record], metric: str) -> str | None:
    """In what way both sides are the same, run by run; None where some run is not on both or is another.

    The same: one record, or the same weights with the same value of `metric`, image by image where that is recorded.
    """
    pairs = _pairs(left, right)
    if not len(pairs) == len(left) == len(right):
        return None
    if all(encode(ours) == encode(theirs) for ours, theirs in pairs):
        return "the same records on both sides: copies, which repeat nothing"
    if not all(_same_weights(*pair) and _same_result(*pair, metric) for pair in pairs):
        return None
    trained = sum(_trained_twice(*pair) for pair in pairs)
    if trained == len(pairs):
        return "trained on both sides to the same weights, bit by bit, with the same results"
    told = f"{trained} of {len(pairs)} trained twice, bit by bit" if trained else "not known to be trained twice"
    return f"the same weights with the same results on both sides, {told}"


def in_common(left: Sequence[Record], right: Sequence[Record], metric: str) -> list[str]:
    """What sides that are not the same have in common all the same."""
    pairs = _pairs(left, right)
    copies = sum(encode(ours) == encode(theirs) for ours, theirs in pairs)
    weights = sum(_same_weights(*pair) for pair in pairs) - copies
    results = sum(_same_result(*pair, metric) and not _same_weights(*pair) for pair in pairs)
    told = []
    if copies:
        told.append(f"{copies} of the records on both sides, copies, which repeat nothing")
    if weights:
        told.append(f"{weights} of the runs came to the same weights on both sides")
    if results:
        told.append(f"{results} of the runs came to the same results from other weights")
    return told


def _pairs(left: Sequence[Record], right: Sequence[Record]) -> list[tuple[Record, Record]]:
    """The runs that are on both sides: of one seed, or of one file of weights."""
    theirs = {_key(record): record for record in right}
    return [(record, theirs[_key(record)]) for record in left if _key(record) in theirs]


def _key(record: Record) -> tuple[str, str]:
    return ("file", record.checkpoint["sha256"]) if record.released else ("seed", str(record.seed))


def _same_weights(ours: Record, theirs: Record) -> bool:
    return bool(ours.checkpoint["sha256"] == theirs.checkpoint["sha256"])


def _same_result(ours: Record, theirs: Record, metric: str) -> bool:
    """The same value and, where both say it, the same images right."""
    images = [record.outcomes.get(metric) for record in (ours, theirs)]
    return ours.metrics[metric] == theirs.metrics[metric] and (None in images or images[0] == images[1])


def _trained_twice(ours: Record, theirs: Record) -> bool:
    """Whether two trainings are recorded: other jobs, on another machine or at another time."""
    trainings = [record.checkpoint.get("training") for record in (ours, theirs)]
    return None not in trainings and trainings[0] != trainings[1]
