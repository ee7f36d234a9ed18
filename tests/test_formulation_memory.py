"""Formulations read and write their tensors only, however these lie in memory; more threads give the same bits."""

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from drawn_levels import SUMS, Drawn, assert_within, computed, definition, fitting, gamma, levels
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pyconv.formulations import direct
from pyconv.formulations.call import Call, channels_last

needs_compiler = pytest.mark.skipif(direct.compiled() is None, reason="the extension was not compiled")
TESTS = Path(__file__).parent


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@needs_compiler
@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "drawn",
    [
        Drawn(3, (17, 15), 16, 4, 2, (9, 9), (1, 1), (1, 1), True, True, False, 1),
        Drawn(2, (30, 40), 8, 8, 3, (7, 7), (2, 2), (1, 1), True, True, False, 2),
        Drawn(3, (4, 9, 8), 8, 4, 4, (3, 5, 5), (1, 2, 2), (1, 1, 1), True, True, True, 3),
        Drawn(1, (9, 9), 1, 64, 8, (5, 5), (1, 1), (2, 2), False, True, False, 4),
    ],
    ids=["groups in a vector", "stride", "clip", "one group"],
)
def test_the_bits_do_not_depend_on_the_number_of_threads(drawn: Drawn, dtype: torch.dtype) -> None:
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append(computed(direct, drawn.call, *drawn.tensors(dtype)))
    for others in found[1:]:
        for what in SUMS:
            assert torch.equal(others[what], found[0][what]), what


def spread_out(tensor: Tensor, how: str) -> Tensor:
    """The same values, lying otherwise in memory."""
    if how == "slice of maps":
        wide = torch.full((len(tensor), tensor.shape[1] + 3, *tensor.shape[2:]), torch.nan, dtype=tensor.dtype)
        wide[:, 2:-1] = tensor
        return wide[:, 2:-1]
    if how == "every other map, last":
        wide = torch.full((*tensor.shape[:1], *tensor.shape[2:], 2 * tensor.shape[1]), torch.nan, dtype=tensor.dtype)
        wide[..., ::2] = tensor.movedim(1, -1)
        return wide[..., ::2].movedim(-1, 1)
    if how == "crop":
        wide = torch.nn.functional.pad(tensor, (1, 2) * (tensor.ndim - 2), value=torch.nan)
        return wide[(..., *[slice(1, -2)] * (tensor.ndim - 2))]
    if how == "turned":
        return tensor.transpose(-1, -2).contiguous().transpose(-1, -2)
    if how == "batch last":
        return tensor.movedim(0, -1).contiguous().movedim(-1, 0)
    flat = torch.full((tensor.numel() + 5,), torch.nan, dtype=tensor.dtype)  # "offset"
    flat[3:-2] = tensor.contiguous().flatten()
    return flat[3:-2].view(tensor.shape)


WAYS = ["slice of maps", "every other map, last", "crop", "turned", "batch last", "offset"]


@settings(max_examples=60)
@given(levels(), st.lists(st.sampled_from(WAYS), min_size=3, max_size=3))
def test_tensors_may_lie_in_memory_in_any_way(drawn: Drawn, ways: list[str]) -> None:
    call, (x, weight, bias, grad) = drawn.call, drawn.tensors(torch.float32)
    expected, magnitude = definition(call, x, weight, bias, grad)
    x, weight, grad = (spread_out(each, how) for each, how in zip((x, weight, grad), ways, strict=True))
    bias = None if bias is None else torch.stack([bias, torch.full_like(bias, torch.nan)], dim=1)[:, 0]
    for name, each in fitting(call, x, weight).items():
        found = computed(each, call, x, weight, bias, grad)
        for what in SUMS:
            bound = (gamma(drawn.terms[what], x.dtype) + gamma(drawn.terms[what], torch.float64)) * magnitude[what]
            assert_within(found[what], expected[what], bound, f"{what} of {name}")


@settings(max_examples=20)
@given(levels(batches=(2, 3)))
def test_expanded_tensors_are_read_as_what_they_say(drawn: Drawn) -> None:
    """One image a batch, one number a gradient (that of a sum), one kernel for all maps: strides of 0."""
    call, (x, weight, bias, grad) = drawn.call, drawn.tensors(torch.float32)
    x, weight = x[:1].expand_as(x), weight[:1, :1].expand_as(weight)
    grad = grad.flatten()[0].expand_as(grad)
    expected, magnitude = definition(call, x, weight, bias, grad)
    for name, each in fitting(call, x, weight).items():
        found = computed(each, call, x, weight, bias, grad)
        for what in SUMS:
            bound = (gamma(drawn.terms[what], x.dtype) + gamma(drawn.terms[what], torch.float64)) * magnitude[what]
            assert_within(found[what], expected[what], bound, f"{what} of {name}")


@pytest.mark.parametrize("shape", [(3, 32, 1, 1), (1, 32, 1, 1), (2, 32, 1, 5), (2, 16, 1, 1, 1), (1, 32, 7, 1)])
@pytest.mark.parametrize("last", [False, True])
def test_maps_of_one_pixel_which_lie_both_ways_at_once(shape: tuple[int, ...], last: bool) -> None:
    maps, sides = shape[1], len(shape) - 2
    ones = (1,) * sides
    for maps_in in (1, 2, 4, maps):
        groups = maps // maps_in
        drawn = Drawn(shape[0], shape[2:], groups, maps_in, 1, (3,) * sides, ones, ones, True, last, last, 3)
        tensors = drawn.tensors(torch.float32)
        if set(shape[2:]) == {1}:
            assert channels_last(tensors[0])
            assert tensors[0].is_contiguous()
        expected, magnitude = definition(drawn.call, *tensors)
        for name, each in fitting(drawn.call, *tensors[:2]).items():
            found = computed(each, drawn.call, *tensors)
            for what in SUMS:
                bound = 2 * gamma(drawn.terms[what], torch.float32) * magnitude[what]
                assert_within(found[what], expected[what], bound, f"{what} of {name}")


def test_one_input_map_is_left_to_the_library_and_to_merging_nothing() -> None:
    x, weight = torch.randn(2, 1, 5, 4), torch.randn(4, 1, 3, 3)
    call = Call((1, 1), (1, 1), (1, 1), 1)
    assert channels_last(x)
    assert x.is_contiguous()
    assert fitting(call, x, weight).keys() == {"library"}


GUARDED = '''
import ctypes, mmap, sys
import torch
from drawn_levels import SUMS, Drawn, assert_within, definition, gamma
from pyconv.formulations import direct
from pyconv.formulations.call import CHANNELS_LAST

libc = ctypes.CDLL(None, use_errno=True)
PAGE, kept = mmap.PAGESIZE, []


def guarded(like, at_end):
    """Memory of `like`'s size, filled with NaN, against a page that nobody may touch: after it, or before."""
    size = like.numel() * like.element_size()
    pages = -(-size // PAGE)
    area = mmap.mmap(-1, (pages + 2) * PAGE)
    kept.append(area)
    start = ctypes.addressof(ctypes.c_char.from_buffer(area))
    for page in (0, pages + 1):
        assert libc.mprotect(ctypes.c_void_p(start + page * PAGE), PAGE, 0) == 0  # PROT_NONE
    begin = start + (pages + 1) * PAGE - size if at_end else start + PAGE
    buffer = (ctypes.c_char * size).from_address(begin)
    flat = torch.frombuffer(buffer, dtype=like.dtype)
    assert flat.data_ptr() == begin
    flat.fill_(torch.nan)
    return flat.as_strided(like.shape, like.stride())


def placed(tensor, at_end):
    return None if tensor is None else guarded(tensor, at_end).copy_(tensor)


def beside(tensor, before, after):
    """`tensor` as the maps `before` and on of a wider one, channels last, of NaN else."""
    shape = (len(tensor), before + tensor.shape[1] + after, *tensor.shape[2:])
    wide = torch.full(shape, torch.nan, dtype=tensor.dtype).contiguous(memory_format=CHANNELS_LAST[tensor.ndim])
    wide.narrow(1, before, tensor.shape[1]).copy_(tensor)
    return wide


def check(drawn, dtype, name, at_end, before, after):
    direct.instructions = lambda: name
    given, call = drawn.tensors(dtype), drawn.call
    assert direct.fits(*given[:2], call)
    expected, magnitude = definition(call, *given)
    x, weight, bias = (placed(each, at_end) for each in given[:3])
    grad = placed(beside(given[3], before, after), at_end)
    outputs = guarded(grad, at_end)
    inputs = guarded(given[0].contiguous(memory_format=CHANNELS_LAST[x.ndim]), at_end)
    direct.forward_into(outputs, before, x, weight, bias, call)
    direct.input_gradient_into(inputs, grad, before, weight, call, add=False)
    empty_like, torch.empty_like = torch.empty_like, lambda like: guarded(like, at_end)
    try:
        weights = direct.weight_gradient_of(grad, before, x, weight, call)
    finally:
        torch.empty_like = empty_like
    assert outputs[:, :before].isnan().all() and outputs[:, before + len(weight):].isnan().all()
    for what, found in zip(SUMS, (outputs.narrow(1, before, len(weight)), inputs, weights), strict=True):
        bound = (gamma(drawn.terms[what], dtype) + gamma(drawn.terms[what], torch.float64)) * magnitude[what]
        assert_within(found, expected[what], bound, f"{what} {name} {dtype} {drawn}")
'''

CASES = """
cases = [
    Drawn(1, (5, 6), 16, 1, 1, (3, 3), (1, 1), (1, 1), True, True, False, 1),
    Drawn(2, (4, 3), 8, 2, 1, (9, 9), (2, 2), (1, 1), True, True, False, 2),
    Drawn(1, (1, 1), 4, 4, 1, (7, 5), (1, 1), (2, 1), True, True, False, 3),
    Drawn(1, (6, 15), 4, 4, 3, (5, 5), (1, 2), (1, 1), False, True, True, 4),
    Drawn(2, (3, 7), 8, 8, 5, (3, 11), (3, 1), (1, 3), True, True, False, 5),
    Drawn(1, (9, 2), 2, 16, 2, (3, 3), (2, 1), (1, 1), True, True, False, 6),
    Drawn(1, (3, 4), 1, 32, 7, (5, 3), (1, 1), (1, 1), True, True, False, 7),
    Drawn(2, (3, 4, 5), 8, 4, 2, (3, 5, 5), (1, 2, 2), (1, 1, 1), True, True, False, 8),
    Drawn(1, (2, 1, 3), 16, 2, 1, (7, 3, 1), (2, 1, 1), (1, 2, 1), False, True, True, 9),
]
for drawn in cases:
    for dtype in (torch.float32, torch.float64):
        for name in direct.compiled().instructions():
            for place in ((True, 0, 0), (True, 5, 0), (True, 0, 3), (False, 0, 0), (False, 1, 2)):
                check(drawn, dtype, name, *place)
                kept.clear()
print("within")
"""

PROOF = """
tensor = guarded(torch.zeros(7), at_end={at_end})
ctypes.string_at(tensor.data_ptr(), 28)
print("readable", flush=True)
ctypes.string_at(tensor.data_ptr() {beyond}, 4)
print("not guarded")
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(GUARDED + code)],
        capture_output=True, text=True, cwd=TESTS, timeout=300, check=False,
    )  # fmt: skip


@needs_compiler
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="protects pages as Linux does")
def test_nothing_beside_the_tensors_is_touched() -> None:
    """Every tensor ends right before, or begins right behind, a page whose touch would end the process."""
    done = run(CASES)
    assert (done.returncode, done.stdout) == (0, "within\n"), done.stderr[-2000:]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="protects pages as Linux does")
@pytest.mark.parametrize(("at_end", "beyond"), [(True, "+ 28"), (False, "- 4")])
def test_such_a_page_does_end_the_process(at_end: bool, beyond: str) -> None:
    done = run(PROOF.format(at_end=at_end, beyond=beyond))
    assert done.returncode < 0
    assert done.stdout == "readable\n"
