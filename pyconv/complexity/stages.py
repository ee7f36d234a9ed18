"""Tables 1 and 9 as data: what each stage of a built network is made of, read from its modules and one forward.

A row is plain JSON:

    {"stage": "stem" | "stage1" ... "stage4" | "head", "output": [H, W] or [T, H, W], "blocks": int,
     "layers": [layer, ...], "shortcut": [layer, ...]}

`layers` are those of the stage's first block in the order in which they are called (the other blocks are the same but
for stride and input, which is checked), `shortcut` those of its projection. A row's output is that of its last layer;
the head's is [num_classes]. Every layer has its own "output" too, and is one of

    {"op": "conv", "kernel": [7, 7], "in": 3, "out": 64, "groups": 1, "stride": [2, 2], "dilation": [1, 1]}
    {"op": "pyconv", "in": 64, "out": 64, "stride": [1, 1], "dilation": [1, 1],
     "levels": [{"kernel": [3, 3], "out": 16, "groups": 1}, ...]}          level 1, the smallest kernel, first
    {"op": "max_pool", "kernel": [3, 3], "stride": [2, 2]}
    {"op": "avg_pool"}
    {"op": "linear", "in": 2048, "out": 1000}
"""

from typing import Any

import torch
from torch import Tensor, nn

from pyconv import architectures
from pyconv.complexity.shapes import ShapesOnly
from pyconv.layers import PyConv
from pyconv.models import build

Layer = dict[str, Any]
Row = dict[str, Any]

_SHOWN = (
    PyConv,
    nn.Conv2d,
    nn.Conv3d,
    nn.MaxPool2d,
    nn.MaxPool3d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveAvgPool3d,
    nn.Linear,
)


def stage_outputs(network: architectures.Network) -> list[Row]:
    """Stem, stages and head of a classification network at its own input size, as rows of Table 1 or 9.

    Raises `ValueError` for a network that these tables cannot show: not a ResNet, or with unequal blocks in a stage.
    """
    if not isinstance(network, architectures.ResNet):
        raise ValueError(
            f"{network.name}: an architecture table shows a ResNet description, not a {type(network).__name__}"
        )
    with torch.device("meta"):
        model = build(network).eval()
        example = torch.empty(1, *network.input_size)
    calls = _calls(model, example)
    stages = [f"stage{number}" for number in range(1, len(network.stages) + 1)]
    names = [name for name, _, _ in calls]
    after = max(index for index, name in enumerate(names) if name.startswith(stages[-1]))
    stem, head = calls[: names.index(stages[0])], calls[after + 1 :]
    return [
        _row("stem", stem),
        *(_stage(network.name, stage, model.get_submodule(stage), calls) for stage in stages),
        _row("head", head),
    ]


Call = tuple[str, nn.Module, Tensor]


def _calls(model: nn.Module, example: Tensor) -> list[Call]:
    """Every module in the order in which its forward starts, with its output; what is inside a PyConv left out."""
    started: list[tuple[str, nn.Module]] = []
    outputs: dict[str, Tensor] = {}
    handles = []
    for name, module in model.named_modules():
        if not name or ".levels" in name:
            continue
        handles.append(module.register_forward_pre_hook(lambda m, _, name=name: started.append((name, m))))
        handles.append(module.register_forward_hook(lambda _m, _i, output, name=name: outputs.update({name: output})))
    with ShapesOnly(), torch.no_grad():
        model(example)
    for handle in handles:
        handle.remove()
    return [(name, module, outputs[name]) for name, module in started]


def _stage(network: str, stage: str, module: nn.Module, calls: list[Call]) -> Row:
    inside = {
        block: [call for call in calls if call[0].startswith(f"{stage}.{block}.")]
        for block, _ in module.named_children()
    }
    layers = {
        block: [_layer(call) for call in _shown(inside[block]) if ".shortcut." not in call[0]] for block in inside
    }
    first, *others = layers
    for block in others:
        if [_shape(layer) for layer in layers[block]] != [_shape(layer) for layer in layers[first]]:
            raise ValueError(
                f"{network}: block {block!r} of {stage} differs from its first one: no row of the table shows both"
            )
    shortcut = [_layer(call) for call in _shown(inside[first]) if ".shortcut." in call[0]]
    output = next(output for name, _, output in calls if name == stage)
    return {
        "stage": stage,
        "output": list(output.shape[2:]),
        "blocks": len(inside),
        "layers": layers[first],
        "shortcut": shortcut,
    }


def _row(stage: str, calls: list[Call]) -> Row:
    """A row of one block without shortcut; its output is the spatial size, or the number of classes."""
    output = list(calls[-1][2].shape)
    layers = [_layer(call) for call in _shown(calls)]
    return {"stage": stage, "output": output[2:] or output[1:], "blocks": 1, "layers": layers, "shortcut": []}


def _shown(calls: list[Call]) -> list[Call]:
    return [call for call in calls if isinstance(call[1], _SHOWN)]


def _shape(layer: Layer) -> Layer:
    """A layer without what differs between a stage's first block and the others."""
    return {key: value for key, value in layer.items() if key not in ("in", "stride", "output")}


def _layer(call: Call) -> Layer:
    _, module, output = call
    return {**_description(module, output.dim() - 2), "output": list(output.shape[2:] or output.shape[1:])}


def _description(module: nn.Module, dims: int) -> Layer:
    match module:
        case PyConv():
            levels = [_convolution(level) for level in module.levels]
            parts = [{key: level[key] for key in ("kernel", "out", "groups")} for level in levels]
            common = {key: levels[0][key] for key in ("stride", "dilation")}
            return {"op": "pyconv", "in": module.in_channels, "out": module.out_channels, **common, "levels": parts}
        case nn.Conv2d() | nn.Conv3d():
            return _convolution(module)
        case nn.MaxPool2d() | nn.MaxPool3d():
            return {"op": "max_pool", "kernel": _list(module.kernel_size, dims), "stride": _list(module.stride, dims)}
        case nn.Linear():
            return {"op": "linear", "in": module.in_features, "out": module.out_features}
    return {"op": "avg_pool"}


def _convolution(module: Any) -> Layer:
    return {
        "op": "conv",
        "kernel": list(module.kernel_size),
        "in": module.in_channels,
        "out": module.out_channels,
        "groups": module.groups,
        "stride": list(module.stride),
        "dilation": list(module.dilation),
    }


def _list(value: Any, dims: int) -> list[int]:
    return [value] * dims if isinstance(value, int) else list(value)
