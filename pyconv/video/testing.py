"""How good a network for clips is on a split of videos: the softmax of several views of each, averaged (appendix A.2).

A view is a clip and a crop of it. All views of a video pass the network together.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from pyconv import ranks
from pyconv.architectures import ResNet
from pyconv.data.clip_sets import TestSet
from pyconv.data.imagenet import normalise, stack
from pyconv.data.kinetics import VideoSplit, read_kinetics
from pyconv.data.split import DataError
from pyconv.models.folded import folded
from pyconv.numerics import numerics
from pyconv.tasks.error_rates import Tally
from pyconv.tasks.values import Evaluation

TOGETHER = 30
"""Views: the paper's of one video. At 256 pixels PyConvResNet3D-50 has some 5 GB of maps of them at a time."""


class Predicted(NamedTuple):
    """Of some videos: their `numbers` and `labels` (n,), the mean softmax of their views, float64 (n, classes)."""

    numbers: Tensor
    labels: Tensor
    probabilities: Tensor


def evaluate(
    model: nn.Module,
    *,
    data_root: Path,
    split: str = "val",
    crop: int = 256,
    resize: int = 256,
    views: tuple[int, int] = (10, 3),
    frames: int = 16,
    frame_stride: int = 4,
    batch_size: int = TOGETHER,
    device: torch.device | str = "cpu",
    workers: int = 0,
) -> Evaluation:
    """top1_err and top5_err of `model` on a split of videos, by the mean softmax of its views; eval mode, float32.

    `views`: at most so many clips, spread over the video, times crops of `crop` along the longer side of frames whose
    short side is `resize`. A clip has `frames` frames, every `frame_stride`-th. When torch.distributed runs, rank r
    takes every world_size-th video: each one is counted once and every rank gets the whole result. `batch_size`: views
    that pass the network together on a rank, of as many videos as fit; it changes speed only. `model` is left as it
    is: a copy with folded batch norms is tested. Raises `ValueError` for a network that does not fit or gives NaN or
    Inf.
    """
    listed = read_kinetics(data_root, split)
    fitting(getattr(model, "network", None), listed)
    videos = TestSet(listed, views=views, length=frames, stride=frame_stride, resize=resize, crop=crop)
    return measure(model, videos, device=torch.device(device), batch_size=batch_size, workers=workers)


def measure(
    model: nn.Module, videos: TestSet, *, device: torch.device, batch_size: int = TOGETHER, workers: int = 0
) -> Evaluation:
    """`evaluate` on views of videos that are listed already."""
    tally = Tally(len(videos), device)
    for numbers, labels, probabilities in predict(model, videos, batch_size, device, workers):
        tally.add(numbers, probabilities, labels)
    return tally.evaluation((videos.crop, videos.crop))


def predict(
    model: nn.Module, videos: TestSet, batch_size: int, device: torch.device, workers: int = 0
) -> Iterator[Predicted]:
    """What `model` gives for this rank's videos, some at a time, on `device`."""
    world = ranks.current()
    clips, crops = videos.views
    loader = DataLoader(
        videos,
        max(1, batch_size // (clips * crops)),
        sampler=range(world.rank, len(videos), world.size),
        num_workers=workers,
        prefetch_factor=1 if workers else None,  # a video's views take 94 MB
        collate_fn=collate_views,
        pin_memory=device.type == "cuda",
    )
    network = for_testing(model)
    with numerics(device, "fp32"), torch.inference_mode():
        for pixels, counts, labels, numbers in loader:
            parts = (normalise(part.to(device, non_blocking=True)) for part in pixels.split(batch_size))
            logits = torch.cat([network(part) for part in parts])
            _check_logits(logits, videos.split)
            of_videos = logits.double().softmax(1).split(counts)
            means = torch.stack([of_video.mean(0) for of_video in of_videos])
            yield Predicted(numbers.to(device), labels.to(device), means)


def for_testing(model: nn.Module) -> nn.Module:
    """A copy with folded batch norms and weights in the memory order of what `normalise` gives."""
    return folded(model).to(memory_format=torch.channels_last_3d)


def collate_views(samples: Sequence[tuple[Tensor, int, int]]) -> tuple[Tensor, list[int], Tensor, Tensor]:
    """Views uint8 (V, 3, T, S, S) of all videos, how many each has, labels int64 (N,) and the videos' numbers (N,)."""
    labels, numbers = (torch.tensor([sample[place] for sample in samples]) for place in (1, 2))
    pixels = stack([view for views, _, _ in samples for view in views])
    return pixels, [len(views) for views, _, _ in samples], labels, numbers


def fitting(network: object, videos: VideoSplit) -> ResNet:
    """`network` if it is a classifier of clips into the classes of the split. Raises `ValueError`."""
    if not isinstance(network, ResNet) or network.dims != 3:
        raise ValueError(f"{getattr(network, 'name', network)}: Kinetics' task takes a ResNet of dims=3, for clips")
    if (classes := len(videos.classes)) != network.num_classes:
        raise DataError(
            f"{videos.root / videos.name}: {classes} classes for a network of {network.num_classes}; build the network "
            f"with num_classes={classes} or give the data set it is meant for"
        )
    return network


def _check_logits(logits: Tensor, videos: VideoSplit) -> None:
    if not bool(torch.isfinite(logits).all()):
        raise ValueError(f"{videos.root / videos.name}: the network gives NaN or Inf; its weights are not usable")
