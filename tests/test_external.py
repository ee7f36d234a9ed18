"""A test server's scores, entered by hand: written once, checked on reading, shown with a verdict, carried along."""

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from experiments import TABLES
from experiments.protocols import TEST_SERVER
from experiments.table7_state_of_the_art import STANDARD, TRAIN_VAL
from results.bundle import About, make
from results.bundle_check import opened
from results.cell import Cell
from results.cells import build
from results.compare import compare
from results.evidence import Evidence
from results.external import ExternalRecord, entry
from results.merge import merge
from results.records import RecordError, encode, parse, read, write
from results.report import EXPORTS, FORMATS, render
from results.scores import answer_path
from slurm import cli as command_line
from slurm.selection import state

TABLE7 = TABLES[7]
PRINTED = {"miou": 37.75, "pixel_acc": 73.61}  # of the paper's Table 7; its score there is 55.68
DAY, SOURCE = "2026-10-01", "https://example.org/leaderboard#17"
FROM_FILE = {"source": "released", "sha256": "c" * 64, "file": "pyconvsegnet152.pth"}


def enter(root: Path, values: dict[str, float] = PRINTED, seed: int = 0, **more: Any) -> Path:
    experiment = replace(STANDARD, seed=seed)
    record = entry(experiment, TEST_SERVER, values, DAY, SOURCE, **more)
    return write(record, answer_path(root, experiment, TEST_SERVER, record))


def cells(root: Path) -> dict[str, Cell]:
    return {cell.target: cell for cell in build([TABLE7], Evidence.load(root))}


def cli(*words: object) -> Result:
    return CliRunner().invoke(command_line.cli, [str(word) for word in words])


def scored(root: Path, *more: object, target: str = "table7/pyconvsegnet152", source: str = SOURCE) -> Result:
    return cli("score", target, "--date", DAY, "--source", source, "--records", root, *more)


def test_an_answer_that_was_written_is_read_again(tmp_path: Path) -> None:
    path = enter(tmp_path)
    record = read(path)
    assert isinstance(record, ExternalRecord)
    assert path.parts[-2:] == ("external-seed-0", "test-server.json")
    assert record.metrics["score"] == pytest.approx((37.75 + 73.61) / 2)
    assert parse(encode(record), path) == record


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"metrics": {"miou": 37.75, "pixel_acc": 73.61, "score": 55.5}}, "metrics.score is 55.5"),
        ({"metrics": {"miou": 137.75, "pixel_acc": 73.61, "score": 105.68}}, "metrics.miou is 137.75"),
        ({"metrics": {"miou": 37.75, "pixel_acc": 73.61}}, "metrics.score is missing"),
        ({"date": "1 Oct 2026"}, "a day like 2026-11-30"),
        ({"source": ""}, "source"),
        ({"seed": 3}, "seed is 3"),
        ({"fingerprint": "0" * 12}, "the record was edited"),
        ({"protocol": {}}, "protocol.key"),
        ({"weights": {"source": "bought", "sha256": None, "file": None}}, "valid: trained, released, not told"),
        ({"weights": {"source": "trained", "sha256": None, "file": None}}, "weights.sha256"),
        ({"submission": {"sha256": "abc", "images": 3}}, "submission.sha256"),
        ({"schema": 2}, "schema is 2"),
        ({"verdict": "MATCH"}, "verdict is not a field"),
    ],
)
def test_a_file_that_was_tampered_with_is_told_and_never_shown(tmp_path: Path, change: Any, told: str) -> None:
    path = enter(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(RecordError, match=told):
        read(path)
    (problem,) = Evidence.load(tmp_path).problems
    assert told in problem
    assert cells(tmp_path)["table7/pyconvsegnet152/test_miou"].verdict == "EXTERNAL"


def test_a_file_in_the_wrong_place_is_told(tmp_path: Path) -> None:
    path = enter(tmp_path)
    path.parent.rename(path.parent.with_name("external-seed-1"))
    (problem,) = Evidence.load(tmp_path).problems
    assert "external-seed-0/test-server.json" in problem


def test_cells_are_external_until_a_score_is_entered_and_then_judged(tmp_path: Path) -> None:
    before = cells(tmp_path)
    enter(tmp_path, {"miou": 37.75, "pixel_acc": 70.0})
    after = cells(tmp_path)
    for column, delta, verdict in (("miou", 0, "MATCH"), ("pixel_acc", -3.61, "WORSE"), ("score", -1.805, "WORSE")):
        target = f"table7/pyconvsegnet152/test_{column}"
        assert before[target].verdict == "EXTERNAL"
        assert after[target].verdict == verdict
        assert after[target].delta == pytest.approx(delta)
        assert after[target].seeds == 1
        assert any(f"answer of {DAY}: entered by hand from {SOURCE}" in text for text in after[target].footnotes)
    assert "one seed" in after["table7/pyconvsegnet152/test_miou"].reason
    assert {target for target in after if after[target] != before[target]} == {
        f"table7/pyconvsegnet152/test_{column}" for column in ("miou", "pixel_acc", "score")
    }  # the dagger row is the same training; the paper prints dashes there


def test_seeds_are_averaged_and_weights_from_a_file_never_with_them(tmp_path: Path) -> None:
    enter(tmp_path, {"miou": 30.0, "pixel_acc": 70.0}, weights=FROM_FILE)
    alone = cells(tmp_path)["table7/pyconvsegnet152/test_miou"]
    assert (alone.measured, alone.seeds) == (30.0, 0)
    assert "weights from a file, not trained here" in alone.reason
    enter(tmp_path, {"miou": 37.0, "pixel_acc": 73.0})
    enter(tmp_path, {"miou": 38.0, "pixel_acc": 74.0}, seed=1)
    both = cells(tmp_path)["table7/pyconvsegnet152/test_miou"]
    assert (both.measured, both.seeds) == (37.5, 2)
    assert any("released weights, not trained here: pyconvsegnet152.pth" in text for text in both.footnotes)
    assert any("30.00 %" in text for text in both.footnotes)


def test_every_format_shows_an_answer_and_no_format_stumbles_over_one(tmp_path: Path) -> None:
    enter(tmp_path, submission={"sha256": "d" * 64, "images": 3_352})
    pages = render([TABLE7], Evidence.load(tmp_path), (*FORMATS, *EXPORTS), "../records/")
    assert set(pages) >= {"table7.md", "table7.tex", "tables.json", "index.html", "cells.csv", "metafile.yml"}
    shown = [name for name, page in pages.items() if isinstance(page, str) and "example.org/leaderboard" in page]
    assert {"table7.md", "tables.json", "index.html", "cells.csv", "metafile.yml"} <= set(shown)
    for name in ("table7.md", "table7.tex", "index.html"):
        assert "37.75" in pages[name]
    (card,) = (page for name, page in pages.items() if name.startswith("model-cards/"))
    assert "Mean IoU (%), test-server, the test server's answer, entered by hand" in card


def test_a_score_is_entered_once(tmp_path: Path) -> None:
    first = scored(tmp_path, "--miou", 37.75, "--pixel-acc", 73.61, "--by", "A. Person", "--score", 55.68)
    assert first.exit_code == 0, first.output
    (path,) = tmp_path.rglob("*.json")
    before = path.read_bytes()
    again = scored(tmp_path, "--miou", 37.75, "--pixel-acc", 73.61, "--by", "A. Person", "--score", 55.68)
    assert again.exit_code == 0
    other = scored(tmp_path, "--miou", 38.75, "--pixel-acc", 73.61)
    assert other.exit_code == 1
    assert str(path) in other.output
    assert path.read_bytes() == before
    assert scored(tmp_path, "--miou", 38.75, "--pixel-acc", 73.61, "--seed", 1).exit_code == 0
    assert len(Evidence.load(tmp_path).external) == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--miou", 0.3775, "--pixel-acc", 0.7361), "percent is right"),
        (("--miou", 37.75, "--pixel-acc", 173.61), "173.61"),
        (("--miou", 37.75, "--pixel-acc", 73.61, "--score", 57), "the mean of miou and pixel_acc is 55.68"),
        (("--miou", 37.75, "--pixel-acc", 73.61, "--source", "  "), "looked up"),
        (("--miou", 37.75, "--pixel-acc", 73.61, "--date", "yesterday"), "is no day"),
    ],
)
def test_what_no_server_says_is_wrong_usage(tmp_path: Path, words: tuple[object, ...], told: str) -> None:
    found = scored(tmp_path, *words)
    assert found.exit_code == 2
    assert told in " ".join(found.output.split())
    assert not list(tmp_path.rglob("*"))


def test_a_day_to_come_is_refused(tmp_path: Path) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date()
    found = scored(tmp_path, "--miou", 37.75, "--pixel-acc", 73.61, "--date", tomorrow)
    assert found.exit_code == 2
    assert "has not come yet" in found.output


@pytest.mark.parametrize("target", ["table6/resnet50", "table7/pyconvsegnet152-617", "table7/encnet", "table7"])
def test_a_target_without_one_cell_of_a_server_is_told_the_rows_that_have(tmp_path: Path, target: str) -> None:
    found = scored(tmp_path, "--miou", 37.75, "--pixel-acc", 73.61, target=target)
    assert found.exit_code == 2
    assert "table7/pyconvsegnet152-trainval" in " ".join(found.output.split())


def test_merging_carries_answers_and_tells_contradictions(tmp_path: Path) -> None:
    one, two, into = tmp_path / "one", tmp_path / "two", tmp_path / "all"
    path = enter(one)
    enter(one, weights=FROM_FILE)
    assert merge([one], into).ok
    assert merge([one], into).summary["already there"] == 2
    assert (into / path.relative_to(one)).read_bytes() == path.read_bytes()
    enter(two, {"miou": 40.0, "pixel_acc": 73.61})
    (step,) = merge([two], into).steps
    assert step.what == "conflict"
    assert "40.0" in step.told


def test_a_bundle_carries_answers(tmp_path: Path) -> None:
    pytest.importorskip("rocrate")
    path = enter(tmp_path / "records")
    made = make([TABLE7], Evidence.load(tmp_path / "records"), About("table7"), tmp_path / "b.zip")
    assert made.records == 1
    with opened(tmp_path / "b.zip") as bundle:
        assert list(bundle.evidence.external) == [path.relative_to(tmp_path / "records").as_posix()]
        assert asdict(next(iter(bundle.evidence.external.values()))) == asdict(read(path))


def test_two_folders_answers_are_compared(tmp_path: Path) -> None:
    for name, miou in (("a", 37.75), ("b", 37.75), ("c", 37.95), ("d", 30.0)):
        enter(tmp_path / name, {"miou": miou, "pixel_acc": 73.61})
    evidence = {name: Evidence.load(tmp_path / name) for name in "abcd"}
    words = {}
    for name in "bcd":
        (page,) = compare([TABLE7], evidence["a"], evidence[name]).pages
        words[name] = {cell.left.cell.column.key: cell.word for cell in page.cells}
    assert set(words["b"].values()) == {"SAME"}
    assert words["c"]["test_miou"] == "EQUAL WITHIN NOISE"
    assert words["d"]["test_miou"] == "LEFT BETTER"
    (page,) = compare([TABLE7], evidence["a"], Evidence.load(tmp_path / "none")).pages
    assert {cell.word for cell in page.cells} == {"ONLY LEFT"}
    assert cli("compare", tmp_path / "a", tmp_path / "c", "table7").exit_code == 0


def test_the_other_training_has_cells_of_its_own(tmp_path: Path) -> None:
    record = entry(TRAIN_VAL, TEST_SERVER, {"miou": 39.13, "pixel_acc": 73.91}, DAY, SOURCE)
    write(record, answer_path(tmp_path, TRAIN_VAL, TEST_SERVER, record))
    found = cells(tmp_path)
    assert found["table7/pyconvsegnet152-trainval/test_score"].verdict == "MATCH"
    assert found["table7/pyconvsegnet152/test_score"].verdict == "EXTERNAL"


def test_a_row_that_only_a_server_measures_is_recorded_once_its_answer_is_entered(tmp_path: Path) -> None:
    table, row = TABLE7, TABLE7.row("pyconvsegnet152-trainval")
    assert state(table, row, Evidence.load(tmp_path)) == "external"
    record = entry(TRAIN_VAL, TEST_SERVER, PRINTED, DAY, SOURCE)
    write(record, answer_path(tmp_path, TRAIN_VAL, TEST_SERVER, record))
    assert state(table, row, Evidence.load(tmp_path)) == "recorded"
    assert state(table, row, Evidence.load(tmp_path), seed=1) == "external"
