"""Building networks: seeds, first weights, gradients, features, refusals."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from networks import randomise, small
from torch import nn
from torch.nn import functional as F

from pyconv import PYRAMIDS, ResNet, pyconvhgresnet, pyconvresnet, resnet
from pyconv.architectures import Stage
from pyconv.models import build
from pyconv.models import resnet as modules
from pyconv.pyramid import VIDEO_PYRAMIDS

FAMILIES = [
    resnet(18),
    pyconvresnet(18),
    pyconvresnet(34, second_conv="1x1"),
    small("bottleneck"),
    small("bottleneck", context="se"),
    small("bottleneck", context="nonlocal"),
    small("preact", pool="stem"),
    small("iresnet"),
    small("basic", stages=(Stage(1, 64, 64, (1, 2, 2), VIDEO_PYRAMIDS[4]),), dims=3),
]


@pytest.mark.parametrize("network", FAMILIES, ids=lambda network: f"{network.name}-{network.block}-{network.context}")
def test_every_parameter_is_trained(network: ResNet) -> None:
    model = randomise(network.build(num_classes=4, seed=0)).train()
    size = (3, 64, 64) if network.dims == 2 else (3, 4, 32, 32)
    loss = F.cross_entropy(model(torch.randn(2, *size)), torch.tensor([1, 3]))
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_the_same_seed_gives_the_same_weights_and_leaves_the_generator_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = pyconvresnet(18).build(seed=7)
    torch.randn(5)
    torch.set_rng_state(before)
    second = pyconvresnet(18).build(seed=7)
    assert torch.equal(torch.get_rng_state(), before)
    other = pyconvresnet(18).build(seed=8)
    weights = second.state_dict()
    assert all(torch.equal(value, weights[key]) for key, value in first.state_dict().items())
    assert not torch.equal(other.conv1.weight, first.conv1.weight)


def test_without_a_seed_torchs_generator_decides() -> None:
    torch.manual_seed(3)
    first = pyconvresnet(18).build()
    second = pyconvresnet(18).build()
    torch.manual_seed(3)
    again = pyconvresnet(18).build()
    assert not torch.equal(first.conv1.weight, second.conv1.weight)
    assert torch.equal(first.fc.weight, again.fc.weight)


def weights(model: nn.Module, *kinds: type[nn.Module]) -> Iterator[nn.Module]:
    return (module for module in model.modules() if isinstance(module, kinds))


@pytest.mark.parametrize("network", [pyconvresnet(50), small("basic", dims=3, stages=FAMILIES[-1].stages)])
def test_first_weights_are_he_normal_by_fan_out(network: ResNet) -> None:
    model = network.build(seed=0)
    for layer in weights(model, nn.Conv2d, nn.Conv3d):
        deviation = (2 / (layer.weight.shape[0] * layer.weight[0, 0].numel())) ** 0.5
        draws = layer.weight.numel()
        assert layer.weight.std().item() == pytest.approx(deviation, rel=5 / draws**0.5)
        assert abs(layer.weight.mean().item()) < 5 * deviation / draws**0.5
        assert layer.bias is None
    for layer in weights(model, nn.BatchNorm2d, nn.BatchNorm3d):
        assert (layer.weight == 1).all()
        assert (layer.bias == 0).all()


def test_the_meta_device_draws_nothing() -> None:
    before = torch.get_rng_state()
    with torch.device("meta"):
        model = build(pyconvhgresnet(152))
    assert all(p.is_meta for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), before)


def test_features_for_a_head_of_ones_own() -> None:
    model = pyconvresnet(18).build(num_classes=10, seed=0).eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        features = model.features(x)
        assert [f.shape[1] for f in features] == [64, 128, 256, 512]
        torch.testing.assert_close(model(x), model.fc(features[-1].mean(dim=(2, 3))))


def test_dropout_stands_between_pool_and_classifier() -> None:
    network = replace(small("bottleneck"), dropout=0.5)
    model = network.build(seed=0).train()
    seen = {}
    model.fc.register_forward_pre_hook(lambda _, inputs: seen.update(x=inputs[0]))
    model(torch.rand(4, 3, 32, 32))
    share = (seen["x"] == 0).double().mean().item()
    assert 0.3 < share < 0.7


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (small("plain"), "block must be one of basic, bottleneck, preact, iresnet, got 'plain'"),
        (small("bottleneck", dims=1), r"dims must be 2 \(images\) or 3 \(clips\), got 1"),
        (small("bottleneck", dims=3, context="se"), "for images here"),
        (small("iresnet", context="se"), "SE rescales basic and bottleneck blocks, not iresnet blocks"),
        (small("basic"), "a basic block does not expand: out_channels=64, width=16"),
        (small("iresnet", stages=(Stage(1, 16, 64, 1, PYRAMIDS[1]),)), "needs a start and an end block, got blocks=1"),
        (
            small("bottleneck", stages=(Stage(1, 24, 64, 1, PYRAMIDS[4]),)),
            r"resnet, stage 1: level 2 \(kernel 5\).*valid groups: 1, 2, 3, 6",
        ),
    ],
)
def test_a_network_that_cannot_be_is_refused(network: ResNet, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(network)


@pytest.mark.parametrize("shape", [(1, 1, 64, 64), (3, 64, 64), (1, 3, 4, 64, 64)])
def test_a_wrong_input_is_refused(shape: tuple[int, ...]) -> None:
    model = resnet(18).build(num_classes=2)
    with pytest.raises(ValueError, match=r"resnet18 takes \(N, 3, H, W\), got"):
        model(torch.zeros(shape))


def test_a_backbone_without_classifier_says_so() -> None:
    backbone = modules.ResNet(resnet(18), classifier=False)
    assert not any(name.startswith("fc") for name in backbone.state_dict())
    with pytest.raises(ValueError, match=r"ask for features\(x\)"):
        backbone(torch.zeros(1, 3, 64, 64))


def test_only_descriptions_are_built() -> None:
    with pytest.raises(ValueError, match="a ResNet, SegNet or SSD description is needed, got 'resnet50'"):
        build("resnet50")  # type: ignore[call-overload]
