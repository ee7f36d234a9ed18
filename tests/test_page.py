"""The HTML page as text: hostile texts stay texts, every cell can be opened, and what it opens is what was recorded."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from evidence import CROP, measurement, save, save_count
from pages import Page, save_figure_7
from test_report import HOSTILE, NEW, NOWHERE, OLD, TABLE, evidence, hostile

from experiments import TABLES, tables
from experiments.spec import Table
from pyconv.architectures import pyconvresnet
from results.evidence import Evidence
from results.gather import gather
from results.printers.provenance_view import WHOLE
from results.records import Record
from results.report import render
from results.running import Live, Running


def html(selected: list[Any], found: Evidence, link: str = "", live: Live | None = None) -> str:
    page = render(selected, found, ("html",), link, live)["index.html"]
    assert isinstance(page, str)
    return page


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_text(text: str) -> None:
    page, harmless = Page(html([hostile(text)], NOWHERE)), Page(html([hostile("x")], NOWHERE))
    assert page.tags == harmless.tags
    assert text in page.text.replace("\r\n", "\n") or "\x07" in text
    assert any(text in known for known in page.data["texts"])


@pytest.mark.parametrize("text", ["</script><script>alert(1)</script>", "<!--<script>", "]]>", "\u2028"])
def test_hostile_provenance_cannot_leave_its_block(tmp_path: Path, text: str) -> None:
    save(
        tmp_path,
        NEW,
        environment={"python": text, text: text},
        job={"id": text},
        code=code(commit=text),
        deviations=[text],
    )
    found = Evidence.load(tmp_path)
    page = html([TABLE], found)
    block = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, flags=re.S)
    assert len(block) == 1
    assert not set("<>&") & set(block[0])
    assert block[0].isascii()
    assert f"python {text}, {text} {text}" in json.loads(block[0])["texts"]
    page.encode()


def code(**changes: Any) -> dict[str, Any]:
    return {"commit": "0" * 40, "dirty": False, "diff_sha256": None, **changes}


def test_only_the_page_s_own_script_and_style_may_act(tmp_path: Path) -> None:
    page = html([TABLE], evidence(tmp_path))
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    (style,) = re.findall(r"<style>(.*?)</style>", page, flags=re.S)
    (script,) = re.findall(r"<script>(.*?)</script>", page, flags=re.S)
    for kind, content in (("style", style), ("script", script)):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src &#39;sha256-{digest}&#39;;" in policy
    assert policy.startswith("default-src &#39;none&#39;")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(", script)
    assert not re.search(r"(src|href)=.?(https?:)?//", page)


def test_every_cell_is_one_button_with_its_numbers(tmp_path: Path) -> None:
    report = gather([TABLE], evidence(tmp_path))
    page = Page(html([TABLE], report.evidence))
    assert len(report.cells) == 9
    assert [name for name in page.buttons if "/" in name] == [cell.target for cell in report.cells]
    told = page.buttons["table90/new/top1_err"].split()
    assert told == ["published", "22.12", "measured", "22.30", "delta", "INCONCLUSIVE", "+0.18"]
    told = page.buttons["table90/new/params"].split()
    assert told == ["published", "24.85", "measured", "24.85", "delta", "✓MATCH", "0.00"]
    assert page.buttons["table90/theirs/top1_err"].split() == ["quoted", "30.00"]
    assert set(page.data["cells"]) == {cell.target for cell in report.cells}


def test_a_measured_cell_opens_everything_that_its_record_says(tmp_path: Path) -> None:
    changes = {
        "code": code(commit="c0ffee" + "0" * 34, dirty=True, diff_sha256="d" * 64),
        "environment": {"python": "3.12.1", "device": "cuda", "threads": 7},
        "job": {"id": "4711", "executor": "slurm", "nodes": ["node7", "node8"], "restarts": 3},
        "timings": {"train": 86_400.04, "test": 61.26},
        "deviations": ["the disk was full once"],
    }
    path = save(tmp_path, NEW, errors=(22.3, 6.2), **changes)
    page = Page(html([TABLE], Evidence.load(tmp_path), "../records/"))
    cell = page.data["cells"]["table90/new/top1_err"]
    facts = dict(page.facts(cell))
    assert facts["published"] == "22.12 %"
    assert facts["measured"].startswith("22.30‡ % ± ")
    assert facts["verdict"].startswith("INCONCLUSIVE: ")
    assert "the disk was full once" in facts["off its protocol"]
    ((number, result),) = cell["records"]
    record = page.data["records"][number]
    assert page.data["texts"][result] == "22.3 % (n = 50,000)"
    assert record["place"] == path.relative_to(tmp_path).as_posix()
    assert page.data["link"] == "../records/"
    told = dict(page.facts(record))
    assert told["code"] == f"commit c0ffee{'0' * 34} with changes, difference SHA-256 {'d' * 64}"
    assert told["environment"] == "python 3.12.1, device cuda, threads 7"
    assert told["job"] == "id 4711, executor slurm, nodes node7 node8, restarts 3"
    assert told["seconds"] == "train 86400.0, test 61.3"
    assert told["data, val"] == f"50,000 samples in 1,000 classes, manifest SHA-256 {'a' * 64}"
    assert told["weights"] == f"sha256 {'a' * 64}, epochs 90"
    assert told["protocol"].startswith("key crop224, data imagenet, split val, crop 224, resize 256")
    assert "the disk was full once" in told["kept to it"]
    assert "top5_err" in told


def test_a_folder_s_name_is_a_folder_s_name_in_a_link() -> None:
    assert Page(html([TABLE], NOWHERE, "../my records#1?/")).data["link"] == "../my%20records%231%3F/"
    assert Page(html([TABLE], NOWHERE, "javascript:alert(1)/")).data["link"] == "javascript%3Aalert%281%29/"


def test_a_counted_cell_opens_its_exact_integers(tmp_path: Path) -> None:
    save_count(tmp_path, pyconvresnet(50), 24_847_720, 3_877_433_368)
    page = Page(html([TABLE], Evidence.load(tmp_path)))
    cell = page.data["cells"]["table90/new/flops"]
    assert dict(page.facts(cell))["exactly"] == "3,877,433,368"
    assert ("FLOPs, macs", "3,877,433,358") in page.facts(cell)
    ((number, _),) = cell["records"]
    assert ("params", "24,847,720") in page.facts(page.data["records"][number])


def in_memory(records: dict[str, Record]) -> Evidence:
    return Evidence(Path("nowhere"), records)


def test_records_stand_on_the_page_once_and_only_where_a_cell_rests_on_them() -> None:
    """10,000 runs of networks that no table asks for leave no byte; two cells of one run share its provenance."""
    used = measurement(NEW, errors=(22.3, 6.2))
    strangers = {f"x/{n}.json": measurement(replace(OLD, seed=n), replace(CROP, crop=99)) for n in range(300)}
    strangers |= {f"y/{n}.json": next(iter(strangers.values())) for n in range(9_700)}
    columns = (TABLE.columns[0], replace(TABLE.columns[0], key="top5_err", metric="top5_err"))
    both = replace(TABLE, columns=columns, rows=(replace(TABLE.rows[1], published=(22.12, 6.2)),))
    alone, crowded = (html([both], in_memory({"a.json": used} | more)) for more in ({}, strangers))
    assert crowded == alone
    data = Page(alone).data
    assert [record["place"] for record in data["records"]] == ["a.json"]
    assert [[number for number, _ in cell["records"]] for cell in data["cells"].values()] == [[0], [0]]


def test_of_many_runs_of_one_cell_the_first_are_told_whole() -> None:
    """A page of 1,000 seeds stays a page; every seed is there with its number and its record."""
    sizes = {}
    for seeds in (500, 1000):
        runs = {f"seed-{n}/a.json": measurement(replace(NEW, seed=n), errors=(22 + n / 1e4, 6.0)) for n in range(seeds)}
        page = html([TABLE], in_memory(runs))
        records = Page(page).data["records"]
        assert len(records) == seeds
        assert sum("facts" in record for record in records) == WHOLE
        sizes[seeds] = len(page)
    assert sizes[1000] - sizes[500] < 500 * 200


def test_every_link_on_the_page_leads_somewhere_and_names_are_unique(tmp_path: Path) -> None:
    save_figure_7(tmp_path)
    page = Page(html([*tables(), *tables(mini=True)], Evidence.load(tmp_path)))
    assert len(set(page.ids)) == len(page.ids)
    inner = [link[1:] for link in page.links if link.startswith("#")]
    assert len(inner) > 30
    assert set(inner) <= set(page.ids)
    assert not [link for link in page.links if not link.startswith("#")]


def test_the_ledger_leads_to_the_cells_that_it_concerns() -> None:
    page = Page(html(tables(), NOWHERE))
    for place in (
        "table10/pyconvresnet3d50/params",
        "table9/PyConvResNet3D-50/params",
        "table7/pyconvsegnet152-617/miou",
    ):
        assert f"#{place}" in page.links
        assert place in page.buttons
    assert "kinetics-head" in page.text
    assert "kinetics-head" not in Page(html([TABLES[2]], NOWHERE)).text


def test_nothing_is_said_of_running_things_unless_asked() -> None:
    assert "under way" not in html([TABLE], NOWHERE)
    assert "Nothing waits, runs or has failed." in html([TABLE], NOWHERE, live=Live())


def test_what_is_under_way_is_shown_with_the_end_of_its_log() -> None:
    log = "epoch 3\n<script>alert(1)</script>\n</pre>"
    one = Running(
        "table2/final", 1, "abc", "running", "on its way", 3, 90, "top1_err 61.20", "3 h 20 min", "17", "node2", 4
    )
    page = Page(html([TABLE], NOWHERE, live=Live((one,), {"abc": log, "other": "not shown"})))
    for text in ("table2/final", "3/90", "top1_err 61.20", "3 h 20 min", "17", "node2", log):
        assert text in page.text
    assert "not shown" not in page.text
    assert page.tags.count("script") == 2


def test_a_recorded_run_opens_the_end_of_its_log(tmp_path: Path) -> None:
    save(tmp_path, NEW)
    found = Evidence.load(tmp_path)
    (record,) = found.records.values()
    data = Page(html([TABLE], found, live=Live((), {record.fingerprint: "the end"}))).data
    (told,) = data["records"]
    assert data["texts"][told["log"]] == "the end"


def test_the_filters_know_tasks_and_states(tmp_path: Path) -> None:
    save(tmp_path, NEW, errors=(22.3, 6.2))
    small = TABLES[7]
    assert isinstance(small, Table)
    page = html([TABLE, small], Evidence.load(tmp_path))
    assert re.findall(r'data-title="([^"]+)" data-task="([^"]+)"', page) == [
        ("Table 90", "imagenet"),
        ("Table 7", "ade20k"),
    ]
    states = re.findall(r'data-state="([^"]+)"', page)
    assert states[:3] == ["pending", "measured", "quoted"]
    assert set(states[3:]) == {"quoted", "pending", "external"}  # one line is only known from the test server
