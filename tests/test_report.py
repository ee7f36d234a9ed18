"""Reports: every format says the same, hostile text is text, the same records give the same bytes."""

# ruff: noqa: RUF001 (the paper's multiplication sign)

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from evidence import CROP, counted, measurement, save, save_count
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments import mini, tables
from experiments.recipes import imagenet
from experiments.spec import ArchitectureTable, Column, Row, Table
from pyconv.architectures import pyconvresnet, pyconvresnet3d, resnet
from results import architecture
from results.cell import Cell
from results.cells import build, frame, grid
from results.evidence import Evidence
from results.printers import markdown
from results.records import Metric, count_path, encode, record_path, write
from results.report import BESIDE_OTHERS, REFRESH, render, stale, write_reports
from results.sheets import sheet

TOP1 = Column("top1_err", "top-1", "top1_err", "lower", noise="binomial", protocol=CROP)
TEST = Column("test_miou", "mIoU", "miou", "higher", external=True, group="Testing set")
PARAMS = Column("params", "params", "params", "lower", unit="M", scale=1e6)
FLOPS = Column("flops", "GFLOPs", "flops", "lower", unit="G", scale=1e9)
FLOPS320 = replace(FLOPS, key="flops_320", input_size=(3, 320, 320))
OLD, NEW = imagenet(resnet(50)), imagenet(pyconvresnet(50))
NOWHERE = Evidence.load(Path("nowhere"))
TABLE = Table(
    number=90,
    caption="Two networks & a quoted one",
    columns=(TOP1, PARAMS, FLOPS),
    rows=(
        Row("old", "ResNet-50 [7]", OLD, (23.88, 25.56, 4.14)),
        Row("new", "PyConvResNet-50 †", NEW, (22.12, 24.85, 3.88), footnote="† Ours."),
        Row("theirs", "FCN [38]", None, (30.00, None, "-"), footnote="One cell is not readable."),
    ),
    footnotes=("Single crop.",),
)
HOSTILE = [
    "<script>alert(1)</script>",
    r"\input{/etc/passwd}",
    "a|b",
    "a & b",
    "100%",
    "#1",
    "a_b",
    "{",
    "}",
    "~",
    "^",
    "\\",
    "two\nlines",
    "$x$",
    "[1] *bold* `code`",
    "]]>",
    '"quoted"',
    "{{ 7*7 }}",
    "<% raw %>",
    "<< secret >>",
    "https://example.org @someone",
    "naïve ♥ 漢 \x07",
    "-- --- end\\",
]


def evidence(root: Path) -> Evidence:
    """Real counts and one measured row."""
    save_count(root, resnet(50), 25_557_032, 4_142_713_880)
    save_count(root, pyconvresnet(50), 24_847_720, 3_877_433_368)
    save(root, NEW, errors=(22.3, 6.2))
    return Evidence.load(root)


def cell_of(table: Table, found: Evidence, row: str, column: str) -> Cell:
    (cell,) = [c for c in build([table], found) if c.row == row and c.column.key == column]
    return cell


def test_a_count_comes_from_its_record(tmp_path: Path) -> None:
    cell = cell_of(TABLE, evidence(tmp_path), "new", "flops")
    assert (cell.raw, cell.verdict, cell.measured_text, cell.delta_text) == (3_877_433_368, "MATCH", "3.88", "0.00")
    assert set(cell.conventions) == {"thop-2019", "macs", "fvcore"}
    assert cell.records == tuple(p for p in evidence_places(tmp_path) if "pyconv" in p and p.startswith("counts"))


def evidence_places(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*.json"))


def test_a_count_at_another_size_needs_its_own_record(tmp_path: Path) -> None:
    table = replace(TABLE, columns=(FLOPS320,), rows=(replace(TABLE.rows[0], published=(8.0,)),))
    found = evidence(tmp_path)
    assert cell_of(table, found, "old", "flops_320").verdict == "PENDING"
    save_count(tmp_path, resnet(50), 25_557_032, 8_004_000_000, (3, 320, 320))
    assert cell_of(table, Evidence.load(tmp_path), "old", "flops_320").verdict == "MATCH"


def test_what_is_not_measured_is_pending_and_what_is_quoted_says_so(tmp_path: Path) -> None:
    found = evidence(tmp_path)
    assert cell_of(TABLE, found, "old", "top1_err").verdict == "PENDING"
    assert cell_of(TABLE, found, "old", "top1_err").measured_text == "pending"
    quoted = cell_of(TABLE, found, "theirs", "params")
    assert (quoted.verdict, quoted.published_text) == ("QUOTED", "?")
    external = Table(91, "server", (TEST,), (Row("a", "A", OLD, (37.75,)), Row("b", "B", None, ("-",))))
    assert cell_of(external, found, "a", "test_miou").verdict == "EXTERNAL"
    assert cell_of(external, found, "b", "test_miou").published_text == "-"
    dash = replace(TABLE, rows=(Row("old", "ResNet", OLD, ("-", 25.56, 4.14)),))
    assert cell_of(dash, found, "old", "top1_err").verdict is None
    assert cell_of(dash, found, "old", "top1_err").reason == "the paper prints a dash: nothing to compare with"


def test_a_lost_count_is_compared_with_the_computed_one(tmp_path: Path) -> None:
    row = Row("old", "ResNet", OLD, (None, None, None), reference=(("params", 25.56), ("flops", 4.15)))
    table = replace(TABLE, rows=(row,))
    found = evidence(tmp_path)
    params = cell_of(table, found, "old", "params")
    assert (params.verdict, params.published_text) == ("MATCH", "[25.56]")
    assert "computed, not published" in params.reason
    assert cell_of(table, found, "old", "flops").verdict == "FAILED"
    assert cell_of(table, found, "old", "top1_err").verdict == "PENDING"


def test_seeds_are_averaged_and_counted(tmp_path: Path) -> None:
    for seed, top1 in enumerate((22.0, 22.4, 22.5)):
        save(tmp_path, replace(NEW, seed=seed), errors=(top1, 6.0))
    cell = cell_of(TABLE, Evidence.load(tmp_path), "new", "top1_err")
    assert (cell.seeds, cell.n, cell.measured_text) == (3, 50_000, "22.30")
    assert cell.delta == pytest.approx(0.18)
    assert len(cell.records) == 3


def test_a_mini_record_never_stands_in_a_column_of_the_paper(tmp_path: Path) -> None:
    save(tmp_path, NEW, errors=(1.23, 0.5), mini=True)
    found = Evidence.load(tmp_path)
    cell = cell_of(TABLE, found, "new", "top1_err")
    assert cell.verdict == "PENDING"
    assert "mini runs stay in mini tables" in cell.problems[0]
    pages = render([TABLE], found)
    assert "1.23" not in "".join(pages.values())
    assert "mini record under the fingerprint of table90/new/top1_err" in pages["index.html"]
    assert "mini record under the fingerprint" in json.loads(pages["tables.json"])["problems"][0]


def test_a_paper_record_never_stands_in_a_mini_table(tmp_path: Path) -> None:
    (small, *_) = tables(mini=True)
    assert isinstance(small, Table)
    row = small.rows[0]
    assert row.experiment is not None
    protocol = small.protocol(row, small.columns[0])
    assert protocol is not None
    save(tmp_path, row.experiment, protocol, errors=(3.21, 0.5))
    pages = render([small], Evidence.load(tmp_path))
    assert "3.21" not in pages[f"{small.name}.md"]
    assert "not marked as mini" in pages["index.html"]


def test_mini_numbers_stand_in_their_own_section(tmp_path: Path) -> None:
    (small, *_) = tables(mini=True)
    assert isinstance(small, Table)
    row = small.rows[0]
    assert row.experiment is not None
    protocol = small.protocol(row, small.columns[0])
    assert protocol is not None
    assert mini.mini_protocol(CROP) == protocol
    save(tmp_path, row.experiment, protocol, errors=(3.21, 0.5), mini=True)
    pages = render([*tables(), small], Evidence.load(tmp_path))
    above, below = pages["index.html"].split('<h2 id="mini">')
    assert "3.21" in below
    assert "3.21" not in above
    assert "checks the pipeline, not the paper" in pages[f"{small.name}.md"]
    assert "25.56" in pages[f"{small.name}.md"]  # the run's own count of parameters
    cells = [c for c in build([small], Evidence.load(tmp_path)) if c.measured is not None]
    assert {c.verdict for c in cells} == {None}
    assert {c.delta for c in cells} == {None}


def test_a_record_without_the_column_s_metric_is_told(tmp_path: Path) -> None:
    save(tmp_path, NEW, metrics={"top5_err": Metric(6.2, "%", 50_000, None)})
    cell = cell_of(TABLE, Evidence.load(tmp_path), "new", "top1_err")
    assert cell.verdict == "PENDING"
    assert "metrics.top1_err is missing" in cell.problems[0]


def test_the_grid_is_the_page(tmp_path: Path) -> None:
    table = replace(
        TABLE,
        groups=(("50", "depth 50"), ("101", "depth 101")),
        rows=(
            replace(TABLE.rows[0], group="50"),
            replace(TABLE.rows[0], group="101", experiment=imagenet(resnet(101)), published=(22.0, 44.55, 7.88)),
            replace(TABLE.rows[1], group="101"),
        ),
    )
    page = grid(frame(build([table], evidence(tmp_path))), "table90")
    assert list(page.index) == ["old", "new"]
    assert list(page.columns) == [(g, c) for g in ("50", "101") for c in ("top1_err", "params", "flops")]
    assert page.loc["old", ("101", "params")].published == 44.55
    assert page.loc["new", ("50", "params")] is None
    made = sheet(table, frame(build([table], NOWHERE)), NOWHERE)
    assert [heading.text for heading in made.headings[0]] == ["depth 50", "depth 101"]
    assert made.rows[1].cells[:3] == (None, None, None)
    assert made.flat_headings[3] == "depth 101 top-1"


def test_all_ten_tables_without_any_evidence() -> None:
    pages = render(tables(), NOWHERE)
    expected = {f"table{n}{kind}" for n in range(1, 11) for kind in (".md", ".tex", "-paper.tex")}
    assert set(pages) == expected | {"claims.md", "claims.tex", "tables.json", "index.html", *BESIDE_OTHERS}
    for number in (2, 3, 4, 5, 6, 8, 10):
        for line in pages[f"table{number}.md"].splitlines():
            if "| measured " in line:
                assert "" not in [part.strip() for part in line.split("|")[2:-1]], line
    content = json.loads(pages["tables.json"])
    assert [table["name"] for table in content["tables"]] == [f"table{n}" for n in range(1, 11)]
    for table in tables():
        if isinstance(table, Table):
            shown = content["tables"][table.number - 1]["cells"]
            assert sorted(str(c["published"]) for c in shown) == sorted(str(p) for _, _, p in table.cells())
    verdicts = {cell["verdict"] for table in content["tables"] for cell in table["cells"]}
    assert verdicts == {"PENDING", "QUOTED", "EXTERNAL", None}


def test_the_one_deviation_is_a_footnote_in_every_format(tmp_path: Path) -> None:
    network = pyconvresnet3d(50)
    save_count(tmp_path, network, 45_373_072, 91_811_878_512)
    pages = render(tables(), Evidence.load(tmp_path))
    for name in ("table10.md", "table10.tex", "table9.md", "table9.tex", "index.html"):
        assert "DEVIATION" in pages[name], name
        assert "174-way" in pages[name], name
    cells = json.loads(pages["tables.json"])["tables"][9]["cells"]
    (cell,) = [c for c in cells if c["target"] == "table10/pyconvresnet3d50/params"]
    assert (cell["verdict"], cell["raw"], cell["footnotes"]) == ("DEVIATION", 45_373_072, [1])


def test_an_unknown_count_fails_loudly(tmp_path: Path) -> None:
    save_count(tmp_path, resnet(50), 25_000_000, 4_142_713_880)
    pages = render([TABLE], Evidence.load(tmp_path))
    for name in ("table90.md", "table90.tex", "index.html"):
        assert "FAILED" in pages[name], name


def hostile(text: str) -> Table:
    row = Row("old", text, OLD, (23.88, 25.56, 4.14), footnote=f"note {text}")
    column = replace(TOP1, header=text, group=text)
    return Table(90, text, (column, PARAMS, FLOPS), (row,), row_header=text, footnotes=(f"remark {text}",))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_text_in_json(text: str) -> None:
    pages = render([hostile(text)], NOWHERE, ("json",))
    assert json.loads(pages["tables.json"])["tables"][0]["cells"][0]["label"] == text


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_text_in_markdown(text: str) -> None:
    page = render([hostile(text)], NOWHERE)["table90.md"]
    plain = render([hostile("x")], NOWHERE)["table90.md"]
    assert len(page.splitlines()) == len(plain.splitlines())
    bars = re.compile(r"(?<!\\)\|")
    assert [len(bars.findall(line)) for line in page.splitlines()] == [
        len(bars.findall(line)) for line in plain.splitlines()
    ]
    assert "<script" not in page


@given(st.text(max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_text_is_text_in_markdown(text: str) -> None:
    escaped = markdown.escape(text)
    rest = re.sub(r"\\[!-/:-@\[-`{-~]", "", escaped.replace("<span>&#64;</span>", ""))
    rest = re.sub(r"&(amp|lt|gt|#47);", "", rest)
    assert not re.search(r"[<>|*_`\[\]#~$\\@&\n\r]", rest)


def test_the_layout_is_the_accepted_one(tmp_path: Path) -> None:
    """Golden files hold layout only; after a wanted change: PYCONV_ACCEPT=1 pytest tests/test_report.py."""
    pages = render([TABLE], evidence(tmp_path), ("md", "latex"))
    golden = Path(__file__).parent / "golden"
    for name in ("table90.md", "table90.tex"):
        if os.environ.get("PYCONV_ACCEPT"):
            (golden / name).write_text(pages[name], encoding="utf-8")
        assert pages[name] == (golden / name).read_text(encoding="utf-8"), (
            f"{name} changed: look at it, then PYCONV_ACCEPT=1 pytest tests/test_report.py"
        )


def test_pages_are_written_whole_and_staleness_is_seen(tmp_path: Path) -> None:
    found = evidence(tmp_path / "records")
    out = tmp_path / "out"
    paths = write_reports([TABLE], found, out, ("md", "latex", "json"))
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in paths)
    tex = {"table90.tex", "table90-paper.tex", *BESIDE_OTHERS}
    assert {path.name for path in paths} == {"table90.md", "tables.json", *tex}
    assert stale([TABLE], found, out) == []
    (out / "table90.md").write_text((out / "table90.md").read_text().replace("24.85", "24.86", 1))
    (out / "table90.tex").unlink()
    (out / "table99.md").write_text("typed by hand")
    told = stale([TABLE], found, out)
    assert len(told) == 3
    assert "table90.tex is missing" in told
    assert "table99.md is not rendered from anything" in told
    assert re.fullmatch(r"table90\.md differs from line \d+ on", told[2])
    with pytest.raises(ValueError, match="'pdf' is none of md, latex, json, html"):
        write_reports([TABLE], found, out, ("pdf",))


def test_a_users_own_line_is_not_called_unreadable(tmp_path: Path) -> None:
    """ "?" is for what our copy of the paper lost; a line that publishes nothing has nothing there."""
    own = Row("own", "Ours", NEW, (None, None, None))
    lost = Row("lost", "Lost", OLD, (23.88, None, 4.14))
    cells = build([replace(TABLE, rows=(own, lost))], Evidence.load(tmp_path))
    assert [cell.published_text for cell in cells] == ["", "", "", "23.88", "?", "4.14"]


def test_the_committed_tables_are_fresh() -> None:
    """What stands in results/tables is what the committed records give."""
    found = Evidence.load(Path(__file__).parent.parent / "results" / "records")
    differences = stale(tables(), found, Path(__file__).parent.parent / "results" / "tables")
    assert differences == [], f"refresh with: {REFRESH}"
    assert found.problems == ()


def test_the_same_records_give_the_same_bytes_without_torch(tmp_path: Path) -> None:
    evidence(tmp_path)
    script = (
        "import sys, hashlib; from pathlib import Path; from experiments import tables\n"
        "from results.evidence import Evidence; from results.report import render\n"
        "pages = render([*tables(), *tables(mini=True)], Evidence.load(Path(sys.argv[1])))\n"
        "assert 'torch' not in sys.modules\n"
        "print(hashlib.sha256(repr(sorted(pages.items())).encode()).hexdigest())\n"
    )
    told = set()
    copy = tmp_path / "copied"
    for seed, root in (("0", tmp_path), ("7", copy)):
        if root is copy:
            shutil.copytree(tmp_path, copy)
        environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": "Asia/Tokyo" if seed == "7" else "UTC"}
        told.add(
            subprocess.run(
                [sys.executable, "-c", script, str(root)],
                env=environment,
                cwd=Path(__file__).parent.parent,
                capture_output=True,
                check=True,
                text=True,
            ).stdout
        )
    assert len(told) == 1


def test_a_torn_record_is_named_on_the_page_and_not_shown(tmp_path: Path) -> None:
    path = record_path(tmp_path, NEW, CROP)
    path.parent.mkdir(parents=True)
    path.write_text(encode(measurement(NEW, errors=(12.34, 5.0)))[:-40])
    pages = render([TABLE], Evidence.load(tmp_path))
    assert "12.34" not in "".join(pages.values())
    assert "crop224.json: not JSON" in pages["index.html"]
    assert str(tmp_path) not in "".join(pages.values())


STAGES = {
    "stem": ("112×112", ["7×7, 64, s=2", "3×3 max pool, s=2"], ["7×7, 64, s=2"]),
    "stage1": (
        "56×56",
        ["1×1, 64", "3×3, 64", "1×1, 256"],
        ["1×1, 64", "PyConv4, 64:", "9×9, 16, G=16", "7×7, 16, G=8", "5×5, 16, G=4", "3×3, 16, G=1", "1×1, 256"],
    ),
    "stage4": (
        "7×7",
        ["1×1, 512", "3×3, 512", "1×1, 2048"],
        ["1×1, 512", "PyConv1, 512:", "3×3, 512, G=1", "1×1, 2048"],
    ),
    "head": ("1×1", ["global avg pool", "1000-d fc"], ["global avg pool", "1000-d fc"]),
}


def test_table_1_is_rendered_from_the_built_models_as_printed(tmp_path: Path) -> None:
    from pyconv.complexity import stage_outputs  # the only test here that needs torch

    table = ArchitectureTable(
        1, "two networks", (("ResNet-50", OLD, 25.56, 4.14), ("PyConvResNet-50", NEW, 24.85, 3.88))
    )
    for experiment in (OLD, NEW):
        network = experiment.model
        record = counted(network, 25_557_032, 4_142_713_880, stages=stage_outputs(network))
        write(record, count_path(tmp_path, network, network.input_size))
    found = Evidence.load(tmp_path)
    rows = architecture.stage_rows(table, found)
    assert [row.stage for row in rows] == ["", "1", "2", "3", "4", ""]
    by_name = dict(zip(["stem", "stage1", "stage2", "stage3", "stage4", "head"], rows, strict=True))
    for name, (output, ours, theirs) in STAGES.items():
        row = by_name[name]
        assert row.output == output
        assert [[text for _, text in entry.lines] for entry in row.entries] == [ours, theirs]
    assert [row.entries[0].times for row in rows] == [0, 3, 4, 6, 3, 0]
    pages = render([table], found)
    assert "PyConv4, 64:" in pages["table1.md"]
    assert r"9\ensuremath{\times}9, 16, G=16" in pages["table1.tex"]
    assert "9×9, 16, G=16" in pages["index.html"]


def test_an_architecture_without_a_count_is_pending() -> None:
    (table, *_) = tables()
    assert isinstance(table, ArchitectureTable)
    pages = render([table], NOWHERE)
    assert "pending" in pages["table1.md"]
