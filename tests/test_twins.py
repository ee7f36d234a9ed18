"""Twins for programs: numbers come back equal, types stay, spreadsheets run nothing, formats agree with each other."""

import csv
import hashlib
import io
import json
import os
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from evidence import CROP, save, save_count
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments import tables
from experiments.recipes import imagenet
from experiments.spec import Column, Row, Table
from pyconv.architectures import pyconvresnet, resnet
from results.cell import Cell
from results.evidence import Evidence
from results.gather import Report, gather
from results.junit import printable
from results.printers import twins
from results.report import render
from slurm.cli import cli

OLD, NEW = imagenet(resnet(50)), imagenet(pyconvresnet(50))
TOP1 = Column("top1_err", "top-1", "top1_err", "lower", noise="binomial", protocol=CROP)
FLOPS = Column("flops", "GFLOPs", "flops", "lower", unit="G", scale=1e9)
TABLE = Table(90, "Two", (TOP1, FLOPS), (Row("old", "ResNet", OLD, ("-", None)), Row("new", "Ours", NEW, (22.12, 3.9))))
ROOT = Path(__file__).parent.parent
NOWHERE = Evidence.load(Path("nowhere"))


def measured(root: Path) -> Report:
    """All tables, some of them measured: thirds, which no decimal text ends, and counts beyond 32 bits."""
    for seed, top1 in enumerate((22.0, 22.1, 22.3)):
        save(root, replace(NEW, seed=seed), errors=(top1, 6.0))
    save_count(root, pyconvresnet(50), 24_847_720, 3_877_433_368)
    return gather([TABLE, *tables()], Evidence.load(root), "../records/")


def labelled(text: str) -> Report:
    return gather([replace(TABLE, rows=(replace(TABLE.rows[1], label=text, footnote=text),))], NOWHERE)


def as_csv(report: Report) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(twins.csv_pages(report)["cells.csv"]), keep_default_na=False, na_values=[""])


def as_parquet(report: Report) -> pd.DataFrame:
    return pd.read_parquet(io.BytesIO(twins.parquet_pages(report)["cells.parquet"]))


def test_csv_reads_back_to_equal_numbers(tmp_path: Path) -> None:
    report = measured(tmp_path)
    read = as_csv(report)
    assert list(read["target"]) == [cell.target for cell in report.cells]
    for name in ("published", "measured", "raw", "seeds", "n"):
        values = [getattr(cell, name) for cell in report.cells]
        wanted = [value if isinstance(value, (int, float)) else None for value in values]
        assert [None if pd.isna(value) else value for value in read[name]] == wanted
    assert sum(read["measured"] == (22.0 + 22.1 + 22.3) / 3) >= 2  # bit for bit, in Table 90 and wherever it stands
    assert 3_877_433_368 in set(read["raw"])


def test_csv_is_rfc_4180() -> None:
    page = twins.csv_pages(labelled('a "quoted", text\nof two lines'))["cells.csv"]
    assert '"a ""quoted"", text\nof two lines"' in page
    assert page.endswith("\r\n")
    header, *lines = csv.reader(io.StringIO(page, newline=""), strict=True)
    assert {len(line) for line in lines} == {len(header)}
    assert len(lines) == 2
    assert lines[0][header.index("label")] == 'a "quoted", text\nof two lines'


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "=cmd|' /C calc'!A0", "＝1+1"])  # noqa: RUF001
def test_a_spreadsheet_runs_no_label(text: str) -> None:
    rows = list(csv.DictReader(io.StringIO(twins.csv_pages(labelled(text))["cells.csv"], newline="")))
    assert rows[0]["label"] == f"'{text}"
    assert rows[0]["published"] == "22.12"


@given(st.text(max_size=30))
@settings(max_examples=200, deadline=None)
def test_any_label_survives_csv_and_starts_no_formula(text: str) -> None:
    page = twins.csv_pages(labelled(text))["cells.csv"]
    page.encode()
    first, _ = csv.DictReader(io.StringIO(page, newline=""))
    label = first["label"]
    assert len(label) <= 1 or label[0] not in "=+-@\t\r"
    assert label.removeprefix("'") == printable(text).removeprefix("'")


def test_negative_numbers_are_no_formulas(tmp_path: Path) -> None:
    read = as_csv(measured(tmp_path))
    assert (read["delta"] < 0).any()


def test_parquet_has_types_and_the_same_numbers(tmp_path: Path) -> None:
    report = measured(tmp_path)
    read = as_parquet(report)
    types = {"raw": "Int64", "seeds": "Int64", "n": "Int64", "measured": "Float64", "published": "Float64"}
    types |= {"mini": "boolean", "label": "string", "verdict": "string", "decimals": "Int64"}
    assert {name: str(read[name].dtype) for name in types} == types
    pd.testing.assert_frame_equal(read, twins.frame(report.cells))
    assert list(read.columns) == list(as_csv(report).columns)


def test_without_evidence_the_columns_keep_their_types(tmp_path: Path) -> None:
    empty = as_parquet(gather([TABLE], NOWHERE))
    assert list(empty.dtypes.items()) == list(as_parquet(measured(tmp_path)).dtypes.items())


def test_json_says_the_same(tmp_path: Path) -> None:
    report = measured(tmp_path)
    content = json.loads(twins.json_pages(report)["tables.json"])
    cells = {cell["target"]: cell for table in content["tables"] for cell in table["cells"]}
    read = twins.frame(report.cells).set_index("target")
    assert set(cells) == set(read.index)
    for name in twins.scalar_fields():
        for target, value in read[name].items():
            assert cells[target][name] == (None if pd.isna(value) else value)
    assert {cell["published"] for cell in cells.values()} >= {"-", None, 22.12}


def test_every_scalar_of_a_cell_is_there() -> None:
    """By hand: a text, a number, yes or no, or None in a cell of every kind is a column."""
    (cell, *_) = gather([TABLE], NOWHERE).cells
    plain = {f.name for f in fields(Cell) if isinstance(getattr(cell, f.name), (str, int, float, type(None)))}
    shown = set(twins.frame([cell]).columns)
    objects = {name for name in plain - shown if getattr(cell, name) is None}  # objects of later reports
    assert plain - shown == objects
    assert {"band", "se", "p", "adjusted", "reference", "reason", "own"} & plain <= shown


def test_derived_numbers_have_nine_decimals(tmp_path: Path) -> None:
    read = as_csv(measured(tmp_path))
    for name in ("delta", "band", "se", "p", "detectable"):
        assert all(round(value, 9) == value for value in read[name].dropna())


def test_two_processes_write_the_same_bytes_without_torch(tmp_path: Path) -> None:
    measured(tmp_path)
    script = (
        "import sys, hashlib; from pathlib import Path; from experiments import tables\n"
        "from results.evidence import Evidence; from results.report import EXPORTS, render\n"
        "pages = render([*tables(), *tables(mini=True)], Evidence.load(Path(sys.argv[1])), tuple(EXPORTS), '../r/')\n"
        "assert 'torch' not in sys.modules\n"
        "print(sorted(pages), hashlib.sha256(repr(sorted(pages.items())).encode()).hexdigest())\n"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)],
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": "C"},
            cwd=ROOT,
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed, zone in (("0", "UTC"), ("7", "Asia/Tokyo"))
    }
    assert len(told) == 1
    assert "cells.parquet" in told.pop()


def test_without_pyarrow_the_extra_is_named_and_csv_works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['pyarrow'] = None; from pathlib import Path; from experiments import tables\n"
        "from results.evidence import Evidence; from results.report import render\n"
        "assert render(tables(), Evidence.load(Path('nowhere')), ('csv',))['cells.csv'].count('\\r\\n') > 300\n"
        "render(tables(), Evidence.load(Path('nowhere')), ('parquet',))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.stderr.endswith("ModuleNotFoundError: parquet needs pyarrow: pip install 'pyconv[parquet]'\n")
    monkeypatch.setattr("slurm.commands.report.find_spec", lambda _: None)
    told = CliRunner().invoke(cli, ["report", "table2", "--format", "parquet", "--output", str(tmp_path)])
    assert told.exit_code == 2
    assert "pip install 'pyconv[parquet]'" in told.stderr


def test_the_command_prints_csv_and_names_the_formats() -> None:
    done = CliRunner().invoke(cli, ["report", "table2", "--format", "csv"])
    assert done.exit_code == 0
    assert len(list(csv.DictReader(io.StringIO(done.stdout, newline="")))) == 8 * 4
    unknown = CliRunner().invoke(cli, ["report", "table2", "--format", "xlsx"])
    assert unknown.exit_code == 2
    for name in ("csv", "parquet", "model-index", "metafile", "junit"):
        assert name in unknown.stderr
    assert CliRunner().invoke(cli, ["report", "table2", "--format", "parquet"]).exit_code == 2


def test_the_same_report_gives_the_same_bytes(tmp_path: Path) -> None:
    report = measured(tmp_path)
    first, second = ({n: hashlib.sha256(b).digest() for n, b in twins.parquet_pages(report).items()} for _ in range(2))
    assert first == second
    assert render([TABLE], report.evidence, ("csv",)) == render([TABLE], report.evidence, ("csv",))
