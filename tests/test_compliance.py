"""The protocol check: a log that keeps its recipe passes, and every way to leave it is told."""

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from math import cos, pi
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result
from evidence import CROP, SHA, measurement
from faithful import EXPERIMENT, faithful
from hypothesis import given
from hypothesis import strategies as st

from experiments import TABLES, restore
from experiments.mini import mini, mini_protocol, mini_table
from experiments.protocols import CROP224
from experiments.spec import Experiment, Protocol, Row, Table, resolved
from pyconv.recipe import ImageNetAugment, Recipe
from results.audit import audit
from results.cell import MARK
from results.cells import build
from results.compliance import Check, Departure, check
from results.evidence import Evidence
from results.records import Record, RecordError, record_path, released_path, write
from results.report import render
from slurm import cli as command_line

SHORT = replace(EXPERIMENT, recipe=replace(EXPERIMENT.recipe, epochs=9, milestones=(3, 6, 8)))
FAITHFUL = faithful(SHORT, samples=2_600)  # ten batches of 256 and one of 40


def runs_of_the_paper() -> dict[str, tuple[Experiment, Protocol]]:
    """Every experiment of Tables 2-4 with each of its tests, once."""
    found = {}
    for number in (2, 3, 4):
        table = TABLES[number]
        assert isinstance(table, Table)
        for row, column, _ in table.cells():
            protocol = table.protocol(row, column)
            if row.experiment is not None and protocol is not None:
                found[f"{resolved(row.experiment.recipe)}{protocol}"] = row.experiment, protocol
    return found


@pytest.mark.parametrize(
    ("experiment", "protocol"), runs_of_the_paper().values(), ids=lambda value: getattr(value, "key", "")
)
def test_a_faithful_run_of_every_recipe_of_tables_2_to_4_passes(experiment: Experiment, protocol: Protocol) -> None:
    assert check(faithful(experiment, protocol)) == Check()
    small = mini(experiment)
    assert check(faithful(small, mini_protocol(protocol), 1_280)).text == "kept"


RECIPES = st.builds(
    lambda epochs, batch, norm, schedule, warm, drop, milestones: Recipe(
        "x",
        epochs,
        batch,
        0.4,
        ImageNetAugment(),
        schedule=schedule,
        milestones=tuple(sorted(m * epochs for m in milestones)) if schedule == "step" else (),
        warmup_epochs=warm,
        batch_norm_batch=norm,
        drop_last=drop,
    ),
    st.integers(1, 6),
    st.integers(2, 40),
    st.integers(1, 50),
    st.sampled_from(["step", "cosine", "poly"]),
    st.floats(0, 3),
    st.booleans(),
    st.lists(st.floats(0.05, 0.95), max_size=3),
)


@given(RECIPES, st.integers(40, 200))
def test_faithful_runs_of_any_recipe_pass(recipe: Recipe, samples: int) -> None:
    assert check(faithful(replace(EXPERIMENT, recipe=recipe), samples=samples)).text == "kept"


@given(RECIPES, st.integers(40, 200), st.data())
def test_any_step_at_another_learning_rate_is_found(recipe: Recipe, samples: int, data: st.DataObject) -> None:
    record = faithful(replace(EXPERIMENT, recipe=recipe), samples=samples)
    entry = data.draw(st.sampled_from(record.history))
    flat = [lr for lr, count in entry["lrs"] for _ in range(count)]
    step = data.draw(st.integers(0, len(flat) - 1))
    right = flat[step]
    flat[step] *= 1 + data.draw(st.sampled_from([-1e-3, 1e-9, 0.5]))
    entry["lrs"] = [[lr, 1] for lr in flat]
    (found,) = check(record).departures
    since = f" from step {step + 1} on" if step else ""
    assert found == Departure(f"learning rate{since}", f"epoch {entry['epoch']}", right, flat[step])


@given(RECIPES)
def test_the_recipe_comes_back_from_its_plain_values(recipe: Recipe) -> None:
    plain = json.loads(json.dumps(resolved(recipe)))
    assert restore.recipe(plain) == recipe
    assert resolved(restore.recipe(plain)) == plain


def test_the_recipes_of_every_task_come_back() -> None:
    experiments = [row.experiment for table in TABLES.values() if isinstance(table, Table) for row in table.rows]
    recipes = {experiment.recipe for experiment in experiments if experiment is not None}
    assert {type(recipe.augment).__name__ for recipe in recipes} == {
        "ImageNetAugment",
        "Ade20kAugment",
        "CocoAugment",
        "KineticsAugment",
    }
    for recipe in recipes:
        assert restore.recipe(resolved(recipe)) == recipe


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"type": "Recepi"}, r"recipe\.type is 'Recepi'; valid: Recipe"),
        ({"colour": 1}, r"recipe\.colour is not a field of Recipe"),
        ({"augment": None}, r"augment must be one of"),
        ({"epochs": 0}, r"epochs must be a positive integer"),
        ({"milestones": ["a"]}, "recipe: "),
    ],
)
def test_what_is_no_recipe_of_this_version_says_so(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        restore.recipe({**resolved(EXPERIMENT.recipe), **change})
    with pytest.raises(ValueError, match=r"recipe\.lr is missing"):
        restore.recipe({key: value for key, value in resolved(EXPERIMENT.recipe).items() if key != "lr"})
    with pytest.raises(ValueError, match="recipe is a ImageNetAugment"):
        restore.recipe(resolved(EXPERIMENT.recipe.augment))


def mutated(change: Callable[[dict[str, Any]], Any], epochs: tuple[int, ...] = (3, 4, 5, 7)) -> Record:
    """`FAITHFUL` with `change` made to the entries of some epochs."""
    entries = deepcopy(FAITHFUL.history)
    for epoch in epochs:
        change(entries[epoch - 1])
    return replace(FAITHFUL, history=entries)


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("steps", 12, "optimiser steps 12 instead of 11 (epochs 3-5, 7)"),
        ("samples", 2_599, "training images 2599 instead of 2600 (epochs 3-5, 7)"),
        ("batch", [40, 512], "smallest and largest batch 40 and 512 instead of 40 and 256 (epochs 3-5, 7)"),
        ("batch", [256, 256], "smallest and largest batch 256 and 256 instead of 40 and 256 (epochs 3-5, 7)"),
        ("norm_batch", 16, "images in one batch norm 16 instead of 32 (epochs 3-5, 7)"),
        ("input", [224, 192], "training input 224x192 instead of 224x224 (epochs 3-5, 7)"),
    ],
)
def test_each_departure_of_a_training_is_told_once(key: str, value: Any, text: str) -> None:
    found = check(mutated(lambda entry: entry.update({key: value})))
    assert text in [departure.text for departure in found.departures]
    assert found.status == "departs"
    # The steps of the trace are those of the entry, or that is told as well.
    assert len(found.departures) == 1 + (key == "steps")


def test_a_schedule_one_epoch_early_is_told() -> None:
    """The released script's drop: epoch 3, 6 and 8 (counted from 1) are run at the next epoch's learning rate."""
    entries = deepcopy(FAITHFUL.history)
    for entry, following in zip(FAITHFUL.history[:-1], entries[1:], strict=True):
        entry_before = entries[entry["epoch"] - 1]
        entry_before["lrs"] = deepcopy(following["lrs"])
    (found,) = check(replace(FAITHFUL, history=entries)).departures
    assert found.text == "learning rate 0.01 instead of 0.1 (epochs 3, 6, 8, values of the first)"


def test_a_cosine_by_iteration_is_not_the_one_by_epoch() -> None:
    recipe = Recipe("x", 4, 10, 0.4, ImageNetAugment(), schedule="cosine", batch_norm_batch=10)
    record = faithful(replace(EXPERIMENT, recipe=recipe), samples=100)
    for entry in record.history:
        steps = range(10 * (entry["epoch"] - 1), 10 * entry["epoch"])
        entry["lrs"] = [[0.2 * (1 + cos(pi * step / 40)), 1] for step in steps]
    (found,) = check(record).departures
    assert found.what == "learning rate from step 2 on"
    assert found.where == "epochs 1-4, values of the first"
    assert found.expected == pytest.approx(0.4)


def test_a_trace_that_stretches_over_a_drop_is_told() -> None:
    recipe = replace(SHORT.recipe, milestones=(3.5, 6, 8))
    record = faithful(replace(SHORT, recipe=recipe), samples=2_560)
    assert record.history[3]["lrs"] == [[0.1, 5], [pytest.approx(0.01), 5]]
    record.history[3]["lrs"] = [[0.1, 10]]
    (found,) = check(record).departures
    assert found.text == "learning rate from step 6 on 0.1 instead of 0.01 (epoch 4)"


def test_a_trace_of_fewer_steps_than_were_made_is_told() -> None:
    found = check(mutated(lambda entry: entry.update(lrs=[[0.1, 1]]), (1,)))
    assert [one.text for one in found.departures] == ["steps with a learning rate 1 instead of 11 (epoch 1)"]


@pytest.mark.parametrize(
    ("order", "observed"),
    [([1, 2, 3], "1-3"), ([1, 2, 4, 3, 5, 6, 7, 8, 9], "1-2, 4, 3, 5-9"), ([1, 1, *range(2, 10)], "1, 1-9")],
)
def test_epochs_that_are_missing_or_in_disorder_are_told(order: list[int], observed: str) -> None:
    entries = [FAITHFUL.history[number - 1] for number in order]
    (found,) = check(replace(FAITHFUL, history=entries)).departures
    assert found == Departure("epochs", "log", "1-9", observed)


def test_departures_of_the_test_are_told() -> None:
    data = deepcopy(FAITHFUL.data)
    data["splits"]["val"]["samples"] = 49_000
    wrong = replace(FAITHFUL, data=data, counted_samples=49_999, observed={"input": [320, 320]})
    assert check(wrong).against == (
        "images counted 49999 instead of 50000 (test)",
        "images of the split 49000 instead of 50000 (test)",
        "input 320x320 instead of 224x224 (test)",
    )


def test_the_weights_tested_are_of_the_last_or_the_best_epoch() -> None:
    errors = [70.0, 60.0, 50.0, 40.0, 30.0, 25.0, 24.0, 24.0, 24.5]  # epoch 7 is the first of the two best
    entries = [entry | {"top1_err": error} for entry, error in zip(FAITHFUL.history, errors, strict=True)]
    best = {**FAITHFUL.protocol, "weights": "best"}

    def tested(epoch: int, **changes: Any) -> Check:
        return check(replace(FAITHFUL, checkpoint={"sha256": SHA, "epochs": epoch}, history=entries, **changes))

    assert tested(9).text == tested(7, protocol=best).text == "kept"
    assert tested(7).text == "departs: weights of epoch 7 instead of 9 (test)"
    assert tested(9, protocol=best).text == "departs: weights of epoch 9 instead of 7 (test)"
    assert "which epoch was the best" in check(replace(FAITHFUL, protocol=best)).text


def test_the_run_s_own_sentences_are_departures() -> None:
    sentence = "batch norm over 16 samples (micro_batch) instead of the recipe's 32"
    found = check(replace(FAITHFUL, deviations=[sentence]))
    assert (found.status, found.text) == ("departs", f"departs: {sentence}")


def test_what_the_record_does_not_say_is_no_pass() -> None:
    old = [{"epoch": entry["epoch"], "lr": entry["lr"]} for entry in FAITHFUL.history]
    found = check(replace(FAITHFUL, history=old, observed={}))
    assert found.status == "not checkable"
    assert found.text == (
        "not checkable: the log does not say what the steps of epochs 1-9 did; "
        "the record does not say what size entered the network in the test"
    )
    for changed, told in (
        (replace(FAITHFUL, history=[]), "which epochs"),
        (replace(FAITHFUL, data={"name": "imagenet", "splits": {}}), "no manifest of the training split train"),
        (replace(FAITHFUL, experiment={**FAITHFUL.experiment, "recipe": {"type": "Recipe"}}), "another version"),
    ):
        assert check(changed).status == "not checkable"
        assert told in check(changed).text
    synchronised = replace(SHORT, recipe=replace(SHORT.recipe, batch_norm_batch=0))
    assert check(faithful(synchronised, samples=2_600)).status == "not checkable"


def test_an_old_log_still_tells_its_missing_epochs() -> None:
    found = check(replace(FAITHFUL, history=[{"epoch": 1, "lr": 0.1}]))
    assert found.status == "departs"
    assert found.text == "departs: epochs 1 instead of 1-9 (log)"


def test_released_weights_have_no_training_to_check_but_a_test() -> None:
    released = replace(FAITHFUL, history=[], checkpoint={"source": "released", "sha256": SHA, "epochs": None})
    assert (check(released).status, check(released).text) == (
        "not trained here",
        "not trained here: nothing to check",
    )
    assert check(replace(released, observed={"input": [320, 320]})).status == "departs"


@pytest.mark.parametrize(
    ("number", "samples", "side", "status"),
    [
        (5, 20_210, 473, "not checkable"),  # a synchronised batch norm
        (8, 117_266, 300, "kept"),
        (10, 240_000, 224, "kept"),
    ],
)
def test_recipes_of_the_other_tasks_are_checked_alike(number: int, samples: int, side: int, status: str) -> None:
    table = TABLES[number]
    assert isinstance(table, Table)
    row = next(row for row in table.rows if row.experiment is not None)
    (protocol, *_) = filter(None, (table.protocol(row, column) for column in table.columns))
    assert row.experiment is not None
    record = faithful(row.experiment, protocol, samples)
    assert check(record).status == status
    for entry in record.history:
        assert entry["input"] == [side, side]
        entry["input"] = [side, side + 1]
    assert check(record).text == f"departs: training input {side}x{side + 1} instead of {side}x{side} " + (
        f"(epochs 1-{row.experiment.recipe.epochs})"
    )


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("steps", -1, r"history\.steps"),
        ("batch", [256], r"\[smallest, largest\]"),
        ("input", [224, "224"], r"\[height, width\]"),
        ("lrs", [[0.1, 0]], r"\[learning rate, steps\]"),
        ("lrs", [0.1], r"\[learning rate, steps\]"),
        ("epoch", "1", r"history\.epoch"),
    ],
)
def test_a_log_in_another_form_is_no_evidence(tmp_path: Path, key: str, value: Any, told: str) -> None:
    record = mutated(lambda entry: entry.update({key: value}), (2,))
    with pytest.raises(RecordError, match=told):
        write(record, record_path(tmp_path, SHORT, CROP))


TOP1 = TABLES[2].columns[0]  # type: ignore[union-attr]
TABLE = Table(2, "two", (TOP1,), (Row("old", "ResNet", SHORT, (23.88,)), Row("new", "New", EXPERIMENT, (22.12,))))


def save(root: Path, record: Record, experiment: Experiment = SHORT, protocol: Protocol = CROP224) -> None:
    write(record, record_path(root, experiment, protocol))


def test_a_number_off_its_protocol_is_marked_in_every_format(tmp_path: Path) -> None:
    save(tmp_path, mutated(lambda entry: entry.update(norm_batch=16), (1, 2)))
    found = Evidence.load(tmp_path)
    cell = build([TABLE], found)[0]
    told = "images in one batch norm 16 instead of 32 (epochs 1-2)"
    assert (cell.verdict, cell.measured_text) == ("MATCH", f"23.88{MARK}")
    assert cell.reason.startswith("off its protocol: ")
    assert cell.departures == (f"imagenet-resnet50, seed 0: {told}",)
    pages = render([TABLE], found)
    assert f"23.88{MARK}" in pages["table2.md"]
    for name in ("table2.tex", "table2-paper.tex"):
        assert r"23.88{\textsuperscript{\mdseries \ensuremath{\ddagger}" in pages[name]
        assert rf"\ensuremath{{\ddagger}} Off its protocol: imagenet-resnet50, seed 0: {told}." in pages[name]
    assert f"23.88{MARK}" in pages["index.html"]
    assert all(told in pages[name] for name in ("index.html", "tables.json"))
    assert "images in one batch norm 16 instead of 32" in pages["table2.md"]


def test_a_number_on_its_protocol_or_of_an_old_log_has_no_mark(tmp_path: Path) -> None:
    save(tmp_path, FAITHFUL)
    save(tmp_path, measurement(), EXPERIMENT)
    assert [cell.measured_text for cell in build([TABLE], Evidence.load(tmp_path))] == ["23.88", "23.88"]


def test_mini_numbers_are_marked_too(tmp_path: Path) -> None:
    table = TABLES[2]
    small = mini_table(table)
    row = small.row("final")
    protocol = small.protocol(row, small.column("top1_err"))
    assert row.experiment is not None
    assert protocol is not None
    record = faithful(row.experiment, protocol, 1_280, mini=True, deviations=["torch was in a bad mood"])
    save(tmp_path, record, row.experiment, protocol)
    page = render([small], Evidence.load(tmp_path), ["md"])["mini-table2.md"]
    assert f"23.88{MARK}" in page
    assert "torch was in a bad mood" in page


def call(*arguments: object) -> Result:
    return CliRunner().invoke(command_line.cli, [str(argument) for argument in arguments])


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """ResNet-50 of Table 2 (and 3) kept to its recipe, the final network did not."""
    table = TABLES[2]
    assert isinstance(table, Table)
    baseline, final = table.row("baseline").experiment, table.row("final").experiment
    assert baseline is not None
    assert final is not None
    save(tmp_path, faithful(baseline, CROP224, 2_600), baseline)
    save(tmp_path, faithful(final, CROP224, 2_600, deviations=["fewer images in a batch norm"]), final)
    return tmp_path


def test_verify_protocol_prints_a_line_a_record_and_fails_on_a_departure(recorded: Path) -> None:
    result = call("verify", "table2", "--protocol", "--records", recorded)
    assert result.exit_code == 1
    kept, departs, total = result.stdout.splitlines()
    assert kept.endswith("/seed-0/crop224.json: kept")
    assert departs.endswith(": departs: fewer images in a batch norm")
    assert total == "2 records: 1 kept, 1 departs"
    assert call("verify", "table2/baseline", "--protocol", "--records", recorded).exit_code == 0
    nothing = call("verify", "table5", "--protocol", "--records", recorded)
    assert (nothing.exit_code, nothing.stdout) == (0, "nothing is recorded yet\n")


def test_verify_protocol_for_programs(recorded: Path) -> None:
    junit = recorded / "ci" / "protocol.xml"
    result = call("verify", "all", "--protocol", "--json", "--junit", junit, "--records", recorded)
    content = json.loads(result.stdout)
    assert content["summary"] == {"ok": False, "records": {"kept": 1, "departs": 1}, "problems": []}
    first = content["records"][0]
    assert (first["status"], first["targets"]) == ("kept", ["table2/baseline", "table3/resnet/50"])
    root = ElementTree.parse(junit).getroot()
    assert (root.get("tests"), root.get("failures")) == ("2", "1")


def test_released_weights_are_among_the_checked(recorded: Path) -> None:
    experiment = TABLES[2].row("baseline").experiment  # type: ignore[union-attr]
    assert experiment is not None
    checkpoint = {"source": "released", "sha256": SHA, "file": "their.pth", "layout": "theirs", "epochs": None}
    record = faithful(experiment, CROP224, 2_600, history=[], checkpoint=checkpoint)
    write(record, released_path(recorded, experiment, CROP224, SHA))
    lines = call("verify", "table2/baseline", "--protocol", "--records", recorded).stdout.splitlines()
    assert lines[1].endswith(f"/released-{SHA[:8]}/crop224.json: not trained here: nothing to check")
    assert lines[2] == "2 records: 1 kept, 1 not trained here"


def test_a_torn_file_fails_the_check(recorded: Path) -> None:
    (recorded / "torn.json").write_text("{")
    assert call("verify", "table2/baseline", "--protocol", "--records", recorded).exit_code == 1
    assert not audit([], Evidence.load(recorded)).ok


@pytest.mark.parametrize("option", [["--recount"], ["--record"], ["--convention", "macs"], ["--summary", "x"]])
def test_options_of_counts_do_not_go_with_protocols(option: list[str], tmp_path: Path) -> None:
    result = call("verify", "table2", "--protocol", *option, "--records", tmp_path)
    assert result.exit_code == 2
    assert "--protocol counts nothing" in result.stderr
    assert call("verify", "table2", "--mini", "--records", tmp_path).exit_code == 2


def test_a_log_that_is_changed_in_place_is_looked_at_again() -> None:
    record = deepcopy(FAITHFUL)
    assert check(record) == check(FAITHFUL)
    record.history[4]["lrs"][0][0] = 7.0
    assert [departure.where for departure in check(record).departures] == ["epoch 5"]
    record.history[4]["lrs"][0][0] = FAITHFUL.history[4]["lrs"][0][0]
    record.experiment["recipe"]["batch_size"] = 128
    assert check(record).status == "departs"
    assert check(FAITHFUL).status == "kept"
