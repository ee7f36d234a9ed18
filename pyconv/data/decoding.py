"""Whole image files as arrays: photographs as RGB, label maps as their numbers. No torch here.

Everything here raises `ValueError` with the reason alone ("is cut off"): callers know which file it is.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
from PIL import Image, UnidentifiedImageError

_JPEG, _JPEG_END, _TAIL = b"\xff\xd8\xff", b"\xff\xd9", 64
_PNG = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: "greyscale", 2: "RGB", 3: "palette", 4: "greyscale with transparency", 6: "RGB with transparency"}
_ORIENTATION = 0x0112
HEADER = 33
"""So many bytes of a PNG tell its size and form."""


def _decoder() -> ModuleType | None:
    try:
        return import_module("pyconv.data._jpeg")
    except ImportError:
        return None


DECODER = _decoder()
"""libjpeg-turbo without detours (a third of PIL's time, the same pixels); None where it is not built."""


def rgb(content: bytes) -> np.ndarray:
    """A photograph as uint8 (H, W, 3), as it is stored: greyscale repeated, an EXIF orientation not applied."""
    if (pixels := sound_jpeg(content)) is not None:
        return pixels
    with opened(content) as image:
        return np.array(image.convert("RGB"))


def sound_jpeg(content: bytes) -> np.ndarray | None:
    """The same of a JPEG that the strict decoder finds nothing wrong with; None of everything else."""
    if DECODER is None or not content.startswith(_JPEG) or _JPEG_END not in content[-_TAIL:]:
        return None
    with suppress(ValueError):  # PIL judges what the decoder refuses, and what is too large
        width, height = DECODER.size(content)
        if width * height <= (Image.MAX_IMAGE_PIXELS or 0):
            pixels = DECODER.crop(content, 0, 0, width, height)
            return np.frombuffer(pixels, np.uint8).reshape(height, width, 3)
    return None


def photograph_header(path: Path) -> tuple[tuple[int, int], bool]:
    """((width, height), whether it carries an EXIF orientation), without decoding it."""
    with _explained(), Image.open(path) as image:
        return image.size, _turned(image)


def is_turned(content: bytes) -> bool:
    """Whether a photograph carries an EXIF orientation other than upright."""
    with _explained(), Image.open(io.BytesIO(content)) as image:
        return _turned(image)


def is_repaired(content: bytes) -> bool:
    """A JPEG of usual colours that PIL decodes although the strict decoder finds it damaged."""
    if DECODER is None or not content.startswith(_JPEG):
        return False
    try:
        width, height = DECODER.size(content)
        DECODER.crop(content, 0, 0, width, height)
    except ValueError as error:
        return "orrupt" in str(error)  # libjpeg's word; other refusals are of formats it leaves to PIL
    return False


def numbers(content: bytes) -> np.ndarray:
    """A label map as uint8 (H, W): the stored values of a greyscale PNG of 8 bits, or the indices of a palette PNG.

    Refuses other forms and damage: PIL alone lets a changed bit through, and the labels after it are wrong.
    """
    if form := wrong_form(content):
        raise ValueError(form)
    _verify(content)
    with opened(content) as image:
        return np.array(image)


def png_size(content: bytes) -> tuple[int, int]:
    """(width, height) of a PNG, of which the first `HEADER` bytes are enough."""
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def wrong_form(content: bytes) -> str:
    """Why a file cannot be a label map, from its first `HEADER` bytes; nothing if it can."""
    if not content:
        return "is empty"
    if not content.startswith(_PNG):
        return (
            "is a JPEG, which does not keep numbers; a label map is a PNG" if content.startswith(_JPEG) else "is no PNG"
        )
    if len(content) < HEADER or content[12:16] != b"IHDR":
        return "is cut off"
    depth, colour = content[24], content[25]
    if colour not in (0, 3):
        return f"is {_CHANNELS.get(colour, f'of colour type {colour}')}; a label map has one channel of 8 bits"
    if depth > 8 or (colour == 0 and depth != 8):
        return f"has {depth} bits a pixel; a label map has one channel of 8 bits"
    return ""


@contextmanager
def opened(content: bytes) -> Iterator[Image.Image]:
    """A decoded image, by PIL."""
    if not content:
        raise ValueError("is empty")
    with _explained(), Image.open(io.BytesIO(content)) as image:
        image.load()
        yield image


@contextmanager
def _explained() -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # transparent palettes and broken EXIF do not touch the pixels
            yield
    except UnidentifiedImageError as error:
        raise ValueError("is no image") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"does not decode ({error})") from error


def _turned(image: Image.Image) -> bool:
    return image.getexif().get(_ORIENTATION, 1) != 1


def _verify(content: bytes) -> None:
    """Every chunk of a PNG has its checksum, and the last one is the end."""
    view, start, kind = memoryview(content), len(_PNG), b""
    while kind != b"IEND":
        if start + 12 > len(content):
            raise ValueError("is cut off")
        size, kind = struct.unpack(">I4s", view[start : start + 8])
        stop = start + 8 + size
        if stop + 4 > len(content):
            raise ValueError("is cut off")
        if zlib.crc32(view[start + 4 : stop]) != int.from_bytes(view[stop : stop + 4], "big"):
            raise ValueError(f"is damaged (checksum of its part {kind.decode('ascii', 'replace')})")
        start = stop + 4
