"""As few sbatch calls as there are distinct resources, and nothing starts before what it needs."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from slurm.arrays import ArrayPlan, arrays, element_id
from slurm.plan import PlannedJob
from slurm.profile import Profile

PROFILE = Profile(
    "lab",
    Path("lab.toml"),
    executor="slurm",
    submitit={"timeout_min": 60, "nodes": 1, "gpus_per_node": 8, "tasks_per_node": 8},
    test={"gpus_per_node": 1, "tasks_per_node": 1},
)
LARGE = replace(tiny.CROP, key="crop24", crop=24, resize=24)


def training(seed: int, action: Any = "run", **changes: Any) -> PlannedJob:
    return replace(
        PlannedJob("train", tiny.experiment(seed=seed), None, (f"table2/r{seed}",), action, "not recorded"), **changes
    )


def measuring(parent: PlannedJob, protocol: Any = tiny.CROP, **changes: Any) -> PlannedJob:
    needs = (parent.key,) if parent.action in ("run", "running") else ()
    return replace(
        PlannedJob("test", parent.experiment, protocol, parent.rows, "run", "not recorded", needs), **changes
    )


def waits(layout: list[ArrayPlan]) -> dict[str, set[str]]:
    """For each member, the SLURM ids that sbatch would make it wait for, by hand from the dependency strings."""
    ids = [str(100 + number) for number in range(len(layout))]
    found = {}
    for array in layout:
        text = array.dependency(layout, ids)
        for element, job in enumerate(array.members):
            if text.startswith("aftercorr:"):
                found[job.key] = {f"{text.removeprefix('aftercorr:')}_{element}"}
            else:
                found[job.key] = set(filter(None, text.removeprefix("afterok:").split(":")))
    return found


def where(layout: list[ArrayPlan]) -> dict[str, str]:
    return {
        job.key: element_id(str(100 + number), len(array.members), element)
        for number, array in enumerate(layout)
        for element, job in enumerate(array.members)
    }


def test_a_table_is_two_sbatch_calls() -> None:
    trainings = [training(seed) for seed in range(8)]
    layout = arrays([*trainings, *(measuring(parent) for parent in trainings)], PROFILE)
    assert [len(array.members) for array in layout] == [8, 8]
    assert layout[0].dependency(layout, []) == ""
    assert layout[1].dependency(layout, ["17"]) == "aftercorr:17"
    assert (layout[0].keywords["gpus_per_node"], layout[1].keywords["gpus_per_node"]) == (8, 1)


def test_two_protocols_are_a_third_call() -> None:
    trainings = [training(seed) for seed in range(3)]
    tests = [measuring(parent, protocol) for parent in trainings for protocol in (tiny.CROP, LARGE)]
    layout = arrays([*trainings, *tests], PROFILE)
    assert [array.dependency(layout, ["17", "18", "19"]) for array in layout] == ["", "aftercorr:17", "aftercorr:17"]


def test_who_has_more_tests_stands_first_so_that_elements_correspond() -> None:
    trainings = [training(seed) for seed in range(3)]
    tests = [*(measuring(parent) for parent in trainings), measuring(trainings[2], LARGE)]
    layout = arrays([*trainings, *tests], PROFILE)
    assert layout[0].members[0] == trainings[2]
    assert [array.dependency(layout, ["17", "18", "19"]) for array in layout] == ["", "aftercorr:17", "afterok:17_0"]


def test_one_job_is_no_array() -> None:
    only = training(0)
    layout = arrays([only, measuring(only)], PROFILE)
    assert layout[1].dependency(layout, ["17"]) == "afterok:17"


def test_what_starts_from_a_running_job_waits_for_it() -> None:
    running = training(0, "running", job_id="9_4")
    layout = arrays([running, measuring(running)], PROFILE)
    assert [array.dependency(layout, []) for array in layout] == ["afterok:9_4"]


def test_weights_that_stand_are_not_waited_for() -> None:
    done = training(0, "recorded")
    layout = arrays([done, measuring(done)], PROFILE)
    assert [array.dependency(layout, []) for array in layout] == [""]


def test_arrays_are_no_longer_than_the_cluster_allows() -> None:
    layout = arrays([training(seed) for seed in range(10)], replace(PROFILE, array=4))
    assert [len(array.members) for array in layout] == [4, 4, 2]


def test_other_resources_are_another_array() -> None:
    jobs = [training(seed) for seed in range(3)]
    layout = arrays(jobs, PROFILE, {jobs[1].key: {"slurm_exclude": "node3"}})
    assert [len(array.members) for array in layout] == [2, 1]
    assert layout[1].keywords["slurm_exclude"] == "node3"
    assert "slurm_exclude" not in layout[0].keywords


@st.composite
def plans(draw: st.DrawFn) -> list[PlannedJob]:
    """Backbones, networks that start from some of them, and tests of either; some recorded, some running."""
    jobs: list[PlannedJob] = []
    backbones = []
    for seed in range(draw(st.integers(1, 6))):
        action = draw(st.sampled_from(["run", "run", "running", "recorded"]))
        backbones.append(training(seed, action, job_id=f"9_{seed}" if action == "running" else None))
    jobs += backbones
    for seed in range(100, 100 + draw(st.integers(0, 6))):
        parents = draw(st.lists(st.sampled_from(backbones), max_size=2, unique_by=lambda job: job.key))
        needs = tuple(job.key for job in parents if job.action != "recorded")
        jobs.append(training(seed, needs=needs))
    for parent in list(jobs):
        jobs += [
            measuring(parent, protocol) for protocol in draw(st.lists(st.sampled_from([tiny.CROP, LARGE]), unique=True))
        ]
    return jobs


@given(plans(), st.integers(1, 5))
def test_every_job_is_submitted_once_after_and_only_after_what_it_needs(jobs: list[PlannedJob], limit: int) -> None:
    layout = arrays(jobs, replace(PROFILE, array=limit))
    members = [job.key for array in layout for job in array.members]
    assert sorted(members) == sorted(job.key for job in jobs if job.action == "run")
    places = where(layout)
    running = {job.key: str(job.job_id) for job in jobs if job.action == "running"}
    waited = waits(layout)
    for job in jobs:
        if job.action == "run":
            assert waited[job.key] == {(places | running)[need] for need in job.needs}
    for number, array in enumerate(layout):  # sbatch can only be told of ids that it has given already
        told = array.dependency(layout, [str(100 + n) for n in range(number)])
        assert all(100 <= int(i) < 100 + number for i in re.findall(r"1\d\d", told))
        assert len(array.members) <= limit


@pytest.mark.parametrize("size", [1, 2, 8])
def test_elements_are_named_as_slurm_names_them(size: int) -> None:
    assert [element_id("17", size, index) for index in range(size)] == (
        ["17"] if size == 1 else [f"17_{index}" for index in range(size)]
    )
