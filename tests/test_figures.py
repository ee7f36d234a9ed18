"""Figures 10 and 11: what stands beside what, which photographs, true colours, and what is told when it cannot be."""

import io
import json
from pathlib import Path

import numpy as np
import photos
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from experiments import TABLES, tables
from experiments.figures import FIGURE10, FIGURE11, figures_of, pictured
from experiments.protocols import MULTI_SCALE, SINGLE_SCALE
from experiments.spec import Experiment, Protocol
from pyconv.data.ade20k import IGNORE, read_scenes
from pyconv.data.ade20k_classes import names, palette
from results.figures.drawing import DPI, GAP, MARGIN, WIDTH, colours, draw
from results.figures.segmentations import FigureError, Panels, Photograph, Source, choose, occurring, pixel_acc
from slurm import cli as command_line
from slurm.job import predictions_folder, run_folder

PHOTOGRAPHS = 6
COLUMNS = {figure.number: pictured(figure, tables()) for figure in (FIGURE10, FIGURE11)}


def stem(number: int) -> str:
    return f"ADE_val_{number:08}"


def labels(number: int) -> np.ndarray:
    """Label map of photograph `number` as in a file: upper half class `number` + 1, a row of 0, the rest class 1."""
    found = np.full((30, 40), 1, np.uint8)
    found[:15], found[15] = number + 1, 0
    return found


@pytest.fixture(scope="module")
def ade(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A validation split in the release's layout, of real pixels."""
    root = tmp_path_factory.mktemp("ade20k")
    for folder in ("images/validation", "annotations/validation"):
        (root / folder).mkdir(parents=True)
    for number in range(1, PHOTOGRAPHS + 1):
        crop = photos.photo("china.jpg")[: 30 * number : number, : 40 * number : number]
        Image.fromarray(crop).save(root / "images/validation" / f"{stem(number)}.jpg")
        Image.fromarray(labels(number)).save(root / "annotations/validation" / f"{stem(number)}.png")
    return root


def folder_of(runs: Path, experiment: Experiment, protocol: Protocol) -> Path:
    folder = predictions_folder(run_folder(runs, experiment), protocol)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def predict(runs: Path, number: int) -> None:
    """All networks of a figure see class 1 everywhere."""
    for one in COLUMNS[number]:
        folder = folder_of(runs, one.experiment, one.protocol)
        for image in range(1, PHOTOGRAPHS + 1):
            Image.fromarray(np.full((30, 40), 1, np.uint8)).save(folder / f"{stem(image)}.png")


def cli(*words: object) -> Result:
    return CliRunner().invoke(command_line.cli, ["report", *(str(word) for word in words)])


def drawn(tmp_path: Path, ade: Path, *more: object, target: str = "table5") -> Result:
    runs, output = tmp_path / "runs", tmp_path / "out"
    return cli(target, "--figures", "--runs", runs, "--data", f"ade20k={ade}", "--output", output, *more)


def test_the_figures_show_the_rows_that_their_captions_name() -> None:
    table5, table6 = TABLES[5], TABLES[6]
    assert [one.experiment for one in COLUMNS[10]] == [
        table5.row(key, "os8").experiment for key in ("pspnet", "deeplabv3", "pyconvsegnet")
    ]
    assert [one.experiment for one in COLUMNS[11]] == [
        table6.row(f"pyconvresnet{depth}").experiment for depth in (50, 101, 152)
    ]
    assert {one.protocol for one in COLUMNS[10]} == {SINGLE_SCALE}
    assert {one.protocol for one in COLUMNS[11]} == {MULTI_SCALE}


def test_a_row_chooses_the_figures_that_show_it() -> None:
    table5, table6 = TABLES[5], TABLES[6]
    assert figures_of([(table5, table5.row("pspnet", "os8"))]) == [FIGURE10]
    assert figures_of([(table5, table5.row("pspnet", "os16")), (table6, table6.row("resnet50"))]) == []
    assert figures_of([(table, row) for table in (table5, table6) for row in table.rows]) == [FIGURE10, FIGURE11]


def test_the_photographs_are_in_the_middle_of_equal_parts(tmp_path: Path, ade: Path) -> None:
    """Of six the middles of four parts 1.5 long: 0.75, 2.25, 3.75, 5.25; of two common ones both."""
    scenes = read_scenes(ade, "val")
    sources = [Source((name,), name, tmp_path / name) for name in ("a", "b")]
    for source, numbers in zip(sources, (range(1, 7), range(1, 7)), strict=True):
        source.folder.mkdir()
        for number in numbers:
            (source.folder / f"{stem(number)}.png").touch()
    assert choose(scenes, sources) == [0, 2, 3, 5]
    for number in (1, 3, 4, 5):
        (sources[1].folder / f"{stem(number)}.png").unlink()
    assert choose(scenes, sources) == [1, 5]
    assert choose(scenes, sources, [stem(3), stem(1), stem(3)]) == [2, 0]
    with pytest.raises(FigureError, match="ADE_val_00000009 is no photograph"):
        choose(scenes, sources, ["ADE_val_00000009"])


def test_pixel_accuracy_is_of_the_labelled_pixels() -> None:
    truth = np.array([[0, 0, 1, IGNORE]], np.uint8)
    assert pixel_acc(np.array([[0, 1, 1, 0]], np.uint8), truth) == pytest.approx(200 / 3)
    assert pixel_acc(truth, np.full_like(truth, IGNORE)) is None


def made_up(classes: tuple[str, ...]) -> Panels:
    """Two rows of different shapes; each network sees another class, the last one none at all."""
    rows = []
    for number, shape in enumerate(((40, 60), (90, 50))):
        maps = [np.full(shape, value, np.uint8) for value in (number, 3, 5, IGNORE)]
        rows.append(Photograph(f"p{number}", np.full((*shape, 3), 200, np.uint8), maps[0], tuple(maps[1:])))
    return Panels((("A", "one"), ("B",), ("C",)), tuple(rows), classes)


def test_panels_have_the_colours_of_their_classes_and_no_others() -> None:
    shown = made_up(names())
    picture = np.array(Image.open(io.BytesIO(draw(shown)["png"])).convert("RGB"))
    width = (WIDTH - 2 * MARGIN - 4 * GAP) / 5
    top = round(0.35 * DPI)  # below the headers, inside the first row
    expected = [(200, 200, 200), *(tuple(palette()[number]) for number in (0, 3, 5)), (0, 0, 0)]
    for column, colour in enumerate(expected):
        left = MARGIN + column * (width + GAP)
        part = picture[top : top + 200, round(DPI * (left + 0.05)) : round(DPI * (left + width - 0.05))]
        assert {tuple(pixel) for pixel in part.reshape(-1, 3)} == {tuple(map(int, colour))}


def test_label_maps_are_never_blended() -> None:
    """Classes alternate pixel by pixel, at a scale that is no whole number of dots."""
    alternating = (np.indices((97, 131)).sum(0) % 2).astype(np.uint8)
    row = Photograph("p", np.zeros((97, 131, 3), np.uint8), alternating, (alternating,))
    picture = np.array(Image.open(io.BytesIO(draw(Panels((("N",),), (row,), names()))["png"])).convert("RGB"))
    width = (WIDTH - 2 * MARGIN - 2 * GAP) / 3
    left = MARGIN + width + GAP
    part = picture[
        round(0.35 * DPI) : round(1.5 * DPI), round(DPI * (left + 0.05)) : round(DPI * (left + width - 0.05))
    ]
    assert {tuple(pixel) for pixel in part.reshape(-1, 3)} == {tuple(map(int, palette()[n])) for n in (0, 1)}


def test_the_legend_lists_the_largest_classes_first() -> None:
    assert occurring(made_up(names())) == ([3, 5, 0, 1], True)
    few = tuple(f"class {number}" for number in range(12))
    assert len({tuple(colour) for colour in colours(few)}) == 12
    assert (colours(names()) == palette()).all()


def test_pdf_text_is_text_in_truetype_and_the_same_panels_are_the_same_bytes() -> None:
    first, second = draw(made_up(names())), draw(made_up(names()))
    assert first == second
    pdf = first["pdf"]
    assert pdf.startswith(b"%PDF")
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    assert b"CreationDate" not in pdf


def test_a_figure_is_drawn_from_stored_predictions_and_says_what_is_in_it(tmp_path: Path, ade: Path) -> None:
    predict(tmp_path / "runs", 10)
    found = drawn(tmp_path, ade)
    assert found.exit_code == 0, found.output
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == ["figure10.json", "figure10.pdf", "figure10.png"]
    with Image.open(out / "figure10.png") as picture:
        assert picture.width == round(WIDTH * DPI)
        assert picture.info["dpi"] == pytest.approx((DPI, DPI), abs=0.1)
    about = json.loads((out / "figure10.json").read_text())
    assert about["photographs"] == [stem(number) for number in (1, 3, 4, 6)]
    (first, *_) = about["networks"]
    assert first["target"] == "table5/pspnet/os8"
    accuracies = {name: one["pixel_acc"] for name, one in first["predictions"].items()}
    labelled, right = 29 * 40, 14 * 40  # class 1 is the lower half but for a row without a class
    assert accuracies == pytest.approx(dict.fromkeys(about["photographs"], 100 * right / labelled))


def test_predictions_of_weights_from_a_file_are_drawn_where_there_was_no_training(tmp_path: Path, ade: Path) -> None:
    runs = tmp_path / "runs"
    predict(runs, 10)
    (_, shown, *_) = COLUMNS[10]
    own = folder_of(runs, shown.experiment, shown.protocol)
    released = own.parents[2] / "released-0a1b2c3d" / own.parent.name / own.name
    released.parent.mkdir(parents=True)
    own.rename(released)
    assert drawn(tmp_path, ade).exit_code == 0
    networks = json.loads((tmp_path / "out" / "figure10.json").read_text())["networks"]
    folders = {one["target"]: one["folder"].split("/")[1] for one in networks}
    assert folders[shown.target] == "released-0a1b2c3d"
    assert set(folders.values()) == {"released-0a1b2c3d", "seed-0"}


def test_missing_predictions_are_told_and_the_other_figure_is_written(tmp_path: Path, ade: Path) -> None:
    predict(tmp_path / "runs", 10)
    missing = COLUMNS[11][1]
    found = drawn(tmp_path, ade, "--images", stem(2), target="table[56]")
    assert found.exit_code == 1
    assert str(folder_of(tmp_path / "runs", missing.experiment, missing.protocol)) in found.output
    assert "pyconv run table6/pyconvresnet101 --runs" in found.output
    assert (tmp_path / "out" / "figure10.png").is_file()
    assert not (tmp_path / "out" / "figure11.png").exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (np.ones((30, 41), np.uint8), "(30, 41)"),
        (np.ones((30, 40, 3), np.uint8), "RGB"),
        (np.full((30, 40), 151, np.uint8), "label 151"),
        (None, "does not decode"),
    ],
)
def test_a_prediction_that_is_none_is_told(tmp_path: Path, ade: Path, content: np.ndarray | None, told: str) -> None:
    predict(tmp_path / "runs", 10)
    bad = COLUMNS[10][1]
    path = folder_of(tmp_path / "runs", bad.experiment, bad.protocol) / f"{stem(3)}.png"
    path.write_bytes(b"\x89PNG torn") if content is None else Image.fromarray(content).save(path)
    found = drawn(tmp_path, ade)
    assert found.exit_code == 1
    assert told in found.output
    assert str(path) in found.output
    assert "table5/deeplabv3/os8" in found.output


def test_what_does_not_fit_together_is_wrong_usage(tmp_path: Path, ade: Path) -> None:
    (tmp_path / "runs").mkdir()
    assert drawn(tmp_path, ade, "--format", "md").exit_code == 2
    assert drawn(tmp_path, ade, target="table2").exit_code == 2
    assert "table6/pyconvresnet152" in drawn(tmp_path, ade, target="table2").output
    assert cli("table5", "--figures").exit_code == 2
    assert cli("table5", "--images", "x").exit_code == 2
    unknown = drawn(tmp_path, ade, "--images", "ADE_val_00000099.jpg")
    assert (unknown.exit_code, "ADE_val_00000099 is no photograph" in unknown.output) == (1, True)
