"""The page in Chromium: keyboard, filters, phone, dark mode, screen reader, print, hostile texts, no script."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from browser import CONTRASTS, cell, focused, visit
from evidence import save
from pages import history, save_figure_7
from test_report import HOSTILE, NEW, hostile

from experiments import tables
from experiments.protocols import CROP224
from experiments.recipes import imagenet
from pyconv.architectures import resnext
from results.evidence import Evidence
from results.gather import Report, gather
from results.report import write_reports
from results.running import Live, Running

OPENED = "table3/resnet/50/top1_err"
LOG = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Everything: the paper's and the mini tables, the committed counts, made-up runs of Figure 7, one of them bad."""
    root = tmp_path_factory.mktemp("page") / "records"
    committed = Path(__file__).parent.parent / "results" / "records" / "counts"
    (root / "counts").mkdir(parents=True)
    for path in committed.glob("*.json"):
        (root / "counts" / path.name).write_bytes(path.read_bytes())
    save_figure_7(root, ("50", "101"), seeds=2)
    save(root, imagenet(resnext(50)), CROP224, errors=(29.0, 9.0), history=history(29.0))
    return gather([*tables(), *tables(mini=True)], Evidence.load(root))


@pytest.fixture(scope="module")
def path(report: Report) -> Path:
    out = report.evidence.root.parent / "out"
    write_reports(report.tables, report.evidence, out, ("html",))
    return out / "index.html"


def shown(page: Any) -> int:
    return int(page.locator(".numbers tbody tr:visible").count())


def chosen(page: Any, name: str) -> Any:
    return page.get_by_role("combobox", name=name, exact=True)


def test_a_number_opens_by_keyboard_and_gives_the_focus_back(chromium: Any, path: Path) -> None:
    with visit(chromium, path) as page:
        cell(page, OPENED).focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name="ResNet (baseline) [7]")
        assert dialog.is_visible()
        for text in ("23.88 %", "2 seeds", "imagenet-resnet50-", "fingerprint", "0" * 40, "a" * 64, "node1"):
            assert text in dialog.inner_text()
        assert page.evaluate("location.hash") == f"#{OPENED}"
        for _ in range(12):
            page.keyboard.press("Tab")
            assert page.evaluate(
                "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
            )
        page.keyboard.press("Escape")
        assert not dialog.is_visible()
        assert focused(page) == OPENED
        assert page.evaluate("location.hash") == ""


def test_the_arrows_walk_over_the_table(chromium: Any, path: Path) -> None:
    with visit(chromium, path) as page:
        cell(page, OPENED).focus()
        walk = {
            "ArrowRight": "resnet/50/top5_err",
            "ArrowDown": "preact_resnet/50/top5_err",
            "ArrowLeft": "preact_resnet/50/top1_err",
        }
        for key, place in walk.items():
            page.keyboard.press(key)
            assert focused(page) == f"table3/{place}"


def test_a_link_to_a_number_opens_it_and_its_record_is_where_the_link_says(chromium: Any, path: Path) -> None:
    with visit(chromium, path, f"#{OPENED}") as page:
        dialog = page.get_by_role("dialog")
        assert dialog.is_visible()
        places = dialog.locator(".run > a").evaluate_all("links => links.map(link => link.href)")
        assert len(places) == 2
        assert all(Path(place.removeprefix("file://")).is_file() for place in places)
        assert dialog.locator("svg polyline").count() == 4  # two seeds, training and validation
        page.get_by_role("button", name="Close").click()
        page.get_by_role("link", name="table10/pyconvresnet3d50/params").click()
        assert "174-way" in dialog.inner_text()
        page.mouse.click(5, 5)
        assert not dialog.is_visible()


def test_filters_show_what_they_say_and_live_in_the_address(chromium: Any, path: Path, report: Report) -> None:
    rows = {(c.table, c.row) for c in report.cells}
    verdicts = Counter(verdict for _, _, verdict in {(c.table, c.row, c.verdict) for c in report.cells})
    with visit(chromium, path) as page:
        assert shown(page) == len(rows)
        assert page.locator("#found").inner_text() == f"{len(rows)} rows in {len({table for table, _ in rows})} tables"
        assert page.locator("#found").get_attribute("aria-live") == "polite"
        for verdict in ("WORSE", "DEVIATION", "QUOTED", "MATCH"):
            chosen(page, "Verdict").select_option(verdict)
            assert shown(page) == verdicts[verdict]
            assert page.locator(".hit .cell").count() == sum(c.verdict == verdict for c in report.cells)
        chosen(page, "Verdict").select_option("")
        chosen(page, "Table").select_option("table3")
        page.get_by_role("searchbox", name="Row").fill("pyconv hg")
        assert shown(page) == 1
        assert page.locator("#found").inner_text() == f"1 of {len(rows)} rows in 1 table"
        assert not page.get_by_role("heading", name="Mini tables").is_visible()
        address = page.evaluate("location.hash")
    with visit(chromium, path, address) as page:
        assert shown(page) == 1
        assert page.get_by_role("searchbox", name="Row").input_value() == "pyconv hg"
        page.get_by_role("button", name="Clear").click()
        page.wait_for_function("location.hash === ''")
        assert shown(page) == len(rows)
        chosen(page, "Task").select_option("kinetics")
        chosen(page, "Accuracy").select_option("pending")
        assert shown(page) == 4  # two networks, at full size and small
        page.evaluate("location.hash = '#table5'")  # a place that the filters hide is shown all the same
        page.wait_for_function("document.getElementById('table5').checkVisibility()")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_is_readable(chromium: Any, path: Path, scheme: str) -> None:
    with visit(chromium, path, f"#{OPENED}", color_scheme=scheme) as page:
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, ground[4:-1].split(","))) > 384) == (scheme == "light")
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        contrasts = page.evaluate(CONTRASTS)
        assert len(contrasts) > 3000
        assert [found for found in contrasts if found[0] < 4.5] == []


def test_a_phone_scrolls_tables_and_never_the_page(chromium: Any, path: Path) -> None:
    with visit(chromium, path, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        assert page.evaluate("innerWidth") == 360
        small = """least => [...document.querySelectorAll('nav a, button, select, input, summary')]
          .filter(e => e.checkVisibility() && e.getBoundingClientRect().height < least).map(e => e.outerHTML)"""
        assert page.evaluate(small, 38) == []
        cell(page, OPENED).tap()
        dialog = page.get_by_role("dialog")
        assert dialog.bounding_box()["width"] == 360
        assert dialog.evaluate("e => e.scrollWidth") <= 360
        assert page.locator("#provenance-body").evaluate("e => e.scrollWidth") <= 360


def test_the_page_makes_sense_to_a_screen_reader(chromium: Any, path: Path) -> None:
    with visit(chromium, path) as page:
        session = page.context.new_cdp_session(page)
        nodes = [n for n in session.send("Accessibility.getFullAXTree")["nodes"] if not n["ignored"]]
        named: dict[str, list[str]] = {}
        for node in nodes:
            named.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
        for role in (
            "button",
            "link",
            "combobox",
            "searchbox",
            "image",
            "table",
            "region",
            "navigation",
            "search",
            "heading",
        ):
            assert named[role], role
            assert all(name.strip() for name in named[role]), role
        assert len(named["main"]) == len(named["banner"]) == len(named["contentinfo"]) == 1
        assert "published 23.88 measured 23.93 delta INCONCLUSIVE +0.05" in named["button"]
        assert "Table 3 Validation error rates on ImageNet beside other architectures" in named["table"]
        assert "Figure 7, depth 50: top-1 error by epoch" in named["image"]
        told = [n["description"]["value"] for n in nodes if n["role"]["value"] == "image" and "description" in n]
        assert told[0].startswith(
            "ResNet (baseline) [7]: 2 runs, validation error 23.93% after epoch 90, published 23.88%"
        )
        levels = page.evaluate(
            "[...document.querySelectorAll('main h2, main h3, body > header h1')].map(h => +h.tagName[1])"
        )
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        assert focused(page) == "main"


def test_who_wants_no_motion_gets_none(chromium: Any, path: Path) -> None:
    moving = {}
    for motion in ("reduce", "no-preference"):
        with visit(chromium, path, f"#{OPENED}", reduced_motion=motion) as page:
            name, scroll = page.evaluate(
                "[getComputedStyle(document.querySelector('dialog')).animationName, "
                "getComputedStyle(document.documentElement).scrollBehavior]"
            )
            moving[motion] = (name, scroll)
    assert moving == {"reduce": ("none", "auto"), "no-preference": ("rise", "smooth")}


def test_paper_shows_every_row_whatever_is_filtered(chromium: Any, path: Path, report: Report) -> None:
    with visit(chromium, path, "#verdict=WORSE") as page:
        assert shown(page) < 10
        page.emulate_media(media="print")
        assert shown(page) == len({(c.table, c.row) for c in report.cells})
        assert not page.locator("#filters").is_visible()
        assert page.locator("figcaption table").first.is_visible()  # what is folded on a screen is not on paper


def test_without_a_script_everything_can_be_read(chromium: Any, path: Path, report: Report) -> None:
    with visit(chromium, path, java_script_enabled=False) as page:
        assert not page.locator("#filters").is_visible()
        assert not page.get_by_role("dialog").is_visible()
        assert page.locator("noscript p").is_visible()
        assert page.locator(".numbers:visible").count() == len({cell.table for cell in report.cells})
        assert page.locator("svg:visible").count() == 3  # two depths of Figure 7, and ResNeXt
        assert page.locator("#table10").get_by_text("DEVIATION").is_visible()


def test_hostile_texts_do_nothing_and_ask_nothing(chromium: Any, tmp_path: Path) -> None:
    """Everything that a record or a label may say, opened in every cell."""
    bad = [*HOSTILE, LOG, "</script><script>alert(2)</script>", "javascript:alert(3)", "<svg onload=alert(4)>"]
    text = " ".join(bad)
    entries = [{**entry, text: text} for entry in history(22.3)]
    save(tmp_path / "records", NEW, environment={text: text}, job={"id": text}, history=entries, deviations=[text])
    found = Evidence.load(tmp_path / "records")
    (record,) = found.records.values()
    one = Running(text, 0, record.fingerprint, text, text, 1, 90, text, text, text, text)
    live = Live((one,), {record.fingerprint: text})
    table = hostile(text)
    rows = (replace(table.rows[0], experiment=NEW),)
    write_reports([replace(table, rows=rows)], found, tmp_path / "out", ("html",), live)
    with visit(chromium, tmp_path / "out" / "index.html") as page:
        for button in page.locator(".cell").all():
            button.click()
            page.keyboard.press("Escape")
        cell(page, "table90/old/top1_err").click()
        page.locator("dialog summary").last.click()
        assert LOG in page.locator("dialog pre").inner_text()
        assert page.locator("img, main svg[onload]").count() == 0
    for place in (
        "#text=%3Cimg+src=x+onerror=alert(1)%3E",
        "#<img src=x onerror=alert(1)>",
        "#table=nowhere&verdict=%ff",
        "#%ff",
    ):
        with visit(chromium, tmp_path / "out" / "index.html", place) as page:
            assert page.locator("img").count() == 0
