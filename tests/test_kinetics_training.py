"""Training on videos: finite from the first step, exact resume, workers, ranks, and a motion that is learnt.

Videos of three motions, twelve to train and six held out; a network of two blocks on clips of 8 frames of 24 pixels.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import distributed, multiprocessing

from pyconv.architectures import ResNet
from pyconv.checkpoints import load_weights
from pyconv.data import DataError
from pyconv.data.clip_sets import TrainingSet
from pyconv.data.imagenet import normalise
from pyconv.data.sampling import Batches, epoch_order
from pyconv.recipe import KineticsAugment, Recipe
from pyconv.tasks import kinetics
from pyconv.train import Execution, Interrupted, StepReport, Trained, train
from tests.video_sets import CLASSES, TINY, write_split

AUGMENT = KineticsAugment(crop=24, frames=8, frame_stride=2, short_side=(28, 36), flip=0.0)
RECIPE = Recipe(
    "squares", epochs=3, batch_size=8, lr=0.02, augment=AUGMENT, milestones=(2,), gamma=0.1, batch_norm_batch=4
)
STEPS = 2  # an epoch: 12 videos in batches of 8 and 4, in micro-batches of 4
CPU = Execution(device="cpu", threads=1)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos shorter than a clip among them."""
    folder = tmp_path_factory.mktemp("squares")
    write_split(folder, "train", dict.fromkeys(CLASSES, (30, 12, 25, 40)))
    write_split(folder, "val", dict.fromkeys(CLASSES, (30, 12)), seed=1)
    return folder


def run(root: Path, folder: Path, recipe: Recipe = RECIPE, network: ResNet = TINY, **options: Any) -> Trained:
    return train(network, recipe, seed=5, data_root=root, run_dir=folder, **{"execution": CPU, **options})


def measured(trained: Trained) -> list[dict[str, Any]]:
    """The history without its seconds."""
    return [{key: value for key, value in entry.items() if key != "seconds"} for entry in trained.history]


@pytest.fixture
def visits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """(epoch, video) of every clip that is read in this process."""
    read: list[tuple[int, int]] = []
    usual = TrainingSet.__getitem__

    def noted(self: TrainingSet, visit: tuple[int, int]) -> Any:
        read.append(visit)
        return usual(self, visit)

    monkeypatch.setattr(TrainingSet, "__getitem__", noted)
    return read


@pytest.mark.parametrize("precision", ["fp32", "amp"])
def test_the_loss_is_finite_from_the_first_step_and_the_history_is_whole(
    precision: Literal["fp32", "amp"], root: Path, tmp_path: Path
) -> None:
    reports: list[StepReport] = []
    trained = run(root, tmp_path, replace(RECIPE, precision=precision), on_step=reports.append)
    assert [report.lr for report in reports] == pytest.approx([0.02] * 4 + [0.002] * 2)
    assert all(np.isfinite(report.loss) for report in reports)
    assert reports[0].loss < 3 * np.log(3)  # a network of random weights that says nothing has log 3
    for entry in trained.history:
        assert (entry["steps"], entry["samples"], entry["batch"], entry["norm_batch"]) == (STEPS, 12, [4, 8], 4)
        assert entry["input"] == [24, 24]
        assert {"train_loss", "train_top1_err", "top1_err", "top5_err"} <= set(entry)
        assert np.isfinite(entry["train_loss"])
    best = min(trained.history, key=lambda entry: entry["top1_err"])
    assert trained.best_epoch == best["epoch"]
    assert all(torch.isfinite(tensor).all() for tensor in load_weights(trained.checkpoint).values())


def stop_after(polls: int) -> Callable[[], bool]:
    """True at poll `polls` and only then."""
    counter = iter(range(10**6))
    return lambda: next(counter) == polls


@pytest.mark.parametrize("precision", ["fp32", "amp"])
def test_interrupted_anywhere_and_resumed_gives_the_same_bits(
    precision: Literal["fp32", "amp"], root: Path, tmp_path: Path, visits: list[tuple[int, int]]
) -> None:
    """Weights, history, and the order of the videos: each is read once an epoch, in the order of an unbroken run."""
    recipe = replace(RECIPE, precision=precision)
    uninterrupted, expected = run(root, tmp_path / "whole", recipe), list(visits)
    assert expected == [(epoch, index) for epoch in range(3) for index in epoch_order(12, 5, epoch)]
    rng, interruptions = random.Random(precision), 0
    for trial in range(2):
        visits.clear()
        trained = None
        while trained is None:
            try:
                trained = run(root, tmp_path / str(trial), recipe, should_stop=stop_after(rng.randrange(1, 4)))
            except Interrupted:
                interruptions += 1
        assert trained.sha256 == uninterrupted.sha256
        assert measured(trained) == measured(uninterrupted)
        assert visits == expected
    assert interruptions >= 4


def test_the_frames_of_a_clip_depend_on_the_epoch_and_not_on_what_was_read_before(root: Path) -> None:
    one, other = (kinetics.training_set(TINY, RECIPE, root, seed=5) for _ in range(2))
    for index in (11, 3, 0):
        one[0, index]
    clips = [one[epoch, 3][0] for epoch in range(4)]
    assert all(torch.equal(other[epoch, 3][0], clips[epoch]) for epoch in (2, 0, 3, 1))
    assert not any(torch.equal(clips[0], clip) for clip in clips[1:])


def test_workers_change_nothing(root: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, epochs=2, milestones=())
    helped = run(root, tmp_path / "b", recipe, execution=replace(CPU, workers=2))
    assert helped.sha256 == run(root, tmp_path / "a", recipe).sha256


def test_dropout_falls_anew_in_every_step_and_alike_in_every_run(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same clips in every epoch, in one batch, at a rate that moves nothing: only dropout can change the loss."""
    usual = TrainingSet.__getitem__
    monkeypatch.setattr(TrainingSet, "__getitem__", lambda self, visit: usual(self, (0, visit[1])))
    still = replace(RECIPE, batch_size=12, batch_norm_batch=12, lr=1e-30, milestones=(), weight_decay=0.0)
    losses = {}
    for name, network in (("with", TINY), ("again", TINY), ("without", replace(TINY, dropout=0.0))):
        trained = run(root, tmp_path / name, still, network)
        losses[name] = [entry["train_loss"] for entry in trained.history]
    assert losses["with"] == losses["again"]
    assert np.ptp(losses["without"]) < 1e-5
    assert min(abs(np.diff(losses["with"]))) > 1e-3


def test_a_file_that_comes_while_a_network_trains_ends_no_run(tmp_path: Path) -> None:
    """It is not used either; the next run is told to prepare anew, before its first step."""
    for split in ("train", "val"):
        write_split(tmp_path, split, dict.fromkeys(CLASSES, (12, 20)))
    recipe, late = replace(RECIPE, epochs=2, milestones=()), tmp_path / "val" / "left" / "late.mp4"
    trained = run(tmp_path, tmp_path / "run", recipe, on_epoch=lambda _: late.write_bytes(b"not a video"))
    assert all("top1_err" in entry for entry in trained.history)
    with pytest.raises(DataError, match="prepare"):
        run(tmp_path, tmp_path / "next", recipe)


@pytest.mark.parametrize("size", [2, 3])
def test_ranks_share_the_batches_of_one(size: int, root: Path) -> None:
    """The micro-batches of all ranks together are those of a single one, so they hold the same clips."""
    samples = kinetics.training_set(TINY, RECIPE, root, seed=5)
    order = epoch_order(len(samples), 5, 0)
    for step in range(STEPS):
        alone = Batches(12, 8, 4).step(order, step)
        shared = [micro for rank in range(size) for micro in Batches(12, 8, 4, False, rank, size).step(order, step)]
        counted = {micro.number: micro.indices for micro in shared if micro.share}
        assert counted == {micro.number: micro.indices for micro in alone}


def _train_rank(rank: int, size: int, root: Path, folder: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=size)
    try:
        trained = run(root, folder / "run")
        torch.save([trained.sha256, measured(trained)], folder / f"rank{rank}.pt")
    finally:
        distributed.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_train_what_one_does(root: Path, tmp_path: Path) -> None:
    """Sums are ordered differently: equal to float tolerance."""
    alone = run(root, tmp_path / "alone")
    multiprocessing.spawn(_train_rank, (2, root, tmp_path), nprocs=2)
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    assert first == second
    for one, two in zip(measured(alone), first[1], strict=True):
        assert [two[key] for key in ("lr", "samples", "batch")] == [one[key] for key in ("lr", "samples", "batch")]
        assert two["train_loss"] == pytest.approx(one["train_loss"], rel=1e-3)
    weights, expected = load_weights(tmp_path / "run" / "weights.pt"), load_weights(alone.checkpoint)
    for name, tensor in expected.items():
        assert torch.allclose(weights[name].float(), tensor.float(), rtol=1e-3, atol=1e-3), name


@pytest.mark.slow
def test_motions_are_learnt_that_no_single_frame_tells(root: Path, tmp_path: Path) -> None:
    """All twelve videos known in the end, and their frames in reverse order taken for another motion."""
    recipe = replace(RECIPE, epochs=60, lr=0.05, milestones=(45,))
    network = replace(TINY, dropout=0.0)
    trained = train(
        network, recipe, seed=5, data_root=root, run_dir=tmp_path, execution=replace(CPU, validate_every=60)
    )
    assert trained.history[-1]["train_top1_err"] < 20
    model = network.build()
    model.load_state_dict(load_weights(trained.checkpoint))
    model.eval()
    samples = kinetics.training_set(network, recipe, root, seed=5)
    clips, labels = kinetics.collate([samples[0, index] for index in range(12)])
    names = sorted(CLASSES)
    opposite = torch.tensor([names.index({"left": "right", "right": "left"}.get(name, name)) for name in names])
    sideways = opposite[labels] != labels
    with torch.no_grad():
        forward, backward = (model(normalise(frames)).argmax(1)[sideways] for frames in (clips, clips.flip(2)))
    right = int((forward == labels[sideways]).sum())
    assert right >= 6  # of eight
    assert int((backward == labels[sideways]).sum()) <= 2
