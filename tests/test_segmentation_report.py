"""Records of segmentation in the report: their curves, their classes, and no verb that stumbles over them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from evidence import SHA, measurement
from pages import Page

from experiments import TABLES
from experiments.protocols import MULTI_SCALE, SINGLE_SCALE
from experiments.spec import Experiment, Protocol
from experiments.table7_state_of_the_art import STANDARD
from pyconv.data.ade20k_classes import names
from results.classes import segmentation_metrics
from results.compare import compare
from results.evidence import Evidence
from results.gather import gather
from results.printers.class_view import SHOWN, class_facts
from results.printers.curves import figures
from results.printers.provenance_view import provenance
from results.records import Metric, Record, record_path, write
from results.report import EXPORTS, FORMATS, render

TABLE5, TABLE6, TABLE7 = TABLES[5], TABLES[6], TABLES[7]
CLASSES = 150
EPOCHS = 100


def counted(right: int) -> dict[str, list[int]]:
    """Class c has 100 labelled and predicted pixels, c % `right` of them right; the last class does not occur."""
    here = [100] * (CLASSES - 1) + [0]
    return {"intersection": [c % right for c in range(CLASSES - 1)] + [0], "predicted": here, "labelled": here}


def history() -> list[dict[str, Any]]:
    return [
        {"epoch": n, "miou": 0.3 * n, "pixel_acc": 0.6 * n, "train_pixel_acc": 0.75 * n, "train_loss": 1.0}
        for n in range(1, EPOCHS + 1)
    ]


def segmented(experiment: Experiment, protocol: Protocol, right: int = 99) -> Record:
    found = counted(right)
    return measurement(
        experiment,
        protocol,
        metrics={key: Metric(value, "%", 2_000, 0.4) for key, value in segmentation_metrics(found).items()},
        per_class=found,
        observed={"input": [473, 473]},
        history=history(),
        data={"name": "ade20k", "splits": {"val": {"samples": 2_000, "classes": CLASSES, "sha256": SHA}}},
    )


def save(root: Path, experiment: Experiment, protocol: Protocol, **changes: int) -> Path:
    return write(segmented(experiment, protocol, **changes), record_path(root, experiment, protocol))


@pytest.fixture
def recorded(tmp_path: Path) -> Evidence:
    """One head of Table 5, one backbone of Table 6 tested in two ways, and Table 7's first training."""
    save(tmp_path, TABLE5.row("pspnet", "os8").experiment, SINGLE_SCALE)
    experiment = TABLE6.row("pyconvresnet152").experiment
    assert experiment == STANDARD
    for protocol in (SINGLE_SCALE, MULTI_SCALE):
        save(tmp_path, experiment, protocol)
    return Evidence.load(tmp_path)


def test_every_format_takes_records_of_segmentation(recorded: Evidence) -> None:
    assert recorded.problems == ()
    pages = render([TABLE5, TABLE6, TABLE7], recorded, (*FORMATS, *EXPORTS), "../records/")
    miou = segmentation_metrics(counted(99))["miou"]
    for name in ("table5.md", "table6.tex", "index.html"):
        assert f"{miou:.2f}" in pages[name]
    assert "mIoU:" in pages["metafile.yml"]
    assert "aAcc:" in pages["metafile.yml"]
    (card, *_) = (page for name, page in pages.items() if name.startswith("model-cards/"))
    assert "type: mean_iou" in card


def test_iou_and_pixel_accuracy_are_drawn_each_training_once(recorded: Evidence) -> None:
    found = {figure.key: figure for figure in figures(gather([TABLE5, TABLE6, TABLE7], recorded))}
    assert set(found) == {f"curves-table{n}{end}" for n in (5, 6) for end in ("", "-pixel_acc")}
    (panel,) = found["curves-table6"].panels
    assert panel.name == "mean IoU"
    assert [level.text for level in panel.levels] == ["paper 44.36"]  # the single scale's, the first column
    assert [row[1] for row in panel.rows] == [f"{0.3 * n:.2f}" for n in range(1, EPOCHS + 1)]
    assert found["curves-table6"].kinds == {"validation"}
    (panel,) = found["curves-table5-pixel_acc"].panels
    assert panel.headers == ("epoch", "PSPNet [23]: PPM train", "PSPNet [23]: PPM validation")
    assert panel.rows[-1] == ("100", "75.00", "60.00")
    assert "validation pixel accuracy 60.00% after epoch 100, published 80.01%" in panel.told


def test_the_page_names_what_is_drawn(recorded: Evidence) -> None:
    page = Page(str(render([TABLE6], recorded, ("html",))["index.html"]))
    assert "Table 6, PyConvResNet-152: mean IoU by epoch" in page.text


def test_a_cell_s_dialog_has_the_curve_of_its_metric(recorded: Evidence) -> None:
    told = json.loads(json.dumps(provenance(gather([TABLE6], recorded))))
    cells = told["cells"]
    for column, metric, name in (("miou_ms", "miou", "mean IoU"), ("pixel_acc_ss", "pixel_acc", "pixel accuracy")):
        cell = cells[f"table6/pyconvresnet152/{column}"]
        assert cell["curve"][0] == metric
        assert told["texts"][cell["curve"][1]] == name
        (record,) = (told["records"][number] for number, _ in cell["records"])
        assert record["curves"][metric]["validation"][-1][0] == EPOCHS
    assert cells["table6/pyconvresnet152/miou_ms"]["level"] == 45.64


def test_classes_are_told_from_the_best_to_the_worst() -> None:
    """With i of 100 right pixels on both sides the IoU is i / (200 - i): the order is that of i."""
    facts = dict(class_facts(counted(99), "ade20k"))
    short = [name.split(",")[0] for name in names()]
    best = facts["IoU, best classes"].split(", ")
    assert best[0] == f"{short[98]} {100 * 98 / 102:.1f}"
    assert len(best) == SHOWN
    worst = facts["IoU, worst classes"].split(", ")
    assert set(worst[:2]) == {f"{short[0]} 0.0", f"{short[99]} 0.0"}
    assert facts["classes never hit"] == "2 of 149"
    assert facts["neither labelled nor predicted"] == short[149]


def test_two_classes_are_no_class_twice() -> None:
    facts = dict(class_facts({"intersection": [3, 1], "predicted": [5, 2], "labelled": [4, 3]}, "ade20k"))
    assert facts["IoU, best classes"] == "class 1 50.0"
    assert facts["IoU, worst classes"] == "class 2 25.0"


def test_classes_of_the_packaged_scenes_are_called_by_their_names() -> None:
    right = [5, 3, *[0] * 10]
    facts = dict(class_facts({"intersection": right, "predicted": right, "labelled": right}, "scenes"))
    assert facts["IoU, best classes"] == "sky 100.0"
    assert facts["neither labelled nor predicted"].startswith("digit 0, digit 1")


def test_the_dialog_shows_them(recorded: Evidence) -> None:
    told = provenance(gather([TABLE5], recorded))
    assert any(text.startswith(f"{names()[98].split(',')[0]} ") for text in told["texts"])


def test_two_sides_of_segmentation_are_compared(tmp_path: Path) -> None:
    experiment = TABLE5.row("pspnet", "os8").experiment
    for name, right in (("a", 99), ("b", 99), ("c", 40)):
        save(tmp_path / name, experiment, SINGLE_SCALE, right=right)
    evidence = {name: Evidence.load(tmp_path / name) for name in "abc"}
    (page,) = compare([TABLE5], evidence["a"], evidence["b"]).pages
    assert {cell.word for cell in page.cells} == {"SAME"}
    (page,) = compare([TABLE5], evidence["a"], evidence["c"]).pages
    assert {cell.word for cell in page.cells} == {"LEFT BETTER"}


def test_two_seeds_are_averaged(tmp_path: Path) -> None:
    experiment = TABLE5.row("pspnet", "os8").experiment
    assert experiment is not None
    for seed, right in ((0, 99), (1, 98)):
        save(tmp_path, replace(experiment, seed=seed), SINGLE_SCALE, right=right)
    report = gather([TABLE5], Evidence.load(tmp_path))
    (cell,) = (c for c in report.cells if c.target == "table5/pspnet/os8/miou")
    expected = sum(segmentation_metrics(counted(right))["miou"] for right in (99, 98)) / 2
    assert cell.measured == pytest.approx(expected)
    assert cell.seeds == 2
