"""Records that are broken or hostile: named, left out of every format, never taken for truth, never run."""

import json
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from experiments import tables
from results.evidence import Evidence
from results.report import EXPORTS, FORMATS, render

EXAMPLES = Path(__file__).parent / "examples" / "records"
MINI2 = [table for table in tables(mini=True) if table.name == "mini-table2"]
MARK = "98.765"  # an error that no example has: where it is seen, a broken record was believed
SCRIPT = "<script>alert(1)</script>"
INPUT = r"\input{/etc/passwd}"


def edited(change: Callable[[dict[str, Any]], object]) -> Callable[[str], str]:
    """The record's text with its content changed, every change marked by a number that must not be rendered."""

    def apply(text: str) -> str:
        content = json.loads(text)
        content["metrics"]["top1_err"]["value"] = float(MARK)
        change(content)
        return json.dumps(content)

    return apply


def marked(text: str) -> str:
    value = json.loads(text)["metrics"]["top1_err"]["value"]
    return text.replace(f'"value": {value}', f'"value": {MARK}', 1)


BROKEN: dict[str, tuple[Callable[[str], str], str]] = {
    "a later schema": (edited(lambda c: c.update(schema=99)), "schema is 99"),
    "no schema": (edited(lambda c: c.pop("schema")), "schema is None"),
    "another kind": (edited(lambda c: c.update(kind="opinion")), "kind is 'opinion'"),
    "cut off": (lambda text: marked(text)[:2000], "not JSON"),
    "empty": (lambda _: "", "not JSON"),
    "a list": (lambda text: f"[{marked(text)}]", "holds a list"),
    "a number as text": (edited(lambda c: c["metrics"]["top1_err"].update(value=MARK)), "top1_err.value is '98.765'"),
    "NaN": (lambda text: marked(text).replace(MARK, "NaN"), "NaN is no number of evidence"),
    "infinite": (lambda text: marked(text).replace(MARK, "1e999"), "numbers are finite"),
    "over a hundred percent": (edited(lambda c: c["metrics"]["top1_err"].update(value=198.765)), "0 to 100 is right"),
    "a key twice": (lambda text: marked(text).replace('"seed":', '"seed": 7, "seed":', 1), "seed given twice"),
    "a better number": (edited(lambda _: None), "top1_err"),
    "another seed": (edited(lambda c: c.update(seed=5)), "seed is 5"),
    "another recipe": (edited(lambda c: c["experiment"]["recipe"].update(epochs=9)), "fingerprint"),
    "half of the images": (edited(lambda c: c.update(counted_samples=500)), "top1_err"),
    "a field too many": (edited(lambda c: c.update(comment="trust me")), "comment is not a field"),
    "a field too few": (edited(lambda c: c.pop("data")), "data is missing"),
    "deep": (lambda _: "[" * 100_000, "not JSON"),
    "not UTF-8": (lambda text: marked(text).replace("digits", "digits\udcff", 1), "not UTF-8"),
}


@pytest.mark.parametrize("name", list(BROKEN))
def test_a_broken_record_is_named_and_nowhere_rendered(tmp_path: Path, name: str) -> None:
    change, reason = BROKEN[name]
    root = tmp_path / "records"
    copytree(EXAMPLES, root)
    path = sorted(root.rglob("seed-1/mini-crop224.json"))[0]
    text = change(path.read_text(encoding="utf-8"))
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    found = Evidence.load(root)
    place = path.relative_to(root).as_posix()
    assert place not in found.records
    (problem,) = found.problems
    assert place in problem
    assert reason in problem
    pages = render(MINI2, found, (*FORMATS, *EXPORTS))
    assert problem in json.loads(str(pages["tables.json"]))["problems"]
    assert all(MARK.encode() not in (page if isinstance(page, bytes) else page.encode()) for page in without(pages))
    row = path.parts[-3]
    cells = json.loads(str(pages["tables.json"]))["tables"][0]["cells"]
    assert {cell["seeds"] for cell in cells if any(row in one for one in cell["records"]) and cell["n"]} == {2}


def without(pages: dict[str, str | bytes]) -> list[str | bytes]:
    """The pages without the sentences that say what is wrong with the broken file."""
    cleaned: list[str | bytes] = []
    for page in pages.values():
        lines = page.splitlines() if isinstance(page, str) else [page]
        cleaned += [line for line in lines if not isinstance(line, str) or "seed-1/mini-crop224.json" not in line]
    return cleaned


@pytest.mark.parametrize("text", [SCRIPT, INPUT, "=cmd|' /C calc'!A0", "a|b\n\n# not a heading"])
def test_a_valid_record_s_hostile_texts_are_texts(tmp_path: Path, text: str) -> None:
    """Label, host, versions and remarks are free; only a page that shows them can be harmed."""
    root = tmp_path / "records"
    copytree(EXAMPLES, root)
    for path in root.rglob("*.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        content["name"] = content["job"]["hostname"] = content["environment"]["cpu"] = text
        content["deviations"] = [text]
        path.write_text(json.dumps(content), encoding="utf-8")
    found = Evidence.load(root)
    assert found.problems == ()
    pages = render(MINI2, found, (*FORMATS, *EXPORTS), "../records/")
    assert SCRIPT not in str(pages["index.html"])
    assert INPUT not in str(pages["mini-table2.tex"])
    assert "\n# not a heading" not in str(pages["mini-table2.md"])
    for line in str(pages["cells.csv"]).splitlines():
        assert not line.startswith("=")
        assert ",=" not in line
