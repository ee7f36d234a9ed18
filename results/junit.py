"""JUnit files for CI: suites of cases, each passed, failed or skipped with a reason."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

Outcome = Literal["failure", "skipped", "system-out"]
Suite = tuple[str, list[ElementTree.Element]]


def case(classname: str, name: str, outcome: Outcome, reason: str) -> ElementTree.Element:
    """One case; "system-out": it passed, and `reason` is what there is to say."""
    found = ElementTree.Element("testcase", classname=printable(classname), name=printable(name))
    if outcome == "system-out":
        ElementTree.SubElement(found, outcome).text = printable(reason)
    else:
        ElementTree.SubElement(found, outcome, message=printable(reason))
    return found


def write(path: Path, name: str, suites: Iterable[Suite], seconds: float) -> Path:
    """The file at `path`: `suites` by their names, with their totals and the time it took."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text(name, suites, seconds), encoding="utf-8")
    return path


def text(name: str, suites: Iterable[Suite], seconds: float | None = None) -> str:
    """The content of such a file; without a time the same for the same cases."""
    root = ElementTree.Element("testsuites", name=name)
    for suite, cases in suites:
        failures, skipped = (sum(one.find(tag) is not None for one in cases) for tag in ("failure", "skipped"))
        totals = {"name": suite, "tests": str(len(cases)), "failures": str(failures), "skipped": str(skipped)}
        ElementTree.SubElement(root, "testsuite", totals).extend(cases)
    for total in ("tests", "failures", "skipped"):
        root.set(total, str(sum(int(suite.get(total, 0)) for suite in root)))
    if seconds is not None:
        root.set("time", f"{seconds:.2f}")
    ElementTree.indent(root)
    return f"<?xml version='1.0' encoding='utf-8'?>\n{ElementTree.tostring(root, encoding='unicode')}"


def printable(text: str) -> str:
    """Without control characters and halves of surrogate pairs, which neither XML 1.0 nor UTF-8 can hold."""
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", text)
