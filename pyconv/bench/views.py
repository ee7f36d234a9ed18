"""PyConvResNet3D-50 tested with 10 clips x 3 crops of a video: one view at a time, against all of them together.

Clips of 16 frames of 32 x 32 pixels: a round takes half a minute, at the paper's 256 it would take half an hour. Two
comparisons: the network alone, ours on both sides; and a test from the file, where the plain way reads clip after clip
and has the network as it was trained. Same weights, frames and thread.

What larger views gain, in seconds of a processor: alone 2.6 times at 32 pixels, 1.4 at 64, 1.05 at 112, where a view
is work enough to read 45 million weights for; against the network as it was trained, by colours last in memory and
folded batch norms as well, 3.1, 2.4 and 1.9 times.
"""

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from pyconv.architectures import pyconvresnet3d
from pyconv.bench.paired import Comparison, compare
from pyconv.bench.video import film
from pyconv.data import video
from pyconv.data.clip_sets import TestSet
from pyconv.data.clip_transforms import crops
from pyconv.data.clips import uniform_clips
from pyconv.data.imagenet import MEAN, STD, normalise
from pyconv.data.kinetics import read_kinetics
from pyconv.data.kinetics_index import write_index
from pyconv.video import testing

AIM = 1.3
"""Of both comparisons."""
VIEWS = (10, 3)
LENGTH, STRIDE, SIDE = 16, 4, 32
CLASSES = 400
ROUNDING = 1e-4
"""Of probabilities, between the ways of computing them."""


@dataclass(frozen=True)
class Agreement:
    """`probability`: the largest difference of a class's between both ways; `views` of the video were seen."""

    views: int
    probability: float

    @property
    def met(self) -> bool:
        """Whether both ways see the same."""
        return self.views == VIEWS[0] * VIEWS[1] and self.probability < ROUNDING

    def report(self) -> dict[str, object]:
        """As plain values."""
        return asdict(self)

    def line(self) -> str:
        """For people."""
        return f"{self.views} views; probabilities of the two ways differ by at most {self.probability:.1e}"


def bench(rounds: int = 3) -> tuple[list[Comparison], Agreement]:
    """The network alone, and a whole test, of one video."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
            videos = _videos(Path(folder))
            model = pyconvresnet3d(50).build(CLASSES, seed=0).eval()
            views: Tensor = videos[0][0]
            alone = compare("views in the network", len(views), *_network(model, views), rounds)
            plain, ours = _plain(model, videos), _ours(model, videos)
            whole = compare("views of a video, from its file", len(views), plain, ours, rounds)
            return [alone, whole], Agreement(len(views), float((plain() - ours()).abs().max()))
    finally:
        torch.set_num_threads(threads)


def _videos(root: Path) -> TestSet:
    """One video of Kinetics' size and length, by the reader that runs have."""
    (root / "val" / "way").mkdir(parents=True)
    film(root / "val" / "way" / "0.mp4", 0)
    write_index(root, "val", workers=0)
    return TestSet(read_kinetics(root, "val"), LENGTH, STRIDE, SIDE, SIDE, VIEWS)


def _network(model: nn.Module, views: Tensor) -> tuple[Callable[[], object], Callable[[], object]]:
    """One view at a time, and all together, through the same network, folded and colours last."""
    network, entering = testing.for_testing(model), normalise(views)
    return lambda: [network(view[None]) for view in entering], lambda: network(entering)


def _plain(model: nn.Module, videos: TestSet) -> Callable[[], Tensor]:
    """Clip by clip and crop by crop, each through the network as it was trained, their softmax added up."""
    mean, std = (torch.tensor(values).view(3, 1, 1, 1) for values in (MEAN, STD))
    path, facts = videos.split.path(0), videos.split.facts(0)

    def test() -> Tensor:
        total, views = torch.zeros(CLASSES, dtype=torch.float64), 0
        for clip in uniform_clips(facts.frames, LENGTH, STRIDE, VIEWS[0]):
            for crop in crops(video.frames(path, clip, facts), SIDE, SIDE, VIEWS[1]):
                logits = model(((crop.float() / 255 - mean) / std)[None])
                total += logits[0].double().softmax(0)
                views += 1
        return total / views

    return test


def _ours(model: nn.Module, videos: TestSet) -> Callable[[], Tensor]:
    def test() -> Tensor:
        (found,) = testing.predict(model, videos, testing.TOGETHER, torch.device("cpu"))
        return found.probabilities[0]

    return test
