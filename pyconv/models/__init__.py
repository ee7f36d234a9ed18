"""Networks as `torch.nn` modules: `build` turns a description of `pyconv.architectures` into one."""

from typing import overload

import torch

from pyconv import architectures
from pyconv.models.resnet import ResNet
from pyconv.models.segmentation import SegNet
from pyconv.models.ssd import SSD, default_boxes

__all__ = ["SSD", "ResNet", "SegNet", "build", "default_boxes"]


@overload
def build(network: architectures.ResNet, *, seed: int | None = None) -> ResNet: ...
@overload
def build(network: architectures.SegNet, *, seed: int | None = None) -> SegNet: ...
@overload
def build(network: architectures.SSD, *, seed: int | None = None) -> SSD: ...
def build(network: architectures.Network, *, seed: int | None = None) -> ResNet | SegNet | SSD:
    """The module that `network` describes.

    With `seed` the weights are the same every time and torch's own generators stay as they were; without, they are
    drawn from torch's generators. Under `torch.device("meta")` nothing is drawn and nothing takes memory.
    """
    if seed is None:
        return _module(network)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        return _module(network)


def _module(network: architectures.Network) -> ResNet | SegNet | SSD:
    match network:
        case architectures.ResNet():
            return ResNet(network)
        case architectures.SegNet():
            return SegNet(network)
        case architectures.SSD():
            return SSD(network)
    raise ValueError(f"a ResNet, SegNet or SSD description is needed, got {network!r}")
