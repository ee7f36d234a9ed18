"""Detections drawn: which networks and photographs, every box where it was found, and what is told if it cannot be."""

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import photos
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from experiments import TABLES, tables
from experiments.figures import DETECTIONS, FIGURES, figures_of, pictured
from experiments.protocols import COCO300
from pyconv.data.coco import CocoSplit, read_coco
from results.figures.boxes_drawing import draw, label_texts, layout, shortened, told
from results.figures.canvas import DPI, LINE, WIDTH
from results.figures.class_colours import colours
from results.figures.detections import Boxes, Found, Panels, Photograph, choose, occurring, panels
from results.figures.segmentations import FigureError, Source
from slurm import cli as command_line
from slurm.job import predictions_folder, run_folder

NAMES = {1: "person", 3: "<script>alert('x')</script>", 90: "$x_1$ & \\co_{2}\n犬"}  # ids with gaps, as COCO's
SHAPES = ((40, 60), (60, 40), (30, 60), (40, 40), (48, 64), (40, 60))
EMPTY = 3  # the image without an object
COLUMNS = {figure.name: pictured(figure, tables()) for figure in DETECTIONS}
GREY = 128


def stem(image: int) -> str:
    return f"{image:012}"


def row(image: int, category: int, box: list[float], score: float) -> dict[str, object]:
    return {"image_id": image, "category_id": category, "bbox": box, "score": score}


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A validation split of real pixels; image ids are 10, 20, ...; image k has the box of class k mod 3."""
    root = tmp_path_factory.mktemp("coco")
    (root / "val2017").mkdir()
    (root / "annotations").mkdir()
    images, objects = [], []
    for number, (height, width) in enumerate(SHAPES):
        image = 10 * (number + 1)
        Image.fromarray(photos.photo("china.jpg")[:height, :width]).save(root / "val2017" / f"{stem(image)}.jpg")
        images.append({"id": image, "file_name": f"{stem(image)}.jpg", "width": width, "height": height})
        box = {"id": image, "image_id": image, "category_id": list(NAMES)[number % 3], "bbox": [10, 10, 20, 15]}
        objects += [] if number == EMPTY else [{**box, "area": 300, "iscrowd": 0, "segmentation": []}]
    categories = [{"id": number, "name": name} for number, name in NAMES.items()]
    content = {"images": images, "annotations": objects, "categories": categories}
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    return root


@pytest.fixture(scope="module")
def split(coco: Path) -> CocoSplit:
    return read_coco(coco, "val")


def source(folder: Path, *found: object) -> Source:
    folder.mkdir(exist_ok=True)
    (folder / "detections.json").write_text(json.dumps(found))
    return Source(("Net",), "table8/net", folder)


def predict(runs: Path, figure: str, *, mini: bool = False) -> None:
    """Both networks of a figure find a person on every image, the second one more surely."""
    columns = {one.name: pictured(one, tables(mini=mini)) for one in DETECTIONS}[figure]
    for number, one in enumerate(columns):
        folder = predictions_folder(run_folder(runs, one.experiment), one.protocol)
        folder.mkdir(parents=True)
        found = [row(10 * (k + 1), 1, [5, 5, 20, 20], 0.6 + 0.3 * number) for k in range(len(SHAPES))]
        (folder / "detections.json").write_text(json.dumps([*found, row(10, 3, [0, 0, 5, 5], 0.25)]))


def drawn(tmp_path: Path, coco: Path, *more: object, target: str = "table8") -> Result:
    words = (target, "--figures", "--runs", tmp_path / "runs", "--data", f"coco={coco}", "--output", tmp_path / "out")
    return CliRunner().invoke(command_line.cli, ["report", *(str(word) for word in (*words, *more))])


def boxes(*corners: tuple[float, float, float, float], scores: list[float] | None = None, labels: int = 1) -> Boxes:
    n = len(corners)
    found = None if scores is None else np.array(scores)
    return Boxes(np.array(corners, float).reshape(-1, 4), np.full(n, labels), found, np.zeros(n, bool))


def plain(shape: tuple[int, int], truth: Boxes, *found: Boxes, classes: tuple[str, ...] = ("thing",)) -> Panels:
    """One grey photograph."""
    image = np.full((*shape, 3), GREY, np.uint8)
    rows = (Photograph("p", image, truth, tuple(Found(one, 0) for one in found)),)
    return Panels(tuple((f"net {n}",) for n in range(len(found))), rows, classes)


def pixels(shown: Panels) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(draw(shown)["png"])).convert("RGB"))


def test_each_pair_of_table_8_has_a_figure_of_its_own() -> None:
    table8 = TABLES[8]
    for depth in (50, 101):
        pair = COLUMNS[f"detections{depth}"]
        assert [one.experiment for one in pair] == [
            table8.row(f"{kind}{depth}").experiment for kind in ("ssd", "pyconvssd")
        ]
        assert [one.header for one in pair] == [(table8.row(f"{kind}{depth}").label,) for kind in ("ssd", "pyconvssd")]
        assert {one.protocol for one in pair} == {COCO300}
        assert figures_of([(table8, table8.row(f"ssd{depth}"))]) == [FIGURES[2 if depth == 50 else 3]]


def test_the_photographs_are_in_the_middle_of_equal_parts_of_those_with_objects(split: CocoSplit) -> None:
    """Five of six have an object; the middles of four parts 1.25 long are 0.625, 1.875, 3.125, 4.375."""
    with_objects = [number for number in range(6) if number != EMPTY]
    assert choose(split) == [with_objects[place] for place in (0, 1, 3, 4)]
    assert choose(split, [stem(40), stem(10), stem(40)]) == [3, 0]  # asked for by name, without an object too
    with pytest.raises(FigureError, match=r"000000000011 is no photograph of .*, val; there are 000000000010 to 0000"):
        choose(split, [stem(11)])


def test_boxes_from_the_threshold_on_are_shown_by_falling_score_and_cut_to_the_image(
    tmp_path: Path, split: CocoSplit
) -> None:
    found = source(
        tmp_path / "a",
        row(10, 1, [1, 2, 3, 4], 0.5),
        row(10, 90, [-5, 30, 100, 100], 0.875),
        row(10, 3, [60, 0, 5, 5], 0.75),  # right of the image
        row(10, 3, [0, 0, 9, 9], 0.4999),
        row(20, 3, [0, 0, 9, 9], 0.99),
    )
    shown = panels(split, [found], [0])
    (photograph,) = shown.rows
    (net,) = photograph.found
    assert net.shown.corners.tolist() == [[0, 30, 60, 40], [1, 2, 4, 6]]
    assert net.shown.labels.tolist() == [3, 1]
    assert net.shown.scores is not None
    assert net.shown.scores.tolist() == [0.875, 0.5]
    assert net.below == 1
    assert photograph.truth.corners.tolist() == [[10, 10, 30, 25]]
    assert occurring(shown) == [1, 3]  # two persons, one of the third class


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (row(11, 1, [0, 0, 1, 1], 0.9), "image_id 11, which is no image of"),
        (row(10, 2, [0, 0, 1, 1], 0.9), "category_id 2 is not in the annotations"),
        (row(10, 1, [0, 0, 1, 1], 1.5), "score is 1.5"),
        (row(10, 1, [0, 0, -1, 1], 0.9), "bbox is [0, 0, -1, 1]"),
        (row(10, 1, [0, 0, 1], 0.9), "bbox is [0, 0, 1]"),
        ({"image_id": 10, "category_id": 1, "bbox": [0, 0, 1, 1]}, "score is None"),
        ([1], "is no list of objects"),
    ],
)
def test_what_is_no_detection_is_told(tmp_path: Path, split: CocoSplit, entry: object, message: str) -> None:
    bad = source(tmp_path / "a", row(10, 1, [0, 0, 1, 1], 0.9), entry)
    with pytest.raises(FigureError) as error:
        panels(split, [bad], [0])
    assert message in str(error.value)
    assert f"table8/net: {bad.folder / 'detections.json'}" in str(error.value)


def test_a_file_that_is_torn_is_told(tmp_path: Path, split: CocoSplit) -> None:
    torn = source(tmp_path / "a")
    (torn.folder / "detections.json").write_text('[{"image_id": 10, "score": NaN')
    with pytest.raises(FigureError, match=r"detections.json cannot be read .*; test again"):
        panels(split, [torn], [0])


def test_a_box_stands_where_it_was_found_in_its_class_s_colour() -> None:
    """Along each side of a box the line has the colour, in the network's column and not in the other one."""
    shown = plain((100, 200), boxes(), boxes((40, 30, 160, 80), scores=[0.9], labels=2), classes=("a", "b"))
    picture, place = pixels(shown), layout(shown)[0][1]
    scale = DPI * place.width / 200
    left, top = DPI * place.left, DPI * place.top
    colour = colours(2)[1]
    for x, y in ((40, 55), (160, 55), (100, 80), (140, 30)):  # the label is above the left part of the upper side
        assert (picture[round(top + y * scale), round(left + x * scale)] == colour).all(), (x, y)
    assert (picture[round(top + 55 * scale), round(left + 100 * scale)] == GREY).all()
    first = layout(shown)[0][0]
    inside = picture[round(DPI * first.top) + 1 : round(DPI * first.bottom) - 1]
    assert (inside[:, round(DPI * first.left) + 1 : round(DPI * first.right) - 1] == GREY).all()


def test_nothing_of_boxes_and_labels_leaves_the_photograph() -> None:
    """Boxes on all four sides and a name as wide as may be: beside the photographs the page stays white."""
    corners = [(0, 0, 99, 9), (0, 0, 5, 5), (95, 40, 100, 50), (90, 0, 100, 50), (0, 45, 100, 50), (0, 0, 100, 50)]
    scores = [0.9 - 0.01 * n for n in range(len(corners))]
    shown = plain((50, 100), boxes(*corners), boxes(*corners, scores=scores), classes=("W" * 50,))
    picture = pixels(shown)
    places = layout(shown)[0]
    rows = picture[int(DPI * places[0].top) - 4 : int(DPI * places[0].bottom) + 6]
    for place in places:  # and the dot that its edge may share
        rows[3:-3, int(DPI * place.left) - 1 : int(DPI * place.right) + 2] = 255
    assert (rows == 255).all()


def test_names_are_text_whatever_they_look_like() -> None:
    """Warnings are errors here: a formula, a missing letter or a line break would raise one or be drawn as such."""
    classes = (*NAMES.values(), "$\\frac{1}{0}$", "")
    rows = [boxes((5.0, 2, 90, 9), labels=label) for label in range(1, len(classes) + 1)]
    shown = [plain((10, 100), one, classes=classes) for one in rows]
    assert [label_texts(one, 0, classes)[0] for one in rows] == [
        "person",
        shortened(NAMES[3]),
        "$x_1$ & \\co_{2} \ufffd",
        "$\\frac{1}{0}$",
        "",
    ]
    assert shortened(NAMES[3]).startswith("<script>alert(")
    everything = Panels((), tuple(one.rows[0] for one in shown), classes)
    first, second = draw(everything), draw(everything)
    assert first == second
    pdf = first["pdf"]
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    assert b"CreationDate" not in pdf


def test_the_file_beside_a_picture_tells_every_box_and_label() -> None:
    """In a crowd some labels are the score alone or missing; what stands there is what is told."""
    corners = [(x, y, x + 30.0, y + 20.0) for x in range(0, 70, 7) for y in range(0, 80, 8)]
    scores = [1 - 0.004 * n for n in range(len(corners))]
    shown = plain((100, 100), boxes(*corners), boxes(*corners, scores=scores), classes=("hippopotamus",))
    ((truth, found),) = told(shown)
    assert len(truth) == len(found) == 100
    assert [one["score"] for one in found] == scores
    assert [one["bbox"] for one in found] == [[x, y, 30, 20] for x, y, _, _ in corners]
    assert {one["label"] for one in truth} == {"hippopotamus", ""}
    full = [one for one in found if one["label"] == f"hippopotamus: {one['score']:.2f}"]
    alone = [one for one in found if one["label"] == f"{one['score']:.2f}"]
    assert full[0] == found[0]
    assert len(full) + len(alone) + sum(one["label"] == "" for one in found) == 100
    assert all(one["class"] == "hippopotamus" for one in found)


def test_a_figure_is_drawn_from_stored_detections_and_says_what_is_in_it(tmp_path: Path, coco: Path) -> None:
    predict(tmp_path / "runs", "detections50")
    done = drawn(tmp_path, coco, target="table8/pyconvssd50")
    assert done.exit_code == 0, done.output
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == [f"detections50.{kind}" for kind in ("json", "pdf", "png")]
    with Image.open(out / "detections50.png") as picture:
        assert picture.width == round(WIDTH * DPI)
    about = json.loads((out / "detections50.json").read_text())
    assert about["photographs"] == [stem(image) for image in (10, 20, 50, 60)]
    assert (about["threshold"], about["data"], about["split"], about["mini"]) == (0.5, "coco", "val", False)
    assert [one["class"] for one in about["objects"][stem(50)]] == [NAMES[3]]
    assert [one["target"] for one in about["networks"]] == ["table8/ssd50", "table8/pyconvssd50"]
    for number, network in enumerate(about["networks"]):
        (person,) = network["detections"][stem(10)]
        assert (person["class"], person["bbox"], person["score"]) == ("person", [5, 5, 20, 20], 0.6 + 0.3 * number)
        assert network["below_threshold"] == {stem(10): 1, stem(20): 0, stem(50): 0, stem(60): 0}


def test_a_mini_figure_has_a_name_of_its_own_and_a_line_that_says_so(tmp_path: Path, coco: Path) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(coco, runs / "data" / "signs")  # stands for the packaged set, which has the same layout
    predict(runs, "detections50", mini=True)
    done = drawn(tmp_path, coco, "--mini", target="table8/ssd50")
    assert done.exit_code == 0, done.output
    about = json.loads((tmp_path / "out" / "mini-detections50.json").read_text())
    assert (about["mini"], about["data"]) == (True, "signs")
    assert [one["target"] for one in about["networks"]] == ["mini-table8/ssd50", "mini-table8/pyconvssd50"]
    shown = plain((5, 100), boxes(), boxes())
    taller = pixels(replace(shown, note="Small runs")).shape[0] - pixels(shown).shape[0]
    assert taller == pytest.approx(LINE * DPI, abs=1)


def test_missing_detections_are_told_and_the_other_pair_is_written(tmp_path: Path, coco: Path) -> None:
    predict(tmp_path / "runs", "detections50")
    missing = COLUMNS["detections101"][1]
    done = drawn(tmp_path, coco, "--images", f"{stem(20)}.jpg")
    assert done.exit_code == 1
    folder = predictions_folder(run_folder(tmp_path / "runs", missing.experiment), missing.protocol)
    assert f"table8/pyconvssd101 has no predictions in {folder}" in done.output
    assert "pyconv run table8/pyconvssd101 --runs" in done.output
    assert json.loads((tmp_path / "out" / "detections50.json").read_text())["photographs"] == [stem(20)]
    assert not (tmp_path / "out" / "detections101.png").exists()
    assert "detections101: table8/ssd101, table8/pyconvssd101" in drawn(tmp_path, coco, target="table2").output
