"""Residual, SE and non-local blocks against their formulas, written out with `torch.nn.functional`."""

from dataclasses import replace

import torch
from networks import randomise, small
from torch import Tensor, nn
from torch.nn import functional as F

from pyconv import ResNet, nl_resnet, pyconvresnet, resnet
from pyconv.models import build

STEM = 64


def bn(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    """Batch norm in eval mode, by its formula."""
    mean, var, weight, bias = (
        state[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / torch.sqrt(var + 1e-5) * weight + bias


def pooled_projection(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    return bn(F.conv2d(F.max_pool2d(x, 3, 2, 1), state[f"{name}.conv.weight"]), state, f"{name}.bn")


def blocks(network: ResNet, stage: int = 1) -> tuple[nn.Sequential, dict[str, Tensor], Tensor]:
    """A stage of a randomised small network in double precision, its weights, and maps to feed it."""
    model = randomise(network.build(seed=0)).double().eval()
    x = torch.randn(2, STEM, 9, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    sequence = model.get_submodule(f"stage{stage}")
    return sequence, sequence.state_dict(), x


def test_se_bottleneck_rescales_before_the_sum() -> None:
    stage, state, x = blocks(small("bottleneck", context="se"))
    out = bn(F.conv2d(x, state["0.conv1.weight"]), state, "0.bn1").relu()
    out = bn(F.conv2d(out, state["0.conv2.weight"], stride=2, padding=1), state, "0.bn2").relu()
    out = bn(F.conv2d(out, state["0.conv3.weight"]), state, "0.bn3")
    hidden = (out.mean(dim=(2, 3)) @ state["0.se.fc1.weight"].T).relu()
    assert hidden.shape[1] == 64 // 16
    scale = torch.sigmoid(hidden @ state["0.se.fc2.weight"].T)
    out = out * scale[:, :, None, None]
    # 64 maps enter and leave, so the strided max pool alone is the shortcut.
    torch.testing.assert_close(stage[0](x), (out + F.max_pool2d(x, 3, 2, 1)).relu())


def test_preactivation_blocks() -> None:
    network = small("preact", pool="stem")
    stages = (replace(network.stages[0], out_channels=32), network.stages[1])
    stage, state, x = blocks(replace(network, stages=stages))
    active = bn(x, state, "0.bn1").relu()
    identity = bn(F.conv2d(active, state["0.shortcut.conv.weight"], stride=2), state, "0.shortcut.bn")
    out = bn(F.conv2d(active, state["0.conv1.weight"]), state, "0.bn2").relu()
    out = bn(F.conv2d(out, state["0.conv2.weight"], stride=2, padding=1), state, "0.bn3").relu()
    first = F.conv2d(out, state["0.conv3.weight"]) + identity
    torch.testing.assert_close(stage[0](x), first)
    out = F.conv2d(bn(first, state, "1.bn1").relu(), state["1.conv1.weight"])
    out = F.conv2d(bn(out, state, "1.bn2").relu(), state["1.conv2.weight"], padding=1)
    second = F.conv2d(bn(out, state, "1.bn3").relu(), state["1.conv3.weight"]) + first
    torch.testing.assert_close(stage[1](first), second)


def test_preactivation_network_normalises_once_after_the_last_block() -> None:
    model = randomise(small("preact", pool="stem").build(seed=0)).double().eval()
    state = model.state_dict()
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    stem = F.max_pool2d(F.conv2d(x, state["conv1.weight"], stride=2, padding=3), 3, 2, 1)
    last = model.stage2(model.stage1(stem))
    pooled = bn(last, state, "last_bn").relu().mean(dim=(2, 3))
    torch.testing.assert_close(model(x), pooled @ state["fc.weight"].T + state["fc.bias"])


def test_iresnet_stage_start_middle_and_end() -> None:
    network = small("iresnet")
    stages = (replace(network.stages[0], out_channels=32), network.stages[1])
    stage, state, x = blocks(replace(network, stages=stages))

    def body(active: Tensor, block: int, stride: int = 1) -> Tensor:
        out = bn(F.conv2d(active, state[f"{block}.conv1.weight"]), state, f"{block}.bn1").relu()
        out = F.conv2d(out, state[f"{block}.conv2.weight"], stride=stride, padding=1)
        return F.conv2d(bn(out, state, f"{block}.bn2").relu(), state[f"{block}.conv3.weight"])

    start = bn(body(x, 0, stride=2), state, "0.bn3") + pooled_projection(x, state, "0.shortcut")
    first_middle = body(start.relu(), 1) + start.relu()  # no first BN; in-place ReLU in the released networks
    middle = body(bn(first_middle, state, "2.bn0").relu(), 2) + first_middle
    end = bn(body(bn(middle, state, "3.bn0").relu(), 3) + middle, state, "3.bn3").relu()
    torch.testing.assert_close(stage(x), end)


def test_non_local_block_stands_before_the_last_block_and_follows_its_formula() -> None:
    stage, state, x = blocks(small("bottleneck", context="nonlocal"))
    assert list(dict(stage.named_children())) == ["0", "1", "2", "nonlocal", "3"]
    x = x[:, :, :7, :]  # odd: the max pool drops the last row, the queries keep it
    y = torch.empty(2, 32, 7, 8, dtype=torch.float64)
    pooled = F.max_pool2d(x, 2)

    def embed(name: str, maps: Tensor) -> Tensor:
        return F.conv2d(maps, state[f"nonlocal.{name}.weight"], state[f"nonlocal.{name}.bias"])

    theta, phi, g = embed("theta", x), embed("phi.1", pooled), embed("g.1", pooled)
    for n in range(2):
        for i in range(7):
            for j in range(8):
                scores = torch.stack([theta[n, :, i, j] @ phi[n, :, a, b] for a in range(3) for b in range(4)])
                values = torch.stack([g[n, :, a, b] for a in range(3) for b in range(4)])
                y[n, :, i, j] = torch.softmax(scores, dim=0) @ values
    torch.testing.assert_close(stage.get_submodule("nonlocal")(x), x + bn(embed("conv", y), state, "nonlocal.bn"))


def test_non_local_blocks_start_as_identity() -> None:
    plain, context = resnet(50).build(num_classes=3), nl_resnet(50).build(num_classes=3)
    missing, unexpected = context.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected
    assert all(".nonlocal." in name for name in missing)
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(context.eval()(x), plain.eval()(x))


def test_pooled_shortcuts_stand_where_table_2_says() -> None:
    def pooled(network: ResNet) -> tuple[bool, list[bool]]:
        with torch.device("meta"):
            model = build(network)
        shortcuts = [model.get_submodule(f"stage{n}.0.shortcut") for n in (1, 2, 3, 4)]
        return model.maxpool is not None, ["pool" in dict(s.named_children()) for s in shortcuts]

    assert pooled(pyconvresnet(50, pool="stem")) == (True, [False] * 4)
    assert pooled(pyconvresnet(50, pool="first_shortcut")) == (False, [True, False, False, False])
    assert pooled(pyconvresnet(50)) == (False, [True] * 4)
