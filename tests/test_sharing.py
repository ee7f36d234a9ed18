"""Two people of one group submit into one runs folder, whatever their umask; a stranger is told what would be right."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurm.sharing import shared

GROUP, STRANGERS = 65_500, 65_499
ROOT = Path(__file__).resolve().parent.parent
# Root's interpreter may be closed to others, so it becomes them once it runs. The last line writes into whatever
# stands: an id beside the intent of somebody else.
PROGRAM = """
import os, sys
from pathlib import Path
from slurm import submissions
from slurm.submissions import Sent, Submission
runs, user, group = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
os.setgroups([])
os.setgid(group)
os.setuid(user)
os.umask(0o022)
with submissions.alone(runs):
    folder = submissions.new_folder(runs)
    submissions.begin(Submission(folder, (Sent(submissions.array_name(folder, 0), (), {}),), "lab", "abc", by="me"))
for sent in submissions.load(runs)[0]:
    submissions.confirm(sent, 0, str(os.getuid()))
"""


@pytest.fixture
def runs() -> Iterator[Path]:
    """A group's folder, where other users can reach it: pytest's own are closed to them."""
    folder = Path(tempfile.mkdtemp(prefix="pyconv-shared-"))
    os.chown(folder, 0, GROUP)
    folder.chmod(0o2775)
    yield folder
    shutil.rmtree(folder)


def submit(runs: Path, user: int, group: int) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(runs), str(user), str(group)],
        cwd="/",
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be two people")
def test_two_people_submit_into_one_folder_and_a_stranger_is_told_why_not(runs: Path) -> None:
    for user in (65_501, 65_502):
        done = submit(runs, user, GROUP)
        assert done.returncode == 0, done.stderr
    found = sorted((runs / "submissions").glob("*-*"))
    assert [int((folder / "0.job").read_text()) for folder in found] == [65_502] * 2
    assert all((folder / "jobs").stat().st_mode & stat.S_IWGRP for folder in found)
    stranger = submit(runs, 65_503, STRANGERS)
    assert stranger.returncode == 1
    assert "writable by their group" in stranger.stderr
    assert len(list((runs / "submissions").glob("*-*"))) == 2


@pytest.mark.parametrize(("folder", "made"), [(0o770, 0o660), (0o755, 0o644), (0o700, 0o644)])
def test_files_are_the_groups_only_where_the_folder_is(folder: int, made: int, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    runs.chmod(folder)
    before = os.umask(0o022)
    try:
        with shared(runs):
            (runs / "file").touch()
        (runs / "later").touch()
    finally:
        os.umask(before)
    assert stat.S_IMODE((runs / "file").stat().st_mode) & 0o660 == made & 0o660
    assert stat.S_IMODE((runs / "later").stat().st_mode) == 0o644
