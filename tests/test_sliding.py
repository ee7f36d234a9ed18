"""Sliding windows against a textbook implementation in loops: geometry, mirror images, scales, bands, any size."""

from math import ceil, inf
from typing import Any

import numpy as np
import pytest
import torch
from networks import randomise
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pyconv import PYRAMIDS, ResNet, SegNet, segnet
from pyconv.architectures import Stage
from pyconv.data.imagenet import MEAN, STD
from pyconv.formulations import winograd
from pyconv.segmentation import labelling
from pyconv.segmentation.bilinear import Bilinear
from pyconv.segmentation.labelling import Labeller
from pyconv.segmentation.windows import Layout, Sliding, scaled_size, starts

CPU = torch.device("cpu")


def narrow(output_stride: int, classes: int = 5, width: int = 4) -> nn.Module:
    """One block a stage, few maps; dilated as the paper's."""
    stages = tuple(Stage(1, width, 8 << i, 2 if i else 1, PYRAMIDS[1]) for i in range(4))
    described: SegNet = segnet(ResNet("bottleneck", stages, "stem"), "conv3x3", output_stride)
    return randomise(described.build(classes, seed=0)).eval()


def photograph(height: int, width: int) -> Tensor:
    pixels = np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return torch.from_numpy(pixels)


def stretch(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear, pixel by pixel: centres at half pixels, what lies outside is the edge."""
    own_height, own_width = values.shape[:2]
    out = np.zeros((height, width, values.shape[2]))
    for y in range(height):
        v = min(max((y + 0.5) * own_height / height - 0.5, 0), own_height - 1)
        top, below = int(v), min(int(v) + 1, own_height - 1)
        for x in range(width):
            u = min(max((x + 0.5) * own_width / width - 0.5, 0), own_width - 1)
            left, right = int(u), min(int(u) + 1, own_width - 1)
            upper = (1 - (u - left)) * values[top, left] + (u - left) * values[top, right]
            lower = (1 - (u - left)) * values[below, left] + (u - left) * values[below, right]
            out[y, x] = (1 - (v - top)) * upper + (v - top) * lower
    return out


def textbook(model: nn.Module, image: Tensor, test: Sliding, classes: int) -> np.ndarray:
    """Probabilities (H, W, classes), the authors' way: one scale, one window at a time, everything at full size."""
    height, width = image.shape[:2]
    mean, std = (np.array(values) * 255 for values in (MEAN, STD))
    total = np.zeros((height, width, classes))
    for scale in test.scales:
        long_side = round(scale * test.resize)
        if height > width:
            new_height, new_width = long_side, max(1, round(long_side / float(height) * width))
        else:
            new_height, new_width = max(1, round(long_side / float(width) * height)), long_side
        pixels = (stretch(image.numpy().astype(float), new_height, new_width) - mean) / std
        pad_y, pad_x = max(test.crop - new_height, 0), max(test.crop - new_width, 0)
        before_y, before_x = pad_y // 2, pad_x // 2
        pixels = np.pad(pixels, ((before_y, pad_y - before_y), (before_x, pad_x - before_x), (0, 0)))
        stride = ceil(test.crop * 2 / 3)
        added, times = np.zeros((*pixels.shape[:2], classes)), np.zeros((*pixels.shape[:2], 1))
        for row in range(ceil((pixels.shape[0] - test.crop) / stride) + 1):
            for column in range(ceil((pixels.shape[1] - test.crop) / stride) + 1):
                bottom = min(row * stride + test.crop, pixels.shape[0])
                right = min(column * stride + test.crop, pixels.shape[1])
                place = slice(bottom - test.crop, bottom), slice(right - test.crop, right)
                views = [soft(model, pixels[place])]
                if test.flip:
                    views.append(soft(model, pixels[place][:, ::-1])[:, ::-1])
                added[place] += np.mean(views, axis=0)
                times[place] += 1
        inside = (added / times)[before_y : before_y + new_height, before_x : before_x + new_width]
        total += stretch(inside, height, width) / len(test.scales)
    return total


def soft(model: nn.Module, pixels: np.ndarray) -> np.ndarray:
    entering = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None].float()
    with torch.no_grad():
        return functional.softmax(model(entering)["out"][0], dim=0).permute(1, 2, 0).double().numpy()


def same_but_for_ties(found: Tensor, expected: np.ndarray) -> bool:
    """Every pixel has the most probable class, or one that is less probable by nothing but rounding."""
    chosen = np.take_along_axis(expected, found.numpy().astype(int)[..., None], 2)[..., 0]
    return bool((expected.max(2) - chosen < 1e-5).all()) and (found.numpy() == expected.argmax(2)).mean() > 0.99


SIZES = [(40, 57), (57, 40), (33, 33), (1, 50), (50, 1), (1, 1), (9, 120), (20, 20)]


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("size", SIZES)
def test_labels_are_those_of_the_textbook(size: tuple[int, int], output_stride: int) -> None:
    test = Sliding(crop=33, resize=44, scales=(0.5, 1.0, 1.75))
    model, image = narrow(output_stride), photograph(*size)
    expected = textbook(model, image, test, classes=5)
    found = Labeller(model, 5, test, device=CPU).label(image)
    assert found.dtype == torch.uint8
    assert tuple(found.shape) == size
    assert same_but_for_ties(found, expected)


def test_labels_are_those_of_the_textbook_with_winograd_s_convolutions_too(monkeypatch: pytest.MonkeyPatch) -> None:
    test, image = Sliding(crop=33, resize=44), photograph(40, 57)
    model = narrow(8, width=128)
    found: list[int] = []
    convolve = winograd.forward_into

    def seen(*given: Any, **more: Any) -> None:
        found.append(given[5].dilation[0])
        convolve(*given, **more)

    monkeypatch.setattr(winograd, "forward_into", seen)
    monkeypatch.setattr(winograd, "WORTH", inf)
    monkeypatch.setenv("PYCONV_FORMULATION", "fixed")
    labels = Labeller(model, 5, test, device=CPU).label(image)
    assert found[:4] == [1, 2, 4, 1]  # of stages 1, 3 and 4, and the head; stage 2 has a stride
    assert same_but_for_ties(labels, textbook(model, image, test, classes=5))


@pytest.mark.parametrize("classes", [1, 2, 300])
@pytest.mark.parametrize("flip", [False, True])
def test_any_number_of_classes_with_and_without_mirror_images(classes: int, flip: bool) -> None:
    test = Sliding(crop=33, resize=41, flip=flip)
    model, image = narrow(8, classes), photograph(30, 37)
    found = Labeller(model, classes, test, device=CPU).label(image)
    assert same_but_for_ties(found, textbook(model, image, test, classes))


class Watched(nn.Module):
    """Notes what enters; classes follow from the colours alone."""

    def __init__(self) -> None:
        super().__init__()
        self.windows: list[bytes] = []
        self.batches: list[int] = []

    def __deepcopy__(self, memo: object) -> "Watched":
        return self

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        self.windows += [each.contiguous().numpy().tobytes() for each in x]
        self.batches.append(len(x))
        return {"out": x}


@pytest.mark.parametrize(
    ("height", "width", "windows"),
    [
        (44, 33, 1 * 2),  # long side 44 of crop 33: stride 22, two windows
        (33, 33, 2 * 2),  # a square: 44 x 44
        (20, 40, 1 * 2),  # 22 x 44: padded to 33 x 44
    ],
)
def test_every_window_and_its_mirror_image_pass_once(height: int, width: int, windows: int) -> None:
    network = Watched()
    Labeller(network, 3, Sliding(33, 44), device=CPU).label(photograph(height, width))
    assert len(network.windows) == len(set(network.windows)) == 2 * windows


def test_windows_of_all_scales_pass_together_up_to_the_batch_size() -> None:
    test, image = Sliding(33, 44, (0.5, 1.0, 1.75)), photograph(40, 50)
    number = sum(len(layout.windows) for layout in test.layouts(40, 50))
    networks = {size: Watched() for size in (1, 4, None)}
    found = [Labeller(n, 3, test, device=CPU, batch_size=size).label(image) for size, n in networks.items()]
    assert all(torch.equal(found[0], other) for other in found[1:])
    assert networks[1].batches == [2] * number
    assert networks[4].batches == [8] * (number // 4) + [2 * (number % 4)] * (number % 4 > 0)
    assert networks[None].batches == [2 * number]
    assert set(networks[1].windows) == set(networks[4].windows)


def test_the_paper_s_windows() -> None:
    assert starts(473, 473) == [0]
    assert starts(474, 473) == [0, 1]
    assert starts(473 + 316, 473) == [0, 316]  # ceil(473 * 2 / 3) = 316
    assert starts(896, 473) == [0, 316, 423]
    assert scaled_size(512, 683, 896) == (672, 896)
    assert scaled_size(683, 512, 256) == (256, 192)
    six = Sliding(473, 512, (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)).layouts(512, 683)
    assert [len(layout.windows) for layout in six] == [1, 1, 2, 4, 4, 6]


@pytest.mark.parametrize("crop", [1, 2, 3, 10, 33])
def test_windows_cover_every_pixel_and_none_is_another_s_copy(crop: int) -> None:
    for side in range(crop, 5 * crop + 3):
        found = starts(side, crop)
        assert len(set(found)) == len(found)
        assert set().union(*(range(start, start + crop) for start in found)) == set(range(side))


def test_padding_is_halved_around_the_image() -> None:
    layout = Layout(20, 50, 33)
    assert layout.padded == (33, 50)
    assert layout.inside == (slice(6, 26), slice(0, 50))


def test_bands_of_any_height_give_the_labels_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    model, image, test = narrow(8), photograph(61, 83), Sliding(33, 44, (0.5, 1.25))
    monkeypatch.setitem(labelling.BAND_BYTES, "cpu", 1 << 40)
    whole = Labeller(model, 5, test, device=CPU).label(image)
    for size in (1, 83 * 4 * 5 * 7):  # one row; seven
        monkeypatch.setitem(labelling.BAND_BYTES, "cpu", size)
        assert torch.equal(Labeller(model, 5, test, device=CPU).label(image), whole)


class Largest(TorchDispatchMode):
    """Notes the most values that one tensor held."""

    values = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        self.values = max(self.values, *(each.numel() for each in tree_leaves(found) if isinstance(each, Tensor)), 0)
        return found


def test_of_a_huge_photograph_no_probabilities_at_its_own_size_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """600 x 800 pixels of 64 classes would be 31 million values."""
    monkeypatch.setitem(labelling.BAND_BYTES, "cpu", 4 * 800 * 64 * 10)
    labeller = Labeller(narrow(8, 64), 64, Sliding(33, 44, (0.5, 1.75)), device=CPU)
    with Largest() as largest:
        labeller.label(photograph(600, 800))
    image, scaled, windows, band = 600 * 800 * 3, 58 * 77 * 64, 2 * (1 + 12) * 33 * 33 * 64, 10 * 800 * 64
    assert largest.values <= max(image, scaled, windows, band)


def test_native_rows_are_torch_s_bilinear() -> None:
    values = torch.rand(13, 29, 4, generator=torch.Generator().manual_seed(0))
    for size in ((40, 31), (5, 60), (13, 29), (1, 1)):
        theirs = functional.interpolate(values.permute(2, 0, 1)[None], size, mode="bilinear", align_corners=False)
        rows = Bilinear(*size, values).rows(slice(None))
        torch.testing.assert_close(rows, theirs[0].permute(1, 2, 0), rtol=0, atol=1e-5)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_network_that_gives_no_numbers_is_told(value: float) -> None:
    model = narrow(8)
    nn.init.constant_(model.get_parameter("classifier.1.bias"), value)
    with pytest.raises(ValueError, match="the network gives NaN or Inf"):
        Labeller(model, 5, Sliding(33, 44), device=CPU).label(photograph(40, 50))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the network gives 3 classes, the data has 4; .*num_classes=4"):
        Labeller(Watched(), 4, Sliding(33, 44), device=CPU).label(photograph(40, 50))
    with pytest.raises(ValueError, match=r"scales must be numbers above 0, each once; got \(1.0, 1.0\)"):
        Sliding(33, 44, (1.0, 1.0))
    with pytest.raises(ValueError, match="scales must be numbers above 0"):
        Sliding(33, 44, ())
    with pytest.raises(ValueError, match="crop and resize are pixels, 1 or more; got 0 and 44"):
        Sliding(0, 44)
    with pytest.raises(ValueError, match="batch_size must be 1 or more windows, got 0"):
        Labeller(Watched(), 3, Sliding(33, 44), device=CPU, batch_size=0)


def test_the_network_is_left_as_it_is_and_its_auxiliary_head_is_not_run() -> None:
    model = narrow(8).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert model.aux is not None
    model.aux.register_forward_hook(lambda *_: pytest.fail("the auxiliary head ran"))
    Labeller(model, 5, Sliding(33, 44), device=CPU).label(photograph(40, 50))
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
