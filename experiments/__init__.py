"""What the paper claims and what we would run: ten tables, their experiments, as plain values. No torch, no I/O."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from experiments import (
    table1_architectures,
    table2_ablation,
    table3_classification,
    table4_augmentation,
    table5_heads,
    table6_backbones,
    table7_state_of_the_art,
    table8_detection,
    table9_video_architectures,
    table10_video,
)
from experiments.mini import MINI_TABLES, mini_table
from experiments.spec import ArchitectureTable, Experiment, Row, Table, fingerprint

__all__ = ["TABLES", "all_experiments", "paper", "rows", "tables", "trainings"]

TABLES: dict[int, Table | ArchitectureTable] = {
    module.TABLE.number: module.TABLE
    for module in (
        table1_architectures,
        table2_ablation,
        table3_classification,
        table4_augmentation,
        table5_heads,
        table6_backbones,
        table7_state_of_the_art,
        table8_detection,
        table9_video_architectures,
        table10_video,
    )
}


def tables(*, mini: bool = False) -> tuple[Table | ArchitectureTable, ...]:
    """The tables in page order; `mini`: the minutes-on-a-CPU versions, of the tables that have one."""
    if mini:
        return tuple(
            mini_table(table) for table in TABLES.values() if isinstance(table, Table) and table.number in MINI_TABLES
        )
    return tuple(TABLES.values())


def paper() -> tuple[Table | ArchitectureTable, ...]:
    """The tables with the lines that the paper prints, without those that a user added."""
    return tuple(
        replace(table, rows=tuple(row for row in table.rows if row.printed)) if isinstance(table, Table) else table
        for table in tables()
    )


def rows(chosen: Iterable[Table | ArchitectureTable] | None = None) -> Iterator[tuple[Table, Row]]:
    """Every line of the `chosen` tables (all of the paper) in page order, quoted ones too."""
    for table in tables() if chosen is None else chosen:
        if isinstance(table, Table):
            for row in table.rows:
                yield table, row


def all_experiments(chosen: Iterable[Table | ArchitectureTable] | None = None) -> Iterator[Experiment]:
    """The experiment of every line and architecture of the `chosen` tables, in page order, repeated as on the page."""
    for table in tables() if chosen is None else chosen:
        if isinstance(table, ArchitectureTable):
            yield from (experiment for _, experiment, _, _ in table.networks)
        else:
            yield from (row.experiment for row in table.rows if row.experiment is not None)


def trainings(chosen: Iterable[Table | ArchitectureTable] | None = None) -> dict[str, Experiment]:
    """The distinct trainings that `all_experiments` needs, by fingerprint, each after the one it starts from."""
    found: dict[str, Experiment] = {}
    for experiment in all_experiments(chosen):
        chain = [experiment]
        while (init := chain[0].init) is not None:
            chain.insert(0, init)
        for link in chain:
            found.setdefault(fingerprint(link), link)
    return found
