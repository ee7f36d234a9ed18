"""Testing with views: against a textbook that sees one clip and one crop at a time; ranks; batches; refusals."""

from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, distributed, multiprocessing, nn
from torchvision.transforms.v2.functional import resize as resized

from pyconv import ranks
from pyconv.architectures import resnet
from pyconv.data import DataError
from pyconv.data.clip_sets import TestSet
from pyconv.data.imagenet import MEAN, STD
from pyconv.data.kinetics import VideoSplit, read_kinetics
from pyconv.data.video import frames
from pyconv.video import testing
from tests.video_sets import TINY, write_split

# 8 frames, every second one, span 15: a video of 15 + 9 k frames has 9 k + 1 starts, of which ten are exactly even.
LENGTH, STRIDE, SPAN = 8, 2, 15
LENGTHS = {"down": (15, 24), "left": (42, 7, 60), "right": (18, 33)}
VIEWS = (10, 3)
CROP, RESIZE = 24, 30
HERE = torch.device("cpu")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    write_split(folder, "val", LENGTHS)
    return folder


def starts_by_hand(count: int) -> list[int]:
    """The starts of the clips of a video of `count` frames: all, or ten from the first to the last possible one."""
    possible = count - SPAN + 1
    if possible <= 10:
        return list(range(max(1, possible)))
    assert (possible - 1) % 9 == 0
    return [(possible - 1) // 9 * clip for clip in range(10)]


def squares_by_hand(height: int, width: int) -> list[tuple[int, int]]:
    """(top, left) of three squares of `CROP`, from one end of the longer side to the other."""
    down, across = height - CROP, width - CROP
    if across >= down:
        return [(down // 2, left) for left in (0, across // 2, across)]
    return [(top, across // 2) for top in (0, down // 2, down)]


def views_by_hand(path: Path, facts: Any) -> list[Tensor]:
    """Every view as the network takes it, (1, 3, T, CROP, CROP) float64, from a decode of the whole video."""
    whole = frames(path, range(facts.frames), facts)
    low = min(facts.height, facts.width)
    size = [RESIZE * facts.height // low, RESIZE * facts.width // low]
    views = []
    for start in starts_by_hand(facts.frames):
        clip = [whole[(start + STRIDE * place) % facts.frames] for place in range(LENGTH)]
        small = [resized(frame, size, antialias=True) for frame in clip]
        for top, left in squares_by_hand(*size):
            colours = torch.stack([frame[:, top : top + CROP, left : left + CROP] for frame in small], 1).double()
            mean, std = (torch.tensor(values).double()[:, None, None, None] * 255 for values in (MEAN, STD))
            views.append(((colours - mean) / std)[None])
    return views


def probabilities_by_hand(model: nn.Module, split: VideoSplit, index: int) -> tuple[np.ndarray, int]:
    """The softmax of one view at a time, summed up in float64; how many views there are."""
    views = views_by_hand(split.path(index), split.facts(index))
    total = np.zeros(len(split.classes))
    for view in views:
        with torch.no_grad():
            logits = model(view.float())[0].double().numpy()
        powers = np.exp(logits - logits.max())
        total += powers / powers.sum()
    return total / len(views), len(views)


def trained_like(seed: int = 0) -> nn.Module:
    """Weights whose batch norms are no identities and whose logits are apart, in training mode."""
    model = TINY.build(seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.copy_(torch.rand(buffer.shape, generator=generator) + ("var" in name) * 0.5)
        model.get_parameter("fc.weight").mul_(60)
        grey = torch.zeros(1, 3, LENGTH, CROP, CROP)
        model.get_parameter("fc.bias").sub_(model.eval()(grey)[0])  # of grey no class is the likeliest
    return model.train()


def test_probabilities_are_those_of_one_view_at_a_time(root: Path) -> None:
    model, split = trained_like(), read_kinetics(root, "val")
    videos = TestSet(split, LENGTH, STRIDE, RESIZE, CROP, VIEWS)
    found = list(testing.predict(model, videos, 64, HERE))
    numbers = torch.cat([one.numbers for one in found]).tolist()
    probabilities = torch.cat([one.probabilities for one in found])
    assert numbers == list(range(7))
    assert probabilities.dtype == torch.float64
    model.eval()
    counts = []
    for index in range(7):
        expected, count = probabilities_by_hand(model, split, index)
        assert probabilities[index].tolist() == pytest.approx(expected.tolist(), abs=1e-5)
        counts.append(count)
    assert sorted(counts) == [3, 3, 12, 30, 30, 30, 30]  # looped, one start, four starts, and ten
    assert len(set(probabilities.argmax(1).tolist())) > 1  # the videos are told apart: the comparison says something


def test_errors_are_a_slow_recount(root: Path) -> None:
    model, split = trained_like(), read_kinetics(root, "val")
    asked: dict[str, Any] = {"crop": CROP, "resize": RESIZE, "views": VIEWS, "frames": LENGTH, "frame_stride": STRIDE}
    evaluation = testing.evaluate(model, data_root=root, **asked)
    assert model.training
    model.eval()
    right = [int(probabilities_by_hand(model, split, i)[0].argmax()) == split.label(i) for i in range(7)]
    p = 1 - sum(right) / 7
    assert evaluation.correct["top1_err"].tolist() == right
    assert 0 < sum(right) < 7  # the recount says something
    assert evaluation.metrics["top1_err"] == pytest.approx((100 * p, 7, 100 * sqrt(p * (1 - p) / 7)))
    assert evaluation.metrics["top5_err"] == (0.0, 7, 0.0)  # of three classes
    assert (evaluation.samples, evaluation.expected, evaluation.input) == (7, 7, (CROP, CROP))


def test_the_mean_is_of_probabilities_and_not_of_logits() -> None:
    """Two views sure of class 0 at 10 : 0, one sure of class 1 at 0 : 40: two thirds for class 0."""

    class Sure(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.where(x[:, 0, 0, 0, 0, None] > 0, torch.tensor([10.0, 0]), torch.tensor([0.0, 40]))

    class Views:
        views, split = (3, 1), None

        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
            return torch.tensor([255, 255, 0], dtype=torch.uint8).view(3, 1, 1, 1, 1).expand(3, 3, 2, 4, 4), 1, index

    (found,) = testing.predict(Sure(), Views(), 30, HERE)  # type: ignore[arg-type]
    assert found.probabilities[0].tolist() == pytest.approx([2 / 3, 1 / 3], abs=1e-4)


@pytest.mark.parametrize("batch_size", [1, 7, 90])
def test_how_many_views_go_together_changes_nothing_but_rounding(root: Path, batch_size: int) -> None:
    model, split = trained_like(), read_kinetics(root, "val")
    videos = TestSet(split, LENGTH, STRIDE, RESIZE, CROP, VIEWS)
    asked, usual = (
        torch.cat([one.probabilities for one in testing.predict(model, videos, size, HERE)])
        for size in (batch_size, testing.TOGETHER)
    )
    assert torch.allclose(asked, usual, rtol=0, atol=1e-5)


def test_readers_beside_change_no_bit(root: Path) -> None:
    videos = TestSet(read_kinetics(root, "val"), LENGTH, STRIDE, RESIZE, CROP, VIEWS)
    alone, helped = (
        torch.cat([one.probabilities for one in testing.predict(trained_like(), videos, 30, HERE, workers)])
        for workers in (0, 2)
    )
    assert torch.equal(alone, helped)


def _evaluate_rank(rank: int, size: int, root: Path, rendezvous: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=size)
    found = testing.evaluate(trained_like(), data_root=root, crop=CROP, resize=RESIZE, frames=LENGTH, frame_stride=2)
    torch.save([found.metrics, found.samples, found.correct, found.input], f"{rendezvous}-{rank}")
    distributed.destroy_process_group()


@pytest.mark.parametrize("size", [2, 3, 9])
def test_any_number_of_ranks_shares_the_videos(size: int, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine ranks too, of which two have none of the seven."""
    videos = TestSet(read_kinetics(root, "val"), LENGTH, STRIDE, RESIZE, CROP, (1, 1))
    shared = []
    for rank in range(size):
        monkeypatch.setattr(ranks, "current", lambda rank=rank: ranks.World(rank, size))
        for one in testing.predict(TINY.build(seed=0), videos, 2, HERE):
            assert len(one.numbers) <= 2
            shared += one.numbers.tolist()
    assert sorted(shared) == list(range(7))


@pytest.mark.slow
def test_on_two_ranks_every_video_is_counted_once(root: Path, tmp_path: Path) -> None:
    size = 2
    multiprocessing.spawn(_evaluate_rank, (size, root, tmp_path / "meet"), nprocs=size)
    alone = testing.evaluate(trained_like(), data_root=root, crop=CROP, resize=RESIZE, frames=LENGTH, frame_stride=2)
    for rank in range(size):
        metrics, samples, correct, entered = torch.load(f"{tmp_path}/meet-{rank}", weights_only=True)
        assert metrics == alone.metrics
        assert (samples, entered) == (7, (CROP, CROP))
        assert all(torch.equal(correct[name], alone.correct[name]) for name in correct)


def test_what_cannot_be_tested_is_refused(root: Path) -> None:
    asked: dict[str, Any] = {"data_root": root, "crop": CROP, "resize": RESIZE, "frames": LENGTH}
    with pytest.raises(ValueError, match="resnet50: Kinetics' task takes a ResNet of dims=3, for clips"):
        testing.evaluate(resnet(50).build(3, seed=0), **asked)
    with pytest.raises(DataError, match="3 classes for a network of 4; build the network with num_classes=3"):
        testing.evaluate(TINY.build(4, seed=0), **asked)
    with pytest.raises(DataError, match="test"):
        testing.evaluate(TINY.build(seed=0), split="test", **asked)
    for value in ("nan", "inf"):
        model = TINY.build(seed=0)
        nn.init.constant_(model.get_parameter("fc.bias"), float(value))
        with pytest.raises(ValueError, match="val: the network gives NaN or Inf; its weights are not usable"):
            testing.evaluate(model, **asked)


def test_a_video_that_is_another_one_by_now_is_named(root: Path, tmp_path: Path) -> None:
    write_split(tmp_path, "val", {"down": (20,), "left": (20,), "right": (20,)})
    videos = TestSet(read_kinetics(tmp_path, "val"), LENGTH, STRIDE, RESIZE, CROP, VIEWS)
    (tmp_path / "val" / "left" / "0.mp4").write_bytes((root / "val" / "left" / "0.mp4").read_bytes())
    for workers in (0, 1):
        with pytest.raises(DataError, match=r"left/0\.mp4.*prepare"):
            list(testing.predict(trained_like(), videos, 30, HERE, workers))
