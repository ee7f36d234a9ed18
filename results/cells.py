"""Every number of every table, published beside measured, judged once, printed by all printers.

`build` makes the cells of tables from evidence; `frame` puts them into a pandas DataFrame, one line a cell, and `grid`
pivots that into the page's rows and columns.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING

from experiments import tables
from experiments.columns import FLOPS, PAPER_CONVENTION, PARAMS
from experiments.spec import ArchitectureTable, Column, Experiment, Protocol, Published, Row, Table
from results.cell import MARK, Cell
from results.deviations import footnote, known, notes
from results.evidence import Evidence
from results.noise import Spread, evaluation_se, values_of
from results.pools import Pools
from results.records import CountRecord, Record
from results.scores import scored
from results.together import judged, together
from results.verdict import Judgement, count_verdict, printed

if TYPE_CHECKING:
    import pandas as pd

COUNT_METRICS = ("params", "flops")
MINI = "a mini run checks the pipeline, it says nothing about the paper"


def build(chosen: Iterable[Table | ArchitectureTable], evidence: Evidence) -> list[Cell]:
    """The cells of all `chosen` tables, in their order, row by row.

    A table with some rows of the paper's only is judged as part of the whole one: a verdict does not depend on what
    else is shown.
    """
    cells: list[Cell] = []
    pools = Pools(evidence)
    for table in chosen:
        if isinstance(table, ArchitectureTable):
            cells += _architecture_cells(table, evidence)
        else:
            wanted = {table.target(row) for row in table.rows}
            full = whole(table)
            made = [_cell(full, row, column, value, evidence) for row, column, value in full.cells()]
            found = together(made, _spreads(full, pools))
            cells += [cell for cell in found if cell.target.removesuffix(f"/{cell.column.key}") in wanted]
    return cells


def frame(cells: Sequence[Cell]) -> "pd.DataFrame":
    """One line a cell: what can be filtered and summed as columns, the cell itself as the last one."""
    import pandas as pd  # half a second, and only the reports need it

    return pd.DataFrame(
        {
            "table": [cell.table for cell in cells],
            "row": [cell.row for cell in cells],
            "label": [cell.label for cell in cells],
            "group": [cell.group for cell in cells],
            "column": [cell.column.key for cell in cells],
            "metric": [cell.column.metric for cell in cells],
            "unit": [cell.column.unit for cell in cells],
            "published": pd.array([c.published if isinstance(c.published, float) else None for c in cells], "Float64"),
            "measured": pd.array([cell.measured for cell in cells], "Float64"),
            "delta": pd.array([cell.delta for cell in cells], "Float64"),
            "verdict": [cell.verdict or "" for cell in cells],
            "seeds": [cell.seeds for cell in cells],
            "mini": [cell.mini for cell in cells],
            "cell": list(cells),
        }
    )


def grid(data: "pd.DataFrame", table: str) -> "pd.DataFrame":
    """The page of `table`: a line a row key, a column a (group, column key), both in page order, of cells or None."""
    page = data[data["table"] == table]
    wide = page.pivot(index="row", columns=["group", "column"], values="cell")
    columns = list(dict.fromkeys(zip(page["group"], page["column"], strict=True)))
    wide = wide.reindex(index=list(dict.fromkeys(page["row"])), columns=columns)
    return wide.where(wide.notna(), None)


def _spreads(table: Table, pools: Pools) -> dict[str, Spread | None]:
    """The spread of runs like that of each cell of `table`, by the cell's target."""
    return {
        f"{table.target(row)}/{column.key}": pools.of(row.experiment, protocol, column)
        for row, column, _ in table.cells()
        if row.experiment is not None and (protocol := table.protocol(row, column)) is not None
    }


def _cell(table: Table, row: Row, column: Column, published: Published, evidence: Evidence) -> Cell:
    cell = Cell(
        table.name,
        row.key,
        row.label,
        row.group,
        column,
        published,
        reference=dict(row.reference).get(column.key),
        footnotes=_footnotes(f"{table.target(row)}/{column.key}"),
        mini=table.mini,
        own=not row.printed,
    )
    cell = _filled(cell, evidence)
    if row.experiment is None:
        return judged(cell, Judgement("QUOTED", "another paper's number: shown, never run here", None, None))
    if column.external:
        return scored(cell, row.experiment, table.protocol(row, column), evidence)
    if column.metric in COUNT_METRICS:
        count = evidence.count(row.experiment.model, column.input_size)
        return _counted(cell, count, evidence) if count or not table.mini else _run_s_count(cell, table, row, evidence)
    return _measured(cell, row.experiment, table.protocol(row, column), evidence)


def _filled(cell: Cell, evidence: Evidence) -> Cell:
    """The cell with the printed number that was entered by hand, where our copy of the paper is not readable."""
    found = evidence.by_hand.get(cell.target)
    if found is None or cell.published is not None:
        return cell
    footnotes = (*cell.footnotes, f"The published number is not readable in our copy of the paper: {found.words}.")
    return replace(cell, published=found.number, reference=None, entered=found.words, footnotes=footnotes)


def whole(table: Table) -> Table:
    """The table of this suite that `table` is a part of, or `table` itself."""
    for full in tables(mini=table.mini):
        if isinstance(full, Table) and full.name == table.name and full.columns == table.columns:
            return full if set(table.rows) <= set(full.rows) else table
    return table


def _counted(cell: Cell, count: CountRecord | None, evidence: Evidence) -> Cell:
    """A cell of parameters or FLOPs, from the network's count."""
    if count is None:
        return judged(cell, Judgement("PENDING", "not counted yet: no record of this network at this size", None, None))
    flops = cell.column.metric == "flops"
    raw = count.flops.get(PAPER_CONVENTION) if flops else count.params
    if raw is None:
        return judged(cell, Judgement("PENDING", f"the count has no number under {PAPER_CONVENTION}", None, None))
    measured = replace(
        cell,
        raw=raw,
        measured=raw / cell.column.scale,
        conventions=dict(sorted(count.flops.items())) if flops else {},
        records=(evidence.place(count),),
    )
    if isinstance(cell.published, (int, float)):
        return judged(measured, count_verdict(raw, cell.published, cell.column, known(cell.target)))
    if cell.reference is not None:
        judgement = count_verdict(raw, cell.reference, cell.column, known(cell.target))
        lost = f"computed, not published: the printed number is not readable in our copy; {judgement.reason}"
        return judged(measured, replace(judgement, reason=lost))
    return replace(measured, reason="no printed number to compare with")


def _run_s_count(cell: Cell, table: Table, row: Row, evidence: Evidence) -> Cell:
    """A mini network's count stands in the records of its runs."""
    assert row.experiment is not None
    for column in table.columns:
        protocol = table.protocol(row, column)
        own_way = column.key in dict(row.protocols)  # tested, and so counted, at a size of the row's own
        size = cell.column.input_size
        same_size = protocol and (own_way or size is None or size[-2:] == (protocol.crop, protocol.crop))
        for record in evidence.seeds(row.experiment, protocol) if protocol and same_size else []:
            flops = record.complexity["flops"]
            raw = flops.get(PAPER_CONVENTION) if cell.column.metric == "flops" else record.complexity["params"]
            if record.mini and raw is not None:
                cell = replace(cell, raw=raw, measured=raw / cell.column.scale, records=(evidence.place(record),))
                return replace(cell, reason=MINI)
    return judged(cell, Judgement("PENDING", "not run yet", None, None))


def _measured(cell: Cell, experiment: Experiment, protocol: Protocol | None, evidence: Evidence) -> Cell:
    """A cell of accuracy, from the records of all seeds; mini records stay in mini tables and others out of them.

    Weights from a file are shown in the place of a training only where there is none, and never averaged with one.
    """
    trained = evidence.seeds(experiment, protocol) if protocol else []
    files = evidence.from_files(experiment, protocol) if protocol else []
    strays = [r for r in [*trained, *files] if r.mini != cell.mini or cell.column.metric not in r.metrics]
    seeds, others = ([r for r in found if r not in strays] for found in (trained, files))
    records = seeds or others[:1]
    cell = replace(
        cell,
        problems=tuple(_stray(cell, record, evidence) for record in strays),
        footnotes=(*cell.footnotes, *(_from_file(cell, record, records) for record in others)),
    )
    if not records:
        if cell.published == "-":
            return replace(cell, reason="the paper prints a dash: nothing to compare with")
        return judged(cell, Judgement("PENDING", "not measured yet", None, None))
    values = values_of(records, cell.column)
    cell = replace(
        cell,
        measured=fmean(values),
        values=tuple(values),
        seeds=len(seeds),
        n=records[0].metrics[cell.column.metric].n,
        se=evaluation_se(records, cell.column),
        records=tuple(evidence.place(record) for record in records),
    )
    cell = _marked(cell, records, evidence)
    cell = replace(cell, footnotes=(*cell.footnotes, *_counted_videos(cell, protocol, records)))
    if cell.mini:
        return replace(cell, reason=MINI)
    if not isinstance(cell.published, (int, float)):
        return judged(cell, Judgement("INCONCLUSIVE", "no readable printed number to compare with", None, None))
    return cell


def _from_file(cell: Cell, record: Record, shown: Sequence[Record]) -> str:
    """The footnote of weights that were not trained here; their number where the cell shows another."""
    weights = record.checkpoint
    about = f"{weights['file']} (SHA-256 {weights['sha256'][:8]}...), {weights['layout']}"
    if record in shown:
        return f"Released weights, not trained here: {about}."
    value = printed(record.metrics[cell.column.metric].value, cell.column)
    return f"Released weights, not trained here, give {value} {cell.column.unit}: {about}."


def _counted_videos(cell: Cell, protocol: Protocol | None, records: Sequence[Record]) -> tuple[str, ...]:
    """On how many videos a number was measured, a footnote a copy of the data: they differ, and in what is broken."""
    if protocol is None or protocol.samples is not None:
        return ()
    texts = []
    for record in records:
        skipped = record.data["splits"].get(protocol.split, {}).get("skipped")
        if skipped is not None:
            metric = record.metrics[cell.column.metric]
            error = "" if metric.se is None else f", standard error {metric.se:.2f} points"
            words = ", ".join(f"{number:,} {word}" for word, number in skipped.items())
            left_out = f"; {sum(skipped.values()):,} more were left out: {words}" if skipped else ""
            texts.append(f"On {metric.n:,} videos{error}{left_out}.")
    return tuple(dict.fromkeys(texts))


def _marked(cell: Cell, records: Sequence[Record], evidence: Evidence) -> Cell:
    """The cell with what its records say against their protocol (`results.compliance`), as a footnote too."""
    against = [(record, evidence.check(record).against) for record in records]
    departures = tuple(f"{_run(record)}: {'; '.join(texts)}" for record, texts in against if texts)
    footnotes = tuple(f"{MARK} Off its protocol: {text}." for text in departures)
    return replace(cell, departures=departures, footnotes=(*cell.footnotes, *footnotes))


def _run(record: Record) -> str:
    return f"{record.name}, {'released weights' if record.released else f'seed {record.seed}'}"


def _stray(cell: Cell, record: Record, evidence: Evidence) -> str:
    place = evidence.place(record)
    if cell.column.metric not in record.metrics:
        return f"{place}: metrics.{cell.column.metric} is missing, {cell.target} needs it; not shown there"
    if record.mini:
        return (
            f"{place}: a mini record under the fingerprint of {cell.target}: mini runs stay in mini tables; not shown"
        )
    return f"{place}: not marked as mini, but {cell.target} is of a mini table; not shown there"


def _architecture_cells(table: ArchitectureTable, evidence: Evidence) -> list[Cell]:
    """Parameters and FLOPs under the columns of Tables 1 and 9; a row here is one network."""
    cells = []
    for header, experiment, params, flops in table.networks:
        for column, published in ((PARAMS, params), (FLOPS, flops)):
            cell = Cell(table.name, header, header, "", column, published)
            cell = replace(cell, footnotes=_footnotes(cell.target))
            cells.append(_counted(cell, evidence.count(experiment.model), evidence))
    return cells


def _footnotes(target: str) -> tuple[str, ...]:
    return tuple(map(footnote, notes(target)))
