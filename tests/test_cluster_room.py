"""`limits.gpus` on the real SLURM: arrays that could run at the same time never hold more GPUs together."""

import time
from functools import partial
from pathlib import Path

import pytest
import tiny
from sites import make_site, slurm, until

from slurm import send
from slurm.arrays import AT_ONCE

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("healthy_lab")]

LIMIT = 3  # GPUs; a training takes two, a test one
SECTIONS = f"[test]\ngpus_per_node = 1\n[limits]\ngpus = {LIMIT}\n"


def gpus_in_use() -> int:
    """Of running jobs, as SLURM counts them."""
    shown = slurm("squeue", "--noheader", "--array", "--states=RUNNING", "--Format=tres-alloc:200").splitlines()
    return sum(int(word.partition("gres/gpu=")[2]) for line in shown for word in line.split(",") if "gres/gpu=" in word)


def test_two_submissions_with_trainings_and_tests_stay_within_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(send, "job_of", lambda *_: partial(time.sleep, 1.0))  # when they run is the question, not what
    site = make_site(tmp_path, tmp_path, sections=SECTIONS, gpus_per_node=2)
    first, second = ([tiny.experiment(seed=seed) for seed in seeds] for seeds in ((0, 1), (2, 3)))
    sent = [site.submit(*first).submission, site.submit(*second).submission]
    arrays = [array for submission in sent if submission is not None for array in submission.arrays]
    # A training, and a test beside it; the second submission after all of the first: there is no room for a training.
    assert [array.keywords[AT_ONCE] for array in arrays] == [1, 1, 1, 1]
    assert [array.for_room for array in arrays] == [False, False, True, True]
    until(lambda: "limits.gpus" in site.training(second[0]).why)  # once SLURM has looked at what it waits for
    most: set[int] = set()

    def all_ended() -> bool:
        most.add(gpus_in_use())
        return not slurm("squeue", "--noheader").strip()

    until(all_ended, every=0.05)
    print(f"GPUs in use: {sorted(most)}")
    assert max(most) == LIMIT
    ids = ",".join(str(array.job_id) for array in arrays)
    ended = slurm("squeue", "--noheader", "--array", "--states=all", "--format=%T", f"--jobs={ids}")
    assert ended.split() == ["COMPLETED"] * 8
