"""Queued jobs run the code that was submitted, and the record says which that was."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from slurm import snapshot


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with the four packages, one module each."""
    root = tmp_path / "checkout"
    for package in snapshot.PACKAGES:
        (root / package).mkdir(parents=True)
        (root / package / "__init__.py").write_text(f'"""{package}"""\n')
    (root / "pyconv" / "answer.py").write_text("ANSWER = 1\n")
    (root / "results" / "records").mkdir()
    (root / "results" / "records" / "evidence.json").write_text("{}")
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "-c", "user.name=t", "-c", "user.email=t@example.invalid", "commit", "-qm", "first")
    return root


def git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout


def answer(root: Path) -> str:
    code = "from pyconv.answer import ANSWER; print(ANSWER)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env={"PYTHONPATH": str(root)}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_an_edit_after_the_snapshot_does_not_reach_it(checkout: Path, tmp_path: Path) -> None:
    taken = snapshot.take(tmp_path / "runs", checkout)
    (checkout / "pyconv" / "answer.py").write_text("ANSWER = 2\n")
    assert answer(taken.root) == "1"
    assert answer(checkout) == "2"
    later = snapshot.take(tmp_path / "runs", checkout)
    assert later.id != taken.id
    assert answer(later.root) == "2"


def test_unchanged_code_has_one_snapshot_even_after_python_has_compiled_it(checkout: Path, tmp_path: Path) -> None:
    first = snapshot.take(tmp_path / "runs", checkout)
    answer(first.root)
    assert list(first.root.rglob("*.pyc"))
    assert snapshot.take(tmp_path / "runs", checkout) == first
    assert len(list((tmp_path / "runs" / "snapshots").iterdir())) == 1


def test_a_dirty_tree_is_recorded_with_its_difference(checkout: Path, tmp_path: Path) -> None:
    (checkout / "pyconv" / "answer.py").write_text("ANSWER = 2\n")
    (checkout / "slurm" / "new.py").write_text("NEW = 1\n")
    taken = snapshot.take(tmp_path / "runs", checkout)
    assert taken.code["commit"] == git(checkout, "rev-parse", "HEAD").strip()
    assert taken.code["dirty"] is True
    patch = (taken.root / "difference.patch").read_bytes()
    assert b"-ANSWER = 1\n+ANSWER = 2\n" in patch
    assert b"NEW = 1" in patch
    assert hashlib.sha256(patch).hexdigest() == taken.code["diff_sha256"]


def test_a_clean_tree_has_no_difference(checkout: Path, tmp_path: Path) -> None:
    taken = snapshot.take(tmp_path / "runs", checkout)
    assert taken.code == {"commit": git(checkout, "rev-parse", "HEAD").strip(), "dirty": False, "diff_sha256": None}
    assert not (taken.root / "difference.patch").exists()


def test_evidence_is_no_code(checkout: Path, tmp_path: Path) -> None:
    before = snapshot.take(tmp_path / "runs", checkout)
    (checkout / "results" / "records" / "evidence.json").write_text('{"more": 1}')
    assert snapshot.take(tmp_path / "runs", checkout).id == before.id
    assert not (before.root / "results" / "records").exists()


def test_an_edited_snapshot_is_recognised(checkout: Path, tmp_path: Path) -> None:
    taken = snapshot.take(tmp_path / "runs", checkout)
    (taken.root / "pyconv" / "answer.py").write_text("ANSWER = 3\n")
    with pytest.raises(snapshot.SnapshotError, match="edited since it was taken"):
        snapshot.take(tmp_path / "runs", checkout)


def test_a_file_that_cannot_be_copied_leaves_nothing_behind(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="snapshot of the code"):
        snapshot.take(tmp_path / "runs", checkout)


def test_it_holds_all_that_a_job_imports(tmp_path: Path) -> None:
    taken = snapshot.take(tmp_path)
    code = "import slurm.job, slurm.measure, pyconv.train, results.records, experiments; print(slurm.job.__file__)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={"PYTHONPATH": str(taken.root)},
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    assert done.stdout.startswith(str(taken.root))
    assert json.loads((taken.root / "snapshot.json").read_text())["id"] == taken.id
