"""Table 8's lost line: what is published, what is computed, what is unreadable, and what a reader enters by hand."""

import json
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from evidence import SHA, measurement
from pages import Page

from experiments import TABLES
from experiments.mini import mini_table
from experiments.protocols import COCO300
from results.bundle import About, contents, make
from results.cell import Cell
from results.cells import build
from results.evidence import Evidence
from results.gather import gather
from results.records import Metric, record_path, write
from results.report import render
from slurm.cli import cli

TABLE = TABLES[8]
RECORDS = Path(__file__).parent.parent / "results" / "records"
METRICS = [column.key for column in TABLE.columns if column.protocol is not None]
WHO = 'source = "the printed page 15 & <b>_$x$", by = "A. Reader"'
WORDS = "entered by hand from the printed page 15 & <b>_$x$ by A. Reader"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The committed counts, and nothing measured."""
    shutil.copytree(RECORDS / "counts", tmp_path / "records" / "counts")
    return tmp_path / "records"


def line(numbers: str, target: str = "table8/ssd50", who: str = WHO) -> str:
    return f'"{target}" = {{{", ".join(part for part in (numbers, who) if part)}}}\n'


def entered(root: Path, *lines: str) -> Evidence:
    (root / "published.toml").write_text("".join(lines))
    return Evidence.load(root)


def cell_of(evidence: Evidence, key: str, row: str = "ssd50") -> Cell:
    return next(cell for cell in build([TABLE], evidence) if (cell.row, cell.column.key) == (row, key))


def measure(root: Path, **values: float) -> None:
    """Made-up records of SSD-50's twelve numbers, 20 unless they are given."""
    experiment = TABLE.row("ssd50").experiment
    assert experiment is not None
    record = measurement(
        experiment,
        COCO300,
        metrics={key: Metric(values.get(key, 20.0), "%", 5_000, None) for key in METRICS},
        data={"name": "coco", "splits": {"val": {"samples": 5_000, "classes": 80, "sha256": SHA}}},
    )
    write(record, record_path(root, experiment, COCO300))


def published_line(markdown: str) -> list[str]:
    """The texts of SSD-50's published line, column by column."""
    row = next(text for text in markdown.splitlines() if text.startswith("| Baseline SSD-50"))
    return [text.strip() for text in row.split("|")[3:-1]]


def test_published_computed_and_unreadable_are_told_apart_in_every_format(root: Path) -> None:
    report = render([TABLE], Evidence.load(root), ("md", "latex", "json", "html"))
    unread = [key for key in METRICS if key != "ap_l"]
    places = [column.key for column in TABLE.columns]
    texts = dict(zip(places, published_line(str(report["table8.md"])), strict=True))
    assert {texts[key] for key in unread} == {"?"}
    assert (texts["ap_l"], texts["params"], texts["flops"]) == ("42.64", r"\[22.89\]", r"\[20.92\]")
    latex = next(text for text in str(report["table8.tex"]).splitlines() if text.startswith("Baseline SSD-50"))
    found = [part.strip().removesuffix(r"\\").strip() for part in latex.split("&")[1:]]
    assert [found[places.index(key)] for key in ("ap", "ap_l", "params")] == ["{?}", "42.64", "{{[}22.89{]}}"]
    macros = str(report["macros.tex"])
    assert re.search(r"\\pyconvTableEightSsdFiveZeroParamsPublished\}?\{\{\[\}22\.89\{\]\}\}", macros)
    html = Page(str(report["index.html"])).text
    assert "[22.89]" in html
    assert '"[22.89]" and "[20.92]", in millions of parameters and GFLOPs, are computed, not published' in html
    cells = {one["column"]: one for one in tables_json(report)["cells"] if one["row"] == "ssd50"}
    assert (cells["ap"]["published"], cells["ap"]["reference"]) == (None, None)
    assert (cells["ap_l"]["published"], cells["ap_l"]["reference"]) == (42.64, None)
    assert (cells["params"]["published"], cells["params"]["reference"]) == (None, 22.89)
    assert all(cell["entered"] == "" for cell in cells.values())


def tables_json(report: Any) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(report["tables.json"])["tables"][0]
    return content


def test_one_line_fills_cells_and_every_page_says_by_whom(root: Path) -> None:
    evidence = entered(root, line("ap = 12.30, ar1 = 4.50"))
    assert evidence.problems == ()
    report = render([TABLE], evidence, ("md", "latex", "json", "html", "csv"))
    markdown = str(report["table8.md"])
    assert published_line(markdown)[0].startswith("12.30[^table8-")
    assert published_line(markdown)[1] == "?"
    assert re.search(
        r"\[\^table8-\d\]: The published .*: entered by hand from the printed page 15 &amp; &lt;b&gt;\\_\\\$x\\\$ by A",
        markdown,
    )
    latex = str(report["table8.tex"])
    assert re.search(r"12\.30\{\\textsuperscript", latex)
    assert r"entered by hand from the printed page 15 \& \textless{}b\textgreater{}\_\$x\$ by A. Reader" in latex
    assert r"{12.30\textsuperscript{\S}}" in str(report["macros.tex"])
    assert (
        f"The published number is not readable in our copy of the paper: {WORDS}."
        in Page(str(report["index.html"])).text
    )
    cells = {one["column"]: one for one in tables_json(report)["cells"] if one["row"] == "ssd50"}
    assert (cells["ap"]["published"], cells["ap"]["entered"]) == (12.3, WORDS)
    assert any(WORDS in text for text in tables_json(report)["footnotes"])
    assert {key for key, cell in cells.items() if cell["entered"]} == {"ap", "ar1"}
    assert {one["entered"] for one in tables_json(report)["cells"] if one["row"] != "ssd50"} == {""}
    assert str(report["cells.csv"]).count("entered by hand from the printed page 15") >= 2


def test_what_was_entered_is_judged_as_what_is_printed(root: Path) -> None:
    """A count exactly; AP by the noise: 20.00 matches 20.00, and 50 points are more than noise."""
    measure(root)
    evidence = entered(root, line("ap = 20.00, ap50 = 70.00, params = 22.89, flops = 20.93"))
    verdicts = {key: cell_of(evidence, key).verdict for key in ("ap", "ap50", "params", "flops")}
    assert verdicts == {"ap": "MATCH", "ap50": "WORSE", "params": "MATCH", "flops": "FAILED"}
    assert "computed, not published" not in cell_of(evidence, "params").reason
    assert cell_of(evidence, "ap75").verdict == "INCONCLUSIVE"  # nothing to compare with
    sentences = {sentence.key: sentence for sentence in gather([TABLE], evidence).sentences}
    texts = [part.published.text for part in sentences["pyconvssd-beats-ssd"].parts]
    assert "29.16 > 20.00 (by hand)" in texts
    assert "30.24 > ?" in texts


def test_what_our_copy_prints_too_changes_nothing(root: Path) -> None:
    before = render([TABLE], Evidence.load(root), ("md",))
    evidence = entered(root, line("ap_l = 42.64"), line("ap = 29.16", "table8/pyconvssd50"))
    assert evidence.problems == ()
    assert render([TABLE], evidence, ("md",)) == before


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (line("ap_l = 42.65"), "ap_l is 42.65; our copy of the paper prints 42.64 there"),
        (line("ap = 29.17", "table8/pyconvssd50"), "our copy of the paper prints 29.16 there"),
        (line("test_miou = 37.00", "table7/pspnet269"), "the paper prints a dash there"),
        (line("ap = 25.1"), "ap is 25.1; as it is printed, with 2 decimals, is right"),
        (line("ap = 25"), "ap is 25; as it is printed"),
        (line("ap = 2.50e1"), "ap is 2.50e1; as it is printed"),
        (line("ap = -1.00"), "ap is -1.00; as it is printed"),
        (line("ap = nan"), "ap is nan; as it is printed"),
        (line("ap = 100.01"), "ap is 100.01; percent, 0 to 100, is right"),
        (line("map = 25.10"), "map is no column; valid: ap, ap50"),
        (line("ap = 25.10", "table8/ssd51"), "the paper prints no such row; did you mean table8/ssd50?"),
        (line("ap = 25.10", who='by = "A. Reader"'), "source is missing: where it is printed"),
        (line("ap = 25.10", who='source = "p. 15", by = " "'), "by is missing: who entered it"),
        (line(""), "no number in it"),
        ('"table8/ssd50" = 25.10\n', "give {<column> = <number>"),
        (line("ap = 25.10") + line("ap = 25.10"), "cannot be read"),
        (line("ap = 25.10, ap = 25.10"), "cannot be read"),
    ],
)
def test_a_wrong_file_is_told_and_fills_nothing(root: Path, text: str, told: str) -> None:
    good = line("ap50 = 43.00", "table7/pspnet152").replace("ap50", "test_miou")
    evidence = entered(root, good, text)
    assert evidence.by_hand == {}
    assert any(problem.startswith("published.toml: ") and told in problem for problem in evidence.problems)
    assert cell_of(evidence, "ap").published_text == "?"


def test_a_quoted_row_s_lost_cell_is_filled_and_still_quoted(root: Path) -> None:
    evidence = entered(root, line("test_miou = 43.00", "table7/pspnet152"))
    (cell,) = (one for one in build([TABLES[7]], evidence) if one.target == "table7/pspnet152/test_miou")
    assert (cell.published_text, cell.verdict, cell.entered) == ("43.00", "QUOTED", WORDS)


def test_a_mini_table_has_no_number_of_the_paper(root: Path) -> None:
    evidence = entered(root, line("test_miou = 43.00", "table7/pspnet152"))
    assert not any(cell.entered for cell in build([mini_table(TABLES[7])], evidence))


def test_a_bundle_takes_the_file_along(root: Path, tmp_path: Path) -> None:
    """What was rendered from it is rendered again to the same bytes; a bundle of another table has no use for it."""
    evidence = entered(root, line("ap = 12.30"))
    bundle = tmp_path / "bundle.zip"
    make([TABLE], evidence, About("table8"), bundle)
    with zipfile.ZipFile(bundle) as archive:
        assert archive.read("records/published.toml").decode() == line("ap = 12.30")
        page = archive.read("report/table8.md").decode()
    again = CliRunner().invoke(cli, ["report", "--from", str(bundle), "--output", str(tmp_path / "again")])
    assert again.exit_code == 0, again.output
    assert "differ" not in again.output
    assert WORDS.split(" &")[0][1:] in page
    assert published_line((tmp_path / "again" / "table8.md").read_text())[0].startswith("12.30")
    assert "records/published.toml" not in {member.name for member in contents([TABLES[6]], evidence, About("table6"))}
