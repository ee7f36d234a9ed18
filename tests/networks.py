"""Small networks of the paper's structure for the tests, and weights that no test can overlook."""

from dataclasses import replace

import torch
from torch import nn

from pyconv import PYRAMIDS, ResNet
from pyconv.architectures import Stage


def small(block: str, **changes: object) -> ResNet:
    """Four blocks in stage 1, two in stage 2; narrow, but of the same structure as the paper's."""
    stages = (Stage(4, 16, 64, 2, PYRAMIDS[1]), Stage(2, 32, 128, 2, PYRAMIDS[1]))
    return replace(ResNet(block, stages, "all_shortcuts", num_classes=5), **changes)


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Draw what a fresh network leaves at 0 and 1, so that a test can see it: scales, shifts, running statistics."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
            for tensor in (module.weight.data, module.running_var):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            for tensor in (module.bias.data, module.running_mean):
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.2)
    return model
