"""One residual network for every backbone of the paper (Tables 1, 2, 3, 9), built from its description.

The blocks are in `pyconv.models.blocks`; what differs between the networks is in `pyconv.architectures.ResNet`.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from pyconv import architectures
from pyconv.formulations.normalised import activated
from pyconv.layers import batch_norm, conv, max_pool
from pyconv.models.blocks import STEM_WIDTH, Basic, Bottleneck, IResNet, Position, PreActivation
from pyconv.models.context import NonLocal
from pyconv.models.initialise import kaiming

BLOCKS: dict[architectures.BlockKind, type[Basic | Bottleneck | PreActivation | IResNet]] = {
    "basic": Basic,
    "bottleneck": Bottleneck,
    "preact": PreActivation,
    "iresnet": IResNet,
}

# Table 1: 7x7, stride 2. Table 9: 5x7x7, stride (1, 2, 2).
STEM_KERNEL = {2: (7, 7), 3: (5, 7, 7)}
STEM_STRIDE = {2: (2, 2), 3: (1, 2, 2)}


class ResNet(nn.Module):
    """Stem, stages, global average pool, dropout, linear classifier.

    Images (N, 3, H, W), or clips (N, 3, T, H, W) where the description's `dims` is 3, -> logits (N, num_classes).
    Any size that leaves a pixel works. `classifier=False` leaves pool, dropout and linear layer away: a backbone, of
    which only `features` can be asked. Weights: `pyconv.models.initialise.kaiming`; non-local blocks start as identity.
    `formulation`: of the stem's batch norm and ReLU in training (`pyconv.formulations.normalised`), as PyConv's own.
    """

    formulation: str | None = None

    def __init__(self, network: architectures.ResNet, *, classifier: bool = True) -> None:
        super().__init__()
        _check(network)
        dims = network.dims
        self.network = network
        self.conv1 = conv(3, STEM_WIDTH, STEM_KERNEL[dims], STEM_STRIDE[dims], dims=dims)
        # The pre-activation network normalises inside its blocks and once after the last one.
        preact = network.block == "preact"
        self.bn1 = None if preact else batch_norm(STEM_WIDTH, dims)
        self.relu = None if preact else nn.ReLU(inplace=True)
        self.maxpool = max_pool(STEM_STRIDE[dims], dims) if network.pool == "stem" else None
        for index in range(len(network.stages)):
            self.add_module(f"stage{index + 1}", _stage(network, index))
        self.fc: nn.Linear | None = None
        if classifier:
            out_channels = network.stages[-1].out_channels
            self.last_bn = batch_norm(out_channels, dims) if preact else None
            self.last_relu = nn.ReLU(inplace=True) if preact else None
            self.pool = nn.AdaptiveAvgPool2d(1) if dims == 2 else nn.AdaptiveAvgPool3d(1)
            self.dropout = nn.Dropout(network.dropout)
            self.fc = nn.Linear(out_channels, network.num_classes)
        kaiming(self)
        for module in self.modules():
            if isinstance(module, NonLocal):
                nn.init.zeros_(module.bn.weight)

    def stem(self, x: Tensor) -> Tensor:
        """conv1, batch norm, ReLU, max pool, as far as the network has them: STEM_WIDTH maps."""
        x = self.conv1(x)
        if self.bn1 is not None and self.relu is not None:
            x = activated(self.bn1, self.relu, x, policy=self.formulation)
        elif self.bn1 is not None:
            x = self.bn1(x)
        return x if self.maxpool is None else self.maxpool(x)

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        """The outputs of stages 1, 2, ..., one tensor a stage, for a head of one's own.

        Those of a pre-activation network are sums that the next stage would normalise and activate first.
        """
        if x.dim() != self.network.dims + 2 or x.shape[1] != 3:
            expected = "(N, 3, H, W)" if self.network.dims == 2 else "(N, 3, T, H, W)"
            raise ValueError(f"{self.network.name} takes {expected}, got a tensor of shape {tuple(x.shape)}")
        x = self.stem(x)
        outputs = []
        for number in range(1, len(self.network.stages) + 1):
            x = self.get_submodule(f"stage{number}")(x)
            outputs.append(x)
        return tuple(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) or (N, 3, T, H, W) -> logits (N, num_classes)."""
        if self.fc is None:
            raise ValueError(f"{self.network.name} was built without a classifier: ask for features(x)")
        x = self.features(x)[-1]
        if self.last_bn is not None and self.last_relu is not None:
            x = self.last_relu(self.last_bn(x))
        return self.fc(self.dropout(torch.flatten(self.pool(x), 1)))


def _stage(network: architectures.ResNet, index: int) -> nn.Sequential:
    """The blocks of one stage, "0", "1", ..., and its non-local block right before the last, as in Wang et al. 5.1.

    (Which block the paper's non-local blocks follow cannot be told from its counts.)
    """
    stage = network.stages[index]
    blocks: OrderedDict[str, nn.Module] = OrderedDict()
    for number in range(stage.blocks):
        try:
            blocks[str(number)] = BLOCKS[network.block](Position(network, index, number))
        except ValueError as error:
            raise ValueError(f"{network.name}, stage {index + 1}: {error}") from error
        if network.context == "nonlocal" and number == max(stage.blocks - 2, 0):
            blocks["nonlocal"] = NonLocal(stage.out_channels)
    return nn.Sequential(blocks)


def _check(network: architectures.ResNet) -> None:
    if network.block not in BLOCKS:
        raise ValueError(f"{network.name}: block must be one of {', '.join(BLOCKS)}, got {network.block!r}")
    if network.dims not in STEM_KERNEL:
        raise ValueError(f"{network.name}: dims must be 2 (images) or 3 (clips), got {network.dims!r}")
    if network.context != "none" and network.dims == 3:
        raise ValueError(f"{network.name}: SE and non-local blocks are for images here, not for clips")
    if network.context == "se" and network.block not in ("basic", "bottleneck"):
        raise ValueError(f"{network.name}: SE rescales basic and bottleneck blocks, not {network.block} blocks")
