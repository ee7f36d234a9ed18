"""Reading LaTeX tables back, without the code that wrote them, and evidence for every cell that can be measured."""

import re
import shutil
from pathlib import Path
from typing import Any

import yaml
from evidence import save

from experiments import tables
from experiments.spec import Experiment, Protocol, Table
from results.evidence import Evidence
from results.records import Metric

HERE = Path(__file__).parent
PUBLISHED: dict[str, Any] = yaml.safe_load((HERE / "data" / "published.yaml").read_text())
COUNTED = HERE.parent / "results" / "records"


def everything_measured(root: Path, shift: float = 0.0) -> Evidence:
    """The committed counts, and a made-up measurement of every cell: the published number plus `shift`."""
    shutil.copytree(COUNTED, root)
    found: dict[tuple[Experiment, Protocol], dict[str, Metric]] = {}
    for table in tables():
        for row, column, published in table.cells() if isinstance(table, Table) else ():
            protocol = table.protocol(row, column)
            if row.experiment and protocol and not column.external and isinstance(published, float):
                metrics = found.setdefault((row.experiment, protocol), {})
                metrics[column.metric] = Metric(published + shift, "%", protocol.samples or 2_000, None)
    for (experiment, protocol), metrics in found.items():
        save(root, experiment, protocol, metrics=metrics)
    return Evidence.load(root)


def printed(number: int) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows of a table of published.yaml; column groups side by side, as on the page."""
    table = PUBLISHED[f"table{number}"]
    rows = [
        [value for group in row.values() for value in group] if isinstance(row, dict) else row
        for row in table["rows"].values()
    ]
    return table["columns"] * (len(rows[0]) // len(table["columns"])), rows


def parts(line: str) -> list[str]:
    """What stands between the alignment signs of a line; those in braces or behind a backslash are no such signs."""
    found, depth = [""], 0
    for token in re.findall(r"\\.|.", line.removesuffix(r"\\"), re.DOTALL):
        depth += {"{": 1, "}": -1}.get(token, 0)
        assert depth >= 0, line
        if token == "&" and depth == 0:
            found.append("")
        else:
            found[-1] += token
    assert depth == 0, line
    return [part.strip() for part in found]


def width(line: str) -> int:
    """How many columns a line covers."""
    spans = [re.match(r"\\multicolumn\{(\d+)\}", part) for part in parts(line)]
    return sum(int(span[1]) if span else 1 for span in spans)


def columns(page: str) -> int:
    """How many columns the tabular of a page has."""
    spec = next(line for line in page.splitlines() if line.startswith(r"\begin{tabular}"))
    return len(re.findall(r"S\[[^\]]*\]|[lcr]", spec.removeprefix(r"\begin{tabular}")))


def lines(page: str) -> list[str]:
    """The lines of the body, without rules and spaces."""
    inside = page.partition("\\midrule\n")[2].partition("\\bottomrule")[0]
    return [line for line in inside.splitlines() if line.endswith(r"\\")]


def rows(page: str, indented: bool = False) -> list[list[tuple[str, str]]]:
    """(number or word, style) of each cell of each row; of the lines measured and delta when `indented`."""
    wanted = [line for line in lines(page) if line.startswith(r"\quad") == indented]
    return [[_read(part) for part in parts(line)[1:]] for line in wanted]


def _read(part: str) -> tuple[str, str]:
    style = "bold" if part.startswith(r"\bfseries ") else "underlined" if r"\underline{" in part else ""
    bare = re.sub(r"\{?\\(?:phantom|textsuperscript)\{(?:[^{}]|\{[^{}]*\})*\}\}?", "", part)
    found = re.search(r"[+-]?\d+\.\d+", bare)
    return (found[0] if found else bare.replace(r"\textit", "").strip("{}"), style)
