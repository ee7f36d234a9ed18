"""What costs seconds and is brought up once: the disposable cluster, healed after each test, and the browser."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import launched
from hypothesis import settings

from slurm.lab import Lab
from slurm.lab.daemons import wait
from slurm.lab.ports import free_ports

# How long an example takes says nothing of the code on a machine that does other things too.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def formulations_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """PyConv is its definition to the bit unless a test asks otherwise, and nobody's choices are read or written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYCONV_FORMULATION", "reference")
        patch.setenv("PYCONV_CACHE", str(tmp_path_factory.mktemp("choices")))
        yield


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Four nodes, on ports of their own; clients in this process and its children talk to it.

    Where other users of the machine can reach it: pytest's own folders are closed to them.
    """
    folder = Path(tempfile.mkdtemp(prefix="pyconv-lab-"))
    folder.chmod(0o755)
    cluster = Lab(folder, port=free_ports())
    cluster.install()
    before = os.environ.get("SLURM_CONF")
    try:
        cluster.up()
        os.environ.update(cluster.environment())
        yield cluster
    finally:
        cluster.down()
        if before is None:
            os.environ.pop("SLURM_CONF", None)
        else:
            os.environ["SLURM_CONF"] = before


@pytest.fixture
def healthy_lab(lab: Lab) -> Iterator[Lab]:
    """The lab, idle before and healed after: no jobs, every node and the controller in service."""
    yield lab
    lab.start_controller()
    for number in range(1, lab.nodes + 1):
        lab.start_node(number)
    wait(lambda: _cancelled(lab), 60, "the jobs of a test did not end")


def _cancelled(lab: Lab) -> bool:
    environment = os.environ | lab.environment()
    subprocess.run(["scancel", "--user", str(os.getuid())], env=environment, check=False, capture_output=True)
    queue = subprocess.run(["squeue", "--noheader"], env=environment, check=True, capture_output=True, text=True)
    return not queue.stdout.strip() and set(lab.states().values()) == {"idle"}


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """One headless Chromium for all tests that look at pages."""
    with launched() as browser:
        yield browser
