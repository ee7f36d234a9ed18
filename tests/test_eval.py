"""`pyconv eval`: weights from a file are tested like any others, and never taken for a training."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import evidence
import pytest
import tiny
import torch
from click.testing import CliRunner, Result
from networks import randomise

from experiments import TABLES
from experiments.mini import mini_table
from pyconv.checkpoints import export_released, load_released, save_released, save_weights
from pyconv.tasks.imagenet import evaluate
from results import cells, report
from results.evidence import Evidence
from results.records import RecordError, encode, parse, read, released_path, write
from slurm import selection
from slurm.cli import cli
from slurm.commands.eval import one_network

SHA = "ab" * 32
ROW = TABLES[4].row("pyconvresnet50")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.digits(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def few_digits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The mini protocols on the few images of `tiny`; no settings of the person who tests."""
    monkeypatch.setattr("experiments.mini.HELD_OUT", tiny.TESTED)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("PYCONV_RUNS", "PYCONV_RECORDS", "PYCONV_PROFILE"):
        monkeypatch.delenv(name, raising=False)


def call(*arguments: Any) -> Result:
    return CliRunner().invoke(cli, ["eval", *map(str, arguments)])


def test_a_file_is_tested_by_every_protocol_of_the_row_and_recorded_as_released(tmp_path: Path, digits: Path) -> None:
    table = mini_table(TABLES[4])
    row = table.row("pyconvresnet50")
    assert row.experiment is not None
    model = randomise(row.experiment.model.build(seed=4))
    digest = save_released(tmp_path / "theirs.pth", model)
    places = ["--records", tmp_path / "records", "--runs", tmp_path / "runs", "--data", f"digits={digits}"]
    arguments = ("table4/pyconvresnet50", "--mini", "--checkpoint", tmp_path / "theirs.pth", "--json", *places)
    done = call(*arguments)
    assert done.exit_code == 0, done.output
    content = json.loads(done.stdout)
    assert content["checkpoint"]["sha256"] == digest
    needed = selection.protocols(table, row)
    assert list(content["metrics"]) == [protocol.key for protocol in needed] == ["mini-crop224", "mini-crop320"]
    for protocol in needed:
        path = released_path(tmp_path / "records", row.experiment, protocol, digest)
        record = read(path)
        assert path.parent.name == f"released-{digest[:8]}"
        about = {"source": "released", "file": "theirs.pth", "layout": "classification", "sha256": digest}
        assert record.checkpoint == {**about, "epochs": None}
        assert (record.history, record.mini) == ([], True)
        oracle = evaluate(model, data_root=digits, crop=protocol.crop, resize=protocol.resize)
        assert record.metrics["top1_err"].value == oracle.metrics["top1_err"][0]
        assert content["metrics"][protocol.key]["top5_err"] == oracle.metrics["top5_err"][0]
    found = Evidence.load(tmp_path / "records")
    assert (found.problems, found.records, len(found.released)) == ((), {}, 2)
    assert selection.state(table, row, found) == "pending"  # nothing was trained
    before = {path: path.read_bytes() for path in (tmp_path / "records").rglob("*.json")}
    assert json.loads(call(*arguments).stdout) == content
    assert {path: path.read_bytes() for path in (tmp_path / "records").rglob("*.json")} == before
    assert not list((tmp_path / "runs").rglob("*.pt"))


def test_export_writes_the_authors_names_and_tests_nothing(tmp_path: Path) -> None:
    network = mini_table(TABLES[2]).row("baseline").experiment.model
    model = randomise(network.build(seed=1))
    save_weights(tmp_path / "weights.pt", model.state_dict(), "key")
    options = ["--checkpoint", tmp_path / "weights.pt", "--export", tmp_path / "theirs.pt", "--records", tmp_path / "r"]
    done = call("table2/baseline", "--mini", *options)
    assert done.exit_code == 0, done.output
    assert not (tmp_path / "r").exists()
    state = torch.load(tmp_path / "theirs.pt", weights_only=True)
    assert all(torch.equal(tensor, state[name]) for name, tensor in export_released(model).items())
    load_released(network.build(), tmp_path / "theirs.pt")
    wrong = call("table2/baseline", "--mini", *options[:2], "--export", tmp_path / "theirs.onnx")
    assert (wrong.exit_code, ".safetensors" in wrong.stderr) == (2, True)


def test_wrong_use_is_told(tmp_path: Path, digits: Path) -> None:
    file = tmp_path / "theirs.pth"
    torch.save({"fc.weight": torch.zeros(3)}, file)
    data = ["--data", f"digits={digits}"]
    cases = [
        (["table4", "--mini", "--checkpoint", file], "4 trainings"),
        (["table1", "--checkpoint", file], "no row of it has a network"),
        (["table7/fcn", "--checkpoint", file], "no row of it has a network"),
        (["table2/final", "--checkpoint", file], "--data imagenet=DIR"),
        (["table9000", "--checkpoint", file], "table9"),
        (["table2/final", "--mini"], "--checkpoint"),
        (["table2/final", "--mini", "--checkpoint", tmp_path / "none.pth"], "none.pth"),
        (["table2/final", "--mini", "--checkpoint", file, *data], "missing"),
        (["table10/pyconvresnet3d50", "--checkpoint", file], "--data kinetics=DIR"),
    ]
    for arguments, told in cases:
        done = call(*arguments, "--records", tmp_path / "records")
        assert done.exit_code == 2, (arguments, done.output)
        assert told in " ".join(done.stderr.split()), done.stderr
        assert done.stdout == ""
    assert not (tmp_path / "records").exists()


def test_rows_of_one_training_are_one_network_with_all_their_protocols() -> None:
    shared = [(TABLES[2], TABLES[2].row("final")), (TABLES[4], ROW)]
    work = one_network([*shared, (TABLES[7], TABLES[7].row("fcn"))])
    assert work.targets == ("table2/final", "table4/pyconvresnet50")
    assert [protocol.key for protocol in work.protocols] == ["crop224", "crop320"]


def released(root: Path, sha256: str = SHA, **changes: Any) -> Path:
    """A record of made-up weights from a file of ResNet-50."""
    about = {"source": "released", "file": "theirs.pth", "sha256": sha256, "layout": "classification", "epochs": None}
    record = evidence.measurement(checkpoint=about, history=[], **changes)
    return write(record, released_path(root, evidence.EXPERIMENT, evidence.CROP, sha256))


def cell(root: Path, column: str = "top1_err") -> cells.Cell:
    (found,) = [
        one
        for one in cells.build([TABLES[2]], Evidence.load(root))
        if (one.row, one.column.key) == ("baseline", column)
    ]
    return found


def test_a_released_number_is_shown_and_marked_where_nothing_was_trained(tmp_path: Path) -> None:
    released(tmp_path, errors=(23.88, 7.06))
    shown = cell(tmp_path)
    assert (shown.measured, shown.seeds, shown.verdict) == (23.88, 0, "MATCH")
    assert shown.reason.startswith("weights from a file, not trained here: ")
    assert (
        shown.footnotes[-1] == "Released weights, not trained here: theirs.pth (SHA-256 abababab...), classification."
    )
    assert shown.records[0].split("/")[1] == "released-abababab"


def test_every_page_says_that_it_was_not_trained_here(tmp_path: Path) -> None:
    released(tmp_path, errors=(23.88, 7.06))
    pages = report.render([TABLES[2]], Evidence.load(tmp_path))
    assert all("not trained here" in pages[name] for name in ("table2.md", "table2.tex", "tables.json", "index.html"))
    assert "one seed" not in pages["table2.md"]


def test_it_is_never_averaged_with_a_training(tmp_path: Path) -> None:
    released(tmp_path, errors=(20.0, 5.0))
    evidence.save(tmp_path, errors=(24.0, 7.0))
    evidence.save(tmp_path, replace(evidence.EXPERIMENT, seed=1), errors=(25.0, 7.0))
    shown = cell(tmp_path)
    assert (shown.measured, shown.seeds) == (24.5, 2)
    assert "give 20.00 %" in shown.footnotes[-1]
    assert not any("released" in place for place in shown.records)
    assert len(Evidence.load(tmp_path).seeds(evidence.EXPERIMENT, evidence.CROP)) == 2


def test_of_two_files_one_is_shown_and_both_are_told(tmp_path: Path) -> None:
    released(tmp_path, errors=(20.0, 5.0))
    released(tmp_path, "cd" * 32, errors=(21.0, 5.0))
    shown = cell(tmp_path)
    assert shown.measured == 20.0
    assert "give 21.00 %" in shown.footnotes[-1]
    assert Evidence.load(tmp_path).problems == ()


def test_a_released_record_cannot_stand_for_a_seed_nor_a_training_for_it(tmp_path: Path) -> None:
    path = released(tmp_path)
    seed = path.parents[1] / "seed-0" / path.name
    with pytest.raises(RecordError, match=r"belongs in <name>-[0-9a-f]{12}/released-abababab/crop224.json"):
        parse(path.read_text(), seed)
    trained = evidence.measurement()
    with pytest.raises(RecordError, match="seed-0"):
        parse(encode(trained), path)
    for change, told in (
        ({"epochs": 90}, "checkpoint.epochs"),
        ({"file": ""}, "checkpoint.file"),
        ({"source": "trained"}, "checkpoint.epochs"),
        ({"source": "bought"}, "valid: trained, released"),
    ):
        content = json.loads(path.read_text())
        content["checkpoint"] |= change
        with pytest.raises(RecordError, match=told):
            parse(json.dumps(content), path)


def test_a_job_says_that_its_weights_were_trained(tmp_path: Path, digits: Path) -> None:
    job = tiny.job(tmp_path, digits)
    job()
    record = job.record(tiny.CROP)
    assert record is not None
    assert (record.checkpoint["source"], record.checkpoint["epochs"], record.released) == ("trained", 2, False)
