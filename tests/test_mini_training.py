"""The mini scale on real digits: the paper's own networks give the same bits every time.

That all of them learn is asked of the full demo, and with two seeds of the table that is submitted to the lab.
"""

import shutil
from pathlib import Path

import pytest

from experiments.mini import CLASSES, SPLIT, mini
from experiments.table2_ablation import TABLE
from pyconv.data import prepare
from pyconv.train import Execution, Trained, train

ROWS = {row.key: row for row in TABLE.rows}
CPU = Execution(device="cpu", threads=1, validate_every=0)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    prepare("digits", root)
    return root / "digits"


def run(key: str, data_root: Path, run_dir: Path, seed: int = 0) -> Trained:
    experiment = ROWS[key].experiment
    assert experiment is not None
    small = mini(experiment)
    return train(small.model, small.recipe, seed=seed, data_root=data_root, run_dir=run_dir, execution=CPU)


@pytest.mark.parametrize("key", ["5432", "final"])
def test_a_paper_network_gives_the_same_bits_every_time(key: str, digits: Path, tmp_path: Path) -> None:
    """Two steps at full width: two epochs of 20 digits."""
    for split, images in ((SPLIT, 2), ("val", 1)):
        for label in range(CLASSES):
            folder = tmp_path / "few" / split / str(label)
            folder.mkdir(parents=True)
            for path in sorted((digits / split / str(label)).iterdir())[:images]:
                shutil.copy(path, folder)
    first, second = (run(key, tmp_path / "few", tmp_path / life) for life in ("one", "two"))
    assert first.sha256 == second.sha256
    assert [e["train_loss"] for e in first.history] == [e["train_loss"] for e in second.history]
