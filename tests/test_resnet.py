"""Classification networks against torchvision, and against the paper's exact counts and sizes."""

from dataclasses import replace

import pytest
import torch
import torchvision
from networks import randomise
from torch.nn import functional as F

from pyconv import (
    ResNet,
    iresnet,
    nl_resnet,
    preact_resnet,
    pyconvhgresnet,
    pyconvresnet,
    pyconvresnet3d,
    resnet,
    resnet3d,
    resnext,
    se_resnet,
)
from pyconv.models import build


def from_torchvision(key: str) -> str:
    key = key.replace("downsample.0", "shortcut.conv").replace("downsample.1", "shortcut.bn")
    return key.replace("layer", "stage")


TORCHVISION = [
    (resnet(18), torchvision.models.resnet18),
    (resnet(34), torchvision.models.resnet34),
    (resnet(50), torchvision.models.resnet50),
    (resnet(101), torchvision.models.resnet101),
    (resnet(152), torchvision.models.resnet152),
    (resnext(50), torchvision.models.resnext50_32x4d),
]


@pytest.mark.parametrize(("network", "builder"), TORCHVISION, ids=lambda value: getattr(value, "name", ""))
def test_same_outputs_as_torchvision_with_the_same_weights(network: ResNet, builder) -> None:
    reference = randomise(builder(weights=None)).eval()
    model = network.build().eval()
    model.load_state_dict({from_torchvision(k): v for k, v in reference.state_dict().items()})  # strict
    x = torch.randn(2, 3, 65, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(model(x), reference(x))


def test_same_gradients_as_torchvision() -> None:
    reference = torchvision.models.resnet18(weights=None, num_classes=7).double()
    model = resnet(18).build(num_classes=7).double()
    model.load_state_dict({from_torchvision(k): v for k, v in reference.state_dict().items()})
    x = torch.randn(4, 3, 33, 33, dtype=torch.float64)
    for network in (model, reference):
        F.cross_entropy(network(x), torch.tensor([0, 3, 6, 3])).backward()
    expected = {from_torchvision(name): p.grad for name, p in reference.named_parameters()}
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-9, atol=1e-12)


PARAMETERS = [
    (resnet(18), 11_689_512),  # torchvision's resnet18, 34
    (resnet(34), 21_797_672),
    (resnet(50), 25_557_032),
    (resnet(101), 44_549_160),
    (resnet(152), 60_192_808),
    (pyconvresnet(50), 24_847_720),
    (pyconvresnet(101), 42_307_944),
    (pyconvresnet(152), 56_640_872),
    (pyconvhgresnet(50), 25_234_728),
    (pyconvhgresnet(101), 44_627_240),
    (pyconvhgresnet(152), 60_657_960),
    (resnet3d(50), 46_999_760),
    (pyconvresnet3d(50), 45_373_072),
    (replace(pyconvresnet3d(50), num_classes=174), 44_909_998),
]


@pytest.mark.parametrize(("network", "expected"), PARAMETERS, ids=lambda value: getattr(value, "name", ""))
def test_exact_parameters(network: ResNet, expected: int) -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in build(network).parameters()) == expected


@pytest.mark.parametrize(
    ("network", "millions"),
    [
        (preact_resnet(50), 25.56),
        (preact_resnet(101), 44.55),
        (preact_resnet(152), 60.19),
        (iresnet(50), 25.56),
        (iresnet(101), 44.55),
        (iresnet(152), 60.19),
        (nl_resnet(50), 36.72),
        (nl_resnet(101), 55.71),
        (nl_resnet(152), 71.35),
        (se_resnet(50), 28.07),
        (se_resnet(101), 49.29),
        (se_resnet(152), 66.77),
        (resnext(50), 25.03),
        (resnext(101), 44.18),
        (resnext(152), 59.95),
        (pyconvresnet(50, (2, 2, 2, 1), "stem"), 24.91),
        (pyconvresnet(50, (3, 3, 2, 1), "stem"), 24.85),
        (pyconvresnet(50, only="top", pool="stem"), 24.24),
        (pyconvresnet(50, (5, 4, 3, 2), "stem"), 23.45),
        (pyconvresnet(18, second_conv="1x1"), 5.91),
        (pyconvresnet(34, second_conv="1x1"), 11.09),
        (pyconvresnet(18), 11.21),
        (pyconvresnet(34), 20.44),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_parameters_as_printed(network: ResNet, millions: float) -> None:
    with torch.device("meta"):
        assert round(sum(p.numel() for p in build(network).parameters()) / 1e6, 2) == millions


def shapes(network: ResNet, size: tuple[int, ...]) -> list[tuple[int, ...]]:
    with torch.device("meta"):
        return [tuple(f.shape[1:]) for f in build(network).features(torch.empty(2, *size))]


@pytest.mark.parametrize("network", [resnet(50), pyconvresnet(50), pyconvhgresnet(50), pyconvresnet(101)])
def test_stages_of_table_1(network: ResNet) -> None:
    expected = [(256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7)]
    assert shapes(network, network.input_size) == expected


@pytest.mark.parametrize("network", [resnet3d(50), pyconvresnet3d(50)])
def test_stages_of_table_9(network: ResNet) -> None:
    expected = [(256, 16, 56, 56), (512, 16, 28, 28), (1024, 8, 14, 14), (2048, 4, 7, 7)]
    assert shapes(network, network.input_size) == expected


def test_stem_of_tables_1_and_9() -> None:
    with torch.device("meta"):
        image, clip = torch.empty(1, 3, 224, 224), torch.empty(1, 3, 16, 224, 224)
        assert build(resnet(50)).stem(image).shape[1:] == (64, 56, 56)  # its max pool included
        assert build(pyconvresnet(50)).stem(image).shape[1:] == (64, 112, 112)
        assert build(resnet3d(50)).stem(clip).shape[1:] == (64, 16, 56, 56)
        assert build(pyconvresnet3d(50)).stem(clip).shape[1:] == (64, 16, 112, 112)


@pytest.mark.parametrize("network", [resnet(50), pyconvresnet(50), iresnet(50), pyconvhgresnet(50)])
@pytest.mark.parametrize(("output_stride", "last"), [(8, (60, 60)), (16, (30, 30)), (32, (15, 15))])
def test_output_stride_changes_sizes_and_no_parameter(
    network: ResNet, output_stride: int, last: tuple[int, int]
) -> None:
    dilated = network.with_output_stride(output_stride)
    stage3 = (60, 60) if output_stride == 8 else (30, 30)
    found = [shape[1:] for shape in shapes(dilated, (3, 473, 473))]
    assert found == [(119, 119), (60, 60), stage3, last]
    with torch.device("meta"):
        before, after = build(network).state_dict(), build(dilated).state_dict()
    assert {k: v.shape for k, v in before.items()} == {k: v.shape for k, v in after.items()}


def test_a_dilated_stage_dilates_every_spatial_convolution() -> None:
    with torch.device("meta"):
        model = build(pyconvresnet(50).with_output_stride(8))
    for number, dilation in ((1, 1), (2, 1), (3, 2), (4, 4)):
        for block in model.get_submodule(f"stage{number}"):
            for layer in getattr(block.conv2, "levels", [block.conv2]):
                assert layer.dilation == (dilation, dilation)
                assert layer.padding == tuple(dilation * (k // 2) for k in layer.kernel_size)


def test_a_truncated_network_is_the_backbone_of_ssd() -> None:
    expected = [(256, 75, 75), (512, 38, 38), (1024, 38, 38)]
    assert shapes(resnet(50).truncated(3), (3, 300, 300)) == expected
    assert shapes(pyconvresnet(101).truncated(3), (3, 300, 300)) == expected
