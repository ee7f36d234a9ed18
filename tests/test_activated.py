"""ReLUs and sums within a convolution's last pass give what the layers give, called one after the other."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pyconv import PYRAMIDS, PyConv, pyconvhgresnet, pyconvresnet, resnet
from pyconv.architectures import ResNet
from pyconv.formulations.planner import POLICIES
from pyconv.models import folded as folding
from pyconv.models.activated import Activated, ActivatedBlock
from pyconv.models.folded import folded
from pyconv.pyramid import HG_PYRAMIDS, VIDEO_PYRAMIDS, Pyramid


def drawn(*shape: int, last: bool = True) -> Tensor:
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(3))
    memory = {4: torch.channels_last, 5: torch.channels_last_3d}[len(shape)]
    return x.contiguous(memory_format=memory) if last else x


@pytest.mark.parametrize("last", [True, False], ids=["channels last", "channels first"])
@pytest.mark.parametrize("groups", [1, 4])
@torch.inference_mode()
def test_of_a_convolution(groups: int, last: bool) -> None:
    conv, x = nn.Conv2d(16, 32, 3, stride=2, padding=1, groups=groups), drawn(2, 16, 9, 11, last=last)
    other = drawn(2, 32, 5, 6, last=last)
    kept = other.clone()
    assert torch.equal(Activated(conv, relu=True)(x), functional.relu(conv(x)))
    torch.testing.assert_close(
        Activated(conv, relu=True)(x, other), functional.relu(conv(x) + other), rtol=0, atol=1e-6
    )
    assert torch.equal(other, kept)


@pytest.mark.parametrize("policy", [policy for policy in POLICIES if policy != "auto"])
@pytest.mark.parametrize("last", [True, False], ids=["channels last", "channels first"])
@pytest.mark.parametrize(
    ("pyramid", "size"),
    [(PYRAMIDS[4], (9, 8)), (PYRAMIDS[2], (7, 7)), (HG_PYRAMIDS[0], (5, 6)), (VIDEO_PYRAMIDS[3], (3, 6, 5))],
    ids=["four levels", "two", "grouped", "clips"],
)
@torch.inference_mode()
def test_of_a_pyramid(pyramid: Pyramid, size: tuple[int, ...], last: bool, policy: str) -> None:
    layer = PyConv(128, 128, pyramid, bias=True, formulation=policy)
    x = drawn(2, 128, *size, last=last)
    found = layer.activated(x)
    assert torch.equal(found, functional.relu(layer(x)))
    assert found.is_contiguous(memory_format={4: torch.channels_last, 5: torch.channels_last_3d}[x.ndim]) == last
    assert float((found == 0).double().mean()) > 0.2


@torch.inference_mode()
def test_not_a_number_is_not_hidden() -> None:
    layer, x = PyConv(64, 64, PYRAMIDS[4], formulation="fixed"), drawn(1, 64, 12, 12)
    x[0, 5, 6, 6] = torch.nan
    assert torch.equal(layer.activated(x).isnan(), layer(x).isnan())
    assert layer.activated(x).isnan().any()


def test_what_cannot_be_is_refused_as_a_convolution_refuses_it() -> None:
    layer = PyConv(64, 64, PYRAMIDS[4], formulation="fixed")
    with torch.inference_mode():
        for wrong in (torch.zeros(1, 32, 9, 9), torch.zeros(64, 9)):
            with pytest.raises(RuntimeError, match=r"[Ee]xpected"):
                layer.activated(wrong)
        assert layer.activated(torch.zeros(0, 64, 9, 9)).shape == (0, 64, 9, 9)


def test_with_gradients_the_layers_are_called_one_by_one() -> None:
    conv, x = nn.Conv2d(8, 8, 3, padding=1), drawn(1, 8, 6, 6)
    Activated(conv, relu=True)(x, x).sum().backward()
    assert conv.weight.grad is not None
    layer = PyConv(64, 64, PYRAMIDS[4], formulation="fixed")
    layer.activated(drawn(1, 64, 6, 6)).sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())


@pytest.mark.parametrize("network", [resnet(18), pyconvresnet(50), pyconvhgresnet(50)], ids=lambda one: one.name)
@torch.inference_mode()
def test_a_folded_network_computes_the_same(network: ResNet, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the bit on several threads; on one, torch itself computes a 1x1 without oneDNN, in another order."""
    model, x = network.build(7, seed=0).eval(), drawn(2, 3, 64, 64)
    found = folded(model)
    assert any(isinstance(module, ActivatedBlock) for module in found.modules())
    monkeypatch.setattr(folding, "activate", lambda _: None)
    expected = folded(model)(x)
    torch.testing.assert_close(found(x), expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
