"""A table as one family: few false verdicts in all of it, the stated power, the same verdict in any selection."""

from dataclasses import replace
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from evidence import CROP, save

from experiments import TABLES
from experiments.recipes import imagenet
from experiments.spec import Column, Row, Table
from pyconv.architectures import resnet
from results.cell import Cell
from results.cells import build, frame
from results.evidence import Evidence
from results.noise import RERUN_SD, Noise, binomial_se, pooled
from results.sheets import sheet
from results.together import together
from results.trend import told, trends

N = 50_000
TOP1 = Column("top1_err", "top-1", "top1_err", "lower", noise="binomial", protocol=CROP)
TOP5 = replace(TOP1, key="top5_err", header="top-5", metric="top5_err")
RUN_SD = RERUN_SD["binomial"]
TABLE2 = TABLES[2]
assert isinstance(TABLE2, Table)


def measured(row: str, column: Column, published: float, values: np.ndarray) -> Cell:
    """A cell as `results.cells` makes it before the table is judged."""
    se = float(np.mean([binomial_se(value, N) for value in values]))
    cell = Cell("table90", row, row, "", column, round(float(published), 2), measured=float(values.mean()))
    return replace(cell, values=tuple(map(float, values)), seeds=len(values), n=N, se=se)


def judge(cells: list[Cell]) -> list[Cell]:
    """As `results.cells` does with the seeds of all rows of a column."""
    pools = {column.key: pooled(cell.values for cell in cells if cell.column == column) for column in (TOP1, TOP5)}
    return together(cells, {cell.target: pools[cell.column.key] for cell in cells})


def table(generator: np.random.Generator, seeds: int, lost: float = 0.0, rows: int = 8) -> list[Cell]:
    """Two columns of `rows` rows, ours `lost` points worse; test images are drawn anew for every run."""
    cells = []
    for row in range(rows):
        for column, mean in ((TOP1, 22.5), (TOP5, 6.4)):
            errors = generator.normal(mean, RUN_SD, seeds + 1)
            errors[1:] += lost
            errors = generator.binomial(N, errors / 100) * 100 / N
            cells.append(measured(f"r{row}", column, errors[0], errors[1:]))
    return cells


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_one_or_more_false_verdicts_in_a_table_stay_under_the_stated_rate(seeds: int) -> None:
    """Sixteen truly equal cells: without the correction every third table has a false one (1 - 0.95^16 = 56%)."""
    generator, trials = np.random.default_rng(seeds), 250
    found = [[cell.verdict for cell in judge(table(generator, seeds))] for _ in range(trials)]
    allowed = 0.05 + 3 * sqrt(0.05 * 0.95 / trials)
    assert sum("WORSE" in verdicts or "BETTER" in verdicts for verdicts in found) / trials <= allowed
    assert sum("WORSE" in verdicts for verdicts in found) / trials <= 0.025 + 3 * sqrt(0.025 * 0.975 / trials)


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_detectable_loss_is_seen_in_four_of_five(seeds: int) -> None:
    """One cell of sixteen lost what it says that it would show; the others are equal.

    With seeds it is seen a little oftener: a row whose seeds scatter more than the pool promises less.
    """
    generator, trials, seen = np.random.default_rng(7), 150, 0
    for _ in range(trials):
        cells = table(generator, seeds)
        loss = judge(cells)[0].detectable
        assert loss is not None
        shifted = np.array(cells[0].values) + loss
        cells[0] = measured("r0", TOP1, float(cells[0].published), shifted)
        seen += judge(cells)[0].verdict == "WORSE"
    assert 0.8 - 3 * sqrt(0.16 / trials) <= seen / trials <= (0.8 if seeds == 1 else 0.88) + 3 * sqrt(0.16 / trials)


def test_verdict_band_and_p_values_agree() -> None:
    generator = np.random.default_rng(3)
    for lost in (0.0, 0.7, 1.4):
        cells = judge(table(generator, 2, lost))
        for cell in cells:
            assert cell.tested == 16
            assert cell.delta is not None
            assert cell.band is not None
            assert cell.adjusted is not None
            assert (abs(cell.delta) > cell.band) == (cell.adjusted <= 0.05) == (cell.verdict in ("BETTER", "WORSE"))


def the_page(cells: list[Cell]) -> Table:
    """A table of the paper's kind around made-up cells."""
    rows = tuple(Row(key, key, imagenet(resnet(50)), (22.0, 6.0)) for key in dict.fromkeys(cell.row for cell in cells))
    return Table(number=90, caption="made up", columns=(TOP1, TOP5), rows=rows)


def shifted_tables(lost: float, trials: int, seeds: int = 1) -> float:
    """How often the mean of eight rows is called worse."""
    generator = np.random.default_rng(11)
    worse = 0
    for _ in range(trials):
        cells = judge(table(generator, seeds, lost))
        top1 = trends(the_page(cells), cells)[0]
        worse += top1.verdict == "WORSE"
    return worse / trials


def test_half_a_point_lost_by_every_row_is_seen_as_a_whole_where_no_cell_shows_it() -> None:
    """The power that `results.verdict` and `results.trend` state: over 95%; and 2.5% false alarms at most."""
    assert shifted_tables(0.5, 200) > 0.95
    assert shifted_tables(0.0, 600) <= 0.025 + 3 * sqrt(0.025 * 0.975 / 600)


def test_a_trend_by_hand() -> None:
    """Two rows off by +0.4 and +0.6: the mean 0.5, its error sqrt(E1^2 + E2^2) / 2."""
    cells = judge([measured(f"r{i}", TOP1, 22.0, np.array([22.0 + d])) for i, d in enumerate((0.4, 0.6))])
    (trend,) = trends(the_page(cells), cells)
    errors = [22.4 * 77.6 / N + 22 * 78 / N + 2 * RUN_SD**2, 22.6 * 77.4 / N + 22 * 78 / N + 2 * RUN_SD**2]
    assert (trend.rows, trend.delta) == (2, pytest.approx(0.5))
    assert trend.band == pytest.approx(0.005 + 1.959964 * sqrt(sum(errors)) / 2, rel=1e-6)
    assert trend.text.startswith("top-1 +0.50 ± 0.")
    (sentence,) = told([trend])
    assert "(2 rows): worse than the printed column by more than the noise." in sentence


def test_cells_of_other_test_sets_have_no_trend() -> None:
    """Images that the paper did not test on are an error that all rows share: it does not average out."""
    cells = [measured(f"r{i}", TOP1, 22.0, np.array([24.0])) for i in range(3)]
    cells = [replace(cell, n=10_000) for cell in cells]
    assert trends(the_page(cells), judge(cells)) == []


def test_a_verdict_does_not_depend_on_the_rows_that_are_shown(tmp_path: Path) -> None:
    """`pyconv report table2/final` says what `pyconv report table2` says of it: it is one of many tested cells."""
    protocol = TABLE2.columns[0].protocol
    assert protocol is not None
    for row in TABLE2.rows:
        assert row.experiment is not None
        top1 = float(row.published[0]) + (0.8 if row.key == "final" else 0.1)  # type: ignore[arg-type]
        save(tmp_path, row.experiment, protocol, errors=(top1, float(row.published[1])))  # type: ignore[arg-type]
    found = Evidence.load(tmp_path)
    whole = [cell for cell in build([TABLE2], found) if cell.row == "final"]
    part = replace(TABLE2, rows=tuple(row for row in TABLE2.rows if row.key == "final"))
    assert build([part], found) == whole
    assert whole[0].tested == 16
    assert whole[0].verdict == "INCONCLUSIVE"
    alone = replace(part, number=91)  # a table of its own
    assert build([alone], found)[0].verdict == "WORSE"
    cells = build([TABLE2], found)
    remarks = sheet(TABLE2, frame(cells), found).together
    assert any("16 measured cells are tested together" in text for text in remarks)
    assert any("(8 rows): the printed column within the noise" in text for text in remarks)
    assert not any("tested together" in text for text in sheet(part, frame(whole), found).together)


def test_seeds_of_the_recipe_count_wherever_they_stand(tmp_path: Path) -> None:
    """Five seeds of Table 3's ResNeXt-101 tell how far Table 2's rows scatter: the same recipe, tested alike."""
    protocol = TABLE2.columns[0].protocol
    table3 = TABLES[3]
    assert protocol is not None
    assert isinstance(table3, Table)
    final, other = TABLE2.row("final").experiment, table3.row("resnext", "101").experiment
    assert final is not None
    assert other is not None
    save(tmp_path, final, protocol, errors=(22.3, 6.2))
    for seed, top1 in enumerate((21.0, 21.1, 21.2, 21.3, 21.4)):
        save(tmp_path, replace(other, seed=seed), protocol, errors=(top1, top1 / 4))
    (cell,) = [c for c in build([TABLE2], Evidence.load(tmp_path)) if c.target == "table2/final/top1_err"]
    assert cell.seed_noise == Noise(student=pytest.approx(sqrt(0.1 / 4)), degrees=4)  # squares 0.04 0.01 0 0.01 0.04
    found = Evidence.load(tmp_path)
    remarks = sheet(TABLE2, frame(build([TABLE2], found)), found).remarks
    assert any("one seed each: the spread between runs is that of other seeds of the recipe" in one for one in remarks)
    assert "one seed; spread 0.16 from all seeds of the recipe (4 degrees of freedom)" in cell.reason
