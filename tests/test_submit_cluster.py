"""Submission on the real SLURM of the lab: chains, races, interruptions, broken surroundings."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
from sites import PROFILE, Site, kill_steps, long, make_site, pyconv, slurm, uninterrupted, until, weights_of

from experiments import TABLES
from experiments.mini import HELD_OUT, mini_table
from experiments.spec import Experiment
from results.evidence import Evidence
from slurm import asked, cluster, queue, send, submissions, traces, weights
from slurm.job import run_folder
from slurm.live import Known, look
from slurm.plan import unit_key
from slurm.status import Board
from slurm.submissions import SubmissionError
from slurm.units import Unit, UnitState

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("healthy_lab")]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.digits(tmp_path_factory.mktemp("data"))


@pytest.fixture
def site(tmp_path: Path, digits: Path) -> Site:
    return make_site(tmp_path, digits)


def test_a_chain_runs_in_order_and_a_second_submit_adds_nothing(site: Site) -> None:
    backbone = tiny.experiment()
    network = tiny.experiment(3, init=backbone)
    sent = site.submit(backbone, network)
    assert sent.submission is not None
    assert site.submit(backbone, network).submission is None  # all of it is queued or running
    until(lambda: site.recorded(backbone, network))
    started = [traces.lives(site.traces(own))[0].time for own in (backbone, network)]
    finished = (run_folder(site.order.runs, backbone) / "trained.json").stat().st_mtime
    assert started[0] < finished <= started[1]
    assert site.submit(backbone, network).submission is None  # all of it is recorded
    record = site.evidence.measurement(network, tiny.CROP)
    assert record is not None
    assert record.code == {**record.code, "commit": record.code["commit"]}
    assert site.evidence.problems == ()


def test_when_the_backbone_fails_the_rest_is_not_run_and_status_says_why(site: Site) -> None:
    exploding = tiny.experiment(recipe=replace(tiny.experiment().recipe, lr=1e30))
    network = tiny.experiment(3, init=exploding)
    site.submit(exploding, network)
    failed = until(lambda: (state := site.training(exploding)).state == "failed" and state)
    assert failed.failure == "diverged"
    assert "NaN" in failed.why or "nan" in failed.why
    for unit in (site.testing(exploding), site.training(network), site.testing(network)):
        assert unit.state == "blocked"
        assert exploding.name in unit.why
    until(lambda: not slurm("squeue", "--noheader").strip())  # told and cleaned up, not pending for ever
    assert not (site.traces(network) / traces.LIVES).exists()
    again = site.submit(exploding, network)
    assert again.submission is None  # an own error is not run again with the same code
    assert any("failed with this very code" in job.reason for job in again.jobs)
    assert site.retry(exploding, network).submission is None


def test_what_is_killed_is_retried_to_the_bits_of_an_uninterrupted_run(site: Site, digits: Path) -> None:
    own = long()
    site.submit(own)
    until(lambda: (told := traces.told(site.traces(own))) and told.done > 0.2)
    kill_steps(site.order.runs)
    state = until(lambda: (state := site.training(own)).state == "failed" and state)
    assert state.failure == "killed"
    assert until(lambda: site.testing(own).state == "blocked")
    retried = site.retry(own)
    assert [job.action for job in retried.jobs] == ["run", "run"]
    until(lambda: site.recorded(own))
    assert len(traces.lives(site.traces(own))) == 2
    assert weights_of(site.order.runs, own) == uninterrupted(own, site.order.runs.parent / "alone", digits)


def test_a_signal_while_python_starts_does_not_end_it(site: Site) -> None:
    own = tiny.experiment()
    site.submit(own)
    job = until(lambda: site.training(own).state == "running" and site.training(own).job_id)
    for _ in range(15):  # through the start of Python; whoever has a handler already is requeued
        subprocess.run(["scancel", "--signal=USR2", job], check=False, capture_output=True)
        time.sleep(0.1)
    until(lambda: site.recorded(own))
    assert len(look(site.order.runs).places[unit_key(own, None)]) == 1  # nobody had to submit it again
    assert site.evidence.problems == ()


def test_a_node_that_failed_for_good_is_left_out_by_the_retry(
    healthy_lab: Any, tmp_path: Path, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "GRACE", 3.0)
    site, own = make_site(tmp_path, digits, "no-requeue = true"), long()
    site.submit(own)
    until(lambda: (told := traces.told(site.traces(own))) and told.done > 0.1)
    node = site.training(own).nodes
    healthy_lab.fail_node(int(node.removeprefix("node")))
    state = until(lambda: (state := site.training(own)).state == "failed" and state)
    assert (state.failure, state.nodes) == ("node_fail", node)
    healthy_lab.start_node(int(node.removeprefix("node")))
    sent = site.retry(own).submission
    assert sent is not None
    assert sent.arrays[0].keywords["slurm_exclude"] == node
    until(lambda: site.recorded(own))
    assert [life.nodes != (node,) for life in traces.lives(site.traces(own))] == [False, True]


def test_a_lost_node_a_time_limit_and_too_much_memory_have_their_classes(
    healthy_lab: Any, tmp_path: Path, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the same time: SLURM takes half a minute to miss a node, and a minute and a half to end a job of a minute."""
    monkeypatch.setattr(queue, "GRACE", 3.0)
    own, once = tiny.experiment(10_000), "no-requeue = true"
    two = replace(own, recipe=replace(own.recipe, batch_norm_batch=5))
    pair = make_site(tmp_path / "pair", digits, once, nodes=2)
    late = make_site(tmp_path / "late", digits, once, timeout_min=1, slurm_signal_delay_s=1)
    greedy = make_site(tmp_path / "greedy", digits, once, mem_gb=0.1)
    pair.submit(two)
    late.submit(own)
    greedy.submit(own)

    def failed(site: Site, experiment: Experiment) -> UnitState:
        return until(lambda: (state := site.training(experiment)).state == "failed" and state)

    assert failed(greedy, own).failure == "oom"
    until(lambda: (told := traces.told(pair.traces(two))) and told.done > 0)
    lost = traces.lives(pair.traces(two))[0].nodes[1]
    healthy_lab.kill_node(int(lost.removeprefix("node")))  # rank 0 sees a lost connection
    state = failed(pair, two)
    assert (state.failure, state.nodes) == ("node_fail", lost), state
    healthy_lab.start_node(int(lost.removeprefix("node")))
    again = pair.retry(two).submission
    assert again is not None
    assert again.arrays[0].keywords["slurm_exclude"] == lost
    assert failed(late, own).failure == "timeout"


def test_a_passing_node_fail_is_not_submitted_again(site: Site, healthy_lab: Any) -> None:
    own = long()
    site.submit(own)
    until(lambda: (told := traces.told(site.traces(own))) and told.done > 0.1)
    node = int(site.training(own).nodes.removeprefix("node"))
    healthy_lab.fail_node(node)
    for _ in range(20):  # through NODE_FAIL, REQUEUED, PENDING
        assert site.submit(own).submission is None
        assert site.training(own).state in ("running", "queued")
        time.sleep(0.2)
    # Begun elsewhere: a node that has only just come back may refuse it (JobLaunchFailure), which is another failure.
    until(lambda: len(traces.lives(site.traces(own))) == 2)
    healthy_lab.start_node(node)
    until(lambda: site.recorded(own))
    assert len(traces.lives(site.traces(own))) == 2
    assert site.evidence.problems == ()


def test_a_submitter_that_dies_between_sbatch_and_its_note_submits_nothing_twice(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = long()

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(submissions, "confirm", dies)
        with pytest.raises(KeyboardInterrupt):
            site.submit(own)
    assert site.training(own).state in ("queued", "running")  # found by its name
    again = site.submit(own)  # the training is queued; its test, which was never submitted, waits for it
    assert again.submission is not None
    assert [member.kind for array in again.submission.arrays for member in array.members] == ["test"]
    until(lambda: site.recorded(own))
    assert len(traces.lives(site.traces(own))) == 1


def set_up(folder: Path) -> str:
    """Sections of a profile whose set-up and container note that they were there; GPUs asked for as gres."""
    (folder / "container").write_text(f'#!/bin/sh\necho "$SLURM_JOB_ID $SET_UP" >> {folder}/contained\nexec "$@"\n')
    (folder / "container").chmod(0o755)
    setup = f'lines = ["export SET_UP=done"]\ncontainer = "{folder}/container"\npython = "{sys.executable}"'
    return f'[setup]\n{setup}\n[gpu]\nrequest = "gres"\ntype = "fake"\n'


def test_a_profiles_set_up_reaches_a_job_and_variables_of_an_enclosing_job_do_not(
    tmp_path: Path, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site(tmp_path, digits, sections=set_up(tmp_path))
    for key, value in {
        "SBATCH_PARTITION": "nowhere",
        "SLURM_NTASKS": "7",
        "SLURM_JOB_ID": "1",
        "SBATCH_ARRAY_INX": "0-99",
        "SLURM_GPUS_PER_NODE": "99",
        "MASTER_PORT": "1",
    }.items():
        monkeypatch.setenv(key, value)
    own = tiny.experiment()
    site.submit(own)
    until(lambda: site.recorded(own))
    assert os.environ["SBATCH_PARTITION"] == "nowhere"  # and the user's shell has them back
    record = site.evidence.measurement(own, tiny.CROP)
    assert record is not None
    assert record.job["ranks"] == 1
    contained = (tmp_path / "contained").read_text().splitlines()
    jobs = [place.job_id for places in look(site.order.runs).places.values() for place in places]
    assert sorted(contained) == sorted(f"{job_id} done" for job_id in jobs)
    (script,) = site.order.runs.rglob(f"{record.job['id']}_submission.sh")
    assert "#SBATCH --gres=gpu:fake:1" in script.read_text()
    granted = until(lambda: slurm("sacct", "-nPX", "--format=AllocTRES", "-j", str(record.job["id"])).strip(), 20)
    assert "gres/gpu=1" in granted


def test_a_cancelled_run_goes_on_when_it_is_submitted_again(site: Site) -> None:
    own = long()
    site.submit(own)
    until(lambda: (told := traces.told(site.traces(own))) and told.done > 0.2)
    slurm("scancel", *look(site.order.runs).live().values())
    until(lambda: site.training(own).state == "cancelled")
    assert site.submit(own).submission is not None
    until(lambda: site.recorded(own))
    assert len(traces.lives(site.traces(own))) == 2


def test_without_accounting_and_after_slurm_has_forgotten_it_the_log_tells(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = long()
    site.submit(own)
    until(lambda: (told := traces.told(site.traces(own))) and told.done > 0.1)
    slurm("scancel", *look(site.order.runs).live().values())
    until(lambda: site.training(own).state == "cancelled")
    empty = Known(look(site.order.runs).places, queue.Answer())  # squeue no longer shows it
    monkeypatch.setattr(queue, "_run", lambda command: queue.Answer(silence=f"{command[0]} is not installed here"))
    assert Board(site.evidence, site.order.runs, empty).state(Unit(own, None)).state == "cancelled"


@contextmanager
def first_on_path(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        yield


def test_with_a_hanging_squeue_nothing_is_submitted_and_nothing_is_lost(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = long()
    site.submit(own)
    monkeypatch.setattr(asked, "PATIENCE", 1.0)
    with first_on_path(tmp_path / "bin", "squeue", "sleep 100", monkeypatch):
        with pytest.raises(SubmissionError, match=r"squeue did not answer within 1 s.*nothing was submitted"):
            site.submit(own)
        until(lambda: site.training(own).state == "running")  # by its own word
    assert len(list((site.order.runs / "submissions").glob("*-*"))) == 1
    until(lambda: site.recorded(own))


def test_what_sbatch_refuses_is_told_in_its_words(tmp_path: Path, digits: Path) -> None:
    site = make_site(tmp_path, digits, 'partition = "nowhere"')
    with pytest.raises(SubmissionError, match=r"invalid partition specified: nowhere.*nothing was submitted"):
        site.submit(tiny.experiment())
    assert site.training(tiny.experiment()).job_id is None
    repaired = make_site(tmp_path, digits)
    assert repaired.submit(tiny.experiment()).submission is not None


def test_without_slurm_it_is_said(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SubmissionError, match="sbatch is not on PATH"):
        site.submit(tiny.experiment())


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A disk of its own in memory."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_on_a_full_disk_nothing_is_submitted(site: Site, tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "size=64k") as small:
        full = Site(replace(site.order, runs=small / "runs"))
        with pytest.raises((OSError, SubmissionError), match="No space left"):
            full.submit(tiny.experiment())
        assert not slurm("squeue", "--noheader").strip()


@contextmanager
def unwritable(folder: Path) -> Iterator[None]:
    """For root too, and as every node sees it."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["chattr", "+i", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", str(folder)], check=True)


def test_records_that_cannot_be_written_are_told_before_anything_is_submitted(site: Site) -> None:
    with (
        unwritable(site.order.records),
        pytest.raises(OSError, match=r"Operation not permitted; nothing was submitted.*records"),
    ):
        site.submit(tiny.experiment())
    assert not slurm("squeue", "--noheader").strip()


def test_records_that_can_no_longer_be_written_fail_the_test_and_nothing_is_lost(site: Site) -> None:
    own = tiny.experiment()
    site.submit(own)
    with unwritable(site.order.records):
        state = until(lambda: (state := site.testing(own)).state == "failed" and state)
        assert "Operation not permitted" in state.why
        assert site.training(own).state == "trained"
    again = send.send(site.order, site.plan(own), own_errors="again")
    assert [job.kind for job in again.jobs if job.action == "run"] == ["test"]  # it is not trained again
    until(lambda: site.recorded(own))


def test_fifty_people_submit_the_same_table_at_once_and_each_job_is_there_once(tmp_path: Path) -> None:
    profile = tmp_path / "held.toml"
    profile.write_text(PROFILE.format(more="hold = true"))
    places = ["--profile", str(profile), "--runs", str(tmp_path / "runs"), "--records", str(tmp_path / "records")]
    (tmp_path / "records").mkdir()
    command = [sys.executable, "-m", "slurm.cli", "submit", "table2", "--mini", "--json", *places]
    crowd = [
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(50)
    ]
    told = [(process.communicate(timeout=300), process.returncode) for process in crowd]
    assert [code for _, code in told] == [0] * 50, told
    answers = [json.loads(out) for (out, _), _ in told]
    first = [answer for answer in answers if answer["submission"] is not None]
    assert len(first) == 1
    jobs = first[0]["submission"]["jobs"]
    assert (len(jobs), len({job["key"] for job in jobs})) == (16, 16)
    listed = slurm("squeue", "--noheader", "--array", "--format=%i").split()
    assert sorted(listed) == sorted(job["job_id"] for job in jobs)
    cancelled = pyconv("cancel", "table2", "--mini", *places, cwd=tmp_path)
    assert cancelled.returncode == 0, cancelled.stderr
    assert sorted(cancelled.stdout.split()) == sorted(listed)
    until(lambda: not slurm("squeue", "--noheader").strip())


def test_a_typo_in_a_profile_is_told_with_the_right_word(tmp_path: Path) -> None:
    profile = tmp_path / "typo.toml"
    profile.write_text(PROFILE.format(more="").replace("timeout_min", "timout_min"))
    done = pyconv("submit", "table2", "--mini", "--profile", str(profile), cwd=tmp_path)
    assert done.returncode == 2
    assert "timout_min" in done.stderr
    assert "timeout_min" in done.stderr.replace("timout_min", "")


def test_the_script_that_plan_prints_is_the_one_that_sbatch_got(site: Site) -> None:
    sent = site.submit(tiny.experiment(), tiny.experiment(seed=1)).submission
    assert sent is not None
    array = sent.arrays[0]
    printed = cluster.script(
        len(array.members),
        array.keywords,
        sent.jobs,
        name=array.name,
        profile=site.order.profile,
        snapshot_root=site.order.runs.absolute() / "snapshots" / sent.snapshot,
    )
    (submitted,) = sent.jobs.glob(f"{array.job_id}_submission.sh")
    assert submitted.read_text() == printed
    assert "#SBATCH --array=0-1%2" in printed
    slurm("scancel", "--user", os.environ.get("USER", "root"))


def test_editing_the_checkout_does_not_change_what_is_queued(tmp_path: Path, digits: Path) -> None:
    """The network is the mini table's, its images are few: what runs is the question, not how well."""
    shutil.copytree(digits / "train", tmp_path / "few" / "train-small")
    shutil.copytree(digits / "val", tmp_path / "few" / "val")
    root = Path(__file__).parent.parent
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(root), str(clone)], check=True)
    with (clone / "pyconv" / "layers.py").open("a") as file:
        file.write("# a note that nobody committed\n")
    profile = tmp_path / "held.toml"
    profile.write_text(PROFILE.format(more="hold = true"))
    places = ["--profile", str(profile), "--runs", str(tmp_path / "runs"), "--records", str(tmp_path / "records")]
    (tmp_path / "records").mkdir()
    environment = {"PYTHONPATH": str(clone), "PYTHONSAFEPATH": "1"}
    few = ["--data", f"digits={tmp_path / 'few'}"]
    sent = pyconv("submit", "table2/final", "--mini", "--json", *places, *few, cwd=tmp_path, **environment)
    assert sent.returncode == 0, sent.stderr
    snapshot = json.loads(sent.stdout)["submission"]["snapshot"]
    for package in ("pyconv/train.py", "slurm/job.py", "slurm/measure.py"):
        (clone / package).write_text("this is not Python\n")
    for job in json.loads(sent.stdout)["submission"]["jobs"]:
        slurm("scontrol", "release", job["job_id"])
    (finished,) = until(lambda: list((tmp_path / "runs").rglob("trained.json")))
    trained = weights.read(finished.parent)
    assert trained is not None
    patch = (tmp_path / "runs" / "snapshots" / snapshot / "difference.patch").read_text()
    assert "+# a note that nobody committed" in patch
    assert trained.code["dirty"] is True
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=clone, check=True, capture_output=True, text=True).stdout
    assert trained.code["commit"] == commit.strip()


def rendered_numbers(folder: Path) -> dict[str, int]:
    """Rows of Table 2's mini version whose every cell shows a number, and over how many seeds."""
    told = pyconv("report", "table2", "--mini", "--json", "--records", str(folder / "records"), cwd=folder)
    (table,) = [table for table in json.loads(told.stdout)["tables"] if table["name"] == "mini-table2"]
    measured = [cell for cell in table["cells"] if cell["metric"] in ("top1_err", "top5_err")]
    empty = {cell["row"] for cell in measured if cell["measured"] is None}
    return {cell["row"]: cell["seeds"] for cell in measured if cell["row"] not in empty}


def rows_of(told: str) -> Sequence[dict[str, Any]]:
    return json.loads(told)["rows"]


def test_all_rows_of_table_2_run_as_arrays_with_two_seeds_each(tmp_path: Path) -> None:
    """The whole path as a person walks it, minutes on two cores: plan, submit, status, report."""
    places = ["--runs", str(tmp_path / "runs"), "--records", str(tmp_path / "records")]
    (tmp_path / "records").mkdir()
    table = ["table2", "--mini", "--profile", "lab", *places]
    sent = pyconv("submit", *table, "--seeds", "0,1", "--json", cwd=tmp_path)
    assert sent.returncode == 0, sent.stderr
    jobs = json.loads(sent.stdout)["submission"]["jobs"]
    ids = sorted({job["job_id"].partition("_")[0] for job in jobs})
    assert len(ids) == 2  # an array of trainings, one of tests
    arrays = ",".join(ids)
    assert [job["kind"] for job in jobs].count("train") == 16
    seen: set[str] = set()

    def all_recorded() -> bool:
        told = pyconv("status", *table, "--json", cwd=tmp_path)
        rows = rows_of(told.stdout)
        assert told.returncode == 0, told.stdout
        seen.update(node for row in rows for unit in row["units"] for node in unit["nodes"].split(",") if node)
        return len(rows) == 16 and all(row["state"] == "recorded" for row in rows)

    until(all_recorded, 2400, every=10)
    assert seen == {"node1", "node2", "node3", "node4"}
    granted = slurm("sacct", "--noheader", "--parsable2", "--allocations", "--format=JobID,AllocTRES", "-j", arrays)
    elements = [line for line in granted.splitlines() if line]
    assert len(elements) == 32
    assert all("gres/gpu=1" in line for line in elements), granted
    evidence = Evidence.load(tmp_path / "records")
    assert (len(evidence.records), evidence.problems) == (16, ())
    assert {record.seed for record in evidence.records.values()} == {0, 1}
    rendered = pyconv("report", "table2", "--mini", "--records", str(tmp_path / "records"), cwd=tmp_path)
    assert rendered.returncode == 0, rendered.stderr
    assert "pending" not in rendered.stdout
    assert rendered_numbers(tmp_path) == {row.key: 2 for row in mini_table(TABLES[2]).rows}
    for record in evidence.records.values():
        assert record.job["executor"] == "slurm"
        # Every network learns, with either seed: guessing has 90, and the standard error is at most 1.6 points.
        assert record.metrics["top1_err"].value < 45
        assert record.counted_samples == HELD_OUT
        losses = [epoch["train_loss"] for epoch in record.history]
        assert losses == sorted(losses, reverse=True)
