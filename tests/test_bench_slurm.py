"""The benchmark of plan, submit and status, small, on a cluster of its own that keeps no accounts."""

import pytest

from slurm import bench_slurm

pytestmark = pytest.mark.cluster


def test_each_verb_is_timed_for_all_jobs_without_accounting_too() -> None:
    timings = bench_slurm.bench(seeds=2, accounting=False)
    assert [timing.verb for timing in timings] == ["plan", "submit", "submit again", "status"]
    assert {timing.jobs for timing in timings} == {2 * 8 * 2}  # two seeds of eight rows: a training and a test each
    assert all(timing.seconds > 0 and timing.slurm > 0 for timing in timings)
    print(bench_slurm.text(timings))
