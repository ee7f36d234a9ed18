"""Pyramidal Convolution (arXiv 2006.11538): layers, networks, counting, training and testing.

Descriptions (`pyconvresnet(50)`) are plain values and import without torch; what needs torch is loaded when it is
first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pyconv.architectures import (
    SSD,
    ResNet,
    SegNet,
    iresnet,
    nl_resnet,
    preact_resnet,
    pyconvhgresnet,
    pyconvresnet,
    pyconvresnet3d,
    pyconvsegnet,
    pyconvssd,
    resnet,
    resnet3d,
    resnext,
    se_resnet,
    segnet,
    ssd,
)
from pyconv.pyramid import PYRAMIDS, Pyramid, pyconv_flops, pyconv_params

if TYPE_CHECKING:
    from pyconv.layers import PyConv

__version__ = "0.1.0"

__all__ = [
    "PYRAMIDS",
    "SSD",
    "PyConv",
    "Pyramid",
    "ResNet",
    "SegNet",
    "iresnet",
    "nl_resnet",
    "preact_resnet",
    "pyconv_flops",
    "pyconv_params",
    "pyconvhgresnet",
    "pyconvresnet",
    "pyconvresnet3d",
    "pyconvsegnet",
    "pyconvssd",
    "resnet",
    "resnet3d",
    "resnext",
    "se_resnet",
    "segnet",
    "ssd",
]

_NEEDS_TORCH = {"PyConv": "pyconv.layers"}


def __getattr__(name: str) -> Any:
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module 'pyconv' has no attribute {name!r}")
    return getattr(import_module(_NEEDS_TORCH[name]), name)
