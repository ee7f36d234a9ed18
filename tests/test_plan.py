"""Plans: what runs, what is shared, what is left out and why; in an order that works, on a machine without SLURM."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args
from unittest.mock import patch

import evidence
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments import TABLES, trainings
from experiments.spec import Experiment, Protocol, Task, fingerprint
from experiments.targets import find
from results.evidence import Evidence
from slurm import cli, selection, weights
from slurm import plan as planning
from slurm.job import run_folder
from slurm.plan import Plan, PlannedJob, plan, unit_key

NOTHING = Evidence(Path("nowhere"))
LINES = selection.rows(find("all"))
TASKS = get_args(Task)


@pytest.fixture(autouse=True)
def no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PYCONV_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("PYCONV_RUNS", str(tmp_path / "runs"))


def planned(*targets: str, found: Evidence = NOTHING, runs: Path = Path("nowhere"), **more: Any) -> Plan:
    return plan([line for target in targets for line in selection.rows(find(target))], found, runs, **more)


def trains(made: Plan) -> list[PlannedJob]:
    return [job for job in made.jobs if job.kind == "train"]


def job_of(made: Plan, key: str) -> PlannedJob:
    (job,) = [job for job in made.jobs if job.key == key]
    return job


def holding(*done: tuple[Experiment, Protocol]) -> Evidence:
    """Evidence of these measurements, in memory."""
    return Evidence(Path("nowhere"), {str(n): evidence.measurement(*one) for n, one in enumerate(done)})


def weights_stand(runs: Path, experiment: Experiment) -> None:
    folder = run_folder(runs, experiment)
    folder.mkdir(parents=True)
    (folder / "weights.pt").write_bytes(b"12345678")
    weights.write(folder, weights.Weights("weights.pt", "a" * 64, 8, [], {}, {}, [], {}, {}, {}))


def test_tables_2_and_3_are_32_rows_and_30_trainings_and_the_paper_52() -> None:
    both = planned("table2", "table3")
    assert len({row for job in both.jobs for row in job.rows}) == 32
    assert len(trains(both)) == 30
    assert {fingerprint(job.experiment) for job in trains(planned("all"))} == set(trainings(TABLES.values()))
    assert len(trains(planned("all"))) == 52


def test_a_shared_training_appears_once_and_says_for_whom() -> None:
    made = planned("table2", "table3")
    (shared,) = [job for job in trains(made) if "table2/baseline" in job.rows]
    assert shared.rows == ("table2/baseline", "table3/resnet/50")
    assert "one training for table2/baseline, table3/resnet/50" in shared.reason


def test_seeds_multiply_the_jobs_and_share_the_backbone() -> None:
    assert len(trains(planned("table2", seeds=(0, 1, 2)))) == 3 * 8
    with patch.object(planning, "tasks_here", lambda: TASKS):
        made = planned("table6", seeds=(0, 1))
    own = {job.experiment.seed for job in trains(made) if job.experiment.task == "ade20k"}
    assert own == {0, 1}
    assert {job.experiment.seed for job in trains(made) if job.experiment.task == "imagenet"} == {0}


def test_quoted_rows_are_skipped_and_said_so() -> None:
    made = planned("table7")
    quoted = {TABLES[7].target(row) for row in TABLES[7].rows if row.experiment is None}  # type: ignore[union-attr]
    assert quoted
    assert {skip.target for skip in made.skipped if "quoted" in skip.reason} == quoted


def test_a_task_without_training_code_is_blocked_and_its_backbone_not_trained_for_nothing() -> None:
    with patch.object(planning, "tasks_here", lambda: ("imagenet",)):
        made = planned("table5")
    assert {job.action for job in made.jobs if job.experiment.task == "ade20k"} == {"blocked"}
    assert all("no training code for ade20k yet" in job.reason for job in made.jobs if job.action == "blocked")
    assert not [job for job in made.jobs if job.action == "run"]
    backbones = [job for job in made.jobs if job.experiment.task == "imagenet"]
    assert backbones
    assert {job.action for job in backbones} == {"unneeded"}  # not "recorded": nobody trained them


def test_what_only_a_test_server_measures_is_skipped_and_said_so() -> None:
    """One row of the paper: trained on training and validation images, so only the test server's are left."""
    external = [skip.target for skip in planned("all").skipped if "test server" in skip.reason]
    assert external == ["table7/pyconvsegnet152-trainval"]


def test_a_chain_waits_for_its_backbone_only_until_that_stands(tmp_path: Path) -> None:
    with patch.object(planning, "tasks_here", lambda: TASKS):
        before = planned("table6/resnet50")
        segmenter = next(job for job in trains(before) if job.experiment.task == "ade20k")
        backbone = segmenter.experiment.init
        assert backbone is not None
        assert segmenter.needs == (unit_key(backbone, None),)
        assert "backbone of table6/resnet50" in job_of(before, unit_key(backbone, None)).reason
        weights_stand(tmp_path, backbone)
        after = planned("table6/resnet50", runs=tmp_path)
    assert job_of(after, unit_key(backbone, None)).action == "recorded"
    assert job_of(after, segmenter.key).needs == ()


def test_a_new_test_of_standing_weights_trains_nothing(tmp_path: Path) -> None:
    row = TABLES[2].row("baseline")  # type: ignore[union-attr]
    weights_stand(tmp_path, row.experiment)
    made = planned("table2/baseline", runs=tmp_path)
    assert [(job.kind, job.action, job.needs) for job in made.jobs] == [("train", "recorded", ()), ("test", "run", ())]


def test_weights_of_another_size_do_not_stand(tmp_path: Path) -> None:
    row = TABLES[2].row("baseline")  # type: ignore[union-attr]
    weights_stand(tmp_path, row.experiment)
    (run_folder(tmp_path, row.experiment) / "weights.pt").write_bytes(b"torn")
    assert trains(planned("table2/baseline", runs=tmp_path))[0].action == "run"


def test_a_live_backbone_is_running_although_what_needs_it_is_queued_too() -> None:
    with patch.object(planning, "tasks_here", lambda: TASKS):
        first = planned("table6/resnet50")
        live = {job.key: f"{number}_0" for number, job in enumerate(first.jobs)}
        again = planned("table6/resnet50", live=live)
    assert {job.action for job in again.jobs} == {"running"}
    assert {job.key: job.job_id for job in again.jobs} == live
    assert all(f"job {live[job.key]}" in job.reason for job in again.jobs)


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[Any], Evidence, set[str], dict[str, str]]:
    """Rows, what is recorded of them, which weights stand, what is live."""
    lines = draw(
        st.lists(st.sampled_from(LINES), min_size=1, max_size=8, unique_by=lambda line: line[0].target(line[1]))
    )
    runs = [line for line in lines if line[1].experiment is not None]
    tests = {(row.experiment, p) for table, row in runs for p in selection.protocols(table, row)}
    done = draw(st.sets(st.sampled_from(sorted(tests, key=repr)))) if tests else set()
    chain = {e for _, row in runs for e in (row.experiment, row.experiment.init) if e is not None}
    keys = sorted({unit_key(e, None) for e in chain} | {unit_key(e, p) for e, p in tests})
    standing = draw(st.sets(st.sampled_from(keys))) if keys else set()
    live = draw(st.sets(st.sampled_from(keys))) if keys else set()
    return lines, holding(*sorted(done, key=repr)), standing, {key: f"{n}" for n, key in enumerate(sorted(live))}


@settings(max_examples=60, deadline=None)
@given(situations())
def test_whatever_stands_or_lives_nothing_runs_twice_or_too_early(situation: Any) -> None:
    lines, found, standing, live = situation

    def stands(_: Path, experiment: Experiment) -> bool:
        return unit_key(experiment, None) in standing

    with patch.object(planning, "tasks_here", lambda: TASKS), patch.object(planning, "trained", stands):
        made = plan(lines, found, Path("nowhere"), live=live)
    keys = [job.key for job in made.jobs]
    by_key = dict(zip(keys, made.jobs, strict=True))
    assert len(set(keys)) == len(keys)
    for job in made.jobs:
        assert all(keys.index(need) < keys.index(job.key) for need in job.needs)
        assert all(by_key[need].action in ("run", "running") for need in job.needs)
        if job.action == "run":
            assert job.key not in live
            parent = job.experiment if job.kind == "test" else job.experiment.init
            assert parent is None or unit_key(parent, None) in {*standing, *job.needs}
        if job.protocol is not None:
            recorded = found.measurement(job.experiment, job.protocol) is not None
            assert (job.action == "recorded") == recorded
        else:
            rest = {"run", "recorded", "unneeded"}
            known = {"recorded"} if job.key in standing else {"running"} if job.key in live else rest
            assert job.action in known
    told = {row for job in made.jobs if job.kind == "train" for row in job.rows} | {s.target for s in made.skipped}
    assert told == {table.target(row) for table, row in lines}


def test_json_on_stdout_has_every_field_that_is_promised() -> None:
    result = CliRunner().invoke(cli.cli, ["plan", "table2", "--profile", "example", "--json", "--seeds", "0,1"])
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    fields = (
        "kind experiment fingerprint seed protocol rows action reason needs key gpus nodes hours gpu_hours storage_gb"
    )
    for job in content["jobs"]:
        assert {*fields.split(), "batch"} <= set(job)
        assert (job["protocol"] is None) == (job["kind"] == "train")
    assert len([job for job in content["jobs"] if job["kind"] == "train"]) == 16
    assert {job["gpus"] for job in content["jobs"] if job["kind"] == "train"} == {8}
    assert "totals" in content


def test_a_plan_needs_neither_slurm_nor_torch(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom slurm.cli import main\ntry: main()\nfinally: print(*sorted(sys.modules), file=sys.stderr)"
    )
    arguments = ["plan", "all", "--profile", "example", "--json", "--runs", str(tmp_path)]
    environment = {"PATH": str(tmp_path), "HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len([job for job in json.loads(done.stdout)["jobs"] if job["kind"] == "train"]) == 52
    assert "torch" not in done.stderr.split()


def test_the_scripts_are_printed_without_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = CliRunner().invoke(cli.cli, ["plan", "table2", "--profile", "example", "--sbatch"])
    assert result.exit_code == 0, result.output
    assert result.stdout.count("#!/bin/bash") == 2  # the trainings, and a test of each
    assert "#SBATCH --array=0-7%4" in result.stdout  # limits.gpus = 32 is four jobs of eight
    assert "#SBATCH --partition=gpu" in result.stdout


def test_the_scripts_carry_the_profiles_set_up_and_end_all_ranks_with_one(tmp_path: Path) -> None:
    path = tmp_path / "place.toml"
    setup = '[setup]\nmodules = ["cuda/12"]\nlines = ["source own.sh"]\ncontainer = "contain it"\npython = "python9"\n'
    gpu = '[gpu]\nrequest = "gres"\ntype = "h100"\n'
    path.write_text(f'executor = "slurm"\n[submitit]\ntimeout_min = 60\ngpus_per_node = 8\n{setup}{gpu}')
    result = CliRunner().invoke(cli.cli, ["plan", "table2/final", "--profile", str(path), "--sbatch"])
    assert result.exit_code == 0, result.output
    for script in result.stdout.split("#!/bin/bash")[1:]:
        lines = script.splitlines()
        (command,) = [number for number, line in enumerate(lines) if line.startswith("srun")]
        assert lines.index("module load cuda/12") < lines.index("source own.sh") < command
        assert " contain it python9 " in lines[command]
        assert "--kill-on-bad-exit=1" in lines[command]
        assert "#SBATCH --gres=gpu:h100:8" in lines


def test_the_table_numbers_what_each_job_waits_for() -> None:
    result = CliRunner().invoke(cli.cli, ["plan", "table2/baseline", "--profile", "example"])
    assert result.exit_code == 0, result.output
    train, test = result.stdout.splitlines()[2:]
    assert train.split()[:2] == ["1", "train"]
    assert test.split()[:3] == ["2", "test", "crop224"]
    assert "1" in test.split()[7:]


def test_fewer_gpus_are_said_loudly(tmp_path: Path) -> None:
    path = tmp_path / "four.toml"
    path.write_text('executor = "slurm"\n[submitit]\ntimeout_min = 60\ngpus_per_node = 4\ntasks_per_node = 4\n')
    result = CliRunner().invoke(cli.cli, ["plan", "table2", "--profile", str(path)])
    assert "4 GPUs instead of the paper's 8" in result.stderr
    assert "batch 256 and lr 0.1" in result.stderr


def test_a_misspelt_target_and_a_wrong_seed_are_wrong_usage() -> None:
    assert CliRunner().invoke(cli.cli, ["plan", "tabel2"]).exit_code == 2
    wrong = CliRunner().invoke(cli.cli, ["plan", "table2", "--seeds", "0,x"])
    assert wrong.exit_code == 2
    assert "0,1,2" in wrong.stderr
