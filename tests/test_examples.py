"""The example records, made by real mini runs, in every format: each number against arithmetic on their JSON."""

import base64
import csv
import io
import json
import re
from math import sqrt
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest

from experiments import tables
from experiments.spec import Table
from results.bench_report import make
from results.evidence import Evidence
from results.report import EXPORTS, FORMATS, Page, render

EXAMPLES = Path(__file__).parent / "examples" / "records"
FILES = sorted(EXAMPLES.rglob("*.json"))
MINI2 = next(table for table in tables(mini=True) if table.name == "mini-table2")


@pytest.fixture(scope="module")
def pages() -> dict[str, Page]:
    return render([MINI2], Evidence.load(EXAMPLES), (*FORMATS, *EXPORTS), "../records/")


@pytest.fixture(scope="module")
def contents() -> dict[str, list[dict[str, Any]]]:
    """The JSON of Table 2's records by their folder."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in FILES:
        if path.stem == "mini-crop224":
            found.setdefault(path.parents[1].name, []).append(json.loads(path.read_text(encoding="utf-8")))
    return found


def test_they_are_evidence_of_real_runs(contents: dict[str, list[dict[str, Any]]]) -> None:
    found = Evidence.load(EXAMPLES)
    assert found.problems == ()
    assert len(found.records) == len(FILES) == 25
    assert {len(seeds) for seeds in contents.values()} == {3}
    for seeds in contents.values():
        assert len({record["checkpoint"]["sha256"] for record in seeds}) == 3  # three trainings
        assert all(record["mini"] and record["code"]["dirty"] is False for record in seeds)
        assert all(len(record["history"]) == record["checkpoint"]["epochs"] for record in seeds)


def test_the_means_of_every_row_stand_in_every_format(
    pages: dict[str, Page], contents: dict[str, list[dict[str, Any]]]
) -> None:
    assert isinstance(MINI2, Table)
    rows = list(csv.DictReader(io.StringIO(str(pages["cells.csv"]))))
    assert len(contents) == len(MINI2.rows) == 8
    for row in MINI2.rows:
        assert row.experiment is not None
        (seeds,) = [found for folder, found in contents.items() if folder.startswith(f"{_slug(row.experiment.name)}-")]
        for metric in ("top1_err", "top5_err"):
            mean = fmean(record["metrics"][metric]["value"] for record in seeds)
            printed = f"{mean + 1e-9:.2f}"
            (line,) = [one for one in rows if (one["row"], one["column"]) == (row.key, metric)]
            assert float(line["measured"]) == pytest.approx(mean, abs=1e-12)
            assert line["seeds"] == "3"
            for name in ("mini-table2.md", "mini-table2.tex", "index.html"):
                assert printed in str(pages[name]), (name, row.key, metric)
    assert not any(
        line["verdict"] for line in rows if line["metric"] in ("top1_err", "top5_err")
    )  # minis judge nothing


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)


def test_the_pairs_are_those_of_the_images(pages: dict[str, Page], contents: dict[str, list[dict[str, Any]]]) -> None:
    """One row against the first: mean difference and standard error from the bits themselves."""
    told = json.loads(str(pages["tables.json"]))["tables"][0]["pairs"]
    assert len(told) == 14
    (pair,) = [one for one in told if (one["row"], one["column"]) == ("5432", "top1_err")]
    ours, theirs = (
        next(np.array([_wrong(record) for record in seeds]) for folder, seeds in contents.items() if part in folder)
        for part in ("-5432-", "imagenet-resnet50-")
    )
    assert pair["n"] == ours.shape[1] == 1_000
    assert pair["difference"] == pytest.approx(100 * (ours.mean() - theirs.mean()), abs=1e-8)
    assert pair["word"] == "within the noise"
    images = 100 * np.std(ours.mean(axis=0) - theirs.mean(axis=0)) / sqrt(1_000)
    assert pair["half"] > 1.96 * images  # the spread over seeds comes on top


def _wrong(record: dict[str, Any]) -> np.ndarray:
    packed = np.frombuffer(base64.b64decode(record["outcomes"]["top1_err"]), np.uint8)
    return 1 - np.unpackbits(packed)[: record["metrics"]["top1_err"]["n"]].astype(float)


def test_every_link_to_a_record_leads_to_one(pages: dict[str, Page]) -> None:
    links = re.findall(r"\.\./records/([^\s)\"']+\.json)", str(pages["mini-table2.md"]))
    assert len(set(links)) == 24
    assert all((EXAMPLES / link).is_file() for link in links)


def test_the_same_records_give_the_same_bytes(pages: dict[str, Page]) -> None:
    assert render([MINI2], Evidence.load(EXAMPLES), (*FORMATS, *EXPORTS), "../records/") == pages


def test_the_records_of_the_benchmark_are_evidence(tmp_path: Path) -> None:
    size = make(tmp_path, 60, epochs=3)
    found = Evidence.load(tmp_path)
    assert (len(found.records), found.problems) == (60, ())
    assert size == sum(path.stat().st_size for path in tmp_path.rglob("*.json"))
    page = json.loads(str(render(tables(), found, ["json"])["tables.json"]))
    measured = page["tables"][1]["cells"]
    assert any(cell["seeds"] > 1 for cell in measured)
