"""Jobs handed to SLURM through submitit: one sbatch call an array, from a clean environment, of snapshotted code."""

import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError

from slurm.environment import clean_environment
from slurm.profile import Profile, ProfileError
from slurm.submissions import SubmissionError

# A run is resumed after every time limit and every preemption, however often; only its own failure ends it.
MAX_REQUEUES = 1_000_000
# Until submitit has its handler in place the signal would end Python in its first second: there it is ignored.
_SHIELD = """sh -c 'trap "" USR2; exec "$0" "$@"'"""


class Executor(submitit.SlurmExecutor):
    """submitit's executor; its scripts can be written where SLURM is not installed."""

    @classmethod
    def affinity(cls) -> int:
        """Always usable: whether sbatch is there is asked, with better words, when something is submitted."""
        return 2


def submit_array(
    jobs: Sequence[Callable[[], object]],
    keywords: Mapping[str, Any],
    folder: Path,
    *,
    name: str,
    profile: Profile,
    snapshot_root: Path,
    dependency: str = "",
) -> str:
    """SLURM's id of `jobs`, submitted as one array (one job when there is only one). `name`: SLURM's job name.

    Logs, scripts and pickles go to `folder`. Raises SubmissionError with SLURM's own words when it refuses.
    """
    if shutil.which("sbatch") is None:
        raise SubmissionError("sbatch is not on PATH: submit from a login node of the cluster, or use `pyconv run`")
    executor = _executor(keywords, folder, name, profile, snapshot_root, dependency)
    try:
        with clean_environment(), executor.batch():  # one array of all, or one plain job
            sent = [executor.submit(job) for job in jobs]
    except (FailedJobError, FailedSubmissionError) as error:
        raise SubmissionError(f"sbatch refused {name}: {_words(error)}") from error
    return str(sent[0].job_id).partition("_")[0]


def script(
    members: int,
    keywords: Mapping[str, Any],
    folder: Path,
    *,
    name: str,
    profile: Profile,
    snapshot_root: Path,
    dependency: str = "",
) -> str:
    """The exact text that sbatch would get for an array of so many `members`."""
    executor = _executor(keywords, folder, name, profile, snapshot_root, dependency)
    if members > 1:
        executor.parameters["map_count"] = members
    return str(executor._make_submission_file_text(executor._submitit_command_str, ""))


def check(keywords: Mapping[str, Any], profile: Profile) -> None:
    """Raises ProfileError with submitit's words when it does not know one of the keywords."""
    _executor(keywords, Path(), "pyconv", profile, Path(), "")


def _executor(
    keywords: Mapping[str, Any], folder: Path, name: str, profile: Profile, snapshot_root: Path, dependency: str
) -> Executor:
    python = f"{_SHIELD} {profile.python or shlex.quote(sys.executable)}"
    executor = Executor(folder, max_num_timeout=MAX_REQUEUES, python=python)
    plain = {key.removeprefix("slurm_"): value for key, value in keywords.items()}
    # A dependent whose parent failed is ended, not left pending for ever; what is preempted may be requeued.
    own = dict(plain.pop("additional_parameters", {}))
    more = {"kill-on-invalid-dep": "yes"} | ({} if "no-requeue" in own else {"requeue": True}) | own
    setup = [*plain.pop("setup", []), *profile.setup, *_exports(snapshot_root, profile)]
    arguments = [*plain.pop("srun_args", []), *_srun_arguments(plain)]
    plain |= {"name": name, "setup": setup, "additional_parameters": more, "srun_args": arguments}
    if dependency:
        plain["dependency"] = dependency
    try:
        executor.update_parameters(**executor._convert_parameters(plain))
    except (NameError, AssertionError, ValueError, TypeError) as error:
        raise ProfileError(f"{profile.path}: [submitit] {error}") from error
    return executor


def _srun_arguments(keywords: Mapping[str, Any]) -> list[str]:
    """One rank's death ends the others, which would wait for it; since 22.05 srun is told the cores a rank has."""
    cores = keywords.get("cpus_per_task")
    return ["--kill-on-bad-exit=1", *([f"--cpus-per-task={cores}"] if cores else [])]


def _exports(snapshot_root: Path, profile: Profile) -> list[str]:
    """This very code whatever folder the job starts in, and each rank's share of the cores."""
    return [
        f"export PYTHONPATH={shlex.quote(str(snapshot_root))}${{PYTHONPATH:+:$PYTHONPATH}}",
        "export PYTHONSAFEPATH=1",
        f"export OMP_NUM_THREADS={profile.threads}",
    ]


def _words(error: Exception) -> str:
    """SLURM's own words in submitit's error: the lines of sbatch."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line.startswith(("sbatch:", "slurm"))]
    return "; ".join(told or lines[-1:])
