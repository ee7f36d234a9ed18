"""Two sets of records side by side: what is the same, what is equal within the noise, what differs and by how much."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evidence import CROP, SHA, counted, measurement, save, save_count, scored

from experiments.recipes import imagenet
from experiments.spec import Column, Experiment, Row, Table
from pyconv.architectures import pyconvresnet, resnet
from results.compare import Compared, Comparison, compare
from results.evidence import Evidence
from results.holm import adjusted
from results.printers.comparison import FORMATS
from results.records import Metric, count_path, record_path, write

TOP1 = Column("top1_err", "top-1", "top1_err", "lower", noise="binomial", protocol=CROP)
FLOPS = Column("flops", "GFLOPs", "flops", "lower", unit="G", scale=1e9)
OLD, NEW = imagenet(resnet(50)), imagenet(pyconvresnet(50))
ROWS = (Row("old", "ResNet-50 [7]", OLD, (23.88, 4.14)), Row("new", "PyConv|50", NEW, (22.12, 3.88)))
TABLE = Table(90, "Two networks", (TOP1, FLOPS), (*ROWS, Row("theirs", "FCN", None, (30.0, "-"))))
THOP = 4_142_713_880


def put(root: Path, *errors: float, experiment: Experiment = OLD, side: str = "a", **changes: Any) -> None:
    """A record a value, seeds 0, 1, ..., of weights of that side's own."""
    for seed, error in enumerate(errors):
        checkpoint = {"sha256": f"{side}{seed}".ljust(64, "0"), "epochs": 90}
        given = {"checkpoint": checkpoint, **changes}
        save(root, replace(experiment, seed=seed), errors=(error, 7.0), **given)


def of(root: Path, tables: Sequence[Table] = (TABLE,)) -> Comparison:
    """The comparison of the folders `left` and `right` in `root`."""
    return compare(tables, Evidence.load(root / "left"), Evidence.load(root / "right"))


def cell(found: Comparison, row: str = "old", column: str = "top1_err") -> Compared:
    (one,) = [c for page in found.pages for c in page.cells if c.left.cell.target == f"table90/{row}/{column}"]
    return one


def test_what_only_one_side_has_is_told_and_what_none_has_is_counted(tmp_path: Path) -> None:
    put(tmp_path / "left", 23.0)
    put(tmp_path / "right", 22.0, experiment=NEW)
    found = of(tmp_path)
    assert (cell(found).word, cell(found, "new").word) == ("ONLY LEFT", "ONLY RIGHT")
    assert found.words == {"ONLY LEFT": 1, "ONLY RIGHT": 1}
    assert (found.missing, found.common, found.ok) == (2, 0, True)  # two counts; the quoted row is no cell of ours


def test_equal_within_the_noise_or_better_on_a_side(tmp_path: Path) -> None:
    put(tmp_path / "left", 23.0, 23.2, 23.1)
    put(tmp_path / "right", 23.1, 23.3, 23.1, side="b")
    put(tmp_path / "left", 22.0, 22.1, 22.2, experiment=NEW)
    put(tmp_path / "right", 26.0, 26.1, 26.2, experiment=NEW, side="b")
    found = of(tmp_path)
    assert (cell(found).word, cell(found, "new").word) == ("EQUAL WITHIN NOISE", "LEFT BETTER")
    assert not found.ok
    assert cell(found, "new").difference == pytest.approx(4.0)
    mirrored = compare([TABLE], Evidence.load(tmp_path / "right"), Evidence.load(tmp_path / "left"))
    assert cell(mirrored, "new").word == "RIGHT BETTER"
    assert cell(mirrored, "new").p == pytest.approx(cell(found, "new").p)
    higher = replace(TABLE, columns=(replace(TOP1, better="higher"), FLOPS))
    assert cell(of(tmp_path, [higher]), "new").word == "RIGHT BETTER"


def test_the_p_values_of_a_table_are_corrected_together_and_each_table_by_itself(tmp_path: Path) -> None:
    """A difference that is called by itself is none among the cells of a larger table."""
    variants = [replace(OLD, recipe=replace(OLD.recipe, lr=OLD.recipe.lr * (1 + number))) for number in range(8)]
    for number, experiment in enumerate(variants):
        put(tmp_path / "left", 23.0, experiment=experiment)
        put(tmp_path / "right", 23.8 if number == 0 else 23.0, experiment=experiment, side="b")
    rows = [Row(f"row{number}", "network", experiment, (23.0,)) for number, experiment in enumerate(variants)]
    large = Table(90, "eight", (TOP1,), tuple(rows))
    small = Table(91, "one", (TOP1,), tuple(rows[:1]))
    (eight, one) = of(tmp_path, [large, small]).pages
    assert (eight.tests, one.tests) == (8, 1)
    assert one.cells[0].p == eight.cells[0].p == one.cells[0].adjusted
    assert [c.adjusted for c in eight.cells] == adjusted([c.p for c in eight.cells if c.p is not None])
    assert (one.cells[0].word, eight.cells[0].word) == ("LEFT BETTER", "EQUAL WITHIN NOISE")


def test_copies_are_the_same_and_no_evidence(tmp_path: Path) -> None:
    for side in ("left", "right"):
        put(tmp_path / side, 23.0, 23.5)
    found = cell(of(tmp_path))
    assert (found.word, found.p, found.difference) == ("SAME", None, 0)
    assert found.reason == "the same records on both sides: copies, which repeat nothing"


def trained(job: str, sha: str = SHA) -> dict[str, Any]:
    return {"source": "trained", "sha256": sha, "epochs": 90, "training": {"job": {"id": job}}}


@pytest.mark.parametrize(
    ("checkpoint", "word", "told"),
    [
        (trained("2"), "SAME", "trained on both sides to the same weights, bit by bit, with the same results"),
        (trained("1"), "SAME", "not known to be trained twice"),
        (trained("2", "b" * 64), "EQUAL WITHIN NOISE", "1 of the runs came to the same results from other weights"),
    ],
)
def test_a_run_that_was_repeated(tmp_path: Path, checkpoint: dict[str, Any], word: str, told: str) -> None:
    put(tmp_path / "left", 23.0, checkpoint=trained("1"))
    put(tmp_path / "right", 23.0, checkpoint=checkpoint, job={"id": "9"})
    found = cell(of(tmp_path))
    assert found.word == word
    assert told in found.reason


def test_the_same_error_on_other_images_is_not_the_same_result(tmp_path: Path) -> None:
    protocol = replace(CROP, samples=8)
    column = replace(TOP1, protocol=protocol)
    table = replace(TABLE, columns=(column,), rows=(replace(ROWS[0], published=(23.88,)),))
    for side, right in (("left", "11110000"), ("right", "00001111")):
        bits = [one == "1" for one in right]
        save(tmp_path / side, OLD, protocol, **scored(top1_err=bits), checkpoint=trained(side))
    found = cell(of(tmp_path, [table]))
    assert (found.word, found.difference, found.p) == ("EQUAL WITHIN NOISE", 0, 1)
    assert "the same weights on both sides, tested twice; the same 8 images, in pairs" in found.reason
    assert "same weights with the same results" not in found.reason


def test_copies_among_other_runs_are_told(tmp_path: Path) -> None:
    put(tmp_path / "left", 23.0, 23.5)
    put(tmp_path / "right", 23.0, 23.5, 23.2)
    found = cell(of(tmp_path))
    assert found.word == "EQUAL WITHIN NOISE"
    assert "2 of the records on both sides, copies, which repeat nothing" in found.reason
    assert (found.left.seeds, found.right.seeds) == ((0, 1), (0, 1, 2))


def test_images_of_both_sides_are_paired_and_another_copy_of_the_data_is_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    protocol = replace(CROP, samples=2_000)
    table = replace(TABLE, columns=(replace(TOP1, protocol=protocol),), rows=(replace(ROWS[0], published=(23.88,)),))
    hard = rng.random(2_000)
    copy = {"name": "imagenet", "splits": {"val": {"samples": 2_000, "classes": 1000, "sha256": "c" * 64}}}
    for side, changes in (("left", {}), ("right", {}), ("copy", {"data": copy})):
        bits = hard + 0.1 * rng.random(2_000) < 0.8
        sha = (side.encode().hex() * 8)[:64]
        save(
            tmp_path / side,
            OLD,
            protocol,
            **scored(top1_err=bits),
            checkpoint=trained(side, sha.ljust(64, "0")),
            **changes,
        )
    left, right, other = (Evidence.load(tmp_path / side) for side in ("left", "right", "copy"))
    paired, unpaired = cell(compare([table], left, right)), cell(compare([table], left, other))
    assert "the same 2,000 images, in pairs" in paired.reason
    assert "tested on different images (manifests aaaaaaaaaaaa and cccccccccccc)" in unpaired.reason
    assert paired.se is not None
    assert unpaired.se is not None
    assert paired.se < unpaired.se
    facts = {name: sides for name, *sides in compare([table], left, other).origins}
    assert facts["imagenet/val"] == [("a" * 12,), ("c" * 12,)]


def test_tests_of_other_sizes_are_not_compared(tmp_path: Path) -> None:
    """Copies of Kinetics differ in their number of videos, so that protocol states none."""
    protocol = replace(CROP, key="views30", samples=None)
    table = replace(TABLE, columns=(replace(TOP1, protocol=protocol),), rows=(replace(ROWS[0], published=(23.88,)),))
    for side, n in (("left", 19_404), ("right", 19_796)):
        metrics = {"top1_err": Metric(25.0, "%", n, None)}
        save(tmp_path / side, OLD, protocol, metrics=metrics, expected_samples=n, counted_samples=n)
    found = of(tmp_path, [table])
    assert cell(found).word == "NOT COMPARABLE"
    assert cell(found).reason.startswith("tests of 19,404 and 19,796 samples are not one test")
    assert found.ok


def test_a_number_of_unknown_noise_is_not_compared(tmp_path: Path) -> None:
    table = replace(TABLE, columns=(replace(TOP1, noise="none"), FLOPS))
    save(tmp_path / "left", metrics={"top1_err": Metric(25.0, "%", 50_000, None)}, checkpoint=trained("1"))
    save(tmp_path / "right", metrics={"top1_err": Metric(26.0, "%", 50_000, None)}, checkpoint=trained("2", "b" * 64))
    found = cell(of(tmp_path, [table]))
    assert (found.word, found.p) == ("NOT COMPARABLE", None)
    assert "run more seeds" in found.reason


def test_counts_are_exact_under_every_convention(tmp_path: Path) -> None:
    network = resnet(50)
    save_count(tmp_path / "left", network, 25_557_032, THOP)
    path = count_path(tmp_path / "right", network, network.input_size)
    write(counted(network, 25_557_032, THOP, environment={"python": "3.12"}), path)
    assert cell(of(tmp_path), column="flops").word == "SAME"
    path.unlink()
    flops = {"thop-2019": THOP, "macs": THOP - 11, "fvcore": THOP - 5}
    write(counted(network, 25_557_032, THOP, flops=flops), path)
    found = of(tmp_path)
    assert cell(found, column="flops").word == "DIFFERENT COUNT"
    assert cell(found, column="flops").reason == f"macs: {THOP - 10:,} left, {THOP - 11:,} right"
    assert not found.ok


def test_what_a_reader_must_know_of_a_side_is_told(tmp_path: Path) -> None:
    put(tmp_path / "left", 23.0, deviations=["trained at half the batch"])
    weights = {"source": "released", "sha256": "b" * 64, "file": "r50.pth", "layout": "theirs", "epochs": None}
    released = record_path(tmp_path / "right", OLD, CROP).parents[1] / "released-bbbbbbbb" / "crop224.json"
    write(measurement(OLD, checkpoint=weights), released)
    found = cell(of(tmp_path))
    assert "left: off its protocol" in found.reason
    assert "right: weights from a file, not trained here" in found.reason
    assert (found.left.seeds, found.right.seeds) == ((0,), ())


def test_where_the_sides_come_from_is_told_once_where_it_differs(tmp_path: Path) -> None:
    put(tmp_path / "left", 23.0, 23.1)
    there = {"python": "3.11.7", "torch": "2.15.0\x1b[2J", "device": "cuda", "threads": 1}
    code = {"commit": "1" * 40, "dirty": True, "diff_sha256": "d" * 64}
    put(tmp_path / "right", 23.2, 23.3, side="b", environment=there, code=code)
    put(tmp_path / "right", 23.2, experiment=NEW, environment={"python": "2.7"})  # of no cell that both have
    found = of(tmp_path)
    assert found.origins == (
        ("commit", ("0" * 12,), (f"{'1' * 12} with changes dddddddd",)),
        ("device", ("cpu",), ("cuda",)),
        ("torch", ("2.14.1",), ("2.15.0?[2J",)),
    )
    page = FORMATS["md"](found)
    assert page.count("1" * 12) == 1
    assert "\x1b" not in page


def test_every_format_says_the_same(tmp_path: Path) -> None:
    put(tmp_path / "left", 22.0, 22.1, 22.2, experiment=NEW)
    put(tmp_path / "right", 26.0, 26.1, 26.2, experiment=NEW, side="b")
    put(tmp_path / "left", 23.0)
    (tmp_path / "left" / "torn.json").write_text("{")
    found = of(tmp_path)
    content = json.loads(FORMATS["json"](found))
    lines = list(csv.DictReader(io.StringIO(FORMATS["csv"](found))))
    assert [one["target"] for one in content["tables"][0]["cells"]] == [line["target"] for line in lines]
    one, line = content["tables"][0]["cells"][1], lines[1]
    assert one["word"] == line["word"] == "LEFT BETTER"
    assert one["left"]["seeds"] == [0, 1, 2]
    assert line["right_seeds"] == "0 1 2"
    assert one["difference"] == float(line["difference"]) == 4.0
    assert one["p"] == pytest.approx(cell(found, "new").p, abs=1e-9)
    assert content["problems"][0]["side"] == "left"
    page = FORMATS["md"](found)
    (shown,) = [text for text in page.splitlines() if "PyConv" in text]
    assert "PyConv\\|50" in shown
    assert "22.10 (3 seeds, n = 50,000)" in shown
    assert "+4.00" in shown
    assert "LEFT BETTER<sup>1</sup>" in shown
    assert "torn.json" in page
    assert page == FORMATS["md"](of(tmp_path))
    assert FORMATS["csv"](Comparison((), (), (), 0)) == "target\n"
