"""From planned jobs to as few sbatch calls as there are distinct resources: arrays, and what each waits for.

A test waits for its own training only: element i of the tests for element i of the trainings (aftercorr). Jobs whose
parents do not line up like that wait for all of their own parents (afterok), in an array for each set of parents.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from slurm.plan import PlannedJob
from slurm.profile import Profile

AT_ONCE = "slurm_array_parallelism"  # submitit's keyword: jobs of an array that run at the same time


@dataclass(frozen=True)
class ArrayPlan:
    """One sbatch call. `corresponding`: index of the array whose element i must succeed before element i starts.

    `parents`: (index of an array, element) that must succeed before any starts; `live`: SLURM ids likewise. `after`,
    `after_live`: arrays that must have ended, however, before any starts: their GPUs are needed. `gpus`: of one job.
    """

    members: tuple[PlannedJob, ...]
    keywords: Mapping[str, Any]
    corresponding: int | None = None
    parents: tuple[tuple[int, int], ...] = ()
    live: tuple[str, ...] = ()
    after: tuple[int, ...] = ()
    after_live: tuple[str, ...] = ()
    gpus: int = 0

    def dependency(self, arrays: Sequence["ArrayPlan"], ids: Sequence[str]) -> str:
        """sbatch's `--dependency`, once the arrays before this one have the SLURM ids `ids`; "" for none."""
        parents = [element_id(ids[array], len(arrays[array].members), element) for array, element in self.parents]
        waits = {
            "aftercorr": [] if self.corresponding is None else [ids[self.corresponding]],
            "afterok": [*parents, *self.live],
            "afterany": [*(ids[array] for array in self.after), *self.after_live],
        }
        return ",".join(f"{kind}:{':'.join(those)}" for kind, those in waits.items() if those)


def element_id(job_id: str, members: int, index: int) -> str:
    """SLURM's id of one member: an array of one is a plain job."""
    return job_id if members == 1 else f"{job_id}_{index}"


def arrays(
    jobs: Sequence[PlannedJob], profile: Profile, changes: Mapping[str, Mapping[str, Any]] | None = None
) -> list[ArrayPlan]:
    """The sbatch calls for those of `jobs` that run, parents before what waits for them.

    `jobs` is a plan's: in an order that works, with the running ones, whose ids their dependents wait for. `changes`:
    keywords of single jobs, by key, beside the profile's.
    """
    running = {job.key: job.job_id for job in jobs if job.action == "running" and job.job_id}
    layout, special = _Layout(profile, running), changes or {}
    wanted = [job for job in jobs if job.action == "run"]
    depth = _depths(wanted)
    tests = _tests(wanted)
    groups: dict[tuple[Any, ...], list[PlannedJob]] = defaultdict(list)
    for job in sorted(wanted, key=lambda job: (depth[job.key], -tests[job.key])):  # stable: the plan's order otherwise
        changed = json.dumps(dict(special.get(job.key, {})), sort_keys=True)
        groups[(depth[job.key], job.kind, changed)].append(job)
    for (_, kind, changed), members in groups.items():
        layout.add(profile.keywords(kind) | json.loads(changed), members, profile.gpus_of(kind))
    return layout.arrays


def _depths(jobs: Iterable[PlannedJob]) -> dict[str, int]:
    """How many arrays have to end before each job, at most."""
    depth: dict[str, int] = {}
    for job in jobs:
        depth[job.key] = max((1 + depth[need] for need in job.needs if need in depth), default=0)
    return depth


def _tests(jobs: Iterable[PlannedJob]) -> dict[str, int]:
    """How many jobs wait for each: those with the most first, so that what waits lines up from element 0 on."""
    waiting: dict[str, int] = defaultdict(int)
    for job in jobs:
        for need in job.needs:
            waiting[need] += 1
    return waiting


class _Layout:
    """The arrays so far, and where each job stands in them."""

    def __init__(self, profile: Profile, running: Mapping[str, str]) -> None:
        self.profile, self.running = profile, running
        self.arrays: list[ArrayPlan] = []
        self.place: dict[str, tuple[int, int]] = {}

    def add(self, keywords: Mapping[str, Any], jobs: Sequence[PlannedJob], gpus: int) -> None:
        """Arrays for jobs of the same resources and depth."""
        for parent, line in self._lines(jobs):
            self._append(keywords, line, corresponding=parent, gpus=gpus)
        rest: dict[tuple[Any, ...], list[PlannedJob]] = defaultdict(list)
        for job in jobs:
            if job.key not in self.place:
                rest[self._waits(job)].append(job)
        for (parents, live), members in rest.items():
            for start in range(0, len(members), self.profile.array):
                part = members[start : start + self.profile.array]
                self._append(keywords, part, parents=parents, live=live, gpus=gpus)

    def _lines(self, jobs: Sequence[PlannedJob]) -> Iterator[tuple[int, list[PlannedJob]]]:
        """(array, jobs whose only parents are its elements 0, 1, ... in that order), as long as there are such."""
        children: dict[int, dict[int, list[PlannedJob]]] = defaultdict(lambda: defaultdict(list))
        for job in jobs:
            if len(job.needs) == 1 and job.needs[0] in self.place:
                array, element = self.place[job.needs[0]]
                children[array][element].append(job)
        for array, waiting in children.items():
            while len(line := _next_line(waiting)) > 1:  # an array of one has no elements to correspond
                yield array, line

    def _waits(self, job: PlannedJob) -> tuple[tuple[tuple[int, int], ...], tuple[str, ...]]:
        parents = tuple(self.place[need] for need in job.needs if need in self.place)
        return parents, tuple(self.running[need] for need in job.needs if need in self.running)

    def _append(self, keywords: Mapping[str, Any], members: Sequence[PlannedJob], **more: Any) -> None:
        if members:
            for element, job in enumerate(members):
                self.place[job.key] = len(self.arrays), element
            self.arrays.append(ArrayPlan(tuple(members), keywords, **more))


def _next_line(waiting: Mapping[int, list[PlannedJob]]) -> list[PlannedJob]:
    """The next child of element 0, of element 1, ... up to the first element that has none left."""
    line: list[PlannedJob] = []
    for element in count():
        if not waiting.get(element):
            return line
        line.append(waiting[element].pop(0))
    raise AssertionError("count() does not end")
