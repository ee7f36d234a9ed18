"""Rectangles of image files as uint8 tensors: of a JPEG only what the rectangle needs is decoded.

The pixels are PIL's to the last bit, whichever way they are decoded: a JPEG's by `pyconv.data._jpeg` where that is
built (it needs libjpeg-turbo's headers), everything else, and every JPEG that is not plainly sound, by PIL as a whole.
"""

import io
import random
import warnings
from collections.abc import Callable
from functools import cached_property
from math import exp, log, sqrt
from types import ModuleType
from typing import Any

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torchvision.transforms.v2 import functional

from pyconv.data.decoding import DECODER
from pyconv.data.manifest import DataError

Box = tuple[int, int, int, int]
"""(left, top, width, height) in pixels."""

ATTEMPTS = 10
_JPEG, _END, _TAIL = b"\xff\xd8\xff", b"\xff\xd9", 64


PARTIAL = DECODER
"""The decoder of rectangles; None where it is not built."""


class Picture:
    """An image file's `content`; `place` names it in errors.

    `size`: (width, height), from the header. Raises `DataError` when it cannot be decoded; of a JPEG of which only a
    rectangle is asked for, damage elsewhere is found only where it cuts the file off.
    """

    def __init__(self, content: bytes, place: object) -> None:
        self.content, self.place = content, place
        self._decoder = PARTIAL if _looks_sound(content) else None
        self.size: tuple[int, int] = self._partially(lambda decoder: decoder.size(content)) or self.whole.size
        if self._decoder is not None and self.size[0] * self.size[1] > (Image.MAX_IMAGE_PIXELS or 0):
            self._decoder = None  # PIL judges what is too large

    @cached_property
    def whole(self) -> Image.Image:
        """All of it as RGB: greyscale repeated, CMYK and palettes converted, transparency dropped."""
        try:
            with warnings.catch_warnings(), Image.open(io.BytesIO(self.content)) as image:
                warnings.simplefilter("ignore")  # transparent palettes and broken EXIF do not touch the pixels
                return image.convert("RGB")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            reason = "of no known format" if isinstance(error, UnidentifiedImageError) else error
            raise DataError(
                f"{self.place}: cannot be read as an image ({reason}); replace or delete the file"
            ) from error

    def crop(self, box: Box) -> Tensor:
        """The pixels in `box`, which must lie within the image: uint8 (3, height, width), colours last in memory."""
        left, top, width, height = box
        pixels = self._partially(lambda decoder: decoder.crop(self.content, left, top, width, height))
        if pixels is None:
            return as_tensor(self.whole.crop((left, top, left + width, top + height)))
        return torch.frombuffer(pixels, dtype=torch.uint8).view(height, width, 3).permute(2, 0, 1)

    def resized(self, box: Box, size: int) -> Tensor:
        """The pixels in `box` as a square of `size`: bilinear, antialiased, uint8 (3, size, size).

        No value differs from PIL's by more than one level, and about 1 in 70 does: the weights of the kernel are
        rounded in another way.
        """
        return functional.resize(self.crop(box), [size, size], antialias=True)

    def _partially(self, decode: Callable[[ModuleType], Any]) -> Any:
        """What the partial decoder gives, or None; from its first refusal on PIL does the work, and judges the file."""
        if self._decoder is None:
            return None
        try:
            return decode(self._decoder)
        except ValueError:
            self._decoder = None
            return None


def as_tensor(image: Image.Image) -> Tensor:
    """An RGB image as uint8 (3, H, W), colours last in memory."""
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return pixels.view(image.height, image.width, 3).permute(2, 0, 1)


def random_box(
    size: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float], rng: random.Random
) -> Box:
    """RandomResizedCrop's rectangle (Szegedy et al., CVPR 2015), distributed as torchvision's.

    Area: uniform in `scale` times the image's; width / height: log-uniform in `ratio`; where it lies: uniform. When ten
    draws do not fit into `size` (width, height): the largest centred one whose ratio is within `ratio`.
    """
    width, height = size
    low, high = log(ratio[0]), log(ratio[1])
    for _ in range(ATTEMPTS):
        area, shape = width * height * rng.uniform(*scale), exp(rng.uniform(low, high))
        w, h = round(sqrt(area * shape)), round(sqrt(area / shape))
        if 0 < w <= width and 0 < h <= height:
            return rng.randint(0, width - w), rng.randint(0, height - h), w, h
    shape = min(max(width / height, ratio[0]), ratio[1])
    w, h = min(width, round(height * shape)), min(height, round(width / shape))
    return (width - w) // 2, (height - h) // 2, w, h


def _looks_sound(content: bytes) -> bool:
    """Begins as a JPEG and ends as one: what was cut off lacks the end, which coded pixels cannot contain."""
    return content.startswith(_JPEG) and _END in content[-_TAIL:]
