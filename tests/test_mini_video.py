"""The mini scale of video recognition on the real motions: the paper's own networks, and what they need time for."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from experiments import TABLES
from experiments.mini import mini_table
from pyconv.checkpoints import load_weights
from pyconv.data import motions
from pyconv.data.clip_sets import TestSet
from pyconv.data.imagenet import normalise
from pyconv.data.kinetics import read_kinetics
from pyconv.models import build
from pyconv.train import Execution, Trained, train

CPU = Execution(device="cpu", threads=1, validate_every=0)
TABLE = mini_table(TABLES[10])
ROW = TABLE.row("resnet3d50")
EXPERIMENT, PROTOCOL = ROW.experiment, TABLE.protocol(ROW, TABLE.column("top1_err"))
assert EXPERIMENT is not None
assert PROTOCOL is not None
BATCH = 4


def trained(key: str, root: Path, folder: Path, epochs: int, batch_size: int | None = None) -> Trained:
    """The first epochs of a row's training."""
    experiment = TABLE.row(key).experiment
    assert experiment is not None
    milestones = tuple(milestone for milestone in experiment.recipe.milestones if milestone < epochs)
    recipe = replace(experiment.recipe, epochs=epochs, milestones=milestones)
    if batch_size is not None:
        recipe = replace(recipe, batch_size=batch_size, batch_norm_batch=batch_size)
    return train(experiment.model, recipe, seed=0, data_root=root, run_dir=folder, execution=CPU)


def test_a_network_of_table10_gives_the_same_bits_every_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(motions, "VIDEOS", {"train": 1, "val": 1})
    motions.prepare(tmp_path)
    root = tmp_path / "motions"
    first, second = (trained("pyconvresnet3d50", root, tmp_path / life, 1, BATCH) for life in ("one", "two"))
    assert first.sha256 == second.sha256
    losses = [epoch["train_loss"] for epoch in first.history]
    assert losses == [epoch["train_loss"] for epoch in second.history]
    assert np.isfinite(losses).all()


def error_of(model: nn.Module, root: Path, order: list[int]) -> float:
    """Percent of the middle clips, their frames in `order`, whose class is wrong."""
    split = read_kinetics(root, "val")
    augment = EXPERIMENT.recipe.augment
    clips = TestSet(split, augment.frames, augment.frame_stride, PROTOCOL.resize, PROTOCOL.crop, (1, 1))
    with torch.inference_mode():
        logits = torch.cat([model.eval()(normalise(clips[index][0][:, :, order])) for index in range(len(clips))])
    return 100 * float(np.mean(logits.argmax(1).numpy() != split.labels))


@pytest.mark.slow
def test_a_narrow_network_learns_and_needs_the_order_of_the_frames(tmp_path: Path) -> None:
    """A quarter of ResNet3D-50's width, for time: right more often than by guessing, and lost when time runs backwards.

    A reversed clip is one of the other class of its pair: who does not see the order errs as often on both.
    """
    motions.prepare(tmp_path)
    root = tmp_path / "motions"
    stages = (replace(s, width=s.width // 4, out_channels=s.out_channels // 4) for s in EXPERIMENT.model.stages)
    network = replace(EXPERIMENT.model, stages=tuple(stages))
    recipe = replace(EXPERIMENT.recipe, epochs=10, lr=0.01, head_lr_factor=0.1, milestones=(10 / 3, 20 / 3, 80 / 9))
    made = train(network, recipe, seed=0, data_root=root, run_dir=tmp_path / "run", execution=CPU)
    model = build(network, seed=0)
    model.load_state_dict(load_weights(made.checkpoint))
    order = list(range(recipe.augment.frames))
    error, backwards = error_of(model, root, order), error_of(model, root, order[::-1])
    shuffled = [error_of(model, root, np.random.default_rng(seed).permutation(order).tolist()) for seed in range(4)]
    guessing = 1 - 1 / len(motions.CLASSES)
    deviation = 100 * (guessing * (1 - guessing) / (motions.VIDEOS["val"] * len(motions.CLASSES))) ** 0.5
    assert error < 100 * guessing - 4 * deviation
    assert backwards > error + 4 * deviation
    assert np.mean(shuffled) > error
