"""ReLUs and sums within a convolution's last pass give what the layers give, called one after the other."""

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pyconv import PYRAMIDS, PyConv, pyconvhgresnet, pyconvresnet, resnet
from pyconv.architectures import ResNet
from pyconv.formulations.planner import POLICIES
from pyconv.models import folded as folding
from pyconv.models.activated import Activated, ActivatedBlock, ActivatedStage
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


@torch.inference_mode()
def test_a_block_writes_over_no_tensor_that_somebody_holds() -> None:
    """Neither the images, nor a stage's output that `features` gives, nor what a hook has seen."""
    model, x = folded(pyconvresnet(50).build(7, seed=0)), drawn(2, 3, 64, 64)
    given, expected = x.clone(), [each.clone() for each in model.features(x)]
    assert torch.equal(x, given)
    assert all(torch.equal(one, other) for one, other in zip(model.features(x), expected, strict=True))
    seen: list[tuple[Tensor, Tensor]] = []
    for stage in model.modules():
        if isinstance(stage, ActivatedStage):
            for layer in stage.modules():
                if isinstance(layer, (Activated, ActivatedBlock, nn.Sequential)):
                    layer.register_forward_hook(lambda _module, _given, out: seen.append((out, out.clone())))
    hooked = model.features(x)
    assert all(torch.equal(one, other) for one, other in zip(hooked, expected, strict=True))
    assert len(seen) > 60
    assert all(torch.equal(out, then) for out, then in seen)


@torch.inference_mode()
def test_blocks_of_a_stage_write_over_each_other() -> None:
    """Else every block of stage 1 would ask the system for 25 megabytes, which take longer than the sum."""
    model, x = folded(resnet(50).build(7, seed=0)), drawn(1, 64, 16, 16)
    places = set()
    for block in model.get_submodule("stage1"):
        x = block(x, overwrite=bool(places))
        places.add(x.data_ptr())
    assert len(places) == 1


@pytest.mark.parametrize("size", [(7, 7), (12, 9)])
@torch.inference_mode()
def test_a_dense_3x3_of_many_maps_is_winograd_s(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYCONV_FORMULATION", "fixed")
    conv, x, other = nn.Conv2d(64, 80, 3, padding=1), drawn(2, 64, *size), drawn(2, 80, *size)
    plain = conv(x)
    for relu in (False, True):
        layer = Activated(conv, relu=relu)
        for added in (None, other):
            expected = plain if added is None else plain + added
            expected = functional.relu(expected) if relu else expected
            found = layer(x, added)
            assert not torch.equal(found, expected)  # rounded in another way
            torch.testing.assert_close(found, expected, rtol=0, atol=2e-4)  # 114 roundings of up to 30
        monkeypatch.setenv("PYCONV_FORMULATION", "reference")
        assert torch.equal(layer(x), functional.relu(plain) if relu else plain)
        monkeypatch.setenv("PYCONV_FORMULATION", "fixed")
    held = other.clone()
    assert Activated(conv, relu=True)(x, held, overwrite=True).data_ptr() == held.data_ptr()


def test_a_copy_of_a_network_lays_out_its_own_weights() -> None:
    first = folded(resnet(18).build(7, seed=0))
    x = drawn(1, 3, 64, 64)
    with torch.inference_mode():
        expected = first(x)
    second = pickle.loads(pickle.dumps(copy.deepcopy(first)))
    with torch.no_grad():
        second.fc.bias.add_(1)
        for module in second.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.zero_()
    with torch.inference_mode():
        assert torch.equal(first(x), expected)
        assert not torch.equal(second(x), expected)
