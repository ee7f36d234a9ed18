"""Which images a network got right, one bit an image, in the order of the split's files: packed as text, and compared.

As text: the bits, the first image the highest bit of the first byte (numpy.packbits), zeros up to a whole byte, in
base64. As a whole number: the same bits without those zeros, so that `a & ~b` are the images that only `a` got right.
"""

import base64
import binascii
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def pack(right: Iterable[bool]) -> str:
    """One bool an image as text; 50,000 images are 8,336 characters."""
    digits = "".join("1" if one else "0" for one in right)
    size = -(-len(digits) // 8)
    bits = int(digits.ljust(8 * size, "0") or "0", 2)
    return base64.b64encode(bits.to_bytes(size, "big")).decode("ascii")


def unpack(text: str, n: int) -> int:
    """The bits of `n` images as one whole number, the last image its lowest bit. Raises ValueError for other text."""
    try:
        packed = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ValueError("is not base64; numpy.packbits of one bit an image, in base64, is right") from None
    size = -(-n // 8)
    if len(packed) != size:
        raise ValueError(f"holds {len(packed)} bytes; the bits of {n} images are {size}")
    bits, padding = int.from_bytes(packed, "big"), 8 * size - n
    if bits & ((1 << padding) - 1):
        raise ValueError(f"has bits behind those of its {n} images; the last {padding} must be zero")
    return bits >> padding


def wrong(text: str, n: int) -> "np.ndarray":
    """1 for every image that was wrong, 0 for the others, in the order of the files: uint8 of shape (n,)."""
    import numpy as np  # late: most readers of records look at no image

    packed = np.frombuffer(base64.b64decode(text), np.uint8)
    return 1 - np.unpackbits(packed, count=n)
