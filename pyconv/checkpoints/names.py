"""Our names of weights in the words of the authors' released networks: one map, used to load and to export.

Classification follows torchvision's ResNet; the levels of a pyramid are `conv2_1` (the smallest kernel) to `conv2_4`,
and a max pool on a shortcut counts as the first layer of `downsample`. Segmentation follows semseg: the stem is
`layer0`, the head `pyconvhead` or `ppm`, the classifier `cls`.
"""

import re
from collections.abc import Iterable, Mapping

from pyconv.architectures import Network, ResNet, SegNet

COVERED = (
    "ResNet, ResNeXt, PyConvResNet and PyConvHGResNet for images, and segmentation networks on them with the head "
    "pyconvph, ppm or conv3x3"
)
COUNTER = "num_batches_tracked"
"""Ending of batch norm's counters, which change no output and which old files do not have."""

CLASSIFIERS: dict[type, tuple[str, ...]] = {ResNet: ("fc",), SegNet: ("classifier.1", "aux.4")}
"""The layers whose output maps are the classes, in our names; those of SSD are classes times boxes."""

_STEM = {"conv1": "layer0.0", "bn1": "layer0.1"}
# Of each head: how our names begin, and theirs. A number moves where theirs holds the pool or the head as well.
_HEADS: dict[str, tuple[tuple[str, str, int], ...]] = {
    "pyconvph": (
        ("head.local_block", "pyconvhead.local_context.layers", 0),
        ("head.global_block", "pyconvhead.global_context.features", 1),
        ("head.merge", "pyconvhead.merge_context.features", 0),
        ("classifier", "cls", 0),
        ("aux", "aux", 0),
    ),
    "ppm": (("head.merge", "cls", 0), ("classifier", "cls", 3), ("aux", "aux", 0)),
    "conv3x3": (("head", "cls", 0), ("classifier", "cls", 3), ("aux", "aux", 0)),
}
# How a file's layout is recognised: the first of these that one of its names begins with.
_LAYOUTS = {
    "pyconvhead.": "segmentation with the head pyconvph",
    "ppm.": "segmentation with the head ppm",
    "cls.": "segmentation with the head conv3x3",
    "fc.": "classification",
}


def released_names(network: Network, own: Iterable[str]) -> dict[str, str]:
    """Our name -> the authors', for all names `own` of a state dict of `network`; never two alike.

    Raises `ValueError` for a network whose released layout is not known, with those that are.
    """
    _check_covered(network)
    translate = _segmentation if isinstance(network, SegNet) else _classification
    names = {name: translate(network, name) for name in own}
    assert len(set(names.values())) == len(names), "the map is one to one"
    return names


def layout(names: Mapping[str, object] | Iterable[str]) -> str:
    """What the authors' names in a file say that it is."""
    found = tuple(names)
    return next((what for start, what in _LAYOUTS.items() if any(n.startswith(start) for n in found)), "unknown")


def _check_covered(network: Network) -> None:
    backbone = network if isinstance(network, ResNet) else network.backbone
    levels = max(len(stage.pyramid.kernels) for stage in backbone.stages)
    known = backbone.block == "bottleneck" or (backbone.block == "basic" and levels == 1)
    head = not isinstance(network, SegNet) or network.head in _HEADS
    if isinstance(network, (ResNet, SegNet)) and known and head and backbone.dims == 2 and backbone.context == "none":
        return
    raise ValueError(f"{network.name}: no released layout is known of this network; known: {COVERED}")


def _classification(network: Network, name: str) -> str:
    """`stage1.0.shortcut.conv.weight` -> `layer1.0.downsample.1.weight` where a max pool comes first."""
    assert isinstance(network, ResNet)
    stage = re.match(r"stage(\d+)\.", name)
    if stage is None:
        return name
    pooled = network.pool == "all_shortcuts" or (network.pool == "first_shortcut" and stage[1] == "1")
    name = name.replace("stage", "layer", 1)
    name = name.replace(".shortcut.conv.", f".downsample.{int(pooled)}.")
    name = name.replace(".shortcut.bn.", f".downsample.{int(pooled) + 1}.")
    return _levels(name)


def _segmentation(network: Network, name: str) -> str:
    """`backbone.bn1.bias` -> `layer0.1.bias`, `head.global_block.0.weight` -> `pyconvhead...features.1.weight`."""
    assert isinstance(network, SegNet)
    if name.startswith("backbone."):
        name = _classification(network.backbone, name.removeprefix("backbone."))
        first, _, rest = name.partition(".")
        return f"{_STEM.get(first, first)}.{rest}"
    if branch := re.fullmatch(r"head\.branches\.(\d+)\.(conv|bn)\.(\w+)", name):
        return f"ppm.features.{branch[1]}.{1 if branch[2] == 'conv' else 2}.{branch[3]}"
    for ours, theirs, moved in _HEADS[network.head]:
        if layer := re.fullmatch(rf"{re.escape(ours)}\.(\d+)\.(.+)", name):
            return _levels(f"{theirs}.{int(layer[1]) + moved}.{layer[2]}")
    raise AssertionError(f"{network.name}: {name} is not in the map")


def _levels(name: str) -> str:
    return re.sub(r"\.levels\.(\d+)\.", lambda level: f".conv2_{int(level[1]) + 1}.", name)
