"""Figures 7 and 9 drawn: every point is the record's, levels are the paper's, what is missing is said and not drawn."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from evidence import save
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pages import history, save_figure_7
from PIL import Image

from experiments import TABLES, tables
from experiments.protocols import VIEWS30
from experiments.spec import Table
from results.evidence import Evidence
from results.figures import canvas
from results.figures.canvas import DPI, WIDTH
from results.figures.segmentations import FigureError
from results.figures.training_curves import COLOURS, NARROW, Curves, _figure, curves, draw, published, told
from results.printers.curves import PAPER, figures
from results.printers.panels import DRAWN
from slurm import cli as command_line
from slurm.commands.figure_pages import curve_pages

SEVEN, NINE = PAPER
TABLE3, TABLE10 = TABLES[3], TABLES[10]
assert isinstance(TABLE3, Table)
assert isinstance(TABLE10, Table)


def save_figure_9(root: Path, rows: tuple[str, ...] = ("resnet3d50", "pyconvresnet3d50"), epochs: int = 90) -> None:
    """Runs that end, by one clip a video, three points above the printed errors by thirty views."""
    for row in TABLE10.rows:
        top1, top5, *_ = row.published
        if row.key in rows:
            assert row.experiment is not None
            assert isinstance(top1, float)
            save(root, row.experiment, VIEWS30, errors=(top1, top5), history=history(round(top1 + 3, 2), epochs))


def mini_record(root: Path, number: int) -> str:
    """A run of the first row of a mini table; its target."""
    table = {one.number: one for one in tables(mini=True)}[number]
    assert isinstance(table, Table)
    row = table.rows[0]
    protocol = table.protocol(row, table.columns[0])
    assert row.experiment is not None
    assert protocol is not None
    save(root, row.experiment, protocol, history=history(30.0, epochs=3), mini=True)
    return table.target(row)


def seen(shown: Curves, note: str = "") -> Figure:
    """The page as it is drawn, every part in its place."""
    with canvas.style():
        figure = _figure(shown, note)
        figure.draw_without_rendering()
    return figure


def lines(figure: Figure, panel: int) -> list[Line2D]:
    return list(figure.axes[panel].get_lines())


def reported(*words: object) -> Result:
    return CliRunner().invoke(command_line.cli, ["report", *(str(word) for word in words)])


def test_the_lines_are_the_histories_dashed_for_training_and_solid_for_validation(tmp_path: Path) -> None:
    save_figure_7(tmp_path, ("50",))
    figure = seen(curves(SEVEN, TABLE3, Evidence.load(tmp_path)))
    (axes,) = figure.axes
    for number, (key, errors) in enumerate((("resnet", 23.88), ("pyconvresnet", 22.12), ("pyconvhgresnet", 21.52))):
        entries = history(errors)
        own = [line for line in axes.get_lines() if line.get_color() == COLOURS[SEVEN.rows.index(key)]]
        level, train, validation = own
        assert number == SEVEN.rows.index(key)
        for line, name, dashed in ((train, "train_top1_err", True), (validation, "top1_err", False)):
            assert list(line.get_xdata()) == [entry["epoch"] for entry in entries]
            assert list(line.get_ydata()) == [entry[name] for entry in entries]
            assert line.is_dashed() == dashed
        assert set(np.asarray(level.get_ydata())) == {errors}  # Table 3 prints it
        assert level.get_linewidth() < validation.get_linewidth()
    assert axes.get_xlim() == (0, 90)
    low, high = axes.get_ylim()
    assert low <= 20 < 80 <= high <= 100


def test_a_panel_a_depth_in_the_tables_order_at_one_scale_and_what_has_no_run_is_named(tmp_path: Path) -> None:
    save_figure_7(tmp_path, ("152", "101"), seeds=2)
    shown = curves(SEVEN, TABLE3, Evidence.load(tmp_path))
    figure = seen(shown)
    assert [axes.get_title() for axes in figure.axes] == ["101 layers", "152 layers"]
    assert len({(axes.get_xlim(), axes.get_ylim()) for axes in figure.axes}) == 1
    assert [len(lines(figure, panel)) for panel in (0, 1)] == [3 + 3 * 2 * 2] * 2  # levels; networks, seeds, kinds
    assert [target for _, target in shown.missing] == [f"table3/{row}/50" for row in ("resnet", *SEVEN.rows[:0:-1])]
    texts = " ".join(text.get_text() for text in figure.texts)
    assert "Not drawn, no run with a history is recorded: ResNet (baseline) [7] 50, " in texts


def test_the_page_and_the_picture_show_the_same_networks_panels_and_levels(tmp_path: Path) -> None:
    from results.gather import gather

    save_figure_7(tmp_path, ("50", "152"), seeds=2)
    evidence = Evidence.load(tmp_path)
    (page,) = figures(gather([TABLE3], evidence))
    shown = curves(SEVEN, TABLE3, evidence)
    assert [f"depth {group}" for group, _ in shown.panels] == [panel.title for panel in page.panels]
    assert {label for label, _ in shown.missing} == set(page.missing)
    drawn = seen(shown)
    for number, panel in enumerate(page.panels):
        own = lines(drawn, number)
        assert len(own) == len(panel.traces) + len(panel.levels)
        printed = {f"paper {np.asarray(line.get_ydata())[0]:.2f}" for line in own if len(set(line.get_ydata())) == 1}
        assert printed == {level.text for level in panel.levels}


def test_figure_9_says_that_the_printed_errors_are_of_more_views_than_the_curves(tmp_path: Path) -> None:
    save_figure_9(tmp_path)
    shown = curves(NINE, TABLE10, Evidence.load(tmp_path))
    assert published(shown) == "Published: Table 10, by 10 clips x 3 crops a video where the curves are by one clip."
    assert shown.missing == ()
    figure = seen(shown)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "ResNet3D-50 [7]",
        "PyConvResNet3D-50",
        "training",
        "validation",
        "published final error",
    ]
    assert {float(line.get_ydata()[0]) for line in lines(figure, 0) if len(set(line.get_ydata())) == 1} == {
        37.01,
        34.56,
    }
    save_figure_7(tmp_path, ("50",))
    assert published(curves(SEVEN, TABLE3, Evidence.load(tmp_path))) == "Published: Table 3."


def test_nothing_written_lies_outside_the_page_or_on_something_else(tmp_path: Path) -> None:
    save_figure_7(tmp_path / "7", ("50", "101"))
    save_figure_9(tmp_path / "9", ("resnet3d50",), epochs=1)
    for wanted, table in ((SEVEN, TABLE3), (NINE, TABLE10)):
        figure = seen(curves(wanted, table, Evidence.load(tmp_path / wanted.key[-1])), "A note below. " * 12)
        page = figure.bbox
        boxes = [axes.get_tightbbox() for axes in figure.axes]
        boxes += [figure.legends[0].get_window_extent(), *(text.get_window_extent() for text in figure.texts)]
        for number, box in enumerate(boxes):
            assert page.x0 <= box.x0 < box.x1 <= page.x1
            assert page.y0 <= box.y0 < box.y1 <= page.y1
            overlaps = [box.overlaps(other) for other in boxes[:number]]
            assert not any(overlaps), (wanted.key, number)


def test_an_epoch_alone_is_a_visible_point(tmp_path: Path) -> None:
    save_figure_9(tmp_path, ("resnet3d50",), epochs=1)
    pages = draw(curves(NINE, TABLE10, Evidence.load(tmp_path)))
    pixels = np.asarray(Image.open(io.BytesIO(pages["png"])).convert("RGB")).astype(int)
    frame = pixels[: pixels.shape[0] // 2]  # without the legend
    colour = np.round(255 * np.array(to_rgb(COLOURS[0])))
    assert (np.abs(frame - colour).max(-1) < 30).sum() > 10


def test_of_many_runs_the_first_are_drawn_and_one_off_its_protocol_is_marked(tmp_path: Path) -> None:
    row = TABLE3.row("resnet", "50")
    assert row.experiment is not None
    for seed in range(DRAWN + 2):
        save(tmp_path, replace(row.experiment, seed=seed), history=history(24.0), deviations=["half the images"])
    (network,) = curves(SEVEN, TABLE3, Evidence.load(tmp_path)).networks
    assert len(network.runs) == DRAWN
    assert network.label == "ResNet (baseline) [7]‡"


@pytest.mark.parametrize("text", ["$x_1$ & \\co_{2}", "<script>alert('x')</script>"])
def test_a_hostile_label_is_a_label(text: str, tmp_path: Path) -> None:
    rows = tuple(replace(row, label=text) for row in TABLE10.rows)
    save_figure_9(tmp_path, ("resnet3d50",))
    shown = curves(NINE, replace(TABLE10, rows=rows), Evidence.load(tmp_path))
    assert text in [label.get_text() for label in seen(shown).legends[0].get_texts()]
    draw(shown)


def test_the_same_records_are_the_same_bytes_and_the_text_is_text(tmp_path: Path) -> None:
    save_figure_9(tmp_path)
    first, second = (draw(curves(NINE, TABLE10, Evidence.load(tmp_path)), "A note.") for _ in range(2))
    assert first == second
    assert b"/FontFile2" in first["pdf"]
    assert b"/Type3" not in first["pdf"]
    assert b"CreationDate" not in first["pdf"]
    assert Image.open(io.BytesIO(first["png"])).width == pytest.approx(NARROW * DPI, abs=1)


def test_the_command_writes_picture_and_numbers_without_a_runs_folder(tmp_path: Path) -> None:
    save_figure_7(tmp_path / "records", ("50", "101", "152"))
    out = tmp_path / "out"
    done = reported("table3/resnet/50", "--figures", "--records", tmp_path / "records", "--output", out)
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in out.iterdir()) == ["figure7.json", "figure7.pdf", "figure7.png"]
    with Image.open(out / "figure7.png") as picture:
        assert picture.width == round(WIDTH * DPI)
    about = json.loads((out / "figure7.json").read_text())
    assert (about["figure"], about["table"], about["mini"], about["missing"]) == ("7", "table3", False, [])
    assert len(about["networks"]) == 9
    one = next(network for network in about["networks"] if network["target"] == "table3/pyconvresnet/101")
    assert one["published"] == 20.99
    assert one["runs"][0]["validation"] == [[entry["epoch"], entry["top1_err"]] for entry in history(20.99)]


@pytest.mark.parametrize(("number", "name"), [(3, "figure7"), (10, "figure9")])
def test_mini_runs_are_drawn_under_a_name_of_their_own_without_a_level(number: int, name: str, tmp_path: Path) -> None:
    target = mini_record(tmp_path / "records", number)
    words = (f"table{number}", "--figures", "--records", tmp_path / "records", "--output", tmp_path / "out")
    done = reported(*words, "--mini")
    assert done.exit_code == 0, done.output
    about = json.loads((tmp_path / "out" / f"mini-{name}.json").read_text())
    assert about["mini"]
    assert [(network["target"], network["published"]) for network in about["networks"]] == [(target, None)]
    assert about["missing"]
    assert reported(*words).exit_code == 1  # nothing of the paper's own is recorded


def test_without_a_history_nothing_is_written_and_it_is_said_what_to_run(tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    done = reported("table10", "--figures", "--records", tmp_path / "records", "--output", tmp_path / "out")
    assert done.exit_code == 1
    assert "figure9: nothing to draw yet: no run of table10/resnet3d50, table10/pyconvresnet3d50" in done.output
    assert not (tmp_path / "out").exists()
    with pytest.raises(FigureError, match="pyconv run TARGET --mini"):
        curve_pages(NINE, replace(TABLE10, mini=True), True, Evidence.load(tmp_path / "records"))


def test_a_row_in_no_figure_and_pictures_without_a_runs_folder_are_wrong_usage(tmp_path: Path) -> None:
    for target in ("table2", "table3/iresnet/50", "table9"):
        done = reported(target, "--figures", "--output", tmp_path)
        assert done.exit_code == 2
        assert "figure7: table3/resnet, table3/pyconvresnet, table3/pyconvhgresnet; figure9: table10/" in done.output
    assert reported("table3", "--figures").exit_code == 2
    done = reported("all", "--figures", "--output", tmp_path)
    assert done.exit_code == 2
    assert "--figures needs --runs DIR for figure10, figure11, detections50, detections101" in done.output


def test_told_is_what_is_drawn(tmp_path: Path) -> None:
    save_figure_9(tmp_path)
    shown = curves(NINE, TABLE10, Evidence.load(tmp_path))
    for network, own in zip(told(shown), shown.networks, strict=True):
        assert network["target"] == f"table10/{own.cell.row}"
        assert network["runs"] == [{kind: [[*point] for point in found] for kind, found in own.runs[0].items()}]
        assert len(network["records"]) == 1
