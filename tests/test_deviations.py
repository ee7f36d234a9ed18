"""The ledger points at cells that exist and excuses exactly what it says."""

import re
from ast import literal_eval
from collections.abc import Iterator
from typing import Any

import pytest

from experiments import TABLES
from experiments.spec import ArchitectureTable, Protocol, Table
from pyconv.pyramid import PYRAMIDS
from pyconv.recipe import ImageNetAugment, Recipe
from results.deviations import LEDGER, NOTES, Note, known, notes

FIELD = re.compile(r"\b(Recipe|ImageNetAugment|Protocol)\.(\w+)(?: = (\([\d, ]+\)|\d+(?:\.\d+)?|\"\w+\"))?")
IMAGENET_READINGS = {
    "schedule-step": "Recipe.milestones",
    "batch-norm-images": "Recipe.batch_norm_batch",
    "last-epoch": "Protocol.weights",
    "cutmix-settings": "ImageNetAugment.cutmix_prob",
    "cosine-steps": "Recipe.lr_at",
    "augmented-lr": "Recipe.lr",
    "resize-320": "Protocol.resize",
}


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


def specs(note: Note) -> Iterator[Any]:
    """The recipes, augmentations and protocols of the tables that the note is about."""
    for name in note.cells:
        table = TABLES[int(name.removeprefix("table"))]
        assert isinstance(table, Table)
        for row in table.rows:
            if row.experiment is not None:
                yield from (row.experiment.recipe, row.experiment.recipe.augment)
            yield from (table.protocol(row, column) for column in table.columns)


@pytest.mark.parametrize(("key", "field"), IMAGENET_READINGS.items())
def test_each_reading_of_the_imagenet_tables_has_a_note_that_names_its_field(key: str, field: str) -> None:
    """And the values that the note states are the ones that are run."""
    (note,) = [note for note in NOTES if note.key == key]
    found = FIELD.findall(note.text)
    assert field in {f"{kind}.{name}" for kind, name, _ in found}
    kinds = {"Recipe": Recipe, "ImageNetAugment": ImageNetAugment, "Protocol": Protocol}
    for kind, name, stated in found:
        values = {getattr(spec, name) for spec in specs(note) if isinstance(spec, kinds[kind])}
        assert not stated or literal_eval(stated) in values


def test_what_the_notes_on_readings_say_follows_from_the_recipes() -> None:
    table = TABLES[4]
    assert isinstance(table, Table)
    plain, augmented = (row.experiment.recipe for row in table.rows[:2] if row.experiment is not None)
    assert [round(plain.lr_at(10 * epoch, 10), 12) for epoch in (29, 30, 59, 60, 79, 80)] == [
        0.1,
        0.01,
        0.01,
        0.001,
        0.001,
        0.0001,
    ]
    assert plain.batch_norm_batch == 256 // 8
    assert augmented.batch_norm_batch == 1024 // 8
    assert len({augmented.lr_at(step, 10) for step in range(10, 20)}) == 1  # by epoch
    assert augmented.lr == 0.1 * 1024 / 256
    assert round(320 * 256 / 224) == 366
