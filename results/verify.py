"""Every parameter and FLOP count of the paper, counted anew and held against the printed digits and the records.

`params` and `thop-2019` must round to what is printed, or be the exact integer that the ledger of deviations expects.
Every count must also equal the recorded integer, so that a drift inside the printed rounding fails too; `macs` and
`fvcore`, of which the paper prints nothing, have only that. A network whose description is no longer the recorded one
fails as well. torch is imported when something is counted.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING

import experiments
from experiments.columns import PAPER_CONVENTION
from experiments.spec import ArchitectureTable, Table
from results import deviations
from results.counts import Key, Printed, Progress, architectures, printed_counts, record_counts
from results.evidence import Evidence
from results.records import CountRecord
from results.verdict import Judgement, count_verdict
from results.verification import Cell, Verification

if TYPE_CHECKING:
    from pyconv.complexity import Complexity

__all__ = ["Verification", "record_counts", "verify"]

CONVENTIONS = (PAPER_CONVENTION, "macs", "fvcore")


def verify(
    tables: Iterable[Table | ArchitectureTable],
    evidence: Evidence,
    *,
    recount: bool = False,
    progress: Progress | None = None,
) -> Verification:
    """Count every network of `tables` and judge each printed and each recorded count; quoted rows are skipped.

    `recount`: `fvcore` is counted too; without, its recorded numbers stand. `progress(done, total, network)` is called
    after each network. A network that cannot be counted has FAILED cells that say why.
    """
    start = perf_counter()
    tables = tuple(tables)
    printed = list(printed_counts(tables))
    in_use = {entry.key[0] for entry in (*printed, *printed_counts(experiments.tables()))}
    labels = _labels(printed)
    conventions = CONVENTIONS if recount else CONVENTIONS[:-1]
    counts: dict[Key, Complexity | str] = {}
    for entry in printed:
        if entry.key not in counts:
            counts[entry.key] = _count(entry, conventions)
            if progress is not None:
                progress(len(counts), len(labels), labels[entry.key])
    cells: list[Cell] = []
    for entry in printed:
        record = evidence.count(entry.network, entry.input_size) or _replaced(entry, evidence, in_use)
        cells += _cells(entry, labels[entry.key], counts[entry.key], record)
    problems = (*evidence.problems, *_stage_problems(tables, evidence))
    return Verification(tuple(cells), tuple(labels.values()), problems, perf_counter() - start)


def _labels(printed: list[Printed]) -> dict[Key, str]:
    """A name for each distinct (network, input size): the network's, with `@320` at a size that is not its own."""
    labels: dict[Key, str] = {}
    for entry in printed:
        if entry.key in labels:
            continue
        own = entry.input_size == entry.network.input_size
        label = entry.network.name if own else f"{entry.network.name}@{'x'.join(map(str, _sides(entry.input_size)))}"
        # Names are labels: two different networks may share one.
        labels[entry.key] = f"{label}#{entry.key[0]}" if label in labels.values() else label
    return labels


def _sides(size: tuple[int, ...]) -> tuple[int, ...]:
    return size[-1:] if size[-1] == size[-2] and len(size) == 3 else size[1:]


def _count(entry: Printed, conventions: tuple[str, ...]) -> "Complexity | str":
    """The network's complexity, or why it cannot be counted."""
    from pyconv.complexity import count  # torch takes seconds

    try:
        return count(entry.network, entry.input_size, conventions)
    except ValueError as error:
        return str(error)


def _replaced(entry: Printed, evidence: Evidence, in_use: set[str]) -> CountRecord | None:
    """A record of this name and size whose network stands in no table any more: the description was changed."""
    name, size = entry.network.name, list(entry.input_size)
    same = (r for r in evidence.counts.values() if r.name == name and r.input_size == size)
    return next((record for record in same if record.network_digest not in in_use), None)


def _cells(entry: Printed, label: str, counted: "Complexity | str", record: CountRecord | None) -> Iterator[Cell]:
    """One cell of parameters, or one of FLOPs for each convention."""
    changed = record is not None and record.network_digest != entry.key[0]
    if entry.column.metric == "params":
        measured = None if isinstance(counted, str) else counted.params
        yield _cell(entry, label, None, measured, record.params if record else None, counted, changed)
        return
    for convention in CONVENTIONS:
        measured = None if isinstance(counted, str) else counted.flops.get(convention)
        recorded = record.flops.get(convention) if record else None
        yield _cell(entry, label, convention, measured, recorded, counted, changed)


def _cell(
    entry: Printed,
    label: str,
    convention: str | None,
    measured: int | None,
    recorded: int | None,
    counted: "Complexity | str",
    changed: bool,
) -> Cell:
    compared = convention in (None, PAPER_CONVENTION)
    if isinstance(counted, str):
        judgement = Judgement("FAILED", f"cannot be counted: {counted}", None, None)
    elif measured is None:
        judgement = _from_record(recorded)
        measured = recorded
    else:
        judgement = _judged(entry, measured, recorded, compared)
    if changed and judgement.verdict != "FAILED":
        judgement = replace(judgement, verdict="FAILED", reason=_changed(entry, measured, recorded))
    return Cell(
        table=entry.table,
        row=entry.row,
        group=entry.group,
        network=label,
        metric="params" if convention is None else "flops",
        convention=convention,
        published=entry.published if compared else None,
        measured=measured,
        delta=judgement.delta,
        verdict=judgement.verdict,
        reason=judgement.reason,
        reference=entry.reference if compared else None,
    )


def _from_record(recorded: int | None) -> Judgement:
    if recorded is None:
        return Judgement("PENDING", "no record yet, and not counted without --recount", None, None)
    return Judgement("MATCH", "the recorded count, not counted anew (--recount does)", None, None)


def _judged(entry: Printed, measured: int, recorded: int | None, compared: bool) -> Judgement:
    """The recorded integer first, which is stricter, then the printed digits."""
    printed = entry.published if entry.published is not None else entry.reference
    if not compared or printed is None:
        judgement = Judgement("PENDING", "no record of this count to compare with", None, None)
        if recorded is not None:
            judgement = Judgement("MATCH", "equals the recorded count", None, None)
    else:
        deviation = deviations.known(entry.target)
        # Of a count only an exact expectation excuses anything.
        deviation = deviation if deviation is not None and deviation.expected is not None else None
        judgement = count_verdict(measured, printed, entry.column, deviation)
    if recorded is not None and measured != recorded:
        return Judgement("FAILED", _drift(entry, measured, recorded), judgement.delta, judgement.band)
    reason = judgement.reason
    if judgement.verdict == "FAILED":
        reason = f"{reason}; {_first_check(entry)}"
    if compared and entry.published is None and entry.reference is not None:
        reason = f"computed, not published (the printed number is not readable in our copy): {reason}"
    return Judgement(judgement.verdict, reason, judgement.delta, judgement.band)


def _changed(entry: Printed, measured: int | None, recorded: int | None) -> str:
    counted = "not counted" if measured is None else f"counted {measured:,}"
    before = "nothing" if recorded is None else f"{recorded:,}"
    return (
        f"the description of {entry.network.name} is no longer the recorded one: {counted}, recorded {before}; "
        f"{_first_check(entry)}; if the change is meant, remove the old record and count into a new one"
    )


def _drift(entry: Printed, measured: int, recorded: int) -> str:
    told = f"counted {measured:,}, recorded {recorded:,} ({measured - recorded:+,})"
    if entry.published is not None:
        told += f", printed {entry.published:.{entry.column.decimals}f} {entry.column.unit}"
    return f"{told}: the code drifted; {_first_check(entry)}"


def _first_check(entry: Printed) -> str:
    if entry.column.metric == "params":
        return "check first kernels, groups, widths, biases and batch norms of this network (`pyconv show` lists them)"
    size = "x".join(map(str, entry.input_size))
    return f"check first, if its parameters are right, strides, the places of the pools and the input size {size}"


def _stage_problems(tables: Iterable[Table | ArchitectureTable], evidence: Evidence) -> list[str]:
    """The networks of Tables 1 and 9 whose built stages are not the recorded ones any more."""
    from pyconv.complexity import stage_outputs  # torch takes seconds

    recorded = [(network, evidence.count(network)) for network in architectures(tables)]
    return [
        f"{network.name}: the recorded stages differ from the built network's; recount it into a new record"
        for network, record in recorded
        if record is not None and record.stages and record.stages != stage_outputs(network)
    ]
