"""Winograd's convolution against torch's: sizes, dilations, batches, types, instruction sets, to what rounding allows.

Every step of it is a sum: of a tile of x by B, of w by G, of the products over the maps, of the sums by A. So it is off
by at most gamma(n) times the same computation with the magnitudes of all matrices and values, n the steps' terms
together (Higham, Accuracy and Stability, section 3.1).
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from threading import Thread

import pytest
import torch
from drawn_levels import SUMS, assert_within, computed, definition, gamma
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from pyconv import PYRAMIDS, PyConv
from pyconv.formulations import direct, winograd
from pyconv.formulations.call import Call
from pyconv.formulations.kept import Kept

pytestmark = pytest.mark.skipif(winograd.compiled() is None, reason="no compiler when this was installed")
NATIVE = direct.compiled().instructions() if direct.compiled() else []
# Of the article, for 0, 1, -1, 2, -2 and infinity.
B = torch.tensor(
    [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0], [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0],
     [0, 4, 0, -5, 0, 1]], dtype=torch.float64
)  # fmt: skip
G = torch.tensor(
    [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], dtype=torch.float64
) / 24  # fmt: skip
A = torch.tensor(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], dtype=torch.float64
)  # fmt: skip
STEPS = 50
"""Terms of the transforms, and the roundings of their constants: two of 6, 3 and 6, and some."""


@dataclass(frozen=True)
class Dense:
    """A dense 3x3 of stride 1 and its input, by their numbers."""

    batch: int
    maps_in: int
    maps_out: int
    size: tuple[int, int]
    dilation: int
    bias: bool
    last: bool
    seed: int

    @property
    def call(self) -> Call:
        d = (self.dilation,) * 2
        return Call((1, 1), d, d, 1)

    def tensors(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
        """Input, weight, bias, gradient of the output."""
        generator = torch.Generator().manual_seed(self.seed)

        def values(*shape: int) -> Tensor:
            drawn = torch.randn(*shape, generator=generator).to(dtype)
            return drawn.contiguous(memory_format=torch.channels_last) if self.last and len(shape) == 4 else drawn

        x = values(self.batch, self.maps_in, *self.size)
        weight = values(self.maps_out, self.maps_in, 3, 3)
        bias = values(self.maps_out) if self.bias else None
        return x, weight, bias, values(self.batch, self.maps_out, *self.size)


@st.composite
def dense(draw: st.DrawFn) -> Dense:
    return Dense(
        batch=draw(st.sampled_from([0, 1, 2, 3])),
        maps_in=draw(st.sampled_from([16, 48, 64, 80, 144])),
        maps_out=draw(st.sampled_from([16, 32, 48, 96])),
        size=(draw(st.integers(1, 14)), draw(st.integers(1, 14))),
        dilation=draw(st.sampled_from([1, 1, 2, 4])),
        bias=draw(st.booleans()),
        last=draw(st.booleans()),
        seed=draw(st.integers(0, 1000)),
    )


def by_grids(x: Tensor, y: Tensor, d: int, of: Callable[[Tensor, Tensor], None]) -> None:
    """Call `of` with the grids of every d-th pixel of both, without those that lie outside."""
    for row in range(min(d, x.shape[2])):
        for column in range(min(d, x.shape[3])):
            of(x[:, :, row::d, column::d], y[:, :, row::d, column::d])


def tiles(x: Tensor, halo: int) -> Tensor:
    """(N, C, rows, columns, 4 + 2 * halo, the same) of one grid."""
    beyond = [-side % 4 + halo for side in x.shape[2:]]
    side = 4 + 2 * halo
    return F.pad(x, (halo, beyond[1], halo, beyond[0])).unfold(2, side, 4).unfold(3, side, 4)


def magnitudes(level: Dense, x: Tensor, weight: Tensor, bias: Tensor | None, grad: Tensor) -> dict[str, Tensor]:
    """Of the three sums, computed by tiles with the magnitudes of all matrices and values."""
    x, weight, grad = x.double().abs(), weight.double().abs(), grad.double().abs()

    def convolved(x: Tensor, weight: Tensor) -> Tensor:
        out = x.new_zeros(len(x), len(weight), *x.shape[2:])
        kernels = torch.einsum("ik,ockl,jl->ocij", G.abs(), weight, G.abs())

        def of(part: Tensor, to: Tensor) -> None:
            inputs = torch.einsum("ik,nchwkl,jl->nchwij", B.abs(), tiles(part, 1), B.abs())
            sums = torch.einsum("nchwij,ocij->nohwij", inputs, kernels)
            done = torch.einsum("ai,nohwij,bj->nohawb", A.abs(), sums, A.abs()).flatten(4, 5).flatten(2, 3)
            to += done[:, :, : to.shape[2], : to.shape[3]]

        by_grids(x, out, level.dilation, of)
        return out

    kernels = x.new_zeros(*weight.shape[:2], 6, 6)

    def add_kernels(part: Tensor, gradient: Tensor) -> None:
        inputs = torch.einsum("ik,nchwkl,jl->nchwij", B.abs(), tiles(part, 1), B.abs())
        dealt = torch.einsum("ai,nohwab,bj->nohwij", A.abs(), tiles(gradient, 0), A.abs())
        kernels.add_(torch.einsum("nchwij,nohwij->ocij", inputs, dealt))

    by_grids(x, grad, level.dilation, add_kernels)
    forward = convolved(x, weight)
    return {
        "forward": forward if bias is None else forward + bias.double().abs().view(-1, 1, 1),
        "input_gradient": convolved(grad, weight.transpose(0, 1).flip(2, 3)),
        "weight_gradient": torch.einsum("ik,ocij,jl->ockl", G.abs(), kernels, G.abs()),
    }


def terms(level: Dense) -> dict[str, int]:
    pixels = max(level.batch, 1) * level.size[0] * level.size[1]
    return {
        "forward": level.maps_in + STEPS, "input_gradient": level.maps_out + STEPS, "weight_gradient": pixels + STEPS
    }  # fmt: skip


def check(level: Dense, dtype: torch.dtype) -> None:
    given_ = level.tensors(dtype)
    x, weight, *_ = given_
    assert winograd.fits(x, weight, level.call)
    expected, plain = definition(level.call, *given_)
    allowed, found, number = magnitudes(level, *given_), computed(winograd, level.call, *given_), terms(level)
    for what in SUMS:
        bound = gamma(number[what], dtype) * allowed[what] + 2 * gamma(number[what], torch.float64) * plain[what]
        assert_within(found[what], expected[what], bound, what)


SMALL = Dense(1, 16, 16, (1, 1), 1, True, True, 1)
CUT = Dense(2, 80, 48, (7, 13), 4, True, False, 2)
EMPTY = Dense(0, 16, 32, (5, 4), 2, False, True, 3)
WHOLE = Dense(3, 144, 96, (12, 8), 1, False, True, 4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@settings(max_examples=25)
@example(SMALL)
@example(CUT)
@example(EMPTY)
@example(WHOLE)
@given(dense())
def test_it_is_the_convolution(dtype: torch.dtype, level: Dense) -> None:
    check(level, dtype)


@settings(max_examples=25)
@given(dense())
def test_in_float64_it_is_the_definition_within_1e_12(level: Dense) -> None:
    given_ = level.tensors(torch.float64)
    expected, _ = definition(level.call, *given_)
    found = computed(winograd, level.call, *given_)
    for what in SUMS:
        scale = float(expected[what].abs().max()) if expected[what].numel() else 0.0
        torch.testing.assert_close(found[what], expected[what], rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize("name", NATIVE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_with_every_instruction_set(name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "instructions", lambda: name)
    for level in (SMALL, CUT, WHOLE):
        check(level, dtype)


def test_maps_that_do_not_fit_at_once_are_done_in_parts() -> None:
    """3 million values of tiles: here 36 * (64 + 64) * 841 in two parts."""
    check(Dense(1, 64, 64, (113, 115), 1, True, True, 5), torch.float32)


@pytest.mark.parametrize("level", [CUT, WHOLE])
def test_the_bits_do_not_depend_on_the_number_of_threads(level: Dense) -> None:
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(computed(winograd, level.call, *level.tensors(torch.float32)))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(found[0][what], other[what]) for what in SUMS)


def test_several_threads_of_python_may_compute_at_once() -> None:
    levels = [CUT, WHOLE, Dense(2, 64, 96, (14, 14), 1, True, True, 6)] * 4
    expected = [computed(winograd, level.call, *level.tensors(torch.float32)) for level in levels]
    found: dict[int, list[Tensor]] = {}

    def work(number: int) -> None:
        level = levels[number]
        given_ = level.tensors(torch.float32)
        found[number] = [winograd.forward(*given_[:3], level.call) for _ in range(20)]

    threads = [Thread(target=work, args=(number,)) for number in range(len(levels))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, each in enumerate(expected):
        assert all(torch.equal(one, each["forward"]) for one in found[number])


def test_a_change_of_one_pixel_reaches_its_dilated_neighbours_only() -> None:
    x, weight = torch.zeros(1, 16, 20, 20), torch.randn(16, 16, 3, 3, generator=torch.Generator().manual_seed(1))
    x[..., 9, 9] = 1
    reached = winograd.forward(x, weight, None, Call((1, 1), (4, 4), (4, 4), 1)).abs().amax((0, 1)) > 1e-4
    assert reached.nonzero().tolist() == [[y, x] for y in (5, 9, 13) for x in (5, 9, 13)]


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("laid_out", [False, True])
def test_written_into_a_part_of_a_tensor_or_added_there(relu: bool, laid_out: bool) -> None:
    x, weight, bias, _ = WHOLE.tensors(torch.float32)
    alone = winograd.forward(x, weight, bias, WHOLE.call)
    for add in (False, True):
        out = winograd.empty(x, 16 + 96 + 16, WHOLE.size).fill_(0.5)
        own = winograd.transformed(weight) if laid_out else None
        winograd.forward_into(out, 16, x, weight, bias, WHOLE.call, relu=relu, add=add, laid_out=own)
        expected = alone + 0.5 if add else alone
        assert torch.equal(out[:, 16:112], expected.clamp_min(0) if relu else expected)
        assert bool((out[:, :16] == 0.5).all() and (out[:, 112:] == 0.5).all())


def test_not_a_number_stays_visible() -> None:
    x, weight, bias, _ = WHOLE.tensors(torch.float32)
    x[0, 3, 5, 4] = torch.nan
    out = winograd.empty(x, 96, WHOLE.size)
    winograd.forward_into(out, 0, x, weight, bias, WHOLE.call, relu=True)
    lost = F.conv2d(x, weight, bias, padding=1).isnan() & ~out.isnan()
    assert not bool(lost.any())


@pytest.mark.parametrize(
    ("x", "weight", "call"),
    [
        ((1, 32, 8, 8), (32, 32, 3, 3), Call((2, 2), (1, 1), (1, 1), 1)),
        ((1, 32, 8, 8), (32, 16, 3, 3), Call((1, 1), (1, 1), (1, 1), 2)),
        ((1, 32, 8, 8), (32, 32, 3, 3), Call((1, 1), (0, 0), (1, 1), 1)),
        ((1, 32, 8, 8), (32, 32, 3, 3), Call((1, 1), (1, 2), (1, 2), 1)),
        ((1, 32, 8, 8), (32, 32, 5, 5), Call((1, 1), (2, 2), (1, 1), 1)),
        ((1, 32, 8, 8), (32, 32, 1, 3), Call((1, 1), (0, 1), (1, 1), 1)),
        ((1, 24, 8, 8), (32, 24, 3, 3), Call((1, 1), (1, 1), (1, 1), 1)),
        ((1, 32, 8, 8), (40, 32, 3, 3), Call((1, 1), (1, 1), (1, 1), 1)),
        ((1, 32, 4, 8, 8), (32, 32, 3, 3, 3), Call((1, 1, 1), (1, 1, 1), (1, 1, 1), 1)),
    ],
)
def test_what_is_not_such_a_convolution_does_not_fit(x: tuple[int, ...], weight: tuple[int, ...], call: Call) -> None:
    assert not winograd.fits(torch.zeros(x), torch.zeros(weight), call)


@pytest.mark.parametrize(
    ("size", "dilation", "by_tiles"),
    [(60, 1, True), (60, 4, True), (60, 12, False), (60, 24, False), (60, 36, False), (5, 36, False), (7, 1, True)],
)
def test_the_rule_leaves_out_where_tiles_would_be_mostly_padding(size: int, dilation: int, by_tiles: bool) -> None:
    """Multiplications of the tiles over the convolution's: 4 (d t)^2 / H W, t tiles a side; measured, 1/2 pays off."""
    x, weight, d = torch.zeros(1, 64, size, size), torch.zeros(64, 64, 3, 3), (dilation, dilation)
    tiles_a_side = ceil(ceil(size / dilation) / 4)
    assert winograd.products((size, size), dilation) == pytest.approx(4 * (dilation * tiles_a_side) ** 2 / size**2)
    assert winograd.worth(x, weight, Call((1, 1), d, d, 1)) == by_tiles
    assert not winograd.worth(x, torch.zeros(48, 64, 3, 3), Call((1, 1), d, d, 1))


def test_the_rule_of_a_pyramid_takes_it_where_it_is_worth_it() -> None:
    layer, x = PyConv(256, 256, PYRAMIDS[2], formulation="fixed"), torch.randn(1, 256, 14, 14)
    plain = PyConv(256, 256, PYRAMIDS[2], formulation="reference")
    plain.load_state_dict(layer.state_dict())
    with torch.inference_mode():
        found, expected = layer(x), plain(x)
    assert not torch.equal(found[:, :128], expected[:, :128])
    level = Dense(1, 256, 128, (14, 14), 1, False, False, 0)
    first = magnitudes(level, x, layer.levels[0].weight.detach(), None, torch.zeros(1, 128, 14, 14))["forward"]
    bound = gamma(terms(level)["forward"], torch.float32) * first
    assert_within(found[:, :128], expected[:, :128].double(), bound, "level 1")
    torch.testing.assert_close(found[:, 128:], expected[:, 128:], rtol=0, atol=1e-5)


def test_weights_stay_laid_out_until_they_change() -> None:
    store, weight = Kept(), torch.randn(32, 16, 3, 3)
    first = winograd.kept(store, 0, weight)
    assert winograd.kept(store, 0, weight) is first
    weight.mul_(2)
    second = winograd.kept(store, 0, weight)
    torch.testing.assert_close(second, 2 * first)
    assert winograd.kept(store, 0, weight.clone()) is not second
