"""Tables 1 and 9: networks side by side, stage by stage, from the rows that were walked from the built models.

The rows are `CountRecord.stages`, as `pyconv.complexity.stages` documents them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from experiments.spec import ArchitectureTable
from results.evidence import Evidence

PENDING = "not counted yet"


@dataclass(frozen=True)
class Entry:
    """What one network has in one stage: `lines` of (indent, text), repeated `times` times (0: not a block)."""

    lines: tuple[tuple[int, str], ...]
    times: int = 0


@dataclass(frozen=True)
class StageRow:
    """One line of the page: the stage's name, its output size, and an entry for each network."""

    stage: str
    output: str
    entries: tuple[Entry, ...]


def stage_rows(table: ArchitectureTable, evidence: Evidence) -> list[StageRow]:
    """The page's rows; a network without a count record has the word for it in its column."""
    counts = [evidence.count(experiment.model) for _, experiment, _, _ in table.networks]
    stages = [count.stages if count else [] for count in counts]
    names = [row["stage"] for row in max(stages, key=len, default=[])]
    rows = []
    for name in names:
        found = [next((row for row in rows_ if row["stage"] == name), None) for rows_ in stages]
        entries = tuple(_entry(row, _has_pyramids(own)) for row, own in zip(found, stages, strict=True))
        output = next(_output(row) for row in found if row is not None)
        rows.append(StageRow(name.removeprefix("stage") if name.startswith("stage") else "", output, entries))
    return rows


def _entry(row: dict[str, Any] | None, pyramids: bool) -> Entry:
    if row is None:
        return Entry(((0, PENDING),))
    lines = tuple(line for layer in row["layers"] for line in _lines(layer, pyramids and _is_stage(row), row))
    return Entry(lines, row["blocks"] if _is_stage(row) else 0)


def _lines(layer: dict[str, Any], pyramids: bool, row: dict[str, Any]) -> list[tuple[int, str]]:
    """A layer as the paper writes it; in a network of pyramids a spatial convolution is a pyramid of one level."""
    if layer["op"] == "max_pool":
        return [(0, f"{_by(layer['kernel'])} max pool, {_stride(layer['stride'])}")]
    if layer["op"] == "avg_pool":
        return [(0, "global avg pool")]
    if layer["op"] == "linear":
        return [(0, f"{layer['out']}-d fc")]
    levels = layer.get("levels", [layer])
    if pyramids and max(levels[0]["kernel"]) > 1:
        lines = [(1, f"{_by(level['kernel'])}, {level['out']}, G={level['groups']}") for level in reversed(levels)]
        return [(0, f"PyConv{len(levels)}, {layer['out']}:"), *lines]
    text = f"{_by(levels[0]['kernel'])}, {layer['out']}"
    if levels[0]["groups"] > 1:
        text += f", G={levels[0]['groups']}"
    return [(0, text if _is_stage(row) else f"{text}, {_stride(layer['stride'])}")]


def _has_pyramids(rows: Sequence[dict[str, Any]]) -> bool:
    return any(len(layer.get("levels", ())) > 1 for row in rows for layer in row["layers"])


def _is_stage(row: dict[str, Any]) -> bool:
    return str(row["stage"]).startswith("stage")


def _output(row: dict[str, Any]) -> str:
    """The size of the maps; of the stem the first layer's, before a pool; of the head that of the pooled maps."""
    if _is_stage(row):
        return _by(row["output"])
    first = row["layers"][0]["output"]
    return _by(first if row["stage"] == "stem" else row["layers"][0]["output"])


def _by(sizes: Sequence[int]) -> str:
    return "×".join(map(str, sizes))  # noqa: RUF001 (the paper's sign)


def _stride(stride: Sequence[int]) -> str:
    """s=2, or for clips stride (1,2,2), as the paper writes them."""
    return f"s={stride[0]}" if len(set(stride)) == 1 else f"stride ({','.join(map(str, stride))})"
