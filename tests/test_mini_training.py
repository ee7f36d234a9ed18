"""The mini scale on real digits: the paper's own networks learn, and give the same bits every time."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from experiments.mini import CLASSES, HELD_OUT, SPLIT, mini, mini_protocol
from experiments.protocols import CROP224
from experiments.table2_ablation import TABLE
from pyconv.checkpoints import load_weights
from pyconv.data import prepare
from pyconv.models import build
from pyconv.tasks import imagenet
from pyconv.train import Execution, Trained, train

ROWS = {row.key: row for row in TABLE.rows}
CPU = Execution(device="cpu", threads=1, validate_every=0)
CHANCE = 100 * (1 - 1 / CLASSES)


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


@pytest.mark.slow
@pytest.mark.parametrize("key", ["baseline", "final"])
def test_another_seed_learns_as_well(key: str, digits: Path, tmp_path: Path) -> None:
    """Less than half of the error of chance on held-out digits, whose standard error is at most 1.6 points.

    All eight rows with their own seed: the full demo's test.
    """
    trained = run(key, digits, tmp_path, seed=1)
    experiment = ROWS[key].experiment
    assert experiment is not None
    model = build(replace(experiment.model, num_classes=CLASSES))
    model.load_state_dict(load_weights(trained.checkpoint))
    protocol = mini_protocol(CROP224)
    torch.set_num_threads(1)
    evaluation = imagenet.evaluate(model, data_root=digits, crop=protocol.crop, resize=protocol.resize)
    error, images, _ = evaluation.metrics["top1_err"]
    assert images == HELD_OUT
    assert error < CHANCE / 2
    losses = [entry["train_loss"] for entry in trained.history]
    assert losses == sorted(losses, reverse=True)
