"""What SLURM's commands print, read; and what is said when they are missing, hang or fail.

The lines were printed by squeue and sacct of SLURM 22.05 on the lab; tests/test_submit_cluster.py asks the real ones.
"""

import os
import time
from pathlib import Path

import pytest

from slurm import asked, queue
from slurm.queue import Seen

SQUEUE = """\
17_2|pyconv-ab12cd34-0|PENDING||N/A|Dependency
17_0|pyconv-ab12cd34-0|RUNNING|node1|2026-11-24T10:12:00|None
17_1|pyconv-ab12cd34-0|COMPLETED|node[1-2]|2026-11-24T09:12:00|None
18|pyconv-ab12cd34-1|PENDING|(null)|N/A|DependencyNeverSatisfied
"""
SACCT = """\
17_0|pyconv-ab12cd34-0|COMPLETED|node1|2026-11-24T09:12:00
17_1|pyconv-ab12cd34-0|CANCELLED by 0|node2|2026-11-24T09:12:01
17_[2-5]|pyconv-ab12cd34-0|PENDING|None assigned|Unknown
18|pyconv-ab12cd34-1|CANCELLED by 1000|None assigned|2026-11-24T09:12:02
"""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put a command of our own first on PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    def make(name: str, script: str) -> Path:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return make


def prints(text: str) -> str:
    return f"cat <<'END'\n{text}END"


def test_each_element_of_an_array_is_a_job_of_its_own(command) -> None:
    command("squeue", prints(SQUEUE))
    answer = queue.ask(["pyconv-ab12cd34-0"])
    assert answer.silence == ""
    assert answer.jobs["17_0"] == Seen("17_0", "pyconv-ab12cd34-0", "RUNNING", "node1", "", answer.jobs["17_0"].ended)
    assert (answer.jobs["17_2"].state, answer.jobs["17_2"].reason) == ("PENDING", "Dependency")
    assert answer.jobs["17_1"].nodes == "node[1-2]"
    assert answer.jobs["18"].nodes == ""
    assert answer.ids() == {"pyconv-ab12cd34-0": "17", "pyconv-ab12cd34-1": "18"}


def test_all_jobs_are_one_question(command, tmp_path: Path) -> None:
    log = tmp_path / "calls"
    command("squeue", f'echo "$*" >> {log}')
    queue.ask(f"pyconv-{number}" for number in range(1000))
    (call,) = log.read_text().splitlines()
    assert call.count("pyconv-") == 1000


def test_nothing_submitted_is_no_question(command) -> None:
    command("squeue", "exit 7")
    assert queue.ask([]) == queue.Answer()
    command("sacct", "exit 7")
    assert queue.account([]) == queue.Answer()


def test_accounting_is_read_without_who_cancelled_and_element_by_element(command) -> None:
    command("sacct", prints(SACCT))
    answer = queue.account(["17_0", "17_1", "18"])
    assert {job.id: job.state for job in answer.jobs.values()} == {
        "17_0": "COMPLETED",
        "17_1": "CANCELLED",
        "18": "CANCELLED",
        **{f"17_{number}": "PENDING" for number in range(2, 6)},
    }
    assert (answer.jobs["17_1"].nodes, answer.jobs["18"].nodes) == ("node2", "")


@pytest.mark.parametrize(
    ("written", "elements"),
    [
        ("0-7%8", range(8)),
        ("3", [3]),
        ("0-2,5,7-8%1", [0, 1, 2, 5, 7, 8]),
        ("0-6:2", [0, 2, 4, 6]),
        ("1,2,...", [1, 2]),
    ],
)
def test_an_array_cancelled_before_it_started_is_one_line_for_all_its_elements(command, written, elements) -> None:
    command("sacct", prints(f"17_[{written}]|pyconv-x-0|CANCELLED by 0|None assigned|2026-11-24T09:12:00\n"))
    assert set(queue.account(["17_0"]).jobs) == {f"17_{number}" for number in elements}


def test_a_line_for_the_whole_array_is_of_every_element_that_has_none_of_its_own(command) -> None:
    own = "17_1|pyconv-x-0|COMPLETED|node1|2026-11-24T09:13:00\n"
    command("sacct", prints(f"17|pyconv-x-0|CANCELLED by 0|None assigned|2026-11-24T09:12:00\n{own}"))
    jobs = queue.account(["17_0", "17_1", "18_0"]).jobs
    assert {job_id: jobs[job_id].state for job_id in jobs} == {
        "17": "CANCELLED",
        "17_0": "CANCELLED",
        "17_1": "COMPLETED",
    }
    assert jobs["17_0"].id == "17_0"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1", "Unable to"),
        ("exit 3", "exit 3"),
        ("sleep 60", "did not answer within"),
    ],
)
def test_a_command_that_fails_or_hangs_is_told(command, monkeypatch, script: str, words: str) -> None:
    monkeypatch.setattr(asked, "PATIENCE", 1.0)
    command("squeue", script)
    began = time.monotonic()
    answer = queue.ask(["pyconv-x-0"])
    assert time.monotonic() - began < 10
    assert words in answer.silence
    assert answer.jobs == {}


def test_a_missing_command_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert queue.ask(["pyconv-x-0"]).silence == "squeue is not installed here"
    assert queue.account(["17"]).silence == "sacct is not installed here"


@pytest.mark.parametrize(
    ("state", "ago", "live"),
    [
        ("PENDING", None, True),
        ("RUNNING", None, True),
        ("REQUEUED", None, True),
        ("COMPLETING", None, True),
        ("COMPLETED", 1, False),
        ("FAILED", 1, False),
        ("CANCELLED", 1, False),
        ("NODE_FAIL", 1, True),  # SLURM puts it back within seconds
        ("PREEMPTED", 1, True),
        ("NODE_FAIL", 3600, False),  # it did not come back
        ("NODE_FAIL", None, False),
    ],
)
def test_a_passing_node_fail_is_not_believed(state: str, ago: float | None, live: bool) -> None:
    ended = None if ago is None else time.time() - ago
    assert Seen("17", "pyconv-x-0", state, ended=ended).live is live


def test_who_waits_for_a_failed_job_waits_for_ever(command) -> None:
    command("squeue", prints(SQUEUE))
    jobs = queue.ask(["pyconv-ab12cd34-0"]).jobs
    assert jobs["18"].doomed
    assert not jobs["17_2"].doomed
