"""Counting: each rule against arithmetic done by hand, the two methods against each other, and three other counters."""

import contextlib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import torchvision
import yaml
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import experiments
from pyconv.architectures import (
    Network,
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
from pyconv.complexity import (
    CONVENTIONS,
    Complexity,
    UncountedError,
    by_kind,
    count,
    count_module,
    params,
    stage_outputs,
)
from pyconv.complexity.shapes import ShapesOnly
from pyconv.complexity.tracing import analyse
from pyconv.models import build
from results.counts import printed_counts

PAPER = {entry.key: (entry.network, entry.input_size) for entry in printed_counts(experiments.tables())}
PUBLISHED = yaml.safe_load((Path(__file__).parent / "data/published.yaml").read_text(encoding="utf-8"))


class Lambda(nn.Module):
    """A function of the input, called outside every leaf module, beside what layers it is given."""

    def __init__(self, function, **layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.last = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self, x))


# module, input size, multiply-adds, thop 2019: from the sizes alone.
RULES = [
    # 3 in, 8 out, 3x3, 10x10 -> 5x5: 3 * 9 taps for each of 8 * 25 outputs
    (nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), (3, 10, 10), 3 * 9 * 200, 3 * 9 * 200),
    # a bias is one more tap of each input map in thop 2019
    (nn.Conv2d(3, 8, 3, stride=2, padding=1), (3, 10, 10), 3 * 9 * 200, 3 * 10 * 200),
    (nn.Conv2d(8, 8, 3, groups=4, bias=False), (8, 5, 5), 2 * 9 * 8 * 9, 2 * 9 * 8 * 9),
    (nn.Conv2d(8, 8, 3, groups=4), (8, 5, 5), 2 * 9 * 8 * 9, 2 * 10 * 8 * 9),
    (nn.Conv1d(4, 6, 5, bias=False), (4, 9), 4 * 5 * 6 * 5, 4 * 5 * 6 * 5),
    (nn.Conv3d(2, 4, (1, 3, 3), bias=False), (2, 4, 6, 6), 2 * 9 * 4 * 4 * 16, 2 * 9 * 4 * 4 * 16),
    (nn.Linear(7, 5), (7,), 35, 13 * 5),
    (nn.BatchNorm2d(4), (4, 3, 3), 0, 4 * 36),
    (nn.BatchNorm3d(4), (4, 2, 3, 3), 0, 4 * 72),
    (nn.ReLU(), (4, 3, 3), 0, 36),
    # an int kernel is not squared, a tuple is multiplied out
    (nn.MaxPool2d(3, 2, 1), (4, 8, 8), 0, 3 * 64),
    (nn.MaxPool2d((3, 3), 2, 1), (4, 8, 8), 0, 9 * 64),
    (nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)), (4, 2, 8, 8), 0, 9 * 4 * 2 * 16),
    (nn.AdaptiveAvgPool2d(1), (4, 7, 7), 0, (49 + 1) * 4),
    # 60 // 9 = 6: whole cells of a window
    (nn.AdaptiveAvgPool2d(9), (4, 60, 60), 0, (36 + 1) * 4 * 81),
    (nn.AdaptiveAvgPool3d(1), (4, 4, 7, 7), 0, (196 + 1) * 4),
    (nn.Sequential(nn.Dropout(0.5), nn.Identity(), nn.Flatten(), nn.Sigmoid(), nn.Softmax(1)), (4, 3, 3), 0, 0),
]


@pytest.mark.parametrize(("module", "size", "macs", "thop"), RULES, ids=lambda value: str(value)[:60])
def test_every_rule_by_hand(module: nn.Module, size: tuple[int, ...], macs: int, thop: int) -> None:
    assert count_module(module, size).flops == {"macs": macs, "thop-2019": thop}


def test_counts_are_integers_beyond_what_a_float_holds() -> None:
    wide = nn.Conv2d(2**14, 2**14, 3, padding=1, bias=False, device="meta")
    exact = 9 * 2**28 * (2**14 + 1) ** 2  # 57 bits set apart: no double holds it
    counted = count_module(wide, (2**14, 2**14 + 1, 2**14 + 1), ("macs", "thop-2019", "fvcore"))
    assert counted.flops == {"macs": exact, "thop-2019": exact, "fvcore": exact}
    assert all(type(value) is int for value in counted.flops.values())


def test_of_a_relu_only_the_last_call_counts_in_thop() -> None:
    relu = nn.ReLU(inplace=True)
    shared = nn.Sequential(relu, nn.Conv2d(2, 8, 1, bias=False), relu)
    assert by_kind(shared, (2, 5, 5), "thop-2019")["relu"] == 8 * 25
    apart = nn.Sequential(nn.ReLU(), nn.Conv2d(2, 8, 1, bias=False), nn.ReLU())
    assert by_kind(apart, (2, 5, 5), "thop-2019")["relu"] == (2 + 8) * 25


def test_a_shared_convolution_counts_each_call_and_its_parameters_once() -> None:
    conv = nn.Conv2d(4, 4, 3, padding=1, bias=False)
    shared = nn.Sequential(conv, conv)
    assert count_module(shared, (4, 5, 5)) == Complexity(144, {"macs": 2 * 144 * 25, "thop-2019": 2 * 144 * 25})


@pytest.mark.parametrize(
    "module",
    [
        nn.GroupNorm(2, 4),
        nn.ConvTranspose2d(4, 4, 2),
        nn.LSTM(4, 4),
        type("Odd", (nn.Conv2d,), {"forward": lambda self, x: x + self.weight.sum()})(4, 4, 1),
        type("Bare", (nn.Module,), {"forward": lambda _self, x: x + 1})(),
    ],
    ids=lambda module: type(module).__name__,
)
def test_a_leaf_module_without_a_rule_is_refused_by_name(module: nn.Module) -> None:
    with pytest.raises(UncountedError, match=rf"thop-2019: .*'1' \({type(module).__name__}\)"):
        count_module(nn.Sequential(nn.ReLU(), module), (4, 4, 4), ["thop-2019"])


@pytest.mark.parametrize(
    ("function", "operator", "conventions"),
    [
        (lambda m, x: F.conv2d(x, m.conv.weight), "convolution", ("macs", "thop-2019")),
        (lambda m, x: F.linear(x, m.fc.weight), r"(add)?mm with the weight 0\.fc\.weight", ("macs", "thop-2019")),
        (lambda m, x: x.transpose(1, 3) @ m.fc.weight.t(), r"mm with the weight 0\.fc\.weight", ("macs", "thop-2019")),
        (lambda _, x: torch.cumsum(x, 1), "cumsum", ("macs", "thop-2019")),
        (lambda _, x: F.relu(x), "relu", ("thop-2019",)),
        (lambda _, x: F.max_pool2d(x, 2), "max_pool2d", ("thop-2019",)),
        (lambda m, x: F.batch_norm(x, m.bn.running_mean, m.bn.running_var), "native_batch_norm", ("thop-2019",)),
    ],
    ids=["conv2d", "linear", "matmul", "cumsum", "relu", "max_pool2d", "batch_norm"],
)
def test_arithmetic_that_hides_from_the_hooks_is_refused(function, operator: str, conventions: tuple[str, ...]) -> None:
    hidden = nn.Sequential(Lambda(function, conv=nn.Conv2d(4, 4, 1), fc=nn.Linear(4, 4), bn=nn.BatchNorm2d(4)))
    for convention in ("macs", "thop-2019"):
        if convention in conventions:
            with pytest.raises(UncountedError, match=rf"{convention}: ({operator}).*in '0' outside every leaf module"):
                count_module(hidden, (4, 4, 4), [convention])
        else:
            assert count_module(hidden, (4, 4, 4), [convention]).flops == {convention: 0}


def test_sums_and_products_of_activations_are_free() -> None:
    attention = Lambda(lambda _, x: torch.softmax(x.flatten(2).transpose(1, 2) @ x.flatten(2), -1) + 1)
    assert count_module(attention, (4, 4, 4)).flops == {"macs": 0, "thop-2019": 0}
    assert by_kind(attention, (4, 4, 4), "fvcore") == {"matmul": 16 * 4 * 16}


def test_fvcore_refuses_an_operator_that_it_does_not_count() -> None:
    odd = nn.Sequential(nn.Conv2d(4, 4, 1), Lambda(lambda _, x: torch.erf(torch.cumsum(x, 1))))
    with pytest.raises(UncountedError, match="fvcore: no handle counts aten::cumsum, aten::erf"):
        count_module(odd, (4, 4, 4), ["fvcore"])
    with pytest.raises(UncountedError, match="padding='same'"):
        count_module(nn.Conv2d(4, 4, 3, padding="same"), (4, 4, 4), ["fvcore"])


def test_unknown_conventions_and_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="'flops' is none of fvcore, macs, thop-2019"):
        count(resnet(50), conventions=["flops"])
    with pytest.raises(ValueError, match=r"input_size must be positive integers.*got \(3, 0, 224\)"):
        count(resnet(50), (3, 0, 224))


def test_a_users_module_stays_as_it_is() -> None:
    model = torchvision.models.resnet18()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    count_module(model, (3, 64, 64), CONVENTIONS)
    assert model.training
    assert all(parameter.device.type == "cpu" and parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert hooks == [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]


def test_half_precision_counts_the_same() -> None:
    model = torchvision.models.resnet18()
    counted = count_module(model, (3, 64, 64), CONVENTIONS)
    assert count_module(model.half(), (3, 64, 64), CONVENTIONS) == counted


def test_torchvisions_networks_count_as_ours() -> None:
    for theirs, ours in (
        (torchvision.models.resnet50, resnet(50)),
        (torchvision.models.resnet152, resnet(152)),
        (torchvision.models.resnext50_32x4d, resnext(50)),
    ):
        with torch.device("meta"):
            model = theirs()
        assert count_module(model, (3, 224, 224), CONVENTIONS) == count(ours, conventions=CONVENTIONS)


def test_torchvisions_own_numbers() -> None:
    for weights, ours in (
        (torchvision.models.ResNet50_Weights.IMAGENET1K_V1, resnet(50)),
        (torchvision.models.ResNet101_Weights.IMAGENET1K_V1, resnet(101)),
        (torchvision.models.ResNet152_Weights.IMAGENET1K_V1, resnet(152)),
        (torchvision.models.ResNeXt50_32X4D_Weights.IMAGENET1K_V1, resnext(50)),
    ):
        counted = count(ours, conventions=["macs"])
        assert counted.params == weights.meta["num_params"]
        assert round(counted.flops["macs"] / 1e9, 3) == weights.meta["_ops"]


def test_parameters_read_in_public_sources() -> None:
    exact = {
        resnet(50): 25_557_032,
        resnet(101): 44_549_160,
        resnet(152): 60_192_808,
        pyconvresnet(50): 24_847_720,
        pyconvresnet(101): 42_307_944,
        pyconvresnet(152): 56_640_872,
        pyconvhgresnet(50): 25_234_728,
        pyconvhgresnet(101): 44_627_240,
        pyconvhgresnet(152): 60_657_960,
        ssd(50): 22_894_902,
        ssd(101): 41_887_030,
        pyconvssd(50): 21_548_662,
        pyconvssd(101): 39_008_886,
        resnet3d(50): 46_999_760,
        pyconvresnet3d(50): 45_373_072,
        replace(pyconvresnet3d(50), num_classes=174): 44_909_998,
    }
    for network, number in exact.items():
        with torch.device("meta"):
            assert params(build(network)) == number


SHALLOW = (
    # params M, GFLOPs as the authors count them
    (pyconvresnet(18, second_conv="1x1"), "5.91", "0.88"),
    (pyconvresnet(34, second_conv="1x1"), "11.09", "1.75"),
    (pyconvresnet(18), "11.21", "1.55"),
    (pyconvresnet(34), "20.44", "3.09"),
)


@pytest.mark.parametrize(("network", "millions", "gflops"), SHALLOW, ids=lambda value: getattr(value, "name", value))
def test_the_authors_counts_of_depths_18_and_34(network: Network, millions: str, gflops: str) -> None:
    counted = count(network)
    assert f"{counted.params / 1e6:.2f}" == millions
    assert f"{counted.flops['thop-2019'] / 1e9:.2f}" == gflops


# One of each kind that traces differently, at sizes that plain fvcore runs in a moment.
PLAIN = [
    (resnet(50), (3, 224, 224)),
    (pyconvresnet(50), (3, 224, 224)),
    (preact_resnet(50), (3, 65, 97)),
    (nl_resnet(50), (3, 65, 97)),
    (se_resnet(50), (3, 65, 97)),
    (segnet(resnet(50), "aspp"), (3, 97, 97)),
    (segnet(resnet(50), "ppm", 16), (3, 97, 65)),
    (pyconvsegnet(pyconvresnet(50)), (3, 97, 97)),
    (pyconvssd(50), (3, 300, 300)),
    (pyconvresnet3d(50), (3, 4, 65, 65)),
]


def plain(network: Network, size: tuple[int, ...]) -> dict[str, int]:
    """fvcore as everybody calls it: the model on the CPU, run once."""
    return dict(analyse(build(network).eval(), torch.zeros(1, *size)))


@pytest.mark.parametrize(("network", "size"), PLAIN, ids=lambda value: getattr(value, "name", ""))
def test_plain_fvcore_gives_the_same(network: Network, size: tuple[int, ...]) -> None:
    with torch.device("meta"):
        model = build(network)
    assert by_kind(model, size, "fvcore") == plain(network, size)


@pytest.mark.slow
@pytest.mark.parametrize("key", PAPER, ids=lambda key: f"{PAPER[key][0].name}-{key[1][-1]}")
def test_plain_fvcore_gives_the_same_on_every_network_of_the_paper(key) -> None:
    network, size = PAPER[key]
    assert count(network, size, ["fvcore"]).flops["fvcore"] == sum(plain(network, size).values())


def test_plain_fvcore_gives_the_same_for_every_kind_of_convolution() -> None:
    layers = nn.Sequential(
        nn.Conv2d(3, 8, (3, 5), (2, 1), (1, 2), groups=1),
        nn.ConvTranspose2d(8, 8, 3, 2, 1, 1, groups=4, dilation=2),
        nn.Conv2d(8, 8, 3, dilation=2, groups=8, bias=False),
        nn.Flatten(2),
        nn.Conv1d(8, 4, 7, 3, 2),
        nn.ConvTranspose1d(4, 2, 3),
        nn.Unflatten(1, (1, 2, 1)),
        nn.Conv3d(1, 4, (2, 1, 3), padding=(0, 0, 1)),
        nn.ConvTranspose3d(4, 2, 2, 2),
    )
    assert by_kind(layers, (3, 20, 20), "fvcore") == dict(analyse(layers, torch.zeros(1, 3, 20, 20)))


@pytest.mark.parametrize(
    "network",
    [resnet(50), pyconvresnet(50), nl_resnet(50), se_resnet(50), ssd(50), pyconvsegnet(resnet(50)), pyconvresnet3d(50)],
    ids=lambda network: network.name,
)
def test_hooks_and_fvcore_agree_where_their_rules_overlap(network: Network) -> None:
    with torch.device("meta"):
        model = build(network)
    macs, thop, fvcore = (by_kind(model, network.input_size, name) for name in ("macs", "thop-2019", "fvcore"))
    assert macs["convolution"] == fvcore["conv"]
    assert macs.get("linear", 0) == fvcore.get("linear", 0)
    # eval: one multiply-add a value and one for the affine part; thop: subtract, divide, gamma, beta
    assert thop["batch_norm"] == 2 * fvcore["batch_norm"]


@pytest.mark.parametrize(
    "network",
    [resnext(50), pyconvhgresnet(50), nl_resnet(50), se_resnet(50), segnet(resnet(50), "aspp", 16), ssd(50)],
    ids=lambda network: network.name,
)
def test_torchs_flop_counter_is_a_third_witness(network: Network) -> None:
    with torch.device("meta"):
        model, example = build(network).eval(), torch.empty(1, *network.input_size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(example)
    found = {str(operator): flops for operator, flops in counter.get_flop_counts()["Global"].items()}
    # It counts the products of two activations of a non-local block (bmm), too, which `macs` leaves out.
    products = found.pop("aten.bmm", 0)
    assert sum(found.values()) == 2 * count(network, conventions=["macs"]).flops["macs"]
    assert (products > 0) == (network == nl_resnet(50))
    assert products == 2 * by_kind(model, network.input_size, "fvcore").get("matmul", 0)


def test_equation_1_is_what_one_more_level_costs() -> None:
    """(2,2,2,1) to (3,3,2,1) to (4,3,2,1): each pyramid has fewer parameters and multiply-adds, as section 4 says."""
    levels = [(1, 1, 1, 1), (2, 2, 2, 1), (3, 3, 2, 1), (4, 3, 2, 1)]
    counts = [count(pyconvresnet(50, each, "stem")) for each in levels]
    assert all(a.params > b.params and a.flops["macs"] > b.flops["macs"] for a, b in pairwise(counts))


def outputs(model: nn.Module, size: tuple[int, ...], *modes) -> list[tuple[str, torch.Size, torch.dtype]]:
    """Shape and type of what every module gives, in order, on the meta device."""
    found: list[tuple[str, torch.Size, torch.dtype]] = []
    handles = [
        module.register_forward_hook(
            lambda _m, _i, y, name=name: found.append((name, y.shape, y.dtype)) if isinstance(y, Tensor) else None
        )
        for name, module in model.named_modules()
    ]
    with contextlib.ExitStack() as stack, torch.no_grad():
        for mode in modes:
            stack.enter_context(mode)
        model(torch.empty(1, *size, device="meta"))
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize(("network", "size"), PLAIN, ids=lambda value: getattr(value, "name", ""))
def test_shapes_by_arithmetic_are_torchs_own(network: Network, size: tuple[int, ...]) -> None:
    with torch.device("meta"):
        model = build(network).eval()
    assert outputs(model, size, ShapesOnly()) == outputs(model, size)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: F.conv2d(x, torch.empty(4, 3, 3, 3, device="meta")),
        lambda x: F.conv2d(x, torch.empty(4, 4, 9, 9, device="meta")),
        lambda x: F.linear(x.flatten(1), torch.empty(2, 100, device="meta"), torch.empty(3, device="meta")),
        lambda x: x.flatten(1) @ torch.empty(7, 2, device="meta"),
        lambda x: torch.cat([x, x[:, :, :3]], 1),
        lambda x: x + x[:, :3],
        lambda x: x * x[:, :3],
        lambda x: F.batch_norm(x, torch.empty(3, device="meta"), torch.empty(3, device="meta")),
    ],
)
def test_what_does_not_fit_is_torchs_error(call) -> None:
    with pytest.raises(RuntimeError), ShapesOnly():
        call(torch.empty(2, 4, 5, 5, device="meta"))


def test_broadcasts_and_odd_reductions_are_torchs() -> None:
    x = torch.empty(2, 4, 5, 5, device="meta")
    with ShapesOnly():
        assert (x + x[:1]).shape == (x[:1] * x).shape == (x * 2).shape == x.shape
        assert x.mean((0, 2)).shape == (4, 5)
        assert x.mean((2, 3)).shape == (2, 4)
        assert x.mean((-1, 2), keepdim=True).shape == (2, 4, 1, 1)
        assert torch.cat([x, x], -1).shape == (2, 4, 5, 10)
        assert (x.half() * x).dtype == (x.half() + x).dtype == torch.float32
        statistics = torch.ops.aten.native_batch_norm(x, None, None, None, None, True, 0.1, 1e-5)
        assert [s.shape for s in statistics] == [x.shape, (4,), (4,)]
        assert F.conv_transpose2d(x, torch.empty(4, 2, 3, 3, device="meta"), stride=2).shape == (2, 2, 11, 11)


def sides(text: str) -> list[int]:
    return [int(side) for side in text.split("x")]


def kernel(value: int | str, dims: int) -> list[int]:
    return [value] * dims if isinstance(value, int) else sides(value)


@pytest.mark.parametrize(
    ("table", "header", "network"),
    [
        ("table1", "ResNet-50", resnet(50)),
        ("table1", "PyConvResNet-50", pyconvresnet(50)),
        ("table1", "PyConvHGResNet-50", pyconvhgresnet(50)),
        ("table9", "ResNet3D-50", resnet3d(50)),
        ("table9", "PyConvResNet3D-50", pyconvresnet3d(50)),
    ],
)
def test_the_built_stages_are_those_of_tables_1_and_9(table: str, header: str, network: Network) -> None:
    stem, *stages, head = stage_outputs(network)
    page = PUBLISHED[table]
    assert stem["layers"][0]["output"] == sides(page["stem"]["output"])
    assert [layer["op"] for layer in stem["layers"][1:]] == (["max_pool"] if page["stem"][header]["pool"] else [])
    for row, printed in zip(stages, page["stages"], strict=True):
        cell, dims = printed[header], len(row["output"])
        assert row["stage"] == f"stage{printed['stage']}"
        assert row["output"] == sides(printed["output"])
        assert row["blocks"] == cell["blocks"]
        reduce, spatial, expand = row["layers"]
        assert (reduce["kernel"], reduce["out"]) == ([1] * dims, cell.get("reduce_1x1", cell.get("reduce")))
        assert (expand["kernel"], expand["out"]) == ([1] * dims, cell.get("expand_1x1", cell.get("expand")))
        # The page prints the largest kernel first.
        levels = [[level["kernel"], level["out"], level["groups"]] for level in spatial.get("levels", [spatial])[::-1]]
        expected = cell.get("levels") or cell["spatial"]
        assert levels == [[kernel(size, dims), maps, groups] for size, maps, groups in expected]
        pooled = [layer["op"] for layer in row["shortcut"]] == ["max_pool", "conv"]
        assert pooled == (page["stem"][header]["pool"] is None)
    assert [layer["op"] for layer in head["layers"]] == ["avg_pool", "linear"]
    assert head["output"] == [network.num_classes]


def test_stage_outputs_refuse_what_the_tables_cannot_show() -> None:
    with pytest.raises(ValueError, match="not a SSD"):
        stage_outputs(ssd(50))
    with pytest.raises(ValueError, match="of stage1 differs"):
        stage_outputs(nl_resnet(50))
