"""Folding batch norms changes no output: every network of Table 3, PyConv's clips and scene parsing, in float64."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pyconv import (
    iresnet,
    nl_resnet,
    preact_resnet,
    pyconvhgresnet,
    pyconvresnet,
    pyconvresnet3d,
    pyconvsegnet,
    resnet,
    resnext,
    se_resnet,
)
from pyconv.architectures import Network
from pyconv.models.folded import folded

NETWORKS = [describe(50) for describe in (resnet, preact_resnet, iresnet, nl_resnet, se_resnet, resnext)]
NETWORKS += [pyconvresnet(50), pyconvhgresnet(50), pyconvresnet(18), pyconvresnet3d(50), pyconvsegnet(resnet(50))]


def trained(network: Network) -> nn.Module:
    """The network with batch norms that are no identities."""
    model = network.build(7, seed=0).double().eval()
    generator = torch.Generator().manual_seed(1)
    for norm in (module for module in model.modules() if isinstance(module, _BatchNorm)):
        for values, low in ((norm.weight, 0.5), (norm.running_var, 0.5), (norm.bias, -0.5), (norm.running_mean, -0.5)):
            with torch.no_grad():
                values.copy_(torch.rand(values.shape, generator=generator) + low)
    return model


def outputs(model: nn.Module, images: Tensor) -> Tensor:
    found = model(images)
    return found["out"] if isinstance(found, dict) else found


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
@torch.inference_mode()
def test_folded_is_the_same_function(network: Network) -> None:
    model = trained(network)
    size = (3, 4, 64, 64) if network.input_size[1:-2] else (3, 64, 64)
    images = torch.randn(1, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    small = folded(model)
    wanted = outputs(model, images)
    assert torch.allclose(outputs(small, images), wanted, rtol=0, atol=1e-10 * float(wanted.abs().max()))
    norms = {name for name, module in small.named_modules() if isinstance(module, _BatchNorm)}
    left = ("bn0", "bn3", "last_bn", "bn1") if network.name.startswith(("iresnet", "preact")) else ()
    assert all(name.split(".")[-1] in left for name in norms)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
