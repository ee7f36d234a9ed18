"""The authors' classification networks as a function of a state dict in their names, after Table 1: an oracle.

Nothing of this project is in it: strides, pools and paddings are the paper's, groups follow from the weights' shapes.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

State = dict[str, Tensor]


def norm(state: State, name: str, x: Tensor) -> Tensor:
    statistics = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    return F.batch_norm(x, *statistics, state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-5)


def conv(state: State, name: str, x: Tensor, stride: int = 1, dilation: int = 1) -> Tensor:
    weight = state[f"{name}.weight"]
    padding = dilation * (weight.shape[-1] // 2)
    groups = x.shape[1] // weight.shape[1]
    return F.conv2d(x, weight, state.get(f"{name}.bias"), stride, padding, dilation, groups)


def pyramid(state: State, name: str, x: Tensor, stride: int = 1, dilation: int = 1) -> Tensor:
    """Levels from the smallest kernel up, concatenated; a plain convolution where there is one."""
    if f"{name}.weight" in state:
        return conv(state, name, x, stride, dilation)
    levels = [f"{name}.conv2_{level}" for level in range(1, 5) if f"{name}.conv2_{level}.weight" in state]
    return torch.cat([conv(state, level, x, stride, dilation) for level in levels], dim=1)


def block(state: State, name: str, x: Tensor, stride: int, dilation: int) -> Tensor:
    y = F.relu(norm(state, f"{name}.bn1", conv(state, f"{name}.conv1", x)))
    y = F.relu(norm(state, f"{name}.bn2", pyramid(state, f"{name}.conv2", y, stride, dilation)))
    y = norm(state, f"{name}.bn3", conv(state, f"{name}.conv3", y))
    if f"{name}.downsample.2.weight" in state:  # max pool, 1x1, batch norm
        x = F.max_pool2d(x, 3, stride, padding=1)
        x = norm(state, f"{name}.downsample.2", conv(state, f"{name}.downsample.1", x))
    elif f"{name}.downsample.1.weight" in state:  # strided 1x1, batch norm
        x = norm(state, f"{name}.downsample.1", conv(state, f"{name}.downsample.0", x, stride))
    return F.relu(y + x)


def stage(state: State, number: int, x: Tensor, stride: int, dilation: int = 1) -> Tensor:
    blocks = sorted({int(key.split(".")[1]) for key in state if key.startswith(f"layer{number}.")})
    for index in blocks:
        x = block(state, f"layer{number}.{index}", x, stride if index == 0 else 1, dilation)
    return x


def classify(state: State, x: Tensor) -> Tensor:
    """PyConvResNet or PyConvHGResNet: no pool in the stem, every stage halves the maps."""
    x = F.relu(norm(state, "bn1", conv(state, "conv1", x, stride=2)))
    for number in range(1, 5):
        x = stage(state, number, x, stride=2)
    return F.linear(x.mean((2, 3)), state["fc.weight"], state["fc.bias"])


def segment_backbone(state: State, x: Tensor, *, pooled_stem: bool) -> tuple[Tensor, Tensor]:
    """Stages 3 and 4 at output stride 8: dilations 2 and 4 in the place of strides."""
    x = F.relu(norm(state, "layer0.1", conv(state, "layer0.0", x, stride=2)))
    if pooled_stem:
        x = F.max_pool2d(x, 3, 2, padding=1)
    x = stage(state, 1, x, stride=1 if pooled_stem else 2)
    third = stage(state, 3, stage(state, 2, x, stride=2), stride=1, dilation=2)
    return third, stage(state, 4, third, stride=1, dilation=4)


def units(state: State, name: str, x: Tensor, numbers: tuple[int, ...]) -> Tensor:
    """Convolution or pyramid at each number, its batch norm one further, ReLU."""
    for number in numbers:
        x = F.relu(norm(state, f"{name}.{number + 1}", pyramid(state, f"{name}.{number}", x)))
    return x


def up(x: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(x, size, mode="bilinear", align_corners=True)


def pyconv_head(state: State, x: Tensor) -> Tensor:
    local = units(state, "pyconvhead.local_context.layers", x, (0, 3, 6))
    pooled = F.adaptive_avg_pool2d(x, 9)
    context = units(state, "pyconvhead.global_context.features", pooled, (1, 4, 7))
    both = torch.cat([local, up(context, x.shape[2:])], dim=1)
    return conv(state, "cls.1", units(state, "pyconvhead.merge_context.features", both, (0,)))


def ppm_head(state: State, x: Tensor) -> Tensor:
    branches = [
        up(units(state, f"ppm.features.{number}", F.adaptive_avg_pool2d(x, bins), (1,)), x.shape[2:])
        for number, bins in enumerate((1, 2, 3, 6))
        if f"ppm.features.{number}.1.weight" in state
    ]
    return conv(state, "cls.4", units(state, "cls", torch.cat([x, *branches], dim=1), (0,)))


def segment(state: State, x: Tensor, *, pooled_stem: bool) -> tuple[Tensor, Tensor]:
    """Logits of the head and of the auxiliary branch, at the size of `x`."""
    third, fourth = segment_backbone(state, x, pooled_stem=pooled_stem)
    head = pyconv_head if "cls.1.running_mean" not in state else ppm_head
    aux = conv(state, "aux.4", units(state, "aux", third, (0,)))
    return up(head(state, fourth), x.shape[2:]), up(aux, x.shape[2:])
