"""A cluster without accounting: jobs run to their records, and what became of the others is told all the same."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
from click.testing import CliRunner
from sites import PROFILE, Site, long, make_site, slurm, until

from slurm import queue, traces
from slurm.cli import cli
from slurm.lab import Lab
from slurm.lab.ports import free_ports
from slurm.live import look

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One node, no slurmdbd."""
    lab = Lab(tmp_path_factory.mktemp("plain"), nodes=1, port=free_ports(), accounting=False)
    lab.install()
    try:
        lab.up()
        yield lab
    finally:
        lab.down()


@pytest.fixture(autouse=True)
def on_it(plain: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients of this test, and what they start, talk to it."""
    for key, value in plain.environment().items():
        monkeypatch.setenv(key, value)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path, tiny.digits(tmp_path))


def call(folder: Path, verb: str, *more: str, code: int = 0) -> Any:
    """What a verb prints about one row in two seeds, held in the queue."""
    (folder / "held.toml").write_text(PROFILE.format(more="hold = true"))
    places = [
        "--profile",
        str(folder / "held.toml"),
        "--runs",
        str(folder / "runs"),
        "--records",
        str(folder / "records"),
    ]
    words = [verb, "table2/final", "--mini", "--seeds=0,1", "--json", *places, *more]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


def states(told: Any) -> list[list[str]]:
    """Of a training and its test, for each seed."""
    return [[unit["state"] for unit in row["units"]] for row in told["rows"]]


def test_a_training_runs_to_its_record(site: Site) -> None:
    assert "accounting storage is disabled" in queue.account(["1"]).silence.lower()
    own = tiny.experiment()
    site.submit(own)
    until(lambda: site.recorded(own))
    record = site.evidence.measurement(own, tiny.CROP)
    assert record is not None
    assert (record.job["executor"], record.job["nodes"]) == ("slurm", ["node1"])
    assert len(traces.lives(site.traces(own))) == 1
    assert site.submit(own).submission is None


def test_a_run_that_is_cancelled_and_forgotten_is_known_by_its_log(site: Site, plain: Lab) -> None:
    own = long()
    site.submit(own)
    until(lambda: (told := traces.told(site.traces(own))) and told.done > 0.1)
    slurm("scancel", *look(site.order.runs).live().values())
    until(lambda: site.training(own).state == "cancelled")
    until(lambda: not slurm("squeue", "--noheader").strip())
    forget(plain)
    assert slurm("squeue", "--noheader", "--states=all") == ""
    state = site.training(own)
    assert (state.state, state.failure) == ("cancelled", "cancelled")
    assert "CANCELLED AT" in state.why
    assert [job.action for job in site.retry(own).jobs] == ["run", "run"]


def forget(lab: Lab) -> None:
    """Of all jobs: as minutes later (MinJobAge), at once."""
    lab.stop_controller()
    for file in (lab.folder / "state").glob("job_state*"):
        file.unlink()
    lab.start_controller()
    until(lab.ready, 60)


def test_a_row_is_submitted_watched_and_cancelled(tmp_path: Path) -> None:
    sent = call(tmp_path, "submit")["submission"]["jobs"]
    told = call(tmp_path, "status")
    assert states(told) == [["queued", "waiting"]] * 2 or states(told) == [["queued", "queued"]] * 2
    assert sorted(call(tmp_path, "cancel")["cancelled"]) == sorted(job["job_id"] for job in sent)
    until(lambda: look(tmp_path / "runs").live() == {})
    told = call(tmp_path, "status")
    # Of an array that was cancelled at once squeue has one line, without elements, and nobody else knows it.
    assert [row["units"][0]["state"] for row in told["rows"]] == ["cancelled", "cancelled"]
    again = call(tmp_path, "retry", "--class=cancelled")["submission"]["jobs"]
    assert [job["kind"] for job in again] == ["train", "train"]
    assert len(call(tmp_path, "cancel")["cancelled"]) == 2
