"""Training curves: every drawn point is the record's, the levels are the paper's, and nothing is drawn of nothing."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from evidence import measurement
from hypothesis import given
from hypothesis import strategies as st
from pages import Page, history, save_figure_7
from test_page import html, in_memory
from test_report import NEW, NOWHERE, OLD, TABLE, TOP1

from experiments import TABLES, tables
from experiments.spec import Table
from results.cell import Cell
from results.evidence import Evidence
from results.gather import gather
from results.printers.curves import Figure, figures
from results.printers.panels import (
    APART,
    BOTTOM,
    DRAWN,
    HEIGHT,
    LEFT,
    TOP,
    Network,
    Panel,
    _levels,
    _step,
    points,
)


def drawn(found: Evidence, table: Table = TABLE) -> list[Figure]:
    return figures(gather([table], found))


def numbers(panel: Panel, trace: int) -> list[tuple[float, float]]:
    """What a reader with a ruler reads off a line, from two ticks of each axis."""
    (x0, e0), (x1, e1) = (tuple(map(float, tick)) for tick in (panel.ticks_x[0], panel.ticks_x[-1]))
    (y0, v0), (y1, v1) = (tuple(map(float, tick)) for tick in (panel.ticks_y[0], panel.ticks_y[-1]))
    pairs = [tuple(map(float, pair.split(","))) for pair in panel.traces[trace].points.split()]
    return [(e0 + (x - x0) * (e1 - e0) / (x1 - x0), v0 + (y - y0) * (v1 - v0) / (y1 - y0)) for x, y in pairs]


def test_a_line_read_with_a_ruler_is_the_history() -> None:
    told = history(22.3)
    (figure,) = drawn(in_memory({"a.json": measurement(NEW, history=told)}))
    (panel,) = figure.panels
    assert [trace.kind for trace in panel.traces] == ["train", "validation"]
    for trace, key in enumerate(("train_top1_err", "top1_err")):
        read = numbers(panel, trace)
        assert [epoch for epoch, _ in read] == pytest.approx([entry["epoch"] for entry in told], abs=0.05)
        assert [error for _, error in read] == pytest.approx([entry[key] for entry in told], abs=0.05)
    (level,) = panel.levels
    assert level.text == "paper 22.12"
    (y0, v0), (y1, v1) = (tuple(map(float, tick)) for tick in (panel.ticks_y[0], panel.ticks_y[-1]))
    assert v0 + (float(level.y) - y0) * (v1 - v0) / (y1 - y0) == pytest.approx(22.12, abs=0.05)
    assert panel.headers == ("epoch", "PyConvResNet-50 † train", "PyConvResNet-50 † validation")
    assert panel.rows[-1] == ("90", "21.30", "22.30")
    assert "1 run, validation error 22.30% after epoch 90, published 22.12%" in panel.told


def test_the_highest_and_the_lowest_error_touch_the_frame() -> None:
    told = [{"epoch": 1, "top1_err": 100}, {"epoch": 4, "top1_err": 0}]
    (figure,) = drawn(in_memory({"a.json": measurement(NEW, history=told)}))
    (panel,) = figure.panels
    first, last = (tuple(map(float, pair.split(","))) for pair in panel.traces[0].points.split())
    assert first == pytest.approx((LEFT + (panel.right - LEFT) / 4, TOP), abs=0.05)
    assert last == (panel.right, HEIGHT - BOTTOM)


def test_figure_7_has_a_panel_a_depth_with_the_printed_levels(tmp_path: Path) -> None:
    save_figure_7(tmp_path, ("50", "152"), seeds=2)
    table = TABLES[3]
    assert isinstance(table, Table)
    seven, *rest = figures(gather([table], Evidence.load(tmp_path)))
    assert not rest
    assert [panel.title for panel in seven.panels] == ["depth 50", "depth 152"]
    levels = [[level.text for level in panel.levels] for panel in seven.panels]
    assert levels == [
        ["paper 23.88", "paper 22.12", "paper 21.52"],
        ["paper 21.55", "paper 20.64", "paper 20.48"],
    ]
    assert [len(panel.traces) for panel in seven.panels] == [3 * 2 * 2] * 2  # networks, seeds, training and validation
    assert seven.legend == ("ResNet (baseline) [7]", "PyConvResNet", "PyConvHGResNet")
    assert [name.rpartition(" ")[2] for name in seven.missing] == ["101"] * 3
    assert len({(panel.ticks_x, panel.ticks_y) for panel in seven.panels}) == 1  # so that depths can be compared


def test_where_no_run_has_a_history_that_is_said_and_nothing_is_drawn() -> None:
    page = html(tables(), NOWHERE)
    assert "<svg" not in page
    assert "Figure 7" in page
    assert "Figure 9" in page
    assert page.count("Nothing to draw yet: no run of ") == 2
    bare = in_memory({"a.json": measurement(NEW, history=[{"epoch": 1, "train_loss": 6.5}])})
    assert drawn(bare) == []


def test_what_is_no_error_rate_in_a_history_is_passed_over() -> None:
    good = {"epoch": 2, "top1_err": 50.0, "train_top1_err": 51}
    bad = [{"epoch": 1, "top1_err": 3, "train_top1_err": x} for x in ("<b>", None, True, -1, 101, 1e300, [1])]
    record = measurement(NEW, history=[*bad, good, {"top1_err": 1.0}])
    assert points(record, "train_top1_err") == [(2, 51)]
    assert points(record, "top1_err")[-1] == (2, 50.0)


def test_mini_curves_stay_in_the_mini_section() -> None:
    (small, *_) = tables(mini=True)
    assert isinstance(small, Table)
    row = small.rows[0]
    protocol = small.protocol(row, small.columns[0])
    assert row.experiment is not None
    assert protocol is not None
    record = measurement(row.experiment, protocol, history=history(30.0, epochs=2), mini=True)
    above, below = html([*tables(), small], in_memory({"a.json": record})).split('<h2 id="mini">')
    assert "<svg" not in above
    assert below.count("<svg") == 1
    assert "published final number" not in below


def test_a_run_is_drawn_once_and_of_many_runs_the_first() -> None:
    """A row of another table with the same runs adds no second panel."""
    runs = {f"{n:03}.json": measurement(replace(NEW, seed=n), history=history(22.0)) for n in range(DRAWN + 5)}
    again = replace(TABLE, number=91)
    (figure,) = figures(gather([TABLE, again], in_memory(runs)))
    assert len(figure.panels[0].traces) == 2 * DRAWN
    assert f"{DRAWN} runs" in figure.panels[0].told


def test_a_network_off_its_protocol_carries_the_mark() -> None:
    record = measurement(OLD, history=history(23.0), deviations=["half the images"])
    (figure,) = drawn(in_memory({"a.json": record}))
    assert figure.panels[0].title == "ResNet-50 [7]‡"


def test_one_run_off_its_protocol_marks_the_network_in_the_legend(tmp_path: Path) -> None:
    save_figure_7(tmp_path, ("101",))
    save_figure_7(tmp_path, ("50",), deviations=["half the images"])
    (seven,) = figures(gather([TABLES[3]], Evidence.load(tmp_path)))
    assert seven.legend == ("ResNet (baseline) [7]‡", "PyConvResNet‡", "PyConvHGResNet‡")


@given(st.lists(st.floats(10, HEIGHT - BOTTOM), min_size=1, max_size=5))
def test_labels_never_cover_each_other_and_stay_in_the_panel(places: list[float]) -> None:
    cell = Cell("table90", "new", "PyConvResNet-50", "", TOP1, 22.12)
    made = _levels([(y, Network(cell, (), 1)) for y in places])
    ys = [float(level.label_y) for level in made]
    assert all(low - high >= APART - 0.11 for high, low in pairwise(ys))  # printed with one decimal
    assert max(ys) <= HEIGHT - BOTTOM
    assert [float(level.y) for level in made] == pytest.approx(sorted(places), abs=0.051)


@pytest.mark.parametrize("epochs", [1, 2, 7, 30, 90, 100, 300, 1234])
def test_ticks_are_few_and_whole(epochs: int) -> None:
    assert 1 <= epochs / _step(epochs) <= 7


def test_curves_are_read_by_who_does_not_see_them(tmp_path: Path) -> None:
    save_figure_7(tmp_path)
    page = html([TABLES[3]], Evidence.load(tmp_path))
    assert page.count('role="img" aria-labelledby="figure7-1-t" aria-describedby="figure7-1-d"') == 1
    assert "ResNet (baseline) [7]: 1 run, validation error 23.88% after epoch 90, published 23.88%." in Page(page).text
    assert '<th scope="row">90</th>' in page
