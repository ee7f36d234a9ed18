"""Markdown as GitHub's own parser reads it: links to records, footnotes, and labels that stay text."""

from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import cmarkgfm
import pytest
from cmarkgfm.cmark import Options
from evidence import CROP, measurement, save, save_count
from hypothesis import example, given, settings
from hypothesis import strategies as st

from experiments import tables
from experiments.recipes import imagenet
from experiments.spec import Column, Row, Table
from pyconv.architectures import pyconvresnet, resnet
from results.evidence import Evidence
from results.gather import gather
from results.links import one_folder_down, record_url
from results.printers import markdown
from results.records import released_path, write
from results.report import render, write_reports

OLD, NEW = imagenet(resnet(50)), imagenet(pyconvresnet(50))
TOP1 = Column("top1_err", "top-1", "top1_err", "lower", noise="binomial", protocol=CROP)
TOP5 = replace(TOP1, key="top5_err", header="top-5", metric="top5_err")
PARAMS = Column("params", "params", "params", "lower", unit="M", scale=1e6)
ROWS = (Row("old", "ResNet-50 [7]", OLD, (23.88, 7.06, 25.56)), Row("new", "PyConv", NEW, (22.12, 6.2, 24.85)))
TABLE = Table(90, "Two networks", (TOP1, TOP5, PARAMS), ROWS)
NOWHERE = Evidence.load(Path("nowhere"))
GITHUB = ["table", "strikethrough", "autolink", "tagfilter", "tasklist"]


class Page(HTMLParser):
    """What GitHub's parser makes of a page: tables as rows of cells, links by their text, footnotes, all text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.links: list[tuple[str, str]] = []
        self.tags: list[str] = []
        self.text, self._href, self._in_cell = "", "", False
        options = Options.CMARK_OPT_FOOTNOTES | Options.CMARK_OPT_UNSAFE
        self.feed(cmarkgfm.markdown_to_html_with_extensions(page, options=options, extensions=GITHUB))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self._in_cell = True
        elif tag == "a":
            self._href = dict(attrs).get("href") or ""
            self.links.append(("", self._href))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._in_cell = False
        elif tag == "a":
            self._href = ""

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._in_cell:
            self.tables[-1][-1][-1] += data
        if self._href:
            self.links[-1] = (self.links[-1][0] + data, self._href)


def measured(root: Path) -> Evidence:
    """Three seeds of one row, one of the other, and its count."""
    for seed, top1 in enumerate((22.0, 22.4, 22.5)):
        save(root, replace(NEW, seed=seed), errors=(top1, 6.0))
    save(root, OLD, errors=(23.9, 7.0))
    save_count(root, resnet(50), 25_557_032, 4_142_713_880)
    return Evidence.load(root)


def test_each_measured_cell_leads_to_its_record(tmp_path: Path) -> None:
    found = measured(tmp_path / "records")
    write_reports([TABLE], found, tmp_path / "out", ("md",))
    page = Page((tmp_path / "out" / "table90.md").read_text())
    links = [(text, (tmp_path / "out" / unquote(href)).resolve()) for text, href in page.links]
    assert all(path.is_file() and path.is_relative_to(tmp_path / "records") for _, path in links)
    expected = {"23.90": "resnet50", "7.00": "resnet50", "25.56": "counts", "22.30": "pyconv", "6.00": "pyconv"}
    for text, folder in expected.items():
        (path,) = [path for shown, path in links if shown == text]
        assert folder in path.parts[-3] + path.parts[-2]
    seeds = {path for shown, path in links if shown.startswith("seed-")}
    assert len(seeds) == 3
    assert seeds <= {found.root / place for place in found.records}
    shown = [text for text, _ in page.links if not text.startswith("seed-")]
    assert "pending" not in shown  # the other network is not counted
    assert "pending" in page.text


def test_without_links_the_page_has_none(tmp_path: Path) -> None:
    assert Page(render([TABLE], measured(tmp_path), ("md",))["table90.md"]).links == []


def test_columns_are_aligned(tmp_path: Path) -> None:
    for page in render([TABLE, *tables()], measured(tmp_path), ("md",), "../records/").values():
        lines = page.splitlines()
        for above, below in pairwise(lines):
            if above.startswith("|") and below.startswith("|"):
                assert len(above) == len(below)


def test_the_page_has_the_cells_of_the_sheet(tmp_path: Path) -> None:
    report = gather(tables(), measured(tmp_path), "../records/")
    for sheet in report.sheets:
        shown = Page(markdown.render(sheet, report.records_link)).tables[1 if sheet.stages else 0]
        texts = {text for line in shown for text in line}
        assert {line[0] for line in shown[1:]} >= {row.label for row in sheet.rows if not row.marks}
        for cell in (cell for row in sheet.rows for cell in row.cells if cell is not None and not sheet.marks(cell)):
            assert sheet.mini or cell.published_text in texts
            assert cell.verdict in ("QUOTED",) or cell.measured_text in texts


def test_footnotes_are_github_s_and_lead_to_their_texts() -> None:
    rows = (replace(ROWS[0], footnote="1. Not a list."), replace(ROWS[1], footnote="- [x] nor *this*."))
    first, second = replace(TABLE, rows=rows), replace(TABLE, number=91, rows=rows[::-1])
    page = "\n".join(render([first, second], NOWHERE, ("md",)).values())
    read = Page(page)
    assert [line[0] for line in read.tables[0] if line[0]] == ["Network", "ResNet-50 [7]1", "PyConv2"]
    assert [line[0] for line in read.tables[1] if line[0]] == ["Network", "PyConv3", "ResNet-50 [7]4"]
    assert read.text.count("1. Not a list.") == 2
    assert read.text.count("- [x] nor *this*.") == 2
    assert read.tags.count("ol") == 1  # GitHub's list of footnotes


def test_a_footnote_of_a_mini_row_is_referred_to(tmp_path: Path) -> None:
    """A footnote that nothing refers to is not shown by GitHub; mini tables have no published line to carry it."""
    small = replace(TABLE, mini=True, rows=(replace(ROWS[0], published=(None,) * 3, footnote="Of the mini row."),))
    assert "Of the mini row." in Page(render([small], Evidence.load(tmp_path), ("md",))["mini-table90.md"]).text


def test_a_cell_s_footnote_stands_at_its_first_number(tmp_path: Path) -> None:
    weights = {"source": "released", "sha256": "b" * 64, "file": "w.pth", "layout": "authors", "epochs": None}
    for mini, line in ((False, "published"), (True, "measured")):
        root = tmp_path / line
        released = measurement(NEW, checkpoint=weights, history=[], mini=mini)
        write(released, released_path(root, NEW, CROP, "b" * 64))
        made = replace(TABLE, mini=mini)
        read = Page(render([made], Evidence.load(root), ("md",))[f"{made.name}.md"])
        (shown,) = [row for row in read.tables[0] if row[0] == "PyConv"]
        assert shown[1:3] == [line, "22.121" if line == "published" else "23.881"]
        assert "Released weights, not trained here: w.pth" in read.text


HOSTILE = [
    "- a list",
    "1. a list",
    "1) a list",
    "+ [ ] task",
    "# heading",
    "> quote",
    "=====",
    "[x](http://evil.org)",
    "![x](y.png)",
    "<img src=x onerror=alert(1)>",
    "a|b",
    "`code`",
    "**bold** _it_ ~~gone~~",
    "someone@example.org",
    "www.example.org",
    "https://example.org",
    "ftp://example.org",
    "[^table90-1]",
    "[table90-r1]",
    "&amp; &lt;",
    "<!-- pyconv:table2 -->",
    "$x$",
    "\\",
    "end\\",
    "*",
    "***",
]


def labelled(text: str) -> Table:
    column = replace(TOP1, header=text, group=text)
    row = Row("old", text, OLD, (23.88, 7.06, 25.56), footnote=f"Note {text}")
    return Table(90, text, (column, TOP5, PARAMS), (row,), row_header=text, footnotes=(f"{text} in a remark",))


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_label_is_text_on_github(text: str) -> None:
    page = Page(render([labelled(text)], NOWHERE, ("md",))["table90.md"])
    harmless = Page(render([labelled("x")], NOWHERE, ("md",))["table90.md"])
    without = [tag for tag in page.tags if tag != "span"]
    assert without == harmless.tags
    assert [(shown, href) for shown, href in page.links if not href.startswith("#")] == []
    assert page.tables[0][0][0] == text
    assert page.tables[0][0][2] == f"{text} {text}"
    assert f"Note {text}" in page.text
    assert f"{text} in a remark" in page.text


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=30))
@example("a@b.co")
@example("www.x.y@z.org")
@settings(max_examples=300, deadline=None)
def test_any_label_is_read_as_itself(text: str) -> None:
    read = Page(markdown.table(["h"], [[markdown.escape(text)]]))
    assert read.tables == [[["h"], [" ".join(text.split())]]]
    assert read.links == []


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=30))
@settings(max_examples=300, deadline=None)
def test_any_place_is_one_destination(place: str) -> None:
    address = record_url("../my (own) records/", place)
    assert unquote(address) == f"../my (own) records/{place}"
    ((text, href),) = Page(f"[1.0][r1]\n\n[r1]: {address}\n").links
    assert (text, href) == ("1.0", address)


def test_links_to_a_site_keep_their_address() -> None:
    assert record_url("https://example.org/r?x=1&p=", "a b.json") == "https://example.org/r?x=1&p=a%20b.json"
    assert record_url("", "a.json") == ""
    assert [one_folder_down(link) for link in ("../r/", "https://e.org/", "/r/", "")] == [
        "../../r/",
        "https://e.org/",
        "/r/",
        "",
    ]
