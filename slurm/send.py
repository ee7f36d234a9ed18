"""Submit what a plan says is missing: one submitter at a time, arrays with dependencies, everything written down.

Between the question what is live and the answer of sbatch nobody else submits for the same runs folder, so two people
who submit the same table at the same moment leave one job for each experiment and seed.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from experiments.spec import family
from slurm import snapshot, submissions, traces
from slurm.arrays import ArrayPlan, arrays
from slurm.job import Job, unit_folder
from slurm.live import Known, look
from slurm.plan import PlannedJob
from slurm.profile import Profile
from slurm.room import within
from slurm.submissions import Member, Place, Sent, Submission, SubmissionError


@dataclass(frozen=True)
class Order:
    """Where and how: what every job of a submission has in common. `data`: name -> folder."""

    profile: Profile
    records: Path
    runs: Path
    data: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Wanted:
    """A plan's jobs, in its order. `changes`: submitit keywords of single jobs (by key) beside the profile's."""

    jobs: Sequence[PlannedJob]
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """`submission`: None when there was nothing to submit. `jobs`: the plan it came from, failed ones taken out."""

    submission: Submission | None
    jobs: tuple[PlannedJob, ...]


def send(
    order: Order,
    plan: Callable[[Known], "Wanted"],
    *,
    own_errors: Literal["skip", "again"] = "skip",
) -> Outcome:
    """Submit the jobs of `plan` that run; `plan` is asked with what is live at that moment.

    `own_errors`: of jobs that failed by themselves in this very code. Raises SubmissionError when SLURM does not
    say what is live or refuses, OSError when the disk does; what was accepted before is written down and told.
    """
    check_writable(order.records)
    with submissions.alone(order.runs):
        known = look(order.runs)
        if known.answer.silence:
            raise SubmissionError(
                f"{known.answer.silence}; which jobs are live is not known, none may run twice: nothing was submitted"
            )
        code = snapshot.take(order.runs)
        wanted = plan(known)
        jobs = tuple(without_failed(wanted.jobs, known, code.id) if own_errors == "skip" else wanted.jobs)
        layout = within(arrays(jobs, order.profile, wanted.changes), order.profile.gpus, known.held())
        return Outcome(_hand_over(order, layout, code) if layout else None, jobs)


def check_writable(folder: Path) -> None:
    """Raises OSError naming `folder` when nothing can be written there: better now than after days of training."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}; nothing was submitted", str(folder)) from error


def without_failed(jobs: Sequence[PlannedJob], known: Known, code: str) -> Sequence[PlannedJob]:
    """The jobs with those blocked that failed by an error of their own in this very code, and what waits for them."""
    blocked: set[str] = set()
    result = []
    for job in jobs:
        if job.action == "run" and (error := _own_error(known.last(job.key), code)):
            reason = f"failed with this very code ({error}); see `pyconv logs --failed`"
            job = replace(job, action="blocked", reason=reason)
        elif job.action == "run" and blocked & set(job.needs):
            job = replace(job, action="blocked", reason="waits for a training that failed with this very code")
        if job.action == "blocked":
            blocked.add(job.key)
        result.append(job)
    return result


def _own_error(place: Place | None, code: str) -> str:
    """The error by which the job at `place` failed by itself in the snapshot `code`; "" when it did not."""
    failed = traces.failed(place.member.folder) if place is not None else None
    if failed is None or place is None or failed.kind not in ("own", "diverged"):
        return ""
    return failed.error if (failed.job, failed.snapshot) == (place.job_id, code) else ""


def job_of(order: Order, planned: PlannedJob, code: snapshot.Snapshot) -> Job:
    """What runs on the node."""
    return Job(
        planned.experiment,
        () if planned.protocol is None else (planned.protocol,),
        records=order.records.absolute(),
        runs=order.runs.absolute(),
        data=order.data,
        threads=order.profile.threads,
        workers=order.profile.workers,
        micro_batch=order.profile.micro_batch,
        mini=planned.mini,
        part=planned.kind,
        snapshot=code.id,
        code=code.code,
    )


def _hand_over(order: Order, layout: Sequence[ArrayPlan], code: snapshot.Snapshot) -> Submission:
    """Write the intent, then array by array: sbatch, and its id."""
    folder = submissions.new_folder(order.runs)
    sent = tuple(
        Sent(
            submissions.array_name(folder, number),
            tuple(_member(order, job) for job in array.members),
            array.keywords,
            gpus=array.gpus,
            for_room=bool(array.after or array.after_live),
        )
        for number, array in enumerate(layout)
    )
    submission = Submission(folder, sent, order.profile.name, code.id)
    try:
        submissions.begin(submission)
    except OSError as error:
        raise SubmissionError(f"{error}; {_so_far([], layout)}") from error
    ids: list[str] = []
    waits: list[str] = []
    for number, array in enumerate(layout):
        waits.append(array.dependency(layout, ids))
        try:
            ids.append(_submit(order, submission, number, array, waits[-1], code))
            submissions.confirm(submission, number, ids[-1])
        except (SubmissionError, OSError) as error:
            raise SubmissionError(f"{error}; {_so_far(ids, layout)}") from error
    accepted = zip(sent, ids, waits, strict=True)
    return replace(submission, arrays=tuple(replace(a, job_id=i, dependency=wait) for a, i, wait in accepted))


def _submit(
    order: Order, submission: Submission, number: int, array: ArrayPlan, dependency: str, code: snapshot.Snapshot
) -> str:
    from slurm.cluster import submit_array  # submitit, which nobody needs before

    return submit_array(
        [job_of(order, planned, code) for planned in array.members],
        array.keywords,
        submission.jobs,
        name=submission.arrays[number].name,
        profile=order.profile,
        snapshot_root=code.root,
        dependency=dependency,
    )


def _member(order: Order, job: PlannedJob) -> Member:
    experiment = job.experiment
    folder = unit_folder(order.runs, experiment, job.protocol).absolute()
    return Member(job.key, job.kind, experiment.name, family(experiment), experiment.seed, job.rows, folder)


def _so_far(ids: Sequence[str], layout: Sequence[ArrayPlan]) -> str:
    """What SLURM had accepted before it refused."""
    if not ids:
        return "nothing was submitted"
    jobs = sum(len(array.members) for array in layout[: len(ids)])
    return f"submitted before: {jobs} jobs ({', '.join(ids)}), which stay; the same command submits the rest"
