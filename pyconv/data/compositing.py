"""Real digits written onto real photographs, with the exact mask of their ink: what the packaged data sets are made of.

    image = (1 - outline) * photograph + ink * colour     number = 0 where 0 < outline, the digit's where ink > 1/2

Of Python's generator only `random()` is drawn from: it alone is promised to stay the same in every version.
"""

from random import Random

import numpy as np
from PIL import Image, ImageFilter

from pyconv.data.packaged import packaged
from pyconv.data.split import DataError

Region = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels of a photograph."""
Place = tuple[int, int, int]
"""Top, left and side of the square that a digit fills with its outline."""

_PHOTOGRAPH = (640, 427)


def photograph(file: str, region: Region) -> np.ndarray:
    """A part of china.jpg or flower.jpg, which scikit-learn ships: uint8 (H, W, 3), RGB."""
    path = packaged("sklearn", "scikit-learn", "datasets", "images", file)
    with Image.open(path) as image:
        if image.size != _PHOTOGRAPH:
            raise DataError(f"{path}: expected 640x427 pixels, got {image.width}x{image.height}")
        return np.array(image.convert("RGB").crop(region))


def window(random: Random, pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """`height` times `width` of a photograph's own pixels, from anywhere."""
    top, left = (whole(random, 0, room - side) for room, side in zip(pixels.shape, (height, width), strict=False))
    return pixels[top : top + height, left : left + width]


def write(
    image: np.ndarray,
    numbers: np.ndarray,
    digit: np.ndarray,
    number: int,
    place: Place,
    colour: np.ndarray,
    outline: int,
) -> None:
    """Write a digit in coloured ink with a black outline, its strokes thickened by a pixel to either side.

    Into `image` uint8 (H, W, 3) and `numbers` uint8 (H, W), which gets `number` where the ink is. `digit`: uint8
    (28, 28). `outline`: its width in pixels.
    """
    top, left, side = place
    thick = Image.fromarray(digit).filter(ImageFilter.MaxFilter(3))
    thick = thick.crop(thick.getbbox())
    fit = (side - 2 * outline) / max(thick.size)
    width, height = (max(1, round(length * fit)) for length in thick.size)
    written = Image.new("L", (side, side))
    written.paste(thick.resize((width, height), Image.Resampling.BILINEAR), ((side - width) // 2, (side - height) // 2))
    ink = np.asarray(written)
    dark = np.asarray(written.filter(ImageFilter.MaxFilter(2 * outline + 1)))
    here = (slice(top, top + side), slice(left, left + side))
    under = image[here].astype(np.uint32) * (255 - dark[..., None].astype(np.uint32))
    image[here] = (under + ink[..., None].astype(np.uint32) * colour) // 255
    numbers[here] = np.where(ink >= 128, number, np.where(dark > 0, 0, numbers[here]))


def light_colour(random: Random) -> np.ndarray:
    """Of any hue, whatever the digit is: uint32 (3,), 128 to 255."""
    return np.array([whole(random, 128, 255) for _ in range(3)], dtype=np.uint32)


def whole(random: Random, low: int, high: int) -> int:
    """A whole number, both ends included."""
    return low + int(random.random() * (high - low + 1))
