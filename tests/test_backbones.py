"""What an experiment starts from: trained before it here, or adopted from a file that a person gives."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import tiny
import torch
from click.testing import CliRunner

from experiments.spec import Experiment, Task
from experiments.targets import find
from pyconv.architectures import resnet
from pyconv.checkpoints import load_weights, save_released
from results.compliance import check
from results.evidence import Evidence
from slurm import plan as planning
from slurm import profile as profiles
from slurm import selection, submit
from slurm.adopted import ABOUT, WEIGHTS, WeightsError, adopt, adopted, folder_of
from slurm.backbones import backbones, needs, parent
from slurm.cli import cli
from slurm.job import Job
from slurm.plan import plan, unit_key
from slurm.selection import Work, rows

LOCAL = profiles.load("local")
FIRST = tiny.experiment(epochs=1, seed=3)
SECOND = tiny.experiment(epochs=1, init=FIRST)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.digits(tmp_path_factory.mktemp("data"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The weights of somebody else's training of FIRST's network."""
    path = tmp_path / "theirs.pt"
    save_released(path, FIRST.model.build(seed=77))
    return path


def both(folder: Path, data: Path) -> tuple[Job, Job]:
    second = tiny.job(folder, data, experiment=SECOND)
    return replace(second, experiment=FIRST, protocols=(), part="train"), second


def test_a_backbone_is_trained_before_what_starts_from_it_and_once(tmp_path: Path) -> None:
    wanted = [Work(SECOND, (tiny.CROP,), ("a",)), Work(replace(SECOND, seed=1), (tiny.CROP,), ("b",))]
    (first,) = backbones(wanted, tmp_path)
    assert first == Work(FIRST, (), ("a", "b"))
    asked_for = [*wanted, Work(FIRST, (tiny.CROP,), ("c",))]
    assert backbones(asked_for, tmp_path) == []  # it is trained anyway, for itself
    assert parent(SECOND, tmp_path) == FIRST
    assert parent(FIRST, tmp_path) is None
    named = {"first": first, "a": wanted[0], "b": wanted[1]}
    assert needs(named, tmp_path) == {"a": "first", "b": "first"}
    longer = tiny.experiment(epochs=2, init=SECOND)
    assert [work.experiment for work in backbones([Work(longer, (tiny.CROP,), ("d",))], tmp_path)] == [FIRST, SECOND]


def test_both_run_in_their_order_whatever_order_they_are_given_in(tmp_path: Path, data: Path) -> None:
    first, second = both(tmp_path, data)
    ended = submit.run({"second": second, "first": first}, LOCAL, needs={"second": "first"}, at_once=2)
    assert [(outcome.name, outcome.ok) for outcome in ended] == [("first", True), ("second", True)]
    assert submit.describe(ended[0]).startswith("first: trained after")
    assert second.record(tiny.CROP) is not None
    assert parent(SECOND, second.runs) is None


def test_what_starts_from_a_failure_is_not_begun(tmp_path: Path, data: Path) -> None:
    first, second = both(tmp_path, data)
    lost = replace(first, data={"digits": tmp_path / "nowhere"})
    jobs = {"third": replace(second, experiment=replace(SECOND, seed=1)), "second": second, "first": lost}
    ended = {o.name: o for o in submit.run(jobs, LOCAL, needs={"second": "first", "third": "second"}, at_once=2)}
    assert {name: outcome.ok for name, outcome in ended.items()} == dict.fromkeys(jobs, False)
    assert ended["first"].error.endswith("ended without weights")
    assert ended["second"].error == "starts from first, which failed"
    assert ended["third"].error == "starts from second, which failed"


def test_adopted_weights_are_where_training_starts_and_the_record_says_so(
    tmp_path: Path, data: Path, file: Path
) -> None:
    _, second = both(tmp_path, data)
    made, _ = adopt(second.runs, FIRST, file)
    assert parent(SECOND, second.runs) is None
    second()
    record = second.record(tiny.CROP)
    assert record is not None
    assert record.deviations == [made.sentence]
    assert f"file theirs.pt (SHA-256 {made.sha256[:12]}..." in made.sentence
    assert check(record).told == (made.sentence,)
    plain, other = both(tmp_path / "plain", data)
    plain()
    other()
    trained_here = other.record(tiny.CROP)
    assert trained_here is not None
    assert trained_here.deviations == []
    assert trained_here.checkpoint["sha256"] != record.checkpoint["sha256"]


def test_what_is_kept_are_the_weights_of_the_file(tmp_path: Path, file: Path) -> None:
    made, _ = adopt(tmp_path, FIRST, file)
    kept, theirs = load_weights(made.folder / WEIGHTS), FIRST.model.build(seed=77).state_dict()
    assert kept.keys() == theirs.keys()
    assert all(torch.equal(kept[name], theirs[name]) for name in kept)
    assert adopted(tmp_path, replace(FIRST, seed=9)) == made  # of every seed
    assert adopt(tmp_path, FIRST, file)[0] == made  # once more is the same


def test_a_second_file_and_a_damaged_one_are_refused(tmp_path: Path, data: Path, file: Path) -> None:
    _, second = both(tmp_path, data)
    made, _ = adopt(second.runs, FIRST, file)
    other = tmp_path / "other.pt"
    save_released(other, FIRST.model.build(seed=78))
    with pytest.raises(WeightsError, match=r"holds the weights of theirs\.pt"):
        adopt(second.runs, FIRST, other)
    content = bytearray((made.folder / WEIGHTS).read_bytes())
    content[len(content) // 2] ^= 1
    (made.folder / WEIGHTS).write_bytes(content)
    with pytest.raises(WeightsError, match="damaged or changed"):
        second()
    (made.folder / ABOUT).write_text('{"name": ')
    assert adopted(second.runs, FIRST) is None  # torn: as if it had never been
    with pytest.raises(ValueError, match="resnet50"):
        adopt(second.runs, replace(FIRST, model=resnet(50)), file)


def segmenter() -> Experiment:
    """Table 6's first row, which starts from another experiment's weights."""
    row = next(row for _, row in rows(find("table6/resnet50")))
    assert row.experiment is not None
    assert row.experiment.init is not None
    return row.experiment


def test_the_plan_trains_no_backbone_that_was_adopted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "tasks_here", lambda: get_args(Task))
    experiment = segmenter()
    assert experiment.init is not None
    save_released(tmp_path / "resnet50.pt", experiment.init.model.build(seed=1))
    result = CliRunner().invoke(
        cli,
        ["adopt", "table6/resnet50", "--checkpoint", str(tmp_path / "resnet50.pt"), "--runs", str(tmp_path), "--json"],
    )
    assert result.exit_code == 0, result.output
    told: dict[str, Any] = json.loads(result.stdout)
    assert Path(told["folder"]) == folder_of(tmp_path, experiment.init)
    made = plan(rows(find("table6/resnet50")), Evidence.load(tmp_path / "none"), tmp_path)
    jobs = {job.key: job for job in made.jobs}
    backbone = jobs[unit_key(experiment.init, None)]
    assert (backbone.action, backbone.needs) == ("recorded", ())
    assert "adopted weights: resnet50.pt" in backbone.reason
    assert jobs[unit_key(experiment, None)].needs == ()
    # Its own row is another matter: those numbers are of a training.
    own = plan(rows(find("table3/resnet/50")), Evidence.load(tmp_path / "none"), tmp_path)
    assert next(job for job in own.jobs if job.kind == "train").action == "run"


def test_wrong_use_of_adopt_is_told(tmp_path: Path, file: Path) -> None:
    def call(*words: str) -> str:
        result = CliRunner().invoke(cli, ["adopt", *words, "--checkpoint", str(file), "--runs", str(tmp_path)])
        assert result.exit_code == 2, result.output
        return result.output

    assert "one file: give the row" in call("table5")
    assert "no row of it has a network" in call("table7/fcn")  # quoted from another paper
    assert "resnet50" in call("table5/pspnet/os8")  # not of this network
    assert list(tmp_path.glob("*/adopted")) == []


def test_what_only_a_test_server_measures_is_trained_and_not_tested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "tasks_here", lambda: get_args(Task))
    lines = rows(find("table7/pyconvsegnet152-trainval"))
    ((_, row),) = lines
    assert row.experiment is not None
    wanted = Work(row.experiment, (), ("table7/pyconvsegnet152-trainval",))
    assert selection.works(lines, Evidence.load(tmp_path), tmp_path) == ([wanted], [])
    monkeypatch.setattr(selection, "trained", lambda runs, of: (runs, of) == (tmp_path, row.experiment))
    todo, (skip,) = selection.works(lines, Evidence.load(tmp_path), tmp_path)
    assert todo == []
    assert "test server" in skip.reason
