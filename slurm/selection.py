"""From targets to work: which rows of the selected tables have something to train here, and why the others have not."""

import pkgutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import get_args

import pyconv.tasks
from experiments.spec import ArchitectureTable, Experiment, Protocol, Row, Table, Task, fingerprint
from results.evidence import Evidence
from slurm.job import trained

Selected = tuple[Table | ArchitectureTable, Row | None]


@dataclass(frozen=True)
class Work:
    """One training run that is not recorded: the protocols still to be measured and every row that waits for it."""

    experiment: Experiment
    protocols: tuple[Protocol, ...]
    targets: tuple[str, ...]


@dataclass(frozen=True)
class Skip:
    """A row that is not run, and why."""

    target: str
    reason: str
    recorded: bool = False


def tasks_here() -> tuple[str, ...]:
    """The tasks whose training code exists."""
    modules = {module.name for module in pkgutil.iter_modules(pyconv.tasks.__path__)}
    return tuple(task for task in get_args(Task) if task in modules)


def rows(selected: Iterable[Selected]) -> list[tuple[Table, Row]]:
    """The single lines of the selection; the architecture tables have none."""
    return [(table, row) for table, row in selected if isinstance(table, Table) and row is not None]


def narrowed(selected: Iterable[Selected]) -> list[Table | ArchitectureTable]:
    """The selected tables with the selected rows only."""
    kept: dict[str, Table | ArchitectureTable] = {}
    for table, row in selected:
        before = kept.get(table.name)
        if isinstance(table, Table) and row is not None:
            rows = before.rows if isinstance(before, Table) else ()
            kept[table.name] = replace(table, rows=(*rows, row))
        else:
            kept[table.name] = table
    return list(kept.values())


def protocols(table: Table, row: Row) -> tuple[Protocol, ...]:
    """The distinct protocols that the row's measured columns need, the test servers' left out."""
    needed: dict[str, Protocol] = {}
    for column, published in zip(table.columns, row.published, strict=True):
        protocol = table.protocol(row, column)
        if protocol is not None and not column.external and published != "-":
            needed[protocol.key] = protocol
    return tuple(needed.values())


def state(table: Table, row: Row, evidence: Evidence, seed: int | None = None) -> str:
    """`quoted`, `external`, `counts only`, `recorded`, `pending`, or how many of the row's protocols are recorded."""
    if row.experiment is None:
        return "quoted"
    experiment, needed = seeded(row.experiment, seed), protocols(table, row)
    if not needed:
        servers = [p for column in table.columns if column.external and (p := table.protocol(row, column))]
        answers = [answer for protocol in servers for answer in evidence.answers(experiment, protocol)]
        if any(answer.released or answer.seed == experiment.seed for answer in answers):
            return "recorded"
        return "external" if servers else "counts only"
    done = sum(evidence.measurement(experiment, protocol) is not None for protocol in needed)
    if 0 < done < len(needed):
        return f"{done} of {len(needed)} recorded"
    return "recorded" if done else "pending"


def seeded(experiment: Experiment, seed: int | None) -> Experiment:
    """The same run with another seed."""
    return experiment if seed is None else replace(experiment, seed=seed)


def works(
    lines: Sequence[tuple[Table, Row]], evidence: Evidence, runs: Path, seeds: Sequence[int] = ()
) -> tuple[list[Work], list[Skip]]:
    """What there is to do for `lines`, an experiment shared by several rows once; and what is left out.

    `seeds`: each of them for every row (none: the experiments' own). What only a test server can measure is a training
    without a test, unless its weights stand below `runs`.
    """
    todo: dict[str, Work] = {}
    skipped: list[Skip] = []
    for seed, (table, row) in product(seeds or (None,), lines):
        target = table.target(row)
        if skip := _skip(table, row, evidence, runs, seed):
            skipped.append(skip)
            continue
        assert row.experiment is not None
        experiment = seeded(row.experiment, seed)
        missing = [p for p in protocols(table, row) if evidence.measurement(experiment, p) is None]
        before = todo.get(fingerprint(experiment), Work(experiment, (), ()))
        union = {p.key: p for p in (*before.protocols, *missing)}
        todo[fingerprint(experiment)] = Work(experiment, tuple(union.values()), (*before.targets, target))
    return list(todo.values()), list(dict.fromkeys(skipped))


def _skip(table: Table, row: Row, evidence: Evidence, runs: Path, seed: int | None) -> Skip | None:
    target, here = table.target(row), tasks_here()
    reasons = {
        "quoted": "quoted from other papers, never run",
        "counts only": "nothing to measure: only counts, which `pyconv verify` checks",
        "recorded": "recorded",
    }
    if (what := state(table, row, evidence, seed)) in reasons:
        return Skip(target, reasons[what], recorded=what == "recorded")
    if what == "external" and row.experiment is not None and trained(runs, seeded(row.experiment, seed)):
        return Skip(target, "trained; measured by the data set's own test server only", recorded=True)
    if row.experiment is not None and row.experiment.task not in here:
        return Skip(target, f"no training code for {row.experiment.task} yet (available: {', '.join(here)})")
    return None
