"""Layers of a network exchanged for others that compute the same."""

from collections.abc import Callable
from typing import TypeGuard

from torch import nn


def exchange(
    model: nn.Module, fits: Callable[[nn.Module], TypeGuard[nn.Conv2d]], make: Callable[[nn.Conv2d], nn.Module]
) -> None:
    """Replace, in place, every convolution within `model` that `fits` by what is made of it."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if fits(child):
                setattr(parent, name, make(child))
