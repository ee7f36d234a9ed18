"""One of two ranks is killed: SLURM ends the other, which could wait for ever, and the job can be tried again."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
from sites import make_site, until

from slurm import traces
from slurm.live import look

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("healthy_lab")]

SOON = 30.0  # seconds: srun notices at once, KillWait is 2


def ranks(runs: Path) -> dict[int, int]:
    """Rank -> pid, as this machine sees it, of the Python processes that work on a run below `runs`."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode().split("\0")
            variables = (process / "environ").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if Path(words[0]).name.startswith("python") and any(word.startswith(str(runs)) for word in words[1:]):
            found |= {int(v.partition("=")[2]): int(process.name) for v in variables if v.startswith("SLURM_PROCID=")}
    return found


def test_a_rank_that_cannot_notice_is_ended_with_the_one_that_was_killed(tmp_path: Path) -> None:
    site = make_site(tmp_path, tiny.digits(tmp_path), nodes=2)
    own = tiny.experiment(200)
    own = replace(own, recipe=replace(own.recipe, batch_norm_batch=5))  # of ten images: a micro-batch for each rank
    site.submit(own)
    until(lambda: (told := traces.told(site.traces(own))) and told.done > 0.1)
    pids = ranks(site.order.runs)
    assert sorted(pids) == [0, 1]
    os.kill(pids[0], signal.SIGSTOP)  # as one that hangs in a driver: it sees no lost connection and ends by no error
    os.kill(pids[1], signal.SIGKILL)
    began = time.monotonic()
    until(lambda: not ranks(site.order.runs), SOON)
    print(f"the other rank was ended after {time.monotonic() - began:.1f} s")
    state = until(lambda: (state := site.training(own)).state == "failed" and state)
    assert state.failure == "killed", state
    until(lambda: look(site.order.runs).live() == {})  # SLURM has ended its test, which waited for it
    assert [job.action for job in site.retry(own).jobs] == ["run", "run"]
    until(lambda: site.recorded(own))
    first, second = traces.lives(site.traces(own))
    assert (len(set(first.nodes)), len(set(second.nodes))) == (2, 2)
    evidence = site.evidence
    assert (len(evidence.records), evidence.problems) == (1, ())
    logs = [path.read_text() for path in site.order.runs.glob("submissions/*/jobs/*_log.out")]
    assert sum(line.startswith("recorded") for log in logs for line in log.splitlines()) == 1
