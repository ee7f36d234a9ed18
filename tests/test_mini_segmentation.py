"""The mini scale of scene parsing on the real scenes: the paper's own networks learn, by the paper's own protocol."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments import TABLES
from experiments.mini import mini_table
from experiments.spec import Experiment
from pyconv import data
from pyconv.checkpoints import load_weights
from pyconv.data import ade20k
from pyconv.models import build
from pyconv.tasks.ade20k import evaluate
from pyconv.train import Execution, Trained, train

CPU = Execution(device="cpu", threads=1, validate_every=0)
TABLE = mini_table(TABLES[5])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for name in ("digits", "scenes"):
        data.prepare(name, folder)
    return folder


def label_maps(root: Path, split: str) -> np.ndarray:
    """Class numbers of all labelled pixels of a split."""
    scenes = ade20k.read_scenes(root / "scenes", split)
    numbers = np.concatenate([scenes.labels(index).ravel() for index in range(len(scenes))])
    return numbers[numbers != ade20k.IGNORE]


def best_constant(labels: np.ndarray, classes: int) -> tuple[float, float]:
    """mIoU and pixel accuracy in percent of the one class for all pixels that is best: the others' IoU is 0."""
    most = np.bincount(labels, minlength=classes).max() / len(labels)
    return 100 * most / classes, 100 * most


def drawn_by_frequency(labels: np.ndarray, frequency: np.ndarray) -> tuple[float, float]:
    """The same, expected, of a class drawn for every pixel: IoU = p q / (p + q - p q) of shares p labelled, q drawn."""
    p, q = np.bincount(labels, minlength=len(frequency)) / len(labels), frequency
    return 100 * float(np.mean(p * q / (p + q - p * q))), 100 * float(p @ q)


def test_without_looking_at_the_picture_there_is_little_to_get(root: Path) -> None:
    held_out = label_maps(root, "val")
    frequency = np.bincount(label_maps(root, "train"), minlength=12)
    assert best_constant(held_out, 12) == pytest.approx((3.2, 38.7), abs=0.5)
    assert drawn_by_frequency(held_out, frequency / frequency.sum()) == pytest.approx((4.8, 31), abs=1)


def row(key: str, group: str) -> Experiment:
    experiment = TABLE.row(key, group).experiment
    assert experiment is not None
    return experiment


def miou_of(experiment: Experiment, root: Path, folder: Path) -> float:
    """Trained as the table says, backbone first, and tested by its protocol."""
    protocol = TABLE.column("miou").protocol
    assert protocol is not None
    assert experiment.init is not None
    backbone = _trained(experiment.init, root, folder / "backbone", None)
    made = _trained(experiment, root, folder / "network", backbone.checkpoint)
    model = build(experiment.model)
    model.load_state_dict(load_weights(made.checkpoint))
    evaluation = evaluate(
        model,
        data_root=root / protocol.data,
        split=protocol.split,
        crop=protocol.crop,
        resize=protocol.resize,
        scales=protocol.scales,
        flip=protocol.flip,
    )
    assert evaluation.samples == protocol.samples
    return evaluation.metrics["miou"][0]


def _trained(experiment: Experiment, root: Path, folder: Path, start: Path | None) -> Trained:
    return train(
        experiment.model,
        experiment.recipe,
        seed=experiment.seed,
        data_root=root / experiment.recipe.data,
        run_dir=folder,
        init_state=None if start is None else load_weights(start),
        execution=CPU,
    )


def few(root: Path, folder: Path) -> Path:
    """The first scenes of each split: a batch to train, one to test."""
    for split, place, number in (("train", "training", 16), ("val", "validation", 1)):
        scenes = ade20k.read_scenes(root / "scenes", split)
        for part, files in (("images", scenes.images), ("annotations", scenes.annotations)):
            (folder / "scenes" / part / place).mkdir(parents=True)
            for file in list(files)[:number]:
                shutil.copy(root / "scenes" / file, folder / "scenes" / file)
    shutil.copy(root / "scenes" / ade20k.CLASS_LIST, folder / "scenes")
    return folder


def test_a_network_of_table5_gives_the_same_bits_every_time(root: Path, tmp_path: Path) -> None:
    """Two steps at full width, from scratch."""
    whole = row("pyconvsegnet", "os16")
    short = replace(whole, recipe=replace(whole.recipe, epochs=2), init=None)
    data_root = few(root, tmp_path)
    first, second = (_trained(short, data_root, tmp_path / life, None) for life in ("one", "two"))
    assert first.sha256 == second.sha256
    assert [epoch["train_loss"] for epoch in first.history] == [epoch["train_loss"] for epoch in second.history]


@pytest.mark.slow
def test_a_network_of_table5_sees_more_than_frequencies(root: Path, tmp_path: Path) -> None:
    """The cheapest of the eight, its backbone from digits: twice what can be had without looking at the picture."""
    held_out = label_maps(root, "val")
    frequency = np.bincount(label_maps(root, "train"), minlength=12)
    blind = max(best_constant(held_out, 12)[0], drawn_by_frequency(held_out, frequency / frequency.sum())[0])
    miou = miou_of(row("pyconvsegnet", "os16"), root, tmp_path)
    assert miou > 2 * blind
