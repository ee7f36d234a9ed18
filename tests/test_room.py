"""However jobs overlap, never more GPUs at once than the limit; and nothing waits that would have fitted.

The arrays are run by a simulation of SLURM's rules, which knows nothing of waves: it reads the throttles and the
dependencies that sbatch would get, starts whatever it may, and ends jobs in any order.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_arrays import measuring, training

from slurm.arrays import AT_ONCE, ArrayPlan, arrays, element_id
from slurm.live import Known
from slurm.plan import PlannedJob
from slurm.profile import Profile
from slurm.queue import Answer, Seen
from slurm.room import within
from slurm.submissions import Member, Place, Sent, Submission

JOB = training(0)


def place(limit: int | None, train: int = 8, test: int = 1, **changes: object) -> Profile:
    words = {"timeout_min": 60, "gpus_per_node": train}
    whole = Profile("c", Path("c.toml"), executor="slurm", submitit=words, test={"gpus_per_node": test}, gpus=limit)
    return replace(whole, **changes)  # type: ignore[arg-type]


def layout_of(jobs: list[PlannedJob], profile: Profile, held: Mapping[str, int] | None = None) -> list[ArrayPlan]:
    return within(arrays(jobs, profile), profile.gpus, held or {})


def table(rows: int) -> list[PlannedJob]:
    trainings = [training(seed) for seed in range(rows)]
    return [*trainings, *(measuring(parent) for parent in trainings)]


@dataclass
class Cluster:
    """SLURM's rules for what was submitted: `aftercorr` element by element, `afterok` success, `afterany` any end."""

    layout: list[ArrayPlan]
    live: Mapping[str, int]  # arrays that run already: id -> GPUs, each one job
    moments: random.Random
    ended: dict[str, bool] = field(default_factory=dict)  # id -> whether it succeeded
    running: dict[str, int] = field(default_factory=dict)
    most: int = 0

    def __post_init__(self) -> None:
        self.ids = [str(100 + number) for number in range(len(self.layout))]
        self.running |= self.live
        self.elements = {
            element_id(self.ids[number], len(array.members), index): (number, index)
            for number, array in enumerate(self.layout)
            for index in range(len(array.members))
        }

    def run(self) -> None:
        while True:
            self._start()
            self.most = max(self.most, sum(self.running.values()))
            if not self.running:
                return
            over = self.moments.choice(sorted(self.running))
            del self.running[over]
            self.ended[over] = self.moments.random() < 0.8

    def _start(self) -> None:
        for job, (number, index) in self.elements.items():
            array = self.layout[number]
            throttle = array.keywords.get(AT_ONCE, len(array.members))
            beside = sum(self.elements[other][0] == number for other in self.running if other in self.elements)
            if job not in self.ended and job not in self.running and beside < throttle:
                verdicts = [self._met(part, index) for part in filter(None, self._waits(number))]
                if "never" in verdicts:
                    self.ended[job] = False  # kill-on-invalid-dep
                elif all(verdict == "yes" for verdict in verdicts):
                    self.running[job] = array.gpus

    def _waits(self, number: int) -> list[str]:
        return self.layout[number].dependency(self.layout, self.ids[:number]).split(",")

    def _met(self, part: str, index: int) -> str:
        kind, *ids = part.split(":")
        if kind == "aftercorr":
            ids = [f"{ids[0]}_{index}"]
        jobs = [job for own in ids for job in self._jobs(own)]
        if kind != "afterany" and any(self.ended.get(job) is False for job in jobs):
            return "never"
        return "yes" if all(job in self.ended for job in jobs) else "no"

    def _jobs(self, own: str) -> list[str]:
        known = [*self.elements, *self.live]
        return [job for job in known if job == own or job.partition("_")[0] == own]


@st.composite
def plans(draw: st.DrawFn) -> list[PlannedJob]:
    """Backbones, networks that start from one, tests of either."""
    jobs = [training(seed) for seed in range(draw(st.integers(1, 7)))]
    for seed in range(100, 100 + draw(st.integers(0, 5))):
        jobs.append(training(seed, needs=(draw(st.sampled_from(jobs)).key,)))
    return [*jobs, *(measuring(job) for job in jobs if draw(st.booleans()))]


@given(
    plans(),
    st.integers(8, 70),
    st.integers(0, 8),
    st.integers(1, 5),
    st.dictionaries(st.sampled_from(["7", "8_1", "9"]), st.integers(1, 40)),
    st.integers(0, 9),
)
def test_never_more_than_the_limit_and_everything_ends(
    jobs: list[PlannedJob], limit: int, test: int, longest: int, held: dict[str, int], seed: int
) -> None:
    layout = layout_of(jobs, place(limit, test=test, array=longest), held)
    cluster = Cluster(layout, held, random.Random(seed))
    cluster.run()
    assert cluster.most <= max(limit, sum(held.values()))  # what was live before is nothing that waiting could change
    assert set(cluster.elements) <= set(cluster.ended)  # nobody waits for ever
    assert sum(len(array.members) for array in layout) == len(jobs)


@given(plans(), st.integers(1, 5))
def test_what_fits_altogether_is_neither_throttled_nor_waits(jobs: list[PlannedJob], longest: int) -> None:
    all_of_them = sum(8 if job.kind == "train" else 1 for job in jobs)
    layout = layout_of(jobs, place(all_of_them, array=longest))
    assert all(array.keywords[AT_ONCE] == len(array.members) for array in layout)
    assert "afterany" not in "".join(array.dependency(layout, ["17"] * len(layout)) for array in layout)


def test_without_a_limit_nothing_is_changed() -> None:
    assert layout_of(table(8), place(None)) == arrays(table(8), place(None))


@pytest.mark.parametrize(
    ("limit", "trainings", "tests", "dependency"),
    [
        (32, 4, 8, "aftercorr:17,afterany:17"),  # the limit is used up by four trainings: their tests come after all
        (33, 4, 1, "aftercorr:17"),  # one is left for tests meanwhile
        (36, 4, 4, "aftercorr:17"),
        (72, 8, 8, "aftercorr:17"),
        (8, 1, 8, "aftercorr:17,afterany:17"),
    ],
)
def test_a_table_of_eight_rows(limit: int, trainings: int, tests: int, dependency: str) -> None:
    layout = layout_of(table(8), place(limit))
    assert [array.keywords[AT_ONCE] for array in layout] == [trainings, tests]
    assert layout[1].dependency(layout, ["17"]) == dependency


def test_what_is_live_is_counted_and_waited_for_where_nothing_is_left() -> None:
    beside = layout_of([training(seed) for seed in range(8)], place(32), {"9": 8, "11": 8})
    assert [array.keywords[AT_ONCE] for array in beside] == [2]
    assert beside[0].dependency(beside, []) == ""
    behind = layout_of([training(seed) for seed in range(8)], place(32), {"9": 24, "11": 8})
    assert [array.keywords[AT_ONCE] for array in behind] == [4]
    assert behind[0].dependency(behind, []) == "afterany:9:11"


def test_arrays_of_one_depth_share_the_limit() -> None:
    """Two sorts of trainings, as `retry` makes them where a node is left out: before, each had the limit for itself."""
    jobs = [training(seed) for seed in range(6)]
    changes = {job.key: {"slurm_exclude": "node3"} for job in jobs[:3]}
    layout = within(arrays(jobs, place(32), changes), 32, {})
    assert [(len(array.members), array.keywords[AT_ONCE]) for array in layout] == [(3, 3), (3, 1)]
    assert [array.dependency(layout, ["17"]) for array in layout] == ["", ""]


def test_jobs_without_gpus_wait_for_none() -> None:
    layout = layout_of(table(8), place(8, test=0))
    assert layout[1].dependency(layout, ["17"]) == "aftercorr:17"


@pytest.mark.parametrize(("live", "throttle", "gpus"), [(3, None, 24), (3, 2, 16), (1, 2, 8), (0, 2, 0)])
def test_what_live_jobs_hold(live: int, throttle: int | None, gpus: int) -> None:
    members = tuple(Member(f"{seed}/train", "train", "n", "f", seed, (), Path()) for seed in range(4))
    keywords = {} if throttle is None else {AT_ONCE: throttle}
    array = Sent("pyconv-x-0", members, keywords, job_id="17", gpus=8)
    submission = Submission(Path("s"), (array,), "c", "abc", by="me", time=0)
    places = {member.key: [Place(submission, array, index)] for index, member in enumerate(members)}
    states = {f"17_{index}": "RUNNING" if index < live else "COMPLETED" for index in range(4)}
    seen = {job: Seen(job, array.name, state) for job, state in states.items()}
    assert sum(Known(places, Answer(seen)).held().values()) == gpus
