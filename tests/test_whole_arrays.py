"""What SLURM says of an array in one line stands for its elements; whose jobs nobody else may cancel is told."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import tiny
from click.testing import CliRunner

from experiments import TABLES
from experiments.spec import Experiment, family
from results.evidence import Evidence
from slurm import submissions
from slurm.cli import cli
from slurm.job import unit_folder
from slurm.live import Known
from slurm.plan import unit_key
from slurm.queue import Answer, Seen
from slurm.selection import seeded
from slurm.status import Board
from slurm.submissions import Member, Sent, Submission
from slurm.units import Unit

TWO = [tiny.experiment(seed=seed) for seed in (0, 1)]


def member(runs: Path, own: Experiment) -> Member:
    folder = unit_folder(runs, own, None)
    return Member(unit_key(own, None), "train", own.name, family(own), own.seed, ("table2/final",), folder)


def known(runs: Path, *lines: Seen, **changes: Any) -> Known:
    """Two trainings that are array 17."""
    array = Sent("pyconv-x-0", tuple(member(runs, own) for own in TWO), {}, job_id="17", **changes)
    sent = Submission(runs / "submissions" / "2-x", (array,), "lab", "abc", by="ada@login")
    return Known(submissions.places([sent]), Answer({line.id: line for line in lines}))


def states(runs: Path, where: Known) -> list[str]:
    return [Board(Evidence(Path()), runs, where).state(Unit(own, None)).state for own in TWO]


def line(job: str, state: str, reason: str = "") -> Seen:
    return Seen(job, "pyconv-x-0", state, "", reason, time.time())


def command(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> None:
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}/usr/bin{os.pathsep}/bin")


def test_one_line_of_squeue_is_of_every_element_where_there_is_no_accounting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(tmp_path, monkeypatch, "sacct", "echo 'Slurm accounting storage is disabled' >&2; exit 1")
    assert states(tmp_path, known(tmp_path, line("17", "CANCELLED"))) == ["cancelled", "cancelled"]
    assert states(tmp_path, known(tmp_path)) == ["failed", "failed"]  # of a class that is unknown


@pytest.mark.parametrize(("told", "state"), [("TIMEOUT", "failed"), ("PENDING", "cancelled")])
def test_accounting_knows_better_once_it_has_heard_of_the_end(
    told: str, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Element 0 ran into its limit and squeue has forgotten it; then the others were cancelled together."""
    command(tmp_path, monkeypatch, "sacct", f"echo '17_0|pyconv-x-0|{told}|node1|2026-11-24T09:12:00'")
    assert states(tmp_path, known(tmp_path, line("17", "CANCELLED"))) == [state, "cancelled"]


def test_what_waits_for_gpus_says_so(tmp_path: Path) -> None:
    waiting = [line(f"17_{index}", "PENDING", "Dependency") for index in (0, 1)]
    words = {}
    for for_room in (True, False):
        where = known(tmp_path, *waiting, for_room=for_room)
        words[for_room] = Board(Evidence(Path()), tmp_path, where).state(Unit(TWO[0], None)).why
    assert "limits.gpus" in words[True]
    assert "limits.gpus" not in words[False]


SCANCEL = """for job; do
case $job in 17_*) echo "scancel: error: Kill job error on job id $job: Access/permission denied" >&2; bad=1;; esac
done; exit ${bad:-0}"""


def test_jobs_of_another_person_are_told_and_ones_own_are_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, own = tmp_path / "runs", TABLES[2].row("final").experiment  # type: ignore[union-attr]
    for seed, job_id, by in ((0, "17", "ada@login"), (1, "18", "bob@login")):
        units = (member(runs, seeded(own, seed)), member(runs, tiny.experiment(seed=seed)))
        array = Sent(f"pyconv-{job_id}-0", units, {}, job_id=job_id)
        sent = Submission(runs / "submissions" / f"2-{job_id}", (array,), "lab", "abc", by=by)
        submissions.begin(sent)
        submissions.confirm(sent, 0, job_id)
    command(
        tmp_path, monkeypatch, "squeue", "\n".join(f"echo '{j}_0|pyconv-{j}-0|RUNNING|n|N/A|None'" for j in (17, 18))
    )
    command(tmp_path, monkeypatch, "scancel", SCANCEL)
    places = ["--runs", str(runs), "--records", str(tmp_path / "records")]
    done = CliRunner().invoke(cli, ["cancel", "table2/final", "--seeds=0,1", "--json", *places])
    told = json.loads(done.stdout)
    assert done.exit_code == 1
    assert told["cancelled"] == ["18_0"]
    (words,) = told["refused"]
    assert words.startswith("17_0, submitted by ada@login: ")
