"""The ledger points at cells that exist and excuses exactly what it says."""

import pytest

from experiments import TABLES
from experiments.spec import ArchitectureTable
from pyconv.pyramid import PYRAMIDS
from results.deviations import LEDGER, NOTES, known, notes


def targets() -> set[str]:
    found = set()
    for table in TABLES.values():
        found.add(table.name)
        if isinstance(table, ArchitectureTable):
            found |= {f"{table.name}/{header}/{key}" for header, *_ in table.networks for key in ("params", "flops")}
        else:
            found |= {f"{table.target(row)}/{column.key}" for row, column, _ in table.cells()}
    return found


@pytest.mark.parametrize("entry", [*LEDGER, *NOTES], ids=lambda entry: entry.key)
def test_every_pattern_meets_a_cell_of_the_paper(entry) -> None:
    for pattern in entry.cells:
        assert any(notes(t) or known(t) for t in targets() if _meets(pattern, t)), pattern
    assert entry.source


def _meets(pattern: str, target: str) -> bool:
    prefix = pattern.split("*")[0]
    return target == pattern or ("*" in pattern and target.startswith(prefix))


def test_keys_are_unique() -> None:
    keys = [entry.key for entry in (*LEDGER, *NOTES)]
    assert len(keys) == len(set(keys))


def test_the_one_deviation_of_the_fifty_one() -> None:
    deviating = {target for target in targets() if known(target)}
    assert deviating == {"table9/PyConvResNet3D-50/params", "table10/pyconvresnet3d50/params"}
    entry = known("table10/pyconvresnet3d50/params")
    assert entry is not None
    assert entry.expected == 45_373_072
    # A linear classifier on 2048 maps has 2049 parameters a class: 400 classes to 174 is the whole difference.
    assert entry.expected - (400 - 174) * 2049 == 44_909_998
    assert known("table10/resnet3d50/params") is None
    assert known("table10/pyconvresnet3d50/flops") is None


def test_notes_are_found_by_cell_and_by_table() -> None:
    assert [note.key for note in notes("table7/pyconvsegnet152-617/miou")] == ["crop617"]
    assert notes("table7/pyconvsegnet152/miou") == []
    assert "table-numbers" in [note.key for note in notes("table5")]


def test_the_note_on_groups_says_what_the_rule_gives() -> None:
    """Section 3's rule gives 1, 2, 4, 8 groups for 3, 5, 7, 9; the paper's four-level pyramid has 1, 4, 8, 16."""
    denominators = [k**2 / 3**2 for k in (5, 7, 9)]
    divisors = [1, 2, 4, 8, 16]
    assert [min(divisors, key=lambda d: abs(d - x)) for x in denominators] == [2, 4, 8]
    assert PYRAMIDS[4].groups == (1, 4, 8, 16)
    (note,) = [note for note in NOTES if note.key == "group-rule"]
    assert "2, 4 and 8" in note.text
    assert "4, 8 and 16" in note.text
