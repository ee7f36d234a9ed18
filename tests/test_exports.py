"""Exports for model cards, model zoos and CI, read back by the programs that they are for."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
import yaml
from click.testing import CliRunner
from evidence import CROP, measurement, save, save_count
from huggingface_hub import EvalResult, ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results

from experiments import tables
from experiments.protocols import CROP320, SINGLE_SCALE
from experiments.recipes import ade20k, imagenet
from experiments.spec import Column, Row, Table
from pyconv.architectures import pyconvresnet, resnet, segnet
from results.evidence import Evidence
from results.gather import gather
from results.records import Metric, released_path, write
from results.report import EXPORTS, FORMATS, render, write_reports
from results.verdict import Verdict
from slurm.cli import cli

OLD, NEW = imagenet(resnet(50)), imagenet(pyconvresnet(50))
SEGMENTED = ade20k(segnet(resnet(50), "ppm", 8))
TOP1 = Column("top1_err", "top-1", "top1_err", "lower", noise="binomial", protocol=CROP)
TOP5 = replace(TOP1, key="top5_err", header="top-5", metric="top5_err")
TOP1_320 = replace(TOP1, key="top1_err_320", protocol=CROP320)
MIOU = Column("miou", "mIoU", "miou", "higher", noise="segmentation", protocol=SINGLE_SCALE)
FLOPS = Column("flops", "GFLOPs", "flops", "lower", unit="G", scale=1e9)
HOSTILE = '--- "quoted": {{ x }} <script>\n---\n- &a *a !!python/object:os.system ]]>'
ROWS = (
    Row("old", "ResNet", OLD, (23.88, 7.06, "-", 4.14), footnote=HOSTILE),
    Row("new", HOSTILE, NEW, (22.12, 6.2, 21.1, 3.88)),
    Row("theirs", "FCN", None, (30.0, None, None, None)),
)
TABLE = Table(90, HOSTILE, (TOP1, TOP5, TOP1_320, FLOPS), ROWS)
SECOND = Table(91, "Again", (TOP1, FLOPS), (Row("again", "PyConv", NEW, (22.12, 3.88)),))
SCENES = Table(92, "Scenes", (MIOU,), (Row("psp", "PSPNet", SEGMENTED, (41.24,)),))
NOWHERE = Evidence.load(Path("nowhere"))


def evidence(root: Path, old_flops: int = 4_142_713_880) -> Evidence:
    """Three seeds of one network at one crop, one at the other, a segmentation, counts; ResNet is not measured."""
    for seed, top1 in enumerate((22.0, 22.4, 22.5)):
        save(root, replace(NEW, seed=seed), errors=(top1, 6.0))
    save(root, NEW, CROP320, errors=(21.3, 5.6))
    save(root, SEGMENTED, SINGLE_SCALE, metrics={"miou": Metric(41.5, "%", 2_000, None)}, expected_samples=2_000)
    save_count(root, resnet(50), 25_557_032, old_flops)
    save_count(root, pyconvresnet(50), 24_847_720, 3_877_433_368)
    return Evidence.load(root)


def cards(pages: dict[str, Any]) -> dict[str, tuple[str, list[EvalResult]]]:
    """Every card, read by the Hub's own library."""
    read = {}
    for name, page in pages.items():
        card = ModelCard(page)
        (index,) = yaml.safe_load(page.split("---\n")[1])["model-index"]
        title, results = model_index_to_eval_results([index])
        assert card.data.eval_results == results
        assert card.data.model_name == title
        read[name] = (title, results)
    return read


def test_a_card_holds_what_was_measured(tmp_path: Path) -> None:
    pages = render([TABLE, SECOND, SCENES], evidence(tmp_path), ("model-index",), "../records/")
    assert all(name.startswith("model-cards/") for name in pages)
    read = dict(cards(pages).values())
    assert len(read) == 2  # PyConvResNet once, though two tables show it; ResNet has only counts
    (classifier,) = [results for title, results in read.items() if title.startswith("imagenet-pyconvresnet50-")]
    assert [(r.metric_type, r.metric_value) for r in classifier] == [
        ("accuracy", 77.7),  # 100 - (22.0 + 22.4 + 22.5) / 3
        ("accuracy", 94.0),
        ("accuracy", 78.7),
    ]
    assert [r.metric_args["seeds"] for r in classifier] == [3, 3, 1]
    assert [r.metric_args["crop"] for r in classifier] == [224, 224, 320]
    assert {(r.task_type, r.dataset_type, r.dataset_split) for r in classifier} == {
        ("image-classification", "imagenet-1k", "validation")
    }
    assert {r.dataset_revision for r in classifier} == {"a" * 64}  # the manifest of the made-up records
    assert {r.verified for r in classifier} == {False}
    (scenes,) = [results for title, results in read.items() if "imagenet" not in title.split("-")[0]]
    assert [(r.metric_type, r.metric_value, r.task_type) for r in scenes] == [("mean_iou", 41.5, "image-segmentation")]


def test_no_printed_number_is_in_a_card_or_a_metafile() -> None:
    pages = render(tables(), NOWHERE, ("model-index", "metafile"))
    assert set(pages) == {"metafile.yml"}
    assert yaml.safe_load(pages["metafile.yml"])["Models"] == []
    done = CliRunner().invoke(cli, ["report", "table2", "--format", "model-index"])
    assert (done.exit_code, done.stdout) == (0, "")
    assert "nothing was measured" in done.stderr


def test_a_card_leads_to_its_records(tmp_path: Path) -> None:
    found = evidence(tmp_path / "records")
    paths = write_reports([TABLE], found, tmp_path / "out", ("model-index",))
    (path,) = paths
    for result in cards({path.name: path.read_text()})[path.name][1]:
        assert result.source_url is not None
        assert (path.parent / unquote(result.source_url)).is_file()
    without = render([TABLE], found, ("model-index",))
    assert [r.source_url for _, results in cards(without).values() for r in results] == [None] * 3


def test_released_weights_and_departures_are_said(tmp_path: Path) -> None:
    weights = {"source": "released", "sha256": "b" * 64, "file": HOSTILE, "layout": "authors", "epochs": None}
    record = measurement(NEW, checkpoint=weights, history=[])
    write(record, released_path(tmp_path, NEW, CROP, "b" * 64))
    pages = render([SECOND], Evidence.load(tmp_path), ("model-index", "metafile"))
    (model,) = yaml.safe_load(pages.pop("metafile.yml"))["Models"]
    assert "not trained here" in " ".join(model["Results"][0]["Notes"])
    ((_, results),) = cards(pages).values()
    assert [r.metric_name for r in results] == ["Top-1 accuracy (%), crop224, released weights, not trained here"]


def test_a_mini_run_says_so(tmp_path: Path) -> None:
    small = tables(mini=True)[0]
    assert isinstance(small, Table)
    row = small.rows[0]
    assert row.experiment is not None
    protocol = small.protocol(row, small.columns[0])
    assert protocol is not None
    save(tmp_path, row.experiment, protocol, errors=(27.5, 3.5), mini=True)
    found = Evidence.load(tmp_path)
    pages = render([small], found, ("model-index", "metafile"))
    (model,) = yaml.safe_load(pages.pop("metafile.yml"))["Models"]
    assert "mini run" in model["Results"][0]["Notes"][0]
    assert model["Metadata"]["Parameters"] == 25_557_032  # the run's own count
    ((_, results),) = cards(pages).values()
    assert all("mini run" in str(r.dataset_name) and "mini run" in str(r.metric_name) for r in results)
    assert set(render(tables(), found, ("model-index",))) == set()


def test_a_metafile_is_a_zoo_s(tmp_path: Path) -> None:
    page = render([TABLE, SECOND, SCENES], evidence(tmp_path), ("metafile",))["metafile.yml"]
    content = yaml.safe_load(page)
    (collection,) = content["Collections"]
    assert collection["Paper"]["URL"] == "https://arxiv.org/abs/2006.11538"
    models = {model["Name"].rpartition("-")[0]: model for model in content["Models"]}
    assert {model["In Collection"] for model in models.values()} == {collection["Name"]}
    assert len({model["Name"] for model in models.values()}) == len(content["Models"]) == 3
    plain, ours = models["imagenet-resnet50"], models["imagenet-pyconvresnet50"]
    assert plain["Results"] is None  # counted, not measured
    counts = [(m["Metadata"]["Parameters"], m["Metadata"]["FLOPs"]) for m in (plain, ours)]
    assert counts == [(25_557_032, 4_142_713_880), (24_847_720, 3_877_433_368)]
    assert ours["Metadata"]["FLOPs Convention"] == "thop-2019"
    assert [(r["Dataset"], r["Metrics"], r["Protocol"]) for r in ours["Results"]] == [
        ("ImageNet-1k", {"Top 1 Accuracy": 77.7, "Top 5 Accuracy": 94.0}, "crop224"),
        ("ImageNet-1k", {"Top 1 Accuracy": 78.7}, "crop320"),
    ]
    (scenes,) = [model for name, model in models.items() if "imagenet" not in name]
    assert [(r["Task"], r["Metrics"]) for r in scenes["Results"]] == [("Semantic Segmentation", {"mIoU": 41.5})]


OUTCOME: dict[Verdict | None, set[str]] = {
    "WORSE": {"failure"},
    "FAILED": {"failure"},
    "PENDING": {"skipped"},
    "QUOTED": {"skipped"},
    "EXTERNAL": {"skipped"},
    "MATCH": {"system-out"},
    "BETTER": {"system-out"},
    "INCONCLUSIVE": {"system-out"},
    "DEVIATION": {"system-out"},
    None: {"skipped", "system-out"},
}


def test_junit_has_a_case_a_cell_with_its_outcome(tmp_path: Path) -> None:
    save(tmp_path, OLD, errors=(40.0, 1.0))  # far worse and far better than printed
    (tmp_path / "broken.json").write_text(HOSTILE)
    report = gather([TABLE, *tables()], evidence(tmp_path, old_flops=5_000_000_000))  # an unexplained drift
    assert {"WORSE", "BETTER", "FAILED"} <= {str(cell.verdict) for cell in report.cells}
    page = render([TABLE, *tables()], report.evidence, ("junit",))["report.xml"]
    root = ElementTree.fromstring(page)
    suites = {str(suite.get("name")): suite for suite in root}
    assert list(suites) == [sheet.name for sheet in report.sheets] + ["claims", "evidence"]
    cases = {case.get("name"): [part.tag for part in case] for suite in root for case in suite}
    for cell in report.cells:
        (outcome,) = cases[cell.target]
        assert outcome in OUTCOME[cell.verdict]
        assert (outcome == "skipped") == (cell.measured is None)
    told = [str(case.find("failure").get("message")) for case in suites["evidence"]]  # type: ignore[union-attr]
    assert len(told) == len(report.problems)
    assert [text for text in told if text.startswith("broken.json: not JSON")]
    assert len(suites["claims"]) == sum(len(sentence.parts) for sentence in report.sentences)
    for suite in [root, *root]:
        inside = list(suite.iter("testcase"))
        assert int(suite.get("tests", -1)) == len(inside)
        assert int(suite.get("failures", -1)) == sum(case.find("failure") is not None for case in inside)
        assert int(suite.get("skipped", -1)) == sum(case.find("skipped") is not None for case in inside)
    skipped = [part.get("message", "") for part in root.iter("skipped")]
    assert all(len(message) > 10 for message in skipped)


@pytest.mark.parametrize("text", [HOSTILE, "\x00\x1b[31m", "]]>", "%PDF", "'", "\u2028", "a: b", "*x"])
def test_hostile_labels_break_no_export(tmp_path: Path, text: str) -> None:
    row = replace(ROWS[1], label=text, footnote=text)
    table = Table(90, text, (TOP1, TOP5, TOP1_320, FLOPS), (row,), row_header=text, footnotes=(text,))
    formats = ("csv", "parquet", "model-index", "metafile", "junit")
    paths = write_reports([table], evidence(tmp_path / "records"), tmp_path / "out", formats)
    contents = {path.name: path.read_bytes() for path in paths}
    ElementTree.fromstring(contents["report.xml"])
    assert len(yaml.safe_load(contents["metafile.yml"])["Models"]) == 1
    assert cards({name: page.decode() for name, page in contents.items() if name.endswith(".md")})


def test_records_that_no_page_can_show_are_named_and_left_out(tmp_path: Path) -> None:
    """JSON can name half of a surrogate pair, and a folder's name need not be UTF-8: neither stops a format."""
    root = tmp_path / "records"
    weights = {"source": "released", "sha256": "b" * 64, "file": "HALF", "layout": "authors", "epochs": None}
    record = measurement(NEW, checkpoint=weights, history=[])
    path = write(record, released_path(root, NEW, CROP, "b" * 64))
    path.write_text(path.read_text().replace("HALF", r"half \ud800"))
    odd = root / os.fsdecode(b"odd-\xff") / "crop224.json"
    odd.parent.mkdir()
    odd.write_text("{}")
    found = Evidence.load(root)
    assert [problem.split(":")[0] for problem in found.problems] == [
        path.relative_to(root).as_posix(),
        "odd-?/crop224.json",
    ]
    assert "surrogate pair" in found.problems[0]
    paths = write_reports([SECOND], found, tmp_path / "out", tuple(FORMATS | EXPORTS))
    names = {path.relative_to(tmp_path / "out").as_posix() for path in paths}
    assert {"table91.md", "table91.tex", "tables.json", "index.html", "cells.csv", "cells.parquet"} <= names
    assert not any(name.startswith("model-cards/") for name in names)  # nothing is left for one
