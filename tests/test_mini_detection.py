"""The mini scale of detection on the real signs: the paper's own networks, the same bits every time."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments import TABLES
from experiments.mini import mini_table
from pyconv.checkpoints import load_weights
from pyconv.data import coco, signs
from pyconv.models import build
from pyconv.tasks.coco import evaluate
from pyconv.train import Execution, Trained, train

CPU = Execution(device="cpu", threads=1, validate_every=0)
TABLE = mini_table(TABLES[8])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    signs.prepare(folder)
    return folder / "signs"


def few(root: Path, folder: Path) -> Path:
    """The first images of each split: a batch to train, two to test."""
    for split, number in (("train", 16), ("val", 2)):
        name = f"instances_{coco.FOLDERS[split]}.json"
        content = json.loads((root / "annotations" / name).read_text())
        whole = coco.read_coco(root, split)
        kept = [int(index) for index in whole.trainable[:number]]
        ids = set(whole.ids[kept].tolist())
        content["images"] = [image for image in content["images"] if image["id"] in ids]
        content["annotations"] = [one for one in content["annotations"] if one["image_id"] in ids]
        (folder / coco.FOLDERS[split]).mkdir(parents=True)
        (folder / "annotations").mkdir(exist_ok=True)
        (folder / "annotations" / name).write_text(json.dumps(content))
        for index in kept:
            copy = folder / coco.FOLDERS[split] / whole.path(index).name
            copy.write_bytes(whole.path(index).read_bytes())
    return folder


def trained(key: str, root: Path, folder: Path, epochs: int) -> Trained:
    """The first epochs of a row's training, from scratch."""
    experiment = TABLE.row(key).experiment
    assert experiment is not None
    recipe = replace(experiment.recipe, epochs=epochs, milestones=())
    return train(experiment.model, recipe, seed=0, data_root=root, run_dir=folder, execution=CPU)


def test_a_network_of_table8_gives_the_same_bits_every_time(root: Path, tmp_path: Path) -> None:
    data = few(root, tmp_path / "few")
    first, second = (trained("pyconvssd50", data, tmp_path / life, epochs=2) for life in ("one", "two"))
    assert first.sha256 == second.sha256
    losses = [epoch["train_loss"] for epoch in first.history]
    assert losses == [epoch["train_loss"] for epoch in second.history]
    assert np.isfinite(losses).all()


@pytest.mark.slow
def test_a_third_of_the_training_finds_more_than_chance(root: Path, tmp_path: Path) -> None:
    """From scratch, without the backbone on digits; an untrained network finds nothing at all."""
    experiment, protocol = TABLE.row("ssd50").experiment, TABLE.column("ap").protocol
    assert experiment is not None
    assert protocol is not None
    made = trained("ssd50", root, tmp_path, epochs=8)
    scores = []
    for weights in (None, load_weights(made.checkpoint)):
        model = build(experiment.model, seed=0)
        if weights is not None:
            model.load_state_dict(weights)
        scores.append(evaluate(model, data_root=root, crop=protocol.crop).metrics)
    untrained, learnt = ({name: value for name, (value, _, _) in one.items()} for one in scores)
    assert untrained["ap50"] < 0.1
    assert learnt["ap50"] > 0.5
    assert learnt["ar10"] > 3
