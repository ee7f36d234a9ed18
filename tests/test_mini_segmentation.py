"""The mini scale of scene parsing on the real scenes: the paper's own networks learn, by the paper's own protocol."""

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
    for name in data.PACKAGED:
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


def miou_of(experiment: Experiment, root: Path, folder: Path) -> tuple[float, str]:
    """Trained as the table says, backbone first, and tested by its protocol; the weights' digest."""
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
    return evaluation.metrics["miou"][0], made.sha256


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


@pytest.mark.slow
def test_a_network_of_table5_sees_more_than_frequencies(root: Path, tmp_path: Path) -> None:
    """The cheapest of the eight, from its digits: twice what can be had without looking at the picture."""
    held_out = label_maps(root, "val")
    frequency = np.bincount(label_maps(root, "train"), minlength=12)
    blind = max(best_constant(held_out, 12)[0], drawn_by_frequency(held_out, frequency / frequency.sum())[0])
    miou, _ = miou_of(row("pyconvsegnet", "os16"), root, tmp_path)
    assert miou > 2 * blind
