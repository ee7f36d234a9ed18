"""Cells that only a test server can fill: EXTERNAL until its answer is entered by hand, then judged as any other.

An answer has no standard error and mostly no number of images: its noise is the spread assumed for a re-run.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from experiments.spec import Experiment, Protocol
from results.cell import Cell
from results.evidence import Evidence
from results.external import ExternalRecord
from results.records import record_path
from results.together import judged
from results.verdict import Judgement, printed


def answer_path(root: Path, experiment: Experiment, protocol: Protocol, record: ExternalRecord) -> Path:
    """Where a test server's answer about a run of `experiment` belongs: beside its seeds, never among them."""
    trained = record_path(root, experiment, protocol)
    return trained.parents[1] / record.run / trained.name


def scored(cell: Cell, experiment: Experiment, protocol: Protocol | None, evidence: Evidence) -> Cell:
    """A cell of a test server's column, from what was entered of `experiment` and its other seeds.

    Where the paper prints a dash, and in mini tables, there is nothing that an answer could be held against. Weights
    from a file are shown in the place of a training only where there is none.
    """
    asked = protocol is not None and not cell.mini and cell.published != "-"
    found = evidence.answers(experiment, protocol) if asked and protocol is not None else []
    trained = [record for record in found if not record.released]
    shown = trained or found[:1]
    if not shown:
        return judged(cell, Judgement("EXTERNAL", "known only from the data set's test server", None, None))
    values = tuple(record.metrics[cell.column.metric] / cell.column.scale for record in shown)
    images = {record.submission["images"] for record in shown}
    cell = replace(
        cell,
        measured=fmean(values),
        values=values,
        seeds=len(trained),
        n=images.pop() if len(images) == 1 else None,
        records=tuple(evidence.place(record) for record in shown),
        footnotes=(*cell.footnotes, *(_footnote(cell, record, shown) for record in found)),
    )
    if not isinstance(cell.published, (int, float)):
        return judged(cell, Judgement("INCONCLUSIVE", "no readable printed number to compare with", None, None))
    return cell


def _footnote(cell: Cell, record: ExternalRecord, shown: Sequence[ExternalRecord]) -> str:
    """Who says it, on which day, of which weights; the number of weights whose number is not shown."""
    weights = record.weights
    if record.released:
        whose = f"released weights, not trained here: {weights['file']} (SHA-256 {weights['sha256'][:8]}...)"
    else:
        whose = f"seed {record.seed}, {'trained here' if weights['sha256'] else 'which weights is not told'}"
    value = f"{printed(record.metrics[cell.column.metric], cell.column)} {cell.column.unit}, "
    said = "" if record in shown else value
    return f"Test server's answer of {record.date}: {said}entered by hand from {record.source}; {whose}."
