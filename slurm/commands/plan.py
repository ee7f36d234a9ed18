"""`pyconv plan TARGET`: every job, why it would run or not, in what order, and what it costs. SLURM is not needed."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from tabulate import tabulate

from experiments.spec import fingerprint
from slurm import costs
from slurm.arrays import arrays, element_id
from slurm.commands import options
from slurm.console import note
from slurm.live import look
from slurm.plan import Plan, PlannedJob
from slurm.plan import plan as make_plan
from slurm.profile import Profile
from slurm.room import within
from slurm.selection import rows

HEADERS = ("", "job", "experiment", "seed", "rows", "action", "reason", "after", "GPUs", "hours", "GPU-h")
ID = "<id of array {}>"


@click.command()
@options.target(required=True)
@options.mini
@options.profile
@options.seeds
@click.option("--sbatch", "scripts", is_flag=True, help="Print the exact scripts that submit would hand to sbatch.")
@options.records
@options.runs
@options.as_json
def plan(
    target: str,
    mini: bool,
    profile: Profile,
    seeds: tuple[int, ...],
    scripts: bool,
    records: Path,
    runs: Path | None,
    as_json: bool,
) -> None:
    """What `submit` would do with TARGET: jobs, reasons, order, GPUs, hours, storage, cost, batches.

    Nothing is submitted. Times are estimates from the counted multiply-adds and `gpu.gmacs` of the profile.
    """
    folder = options.runs_folder(runs, profile)
    known = look(folder)
    if known.answer.silence:
        note(f"note: {known.answer.silence}: what is live is not known")
    lines = rows(options.selection(target, mini))
    made = make_plan(lines, options.evidence(records), folder, seeds=seeds, live=known.live(), mini=mini)
    if scripts:
        for text in sbatch(made, profile, folder, known.held()):
            click.echo(text)
    elif as_json:
        options.print_json(summary(made, profile))
    else:
        show(made, profile)


def show(made: Plan, profile: Profile) -> None:
    """The table on stdout; totals and what differs from the paper on stderr."""
    numbers = {job.key: number for number, job in enumerate(made.jobs, start=1)}
    click.echo(tabulate([_line(job, numbers, profile) for job in made.jobs], HEADERS, disable_numparse=True))
    for reason, count in Counter(skip.reason for skip in made.skipped).items():
        note(f"{count} rows: {reason}")
    total = costs.totals(made.jobs, profile)
    actions = ", ".join(f"{count} {action}" for action, count in Counter(job.action for job in made.jobs).items())
    note(f"{len(made.jobs)} jobs: {actions or 'none'}")
    if total.jobs:
        price = f", {total.cost:,.0f} at the profile's price" if total.cost is not None else ""
        spent = f"{total.gpu_hours:,.1f} GPU-hours{price}, {total.storage_gb:,.1f} GB"
        note(f"to run: {total.jobs} jobs, estimated at {spent}")
        if total.unknown:
            why = "gpu.gmacs is not in the profile" if not profile.gpu_gmacs else "not counted networks"
            note(f"{total.unknown} of them without an estimate ({why}): counted with one full time limit each")
    for words, count in _batch_notes(made, profile).items():
        note(f"NOTE {words} ({count} training{'s' if count > 1 else ''})")


def summary(made: Plan, profile: Profile) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "jobs": [_json(job, profile) for job in made.jobs],
        "skipped": [{"target": skip.target, "reason": skip.reason} for skip in made.skipped],
        "totals": asdict(costs.totals(made.jobs, profile)),
        "profile": profile.name,
    }


def sbatch(made: Plan, profile: Profile, runs: Path, held: Mapping[str, int]) -> list[str]:
    """The scripts, each under the line that says what it is; ids that SLURM has yet to give stand in <>.

    `held`: SLURM's id of a live array -> the most GPUs that it can hold.
    """
    from slurm.cluster import check, script  # submitit, which the table does not need

    layout = within(arrays(made.jobs, profile), profile.gpus, held)
    ids = [ID.format(number) for number in range(len(layout))]
    texts = []
    for number, array in enumerate(layout):
        check(array.keywords, profile)
        members = [
            f"#   {element_id(ids[number], len(array.members), i)}: {_what(m)}" for i, m in enumerate(array.members)
        ]
        text = script(
            len(array.members),
            array.keywords,
            runs / "submissions" / "<submission>" / "jobs",
            name=f"pyconv-<submission>-{number}",
            profile=profile,
            snapshot_root=runs / "snapshots" / "<snapshot>",
            dependency=array.dependency(layout, ids),
        )
        texts.append("\n".join([f"# array {number} of {len(layout)}", *members, text]))
    return texts


def _what(job: PlannedJob) -> str:
    test = f", test {job.protocol.key}" if job.protocol else ""
    return f"{job.kind} {job.experiment.name} seed {job.experiment.seed}{test}"


def _line(job: PlannedJob, numbers: dict[str, int], profile: Profile) -> tuple[str, ...]:
    cost = costs.cost(job, profile)
    what = job.kind if job.protocol is None else f"test {job.protocol.key}"
    more = f" +{len(job.rows) - 1}" if len(job.rows) > 1 else ""
    runs = job.action in ("run", "running")
    return (
        str(numbers[job.key]),
        what,
        job.experiment.name,
        str(job.experiment.seed),
        (job.rows[0] if job.rows else "") + more,
        job.action,
        job.reason,
        ", ".join(str(numbers[need]) for need in job.needs),
        (f"{cost.nodes}x{cost.gpus // cost.nodes}" if cost.nodes > 1 else str(cost.gpus)) if runs else "",
        _number(cost.hours) if runs else "",
        _number(cost.gpu_hours) if runs else "",
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def _json(job: PlannedJob, profile: Profile) -> dict[str, Any]:
    batch = asdict(costs.batch(job.experiment.recipe, profile)) if job.kind == "train" else None
    cost = costs.cost(job, profile)
    return {
        "kind": job.kind,
        "experiment": job.experiment.name,
        "fingerprint": fingerprint(job.experiment),
        "seed": job.experiment.seed,
        "protocol": job.protocol.key if job.protocol else None,
        "rows": list(job.rows),
        "action": job.action,
        "reason": job.reason,
        "needs": list(job.needs),
        "key": job.key,
        "job_id": job.job_id,
        **asdict(cost),
        "batch": batch,
    }


def _batch_notes(made: Plan, profile: Profile) -> dict[str, int]:
    """What differs from the paper's eight GPUs, and for how many trainings."""
    running = [job for job in made.jobs if job.kind == "train" and job.action == "run"]
    notes = (costs.batch(job.experiment.recipe, profile).note for job in running)
    return dict(Counter(text for text in notes if text))
