"""First weights, as in the sources of the paper's networks. Nothing is drawn for networks on the meta device."""

from torch import nn


def kaiming(module: nn.Module) -> None:
    """Classification and video: convolutions N(0, 2 / fan_out), their biases 0, batch norm 1 and 0, in place.

    He et al., ICCV 2015, the paper's reference [51]; fan_out as in the authors' released ImageNet script. fan_out
    counts all output maps, also of a grouped convolution. Linear layers keep torch's default, as there.
    """
    if _is_meta(module):
        return
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.Conv3d)):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, (nn.BatchNorm2d, nn.BatchNorm3d)):
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)


def xavier(module: nn.Module) -> None:
    """Detection head and predictors: weights of convolutions uniform in +-sqrt(6 / (fan_in + fan_out)), in place.

    Glorot and Bengio, AISTATS 2010, as in NVIDIA's SSD300 whose settings the paper's detector shares. Biases and batch
    norms keep torch's default, as there.
    """
    if _is_meta(module):
        return
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight)


def _is_meta(module: nn.Module) -> bool:
    return any(parameter.is_meta for parameter in module.parameters())
