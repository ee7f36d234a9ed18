"""Choices of formulations shared by processes and by threads: measured once, never a file that cannot be read."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from pyconv import PYRAMIDS, PyConv
from pyconv.formulations import planner
from pyconv.formulations.choices import Choices
from pyconv.formulations.levels import Choice

MERGED = Choice("merged2", "merged2", "merged2")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYCONV_CACHE", str(tmp_path / "choices"))
    monkeypatch.delenv("PYCONV_FORMULATION")
    return tmp_path / "choices"


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_a_second_process_measures_nothing(folder: Path) -> None:
    code = """
import torch
from pyconv import PYRAMIDS, PyConv
from pyconv.formulations import planner
fastest, calls = planner.fastest, []
planner.fastest = lambda *given, **options: calls.append(1) or fastest(*given, **options)
torch.set_num_threads(1)
for train in (True, False):
    with torch.set_grad_enabled(train):
        PyConv(16, 64, PYRAMIDS[4])(torch.randn(2, 16, 6, 5))
print(len(calls))
"""
    counts, files = [], []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        counts.append(int(done.stdout))
        files.append(only_file(folder).read_bytes())
    assert counts == [8, 0]
    assert files[0] == files[1]
    assert len(json.loads(files[0])["choices"]) == 8


WRITER = """
import sys
from pathlib import Path
from pyconv.formulations.choices import Choices
from pyconv.formulations.levels import Choice
own = Choices(Path(sys.argv[1]), {})
for number in range(40):
    own.add(f"{sys.argv[2]} {number}", Choice("merged2"))
    assert own.get(f"{sys.argv[2]} {number}") == Choice("merged2")
"""


def test_writers_at_the_same_time_leave_a_file_that_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "choices.json"
    Choices(path, {}).add("first", MERGED)
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, path, name]) for name in "ab"]
    reads = 0
    while any(writer.poll() is None for writer in writers):
        read = json.loads(path.read_bytes())
        assert {"first"} <= read["choices"].keys()
        reads += 1
    assert [writer.wait() for writer in writers] == [0, 0]
    assert reads
    last = [Choices(path, {}).get(f"{name} 39") for name in "ab"]
    assert Choice("merged2") in last
    assert list(tmp_path.iterdir()) == [path]


def test_threads_of_one_process_may_choose_at_the_same_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner, "fastest", lambda _, __, call, train: MERGED if call.groups > 1 else Choice())  # noqa: ARG005
    made = PyConv(16, 64, PYRAMIDS[4], formulation="auto").eval().requires_grad_(False)
    images = [torch.randn(1, 16, side, side) for side in (2, 4, 8, 16)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(made, images * 4))
    for out, x in zip(found, images * 4, strict=True):
        torch.testing.assert_close(out, torch.cat([level(x) for level in made.levels], 1), rtol=0, atol=1e-5)
    assert len(json.loads(only_file(folder).read_bytes())["choices"]) == 4 * len(images)
