"""Rectangles of images: PIL's pixels to the last bit, torchvision's distribution of crops, clear refusals."""

import io
import random
from collections.abc import Callable
from importlib.resources import files

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import ks_2samp
from torchvision.transforms import v2

from pyconv.data import pixels
from pyconv.data.manifest import DataError
from pyconv.data.pixels import Picture, random_box

SCALE, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)


def photograph(width: int, height: int) -> Image.Image:
    source = files("sklearn.datasets") / "images" / "china.jpg"
    return Image.open(io.BytesIO(source.read_bytes())).convert("RGB").resize((width, height))


def encoded(image: Image.Image, format: str = "JPEG", **options: object) -> bytes:  # noqa: A002 - PIL's word
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def expected(content: bytes, box: pixels.Box) -> torch.Tensor:
    left, top, width, height = box
    whole = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    return torch.from_numpy(whole[top : top + height, left : left + width].copy()).permute(2, 0, 1)


built = pytest.mark.skipif(pixels.PARTIAL is None, reason="the partial decoder is not built: no libjpeg-turbo headers")


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 150),
    st.integers(1, 150),
    st.sampled_from([0, 1, 2]),
    st.booleans(),
    st.booleans(),
    st.integers(30, 97),
    st.data(),
)
def test_a_rectangle_has_the_pixels_of_the_whole_image(
    width: int, height: int, chroma: int, progressive: bool, grey: bool, quality: int, data: st.DataObject
) -> None:
    image = photograph(width, height)
    options = {"quality": quality, "progressive": progressive, "subsampling": chroma}
    content = encoded(image.convert("L") if grey else image, **options)
    left = data.draw(st.integers(0, width - 1))
    top = data.draw(st.integers(0, height - 1))
    box = (left, top, data.draw(st.integers(1, width - left)), data.draw(st.integers(1, height - top)))
    picture = Picture(content, "image.jpg")
    assert picture.size == (width, height)
    assert torch.equal(picture.crop(box), expected(content, box))


@built
def test_only_the_rectangle_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "open", lambda *_: pytest.fail("PIL was asked to decode the whole image"))
    content = (files("sklearn.datasets") / "images" / "flower.jpg").read_bytes()
    assert Picture(content, "flower.jpg").crop((100, 200, 50, 60)).shape == (3, 60, 50)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(lambda image: encoded(image, "PNG"), id="a PNG named .JPEG"),
        pytest.param(lambda image: encoded(image.convert("CMYK")), id="CMYK"),
        pytest.param(lambda image: encoded(image.convert("P"), "GIF"), id="palette"),
        pytest.param(lambda image: encoded(image) + b"\0" * 5000, id="rubbish after the end"),
        pytest.param(lambda image: encoded(image, restart_marker_blocks=2), id="restart markers"),
    ],
)
def test_what_the_partial_decoder_does_not_take_is_read_by_pil(content: Callable[[Image.Image], bytes]) -> None:
    file = content(photograph(64, 48))
    assert torch.equal(Picture(file, "x").crop((3, 5, 40, 30)), expected(file, (3, 5, 40, 30)))


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_jpeg_is_refused_even_when_the_rectangle_is_there(kept: float) -> None:
    content = encoded(photograph(200, 200), quality=90)
    with pytest.raises(DataError, match=r"n01/image\.JPEG: cannot be read as an image.*replace or delete"):
        Picture(content[: int(len(content) * kept)], "n01/image.JPEG").crop((0, 0, 8, 8))


def test_damage_within_the_rectangle_is_never_repaired_silently() -> None:
    content = bytearray(encoded(photograph(200, 200), quality=90))
    middle = len(content) // 2
    content[middle : middle + 2] = b"\xff\xd5"  # a restart marker where none belongs
    try:
        found = Picture(bytes(content), "x").crop((0, 0, 200, 200))
    except DataError:
        return
    assert torch.equal(found, expected(bytes(content), (0, 0, 200, 200)))


@built
@pytest.mark.parametrize("box", [(0, 0, 65, 48), (-1, 0, 5, 5), (64, 0, 1, 1), (0, 40, 5, 9), (0, 0, 0, 5)])
def test_the_decoder_refuses_a_rectangle_outside_of_the_image(box: pixels.Box) -> None:
    assert pixels.PARTIAL is not None
    with pytest.raises(ValueError, match="is not within 64 x 48 pixels"):
        pixels.PARTIAL.crop(encoded(photograph(64, 48)), *box)


def test_resized_differs_from_pil_by_one_level_at_most_and_seldom() -> None:
    rng = random.Random(0)
    content = encoded(photograph(500, 375), quality=95)
    differences = []
    for _ in range(40):
        left, top, width, height = box = random_box((500, 375), SCALE, RATIO, rng)
        ours = Picture(content, "x").resized(box, 224)
        whole = Image.open(io.BytesIO(content)).crop((left, top, left + width, top + height))
        pil = torch.from_numpy(np.array(whole.resize((224, 224), Image.Resampling.BILINEAR))).permute(2, 0, 1)
        differences.append((ours.int() - pil.int()).abs())
    everything = torch.stack(differences)
    assert int(everything.max()) <= 1
    assert float((everything > 0).double().mean()) < 0.03


def test_an_image_of_the_right_size_is_not_touched() -> None:
    digit = photograph(28, 28)
    assert torch.equal(Picture(encoded(digit, "PNG"), "x").resized((0, 0, 28, 28), 28), v2.PILToTensor()(digit))


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (900, 60), (3, 400)])
@pytest.mark.parametrize("scale", [(0.08, 1.0), (0.9, 1.0)])
def test_crops_are_distributed_as_torchvisions(size: tuple[int, int], scale: tuple[float, float]) -> None:
    rng, image = random.Random(1), torch.empty(3, size[1], size[0], dtype=torch.uint8)
    torch.manual_seed(1)
    theirs = v2.RandomResizedCrop(224, scale, RATIO)
    draws = 3000
    wanted = [theirs.make_params([image]) for _ in range(draws)]
    ours = np.array([random_box(size, scale, RATIO, rng) for _ in range(draws)])
    for column, name in enumerate(("left", "top", "width", "height")):
        other = np.array([draw[name] for draw in wanted])
        assert ks_2samp(ours[:, column], other, method="asymp").pvalue > 1e-4, name


@given(st.integers(1, 2000), st.integers(1, 2000), st.integers(0, 2**32))
def test_a_crop_lies_within_its_image(width: int, height: int, seed: int) -> None:
    left, top, w, h = random_box((width, height), SCALE, RATIO, random.Random(seed))
    assert left >= 0
    assert top >= 0
    assert 1 <= w <= width - left
    assert 1 <= h <= height - top
