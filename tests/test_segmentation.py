"""Segmentation heads against torchvision and their formulas; any image size; counts of Tables 5 and 6."""

from dataclasses import replace

import pytest
import torch
from networks import randomise
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.segmentation import deeplabv3

from pyconv import PYRAMIDS, ResNet, SegNet, preact_resnet, pyconvresnet, pyconvsegnet, resnet, segnet
from pyconv.architectures import Head, Stage
from pyconv.models import build
from pyconv.models import segmentation as modules

HEADS: tuple[Head, ...] = ("conv3x3", "ppm", "aspp", "pyconvph")


def narrow(head: Head, output_stride: int = 8, **changes: object) -> SegNet:
    """One block a stage, few maps, but the whole head."""
    stages = tuple(Stage(1, 16, 64 << i, 2 if i else 1, PYRAMIDS[1]) for i in range(4))
    return replace(segnet(ResNet("bottleneck", stages, "stem"), head, output_stride), num_classes=5, **changes)


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("size", [(473 // 8 + 6, 65), (64, 64), (50, 83), (8, 17)])
def test_any_image_size_in_training_and_in_eval(head: Head, size: tuple[int, int]) -> None:
    model = narrow(head).build(seed=0)
    for mode in (True, False):
        outputs = model.train(mode)(drawn(2, 3, *size))
        assert {name: tuple(logits.shape) for name, logits in outputs.items()} == {
            "out": (2, 5, *size),
            "aux": (2, 5, *size),
        }


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("output_stride", [8, 16])
def test_every_parameter_is_trained(head: Head, output_stride: int) -> None:
    model = narrow(head, output_stride).build(seed=0)
    outputs = model(drawn(2, 3, 97, 81))
    labels = torch.randint(5, (2, 97, 81))
    sum(F.cross_entropy(logits, labels) for logits in outputs.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_without_auxiliary_head_only_out_is_given() -> None:
    model = narrow("conv3x3", auxiliary=False).build(seed=0)
    assert list(model(drawn(2, 3, 32, 32))) == ["out"]
    assert not any(name.startswith("aux") for name in model.state_dict())


def test_out_and_aux_are_heads_on_stages_4_and_3_upsampled_after_classification() -> None:
    model = randomise(narrow("conv3x3").build(seed=0)).eval()
    x = drawn(1, 3, 50, 67)
    *_, stage3, stage4 = model.backbone.features(x)
    outputs = model(x)
    for name, logits in (("out", model.classifier(model.head(stage4))), ("aux", model.aux(stage3))):
        assert logits.shape == (1, 5, 7, 9)
        expected = F.interpolate(logits, (50, 67), mode="bilinear", align_corners=True)
        assert torch.equal(outputs[name], expected)
        corners = (slice(None), slice(None), slice(None, None, 49), slice(None, None, 66))
        assert torch.equal(outputs[name][corners], logits[:, :, ::6, ::8])  # aligned corners


@pytest.mark.parametrize(("output_stride", "rates"), [(8, (12, 24, 36)), (16, (6, 12, 18))])
def test_aspp_is_torchvisions(output_stride: int, rates: tuple[int, ...]) -> None:
    model = narrow("aspp", output_stride).build(seed=0)
    reference = randomise(deeplabv3.ASPP(512, list(rates))).eval()
    # torchvision: convs.0-3 are Sequential(conv, bn, relu), convs.4 is Sequential(pool, conv, bn, relu).
    ours = {}
    for key, value in reference.state_dict().items():
        _, branch, *rest = key.split(".") if key.startswith("convs") else ("", "", *key.split(".")[1:])
        if branch == "4":
            rest[0] = {"1": "conv", "2": "bn"}[rest[0]]
        ours[".".join(["branches", branch, *rest] if branch else ["merge", *rest])] = value
    head = model.head.eval()
    head.load_state_dict(ours)
    x = drawn(2, 512, 20, 23)
    torch.testing.assert_close(head(x), reference(x))


def bn_relu(x: Tensor, norm: nn.Module) -> Tensor:
    assert isinstance(norm, nn.BatchNorm2d)
    return F.relu(F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias))


def up(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, like.shape[2:], mode="bilinear", align_corners=True)


def test_ppm_by_its_formula() -> None:
    head = randomise(modules.PPM(64, 32)).eval()
    x = drawn(2, 64, 13, 10)
    maps = [x]
    for bins, branch in zip((1, 2, 3, 6), head.branches, strict=True):
        pooled = F.adaptive_avg_pool2d(x, bins)
        maps.append(up(bn_relu(F.conv2d(pooled, branch.conv.weight), branch.bn), x))
    merge, norm, _ = head.merge
    assert merge.weight.shape == (32, 128, 3, 3)  # 64 maps beside four times 16
    torch.testing.assert_close(head(x), bn_relu(F.conv2d(torch.cat(maps, 1), merge.weight, padding=1), norm))


def test_pyconvph_by_figure_6() -> None:
    head = randomise(modules.PyConvPH(64, width=64, out_channels=24)).eval()
    x = drawn(2, 64, 21, 17)

    def block(layers: nn.Sequential, maps: Tensor) -> Tensor:
        reduce, norm1, _, pyconv, norm2, _, fuse, norm3, _ = layers
        maps = bn_relu(F.conv2d(maps, reduce.weight), norm1)
        levels = [
            F.conv2d(maps, level.weight, padding=kernel // 2, groups=groups)
            for level, kernel, groups in zip(pyconv.levels, (3, 5, 7, 9), (1, 4, 8, 16), strict=True)
        ]
        return bn_relu(F.conv2d(bn_relu(torch.cat(levels, 1), norm2), fuse.weight), norm3)

    local = block(head.local_block, x)
    context = up(block(head.global_block, F.adaptive_avg_pool2d(x, 9)), x)
    merge, norm, _ = head.merge
    expected = bn_relu(F.conv2d(torch.cat([local, context], 1), merge.weight, padding=1), norm)
    torch.testing.assert_close(head(x), expected)


# Parameters of heads over 2048 maps, by hand: weights, then 2 a batch norm; then the 150-way classifier, the auxiliary.
BACKBONE = 25_557_032 - 2048 * 1000 - 1000
AUXILIARY = 9 * 1024 * 256 + 2 * 256 + 256 * 150 + 150
PYCONV4 = (9 * 512 + 25 * 128 + 49 * 64 + 81 * 32) * 128
HEAD_PARAMETERS = {
    "conv3x3": 9 * 2048 * 512 + 2 * 512 + 512 * 150 + 150,
    "ppm": 4 * (2048 * 512 + 2 * 512) + 9 * 4096 * 512 + 2 * 512 + 512 * 150 + 150,
    "aspp": (2 + 3 * 9) * 2048 * 256 + 5 * 512 + 1280 * 256 + 512 + 256 * 150 + 150,
    "pyconvph": 2 * (2048 * 512 + PYCONV4 + 512 * 512 + 6 * 512) + 9 * 1024 * 256 + 2 * 256 + 256 * 150 + 150,
}
TABLE_5 = {"conv3x3": 35.42, "ppm": 49.06, "aspp": 41.48, "pyconvph": 34.40}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("output_stride", [8, 16])
def test_parameters_by_hand_and_as_table_5_prints_them(head: Head, output_stride: int) -> None:
    with torch.device("meta"):
        found = sum(p.numel() for p in build(segnet(resnet(50), head, output_stride)).parameters())
    assert found == BACKBONE + HEAD_PARAMETERS[head] + AUXILIARY
    assert round(found / 1e6, 2) == TABLE_5[head]


@pytest.mark.parametrize(
    ("backbone", "millions"),
    [(pyconvresnet(50), 33.69), (resnet(101), 53.39), (pyconvresnet(101), 51.15), (pyconvresnet(152), 65.48)],
)
def test_parameters_as_table_6_prints_them(backbone: ResNet, millions: float) -> None:
    with torch.device("meta"):
        assert round(sum(p.numel() for p in build(pyconvsegnet(backbone)).parameters()) / 1e6, 2) == millions


@pytest.mark.parametrize("output_stride", [8, 16])
def test_maps_and_logits_at_the_papers_crop(output_stride: int) -> None:
    with torch.device("meta"):
        model = build(pyconvsegnet(pyconvresnet(50), output_stride))
        x = torch.empty(1, 3, 473, 473)
        side = 60 if output_stride == 8 else 30
        assert model.backbone.features(x)[3].shape == (1, 2048, side, side)
        assert model(x)["out"].shape == model(x)["aux"].shape == (1, 150, 473, 473)


@pytest.mark.parametrize("head", ["ppm", "aspp"])
def test_one_image_in_training_is_refused_where_a_bin_is_one_value(head: Head) -> None:
    model = narrow(head).build(seed=0)
    with pytest.raises(ValueError, match="train with at least 2 images a batch"):
        model(drawn(1, 3, 64, 64))
    assert model.eval()(drawn(1, 3, 64, 64))["out"].shape == (1, 5, 64, 64)


@pytest.mark.parametrize("head", ["conv3x3", "pyconvph"])
def test_one_image_is_enough_for_the_other_heads(head: Head) -> None:
    assert narrow(head).build(seed=0)(drawn(1, 3, 64, 64))["out"].isfinite().all()


@pytest.mark.parametrize(("output_stride", "size"), [(8, (7, 64)), (16, (64, 15))])
def test_too_small_images_are_refused(output_stride: int, size: tuple[int, int]) -> None:
    model = narrow("pyconvph", output_stride).build(seed=0)
    with pytest.raises(ValueError, match=rf"too small.*needs {output_stride}x{output_stride} or more"):
        model(drawn(2, 3, *size))
    assert model(drawn(2, 3, output_stride, output_stride))["out"].shape[2:] == (output_stride, output_stride)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (narrow("fcn"), "head must be conv3x3, ppm, aspp or pyconvph, got 'fcn'"),  # type: ignore[arg-type]
        (SegNet(resnet(50).truncated(3), "ppm"), "end each of four stages"),
        (segnet(preact_resnet(50), "ppm"), "end each of four stages activated"),
    ],
)
def test_a_network_that_cannot_be_is_refused(network: SegNet, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(network)


@pytest.mark.parametrize("shape", [(1, 1, 64, 64), (3, 64, 64)])
def test_a_wrong_input_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"takes \(N, 3, H, W\), got"):
        narrow("conv3x3").build(seed=0)(torch.zeros(shape))


def test_the_same_seed_gives_the_same_weights() -> None:
    first, second = (narrow("pyconvph").build(seed=5).state_dict() for _ in range(2))
    assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_a_classifiers_weights_fit_the_backbone() -> None:
    network = narrow("pyconvph", 16)
    undilated = replace(
        network.backbone, stages=tuple(replace(s, dilation=1) for s in network.backbone.stages), num_classes=9
    )
    trained = undilated.build(seed=3).state_dict()
    missing, unexpected = network.build(seed=0).backbone.load_state_dict(trained, strict=False)
    assert not missing
    assert set(unexpected) == {"fc.weight", "fc.bias"}
