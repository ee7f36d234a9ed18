"""Winograd's convolution is the convolution: every size, dilation and batch, to float32's rounding; who gets it."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from pyconv import PYRAMIDS
from pyconv.layers import PyConv
from pyconv.models import winograd
from pyconv.models.winograd import Winograd, use_winograd

ALWAYS = float("inf")  # times the convolution's own multiplications: no size is left to the convolution itself


@pytest.fixture(autouse=True)
def the_same_weights() -> Iterator[None]:
    """Layers draw their weights: how far rounding goes depends on them."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        yield


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dilation", [1, 2, 4])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (4, 4), (5, 13), (16, 7)])
def test_it_is_the_convolution(
    size: tuple[int, int], dilation: int, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(winograd, "WORTH", ALWAYS)
    convolution = nn.Conv2d(6, 3, 3, padding=dilation, dilation=dilation, bias=bias)
    x = drawn(2, 6, *size)
    with torch.no_grad():
        found = Winograd(convolution)(x)
        expected = convolution.double()(x.double())
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5)


def test_in_float64_it_is_the_convolution_almost_to_the_last_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "WORTH", ALWAYS)
    convolution = nn.Conv2d(5, 4, 3, padding=2, dilation=2).double()
    x = drawn(1, 5, 11, 10).double()
    with torch.no_grad():
        torch.testing.assert_close(Winograd(convolution)(x), convolution(x), rtol=0, atol=1e-13)


def test_a_change_of_one_pixel_reaches_its_dilated_neighbours_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "WORTH", ALWAYS)
    convolution = nn.Conv2d(1, 1, 3, padding=4, dilation=4, bias=False)
    x = torch.zeros(1, 1, 20, 20)
    x[..., 9, 9] = 1
    with torch.no_grad():
        reached = Winograd(convolution)(x)[0, 0].abs() > 1e-5
    assert reached.nonzero().tolist() == [[y, x] for y in (5, 9, 13) for x in (5, 9, 13)]


def test_only_large_dense_convolutions_of_stride_1_are_replaced() -> None:
    others = [
        nn.Conv2d(128, 128, 3, padding=1, stride=2),
        nn.Conv2d(128, 128, 3, padding=1, groups=2),
        nn.Conv2d(128, 128, 3),
        nn.Conv2d(128, 127, 3, padding=1),
        nn.Conv2d(128, 128, 1),
        nn.Conv2d(128, 128, 5, padding=2),
    ]
    model = nn.Sequential(*others, nn.Conv2d(128, 128, 3, padding=1), PyConv(256, 256, PYRAMIDS[2]))
    use_winograd(model)
    assert list(model[:6]) == others
    replaced = [name for name, module in model.named_modules() if isinstance(module, Winograd)]
    assert replaced == ["6", "7.levels.0"]


def test_a_network_gives_the_same_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "WORTH", ALWAYS)
    model = nn.Sequential(nn.Conv2d(128, 160, 3, padding=2, dilation=2), nn.ReLU(), nn.Conv2d(160, 128, 3, padding=1))
    x = drawn(1, 128, 14, 9)
    with torch.no_grad():
        expected = model(x)
        use_winograd(model)
        torch.testing.assert_close(model(x), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("size", "dilation", "by_tiles"),
    [(60, 1, True), (60, 4, True), (60, 12, False), (60, 24, False), (60, 36, False), (5, 36, False)],
)
def test_where_tiles_would_be_mostly_padding_the_convolution_is_done_as_it_is(
    size: int, dilation: int, by_tiles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Multiplications of the tiles over the convolution's: 4 (d t)^2 / H W, t tiles a side; measured, 1/2 pays off."""
    done = []
    convolve = Winograd._convolve
    monkeypatch.setattr(Winograd, "_convolve", lambda *given: done.append(1) or convolve(*given))
    convolution, x = nn.Conv2d(2, 2, 3, padding=dilation, dilation=dilation), drawn(1, 2, size, size)
    with torch.no_grad():
        torch.testing.assert_close(Winograd(convolution)(x), convolution(x), rtol=0, atol=1e-5)
    assert bool(done) == by_tiles
