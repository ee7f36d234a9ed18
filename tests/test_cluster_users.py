"""Two users of one cluster share a runs folder: each run happens once, each sees it, and each may go on with it."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tiny
from sites import PROFILE, slurm, until

from slurm import traces
from slurm.job import unit_folder
from slurm.lab import Lab
from slurm.lab.accounting import ACCOUNT

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.usefixtures("healthy_lab"),
    pytest.mark.skipif(os.getuid() != 0, reason="only root can be two people"),
]

ROOT = Path(__file__).resolve().parent.parent
GROUP, ADA, BOB = "pyconvlab", "pyconv-ada", "pyconv-bob"
EPOCHS = 200
# A person's own Python: submit, or retry, a training of some seconds; how many jobs that made.
PROGRAM = f"""
import sys
from pathlib import Path
import tiny
from sites import Site
from slurm.profile import read
from slurm.send import Order
place = Path(sys.argv[1])
site = Site(Order(read(place / "place.toml"), place / "records", place / "runs", {{"digits": place / "digits"}}))
sent = getattr(site, sys.argv[2])(tiny.experiment({EPOCHS})).submission
print(0 if sent is None else sum(len(array.members) for array in sent.arrays))
"""


@dataclass(frozen=True)
class Shared:
    """A folder of the group with `runs`, `records` and data, and the interpreter that others may run."""

    folder: Path
    python: str

    def start(self, user: str, *command: str) -> "subprocess.Popen[str]":
        """What `user` types on the login node: Python's own arguments."""
        modules = [str(ROOT), str(ROOT / "tests"), *(path for path in sys.path if path.endswith("site-packages"))]
        own = {"PATH": os.environ["PATH"], "SLURM_CONF": os.environ["SLURM_CONF"], "LOGNAME": user}
        own |= {"HOME": str(self.folder), "PYTHONPATH": os.pathsep.join(modules), "PYTHONSAFEPATH": "1"}
        return subprocess.Popen(
            [self.python, *command],
            cwd="/",
            env=own,
            user=user,
            group=GROUP,
            extra_groups=[],
            umask=0o022,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def pyconv(self, user: str, verb: str, *more: str) -> tuple[int, Any, str]:
        """Exit code, what `--json` printed, and the notes."""
        places = ["--profile", "held.toml", "--runs", "runs", "--records", "records"]
        whole = [str(self.folder / word) if word in ("held.toml", "runs", "records") else word for word in places]
        process = self.start(user, "-m", "slurm.cli", verb, "table2/final", "--mini", "--json", *whole, *more)
        out, notes = process.communicate(timeout=120)
        assert out, notes
        return process.returncode, json.loads(out), notes

    def both(self, verb: str) -> list[int]:
        """How many jobs each made when both did that at the same moment."""
        processes = [self.start(user, "-c", PROGRAM, str(self.folder), verb) for user in (ADA, BOB)]
        return [self.jobs_of(process) for process in processes]

    def jobs_of(self, process: "subprocess.Popen[str]") -> int:
        out, complaint = process.communicate(timeout=120)
        assert process.returncode == 0, complaint
        return int(out)


def interpreter() -> str:
    """A Python of this version that others can run, with what the jobs import; skips where there is none."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, shutil.which(version, path="/usr/bin:/usr/local/bin") or "false"):
        try:
            with Shared(Path("/"), candidate).start(BOB, "-c", "import torch, submitit, sites") as process:
                process.communicate(timeout=120)
            if process.returncode == 0:
                return candidate
        except OSError:
            continue
    pytest.skip("no Python that other users of this machine can run, with torch and this checkout")


@pytest.fixture(scope="module")
def python(lab: Lab) -> Iterator[str]:
    """Two users in one group, known to accounting, and the Python that they run."""
    subprocess.run(["groupadd", "--force", GROUP], check=True)
    for user in (ADA, BOB):
        made = ["useradd", "--no-create-home", "--gid", GROUP, "--shell", "/usr/sbin/nologin", user]
        if subprocess.run(["id", user], check=False, capture_output=True).returncode:
            subprocess.run(made, check=True)
        lab.place.client("sacctmgr", "-i", "add", "user", user, f"account={ACCOUNT}", refused="passed over")
    try:
        yield interpreter()
    finally:
        for user in (ADA, BOB):
            slurm("scancel", f"--user={user}")
        until(lambda: not slurm("squeue", "--noheader", f"--user={ADA},{BOB}").strip())
        for user in (ADA, BOB):
            subprocess.run(["userdel", user], check=True)
        subprocess.run(["groupdel", GROUP], check=False, capture_output=True)  # it went with its last user


@pytest.fixture
def shared(python: str) -> Iterator[Shared]:
    """Where both can write, and pytest's own folders are closed to them."""
    folder = Path(tempfile.mkdtemp(prefix="pyconv-people-"))
    tiny.digits(folder)
    setup = f'[setup]\npython = "{python}"\n'
    (folder / "place.toml").write_text(PROFILE.format(more="") + setup)
    (folder / "held.toml").write_text(PROFILE.format(more="hold = true") + setup)
    for name in ("runs", "records"):
        (folder / name).mkdir()
        shutil.chown(folder / name, group=GROUP)
        (folder / name).chmod(0o2775)
    folder.chmod(0o755)
    yield Shared(folder, python)
    shutil.rmtree(folder)


def owners(ids: Sequence[str]) -> set[str]:
    return set(slurm("squeue", "--noheader", "--states=all", "--format=%u", f"--jobs={','.join(ids)}").split())


def test_a_row_is_submitted_once_seen_by_both_and_cancelled_by_its_owner(shared: Shared) -> None:
    _, first, _ = shared.pyconv(ADA, "submit")
    ids = [job["job_id"] for job in first["submission"]["jobs"]]
    assert owners(ids) == {ADA}
    code, second, _ = shared.pyconv(BOB, "submit")
    assert (code, second["submission"]) == (0, None)
    assert {job["job_id"] for job in second["not_submitted"]} == set(ids)
    seen = [shared.pyconv(user, "status")[1] for user in (ADA, BOB)]
    assert [[unit["job_id"] for unit in told["rows"][0]["units"]] for told in seen] == [ids, ids]
    code, refused, _ = shared.pyconv(BOB, "cancel")
    assert (code, refused["cancelled"]) == (1, [])
    (words,) = refused["refused"]
    assert words.startswith(f"{', '.join(ids)}, submitted by {ADA}@")
    assert "only their owner and its administrators" in words
    assert len(slurm("squeue", "--noheader", f"--user={ADA}").splitlines()) == 2  # they are still there
    code, done, _ = shared.pyconv(ADA, "cancel")
    assert (code, sorted(done["cancelled"])) == (0, sorted(ids))


def test_one_run_of_two_submitters_goes_on_under_the_other(shared: Shared) -> None:
    assert sorted(shared.both("submit")) == [0, 2]
    own = tiny.experiment(EPOCHS)
    folder = unit_folder(shared.folder / "runs", own, None)
    until(lambda: (told := traces.told(folder)) and told.done > 0.1)
    (life,) = traces.lives(folder)
    (owner,) = owners([life.job])
    slurm("scancel", f"--user={owner}")
    until(lambda: not slurm("squeue", "--noheader", f"--user={owner}").strip())
    other = ({ADA, BOB} - {owner}).pop()
    assert shared.jobs_of(shared.start(other, "-c", PROGRAM, str(shared.folder), "retry")) == 2
    until(lambda: list((shared.folder / "records").rglob("*.json")))
    first, second = traces.lives(folder)
    assert owners([second.job]) == {other}
    assert first.job != second.job
    until(lambda: not slurm("squeue", "--noheader", f"--user={other}").strip())
    assert len(list((shared.folder / "records").rglob("*.json"))) == 1
    assert shared.both("submit") == [0, 0]
