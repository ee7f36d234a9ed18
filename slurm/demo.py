"""The first five minutes: every count of the paper, eight small trainings, and all tables as they stand.

Everything it makes is below one folder; the checkout stays as it was. What a first call has recorded a second one
does not run again.
"""

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from experiments import TABLES, tables
from experiments.columns import PAPER_CONVENTION
from experiments.mini import mini_table
from experiments.spec import Row, Table
from results.counts import record_counts
from results.evidence import Evidence
from results.files import write_over
from results.records import default_root
from results.report import write_reports
from results.verification import Cell, Verification
from results.verify import verify
from slurm import submit
from slurm.console import Progress, note
from slurm.job import Job
from slurm.profile import Profile, data_roots
from slurm.selection import protocols, works

TABLE = 2
MARKER = ".pyconv-demo"
KEYS = ("network", "params_published", "params", "gflops_published", "gflops", "verdict", "top1_err")
HEADER = ("network", "params M: paper", "counted", "GFLOPs: paper", "counted", "verdict", "top-1 error on digits")


class NotOursError(ValueError):
    """The output folder holds something that no demo made."""


@dataclass(frozen=True)
class Demo:
    """What a demo has to show. `lines`: under HEADER. `failed`: names of the trainings that left no record."""

    output: Path
    verification: Verification
    lines: list[list[str]]
    failed: tuple[str, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Every count is right and every training is recorded."""
        return self.verification.ok and not self.failed

    @property
    def page(self) -> Path:
        """What to open first."""
        return self.output / "index.html"


def demo(output: Path, profile: Profile, *, fresh: bool = False, table: Table | None = None) -> Demo:
    """Count, train, render into `output`. Raises NotOursError before touching a folder that is not a demo's.

    `table`: of mini experiments, by default Table 2's.
    """
    started, small = time.monotonic(), table or mini_table(TABLES[TABLE])
    records = prepare(output, fresh)
    note("1 of 3  Every parameter and FLOP count of the paper, counted now and held against the printed number")
    verification = count(records, small)
    note(f"        {verification.headline()}")
    note(f"2 of 3  The {len(small.rows)} networks of Table {small.number}, trained and tested on real images, small")
    failed = train(small, records, output / "runs", profile)
    note("3 of 3  The ten tables of the paper as they stand, and the mini table")
    evidence = Evidence.load(records)
    render(output, small, evidence, verification)
    return Demo(output, verification, compact(small, evidence, verification), failed, time.monotonic() - started)


def prepare(output: Path, fresh: bool) -> Path:
    """The demo's own folder of records, with the committed counts in it."""
    if output.exists() and any(output.iterdir()):
        if not (output / MARKER).exists():
            raise NotOursError(f"{output} holds files that no demo made: name another folder with --output")
        if fresh:
            shutil.rmtree(output)
    output.mkdir(parents=True, exist_ok=True)
    (output / MARKER).touch()
    records = output / "records"
    for source in sorted((default_root() / "counts").glob("*.json")):
        copy = records / "counts" / source.name
        if not copy.exists():
            write_over(copy, source.read_text(encoding="utf-8"))
    return records


def count(records: Path, small: Table) -> Verification:
    """All tables verified, the mini table's networks counted too."""
    with Progress("Counting", 1) as progress:
        verification = verify(tables(), Evidence.load(records), progress=progress.reached)
    record_counts([small], records)
    return verification


def train(small: Table, records: Path, runs: Path, profile: Profile) -> tuple[str, ...]:
    """Every row of `small` that is not recorded; the names of those that failed."""
    todo, skipped = works([(small, row) for row in small.rows], Evidence.load(records), runs)
    if skipped:
        note(f"        {len(skipped)} recorded by an earlier demo (--fresh runs them again)")
    roots, threads = data_roots(profile, {}), profile.threads
    places = (records.absolute(), runs.absolute(), roots)
    jobs = {w.targets[0]: Job(w.experiment, w.protocols, *places, threads=threads, mini=True) for w in todo}
    with Progress("Training", len(jobs)) as progress:
        outcomes = submit.run(jobs, profile, progress=progress) if jobs else []
    return tuple(outcome.name for outcome in outcomes if not outcome.ok)


def render(output: Path, small: Table, evidence: Evidence, verification: Verification) -> None:
    """All pages, and what the verification found."""
    write_reports([*tables(), small], evidence, output)
    write_over(output / "verify.md", verification.to_summary())
    write_over(output / "verify.json", json.dumps(verification.to_json(), indent=1) + "\n")


def compact(small: Table, evidence: Evidence, verification: Verification) -> list[list[str]]:
    """A line a row, under HEADER: the paper's counts, ours, and what the small training came to."""
    lines = []
    for row in small.rows:
        own = [
            c for c in verification.cells if (c.table, c.row, c.group) == (f"table{small.number}", row.key, row.group)
        ]
        params = next(cell for cell in own if cell.metric == "params")
        flops = next(cell for cell in own if cell.convention == PAPER_CONVENTION)
        wrong = [cell.verdict for cell in (params, flops) if cell.verdict != "MATCH"]
        numbers = [*_printed_and_counted(params, 1e6), *_printed_and_counted(flops, 1e9)]
        lines.append([row.label, *numbers, wrong[0] if wrong else "MATCH", _error(small, row, evidence)])
    return lines


def _printed_and_counted(cell: Cell, scale: float) -> list[str]:
    printed = "?" if cell.published is None else f"{cell.published:.2f}"
    return [printed, "-" if cell.measured is None else f"{cell.measured / scale:.2f}"]


def _error(small: Table, row: Row, evidence: Evidence) -> str:
    for protocol in protocols(small, row):
        if row.experiment is not None and (record := evidence.measurement(row.experiment, protocol)) is not None:
            return f"{record.metrics['top1_err'].value:.1f} %"
    return "failed"
