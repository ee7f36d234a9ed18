"""Which images a network got right, one bit an image, in the order of the split's files: packed as text, and compared.

As text: the bits, the first image the highest bit of the first byte (numpy.packbits), zeros up to a whole byte, in
base64. As a whole number: the same bits without those zeros, so that `a & ~b` are the images that only `a` got right.
"""

import base64
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

import pybase64

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
        packed = pybase64.b64decode(text, validate=True)
    except ValueError:  # other characters, padding of another length, letters that are not ASCII
        raise ValueError("is not base64; numpy.packbits of one bit an image, in base64, is right") from None
    size = -(-n // 8)
    if len(packed) != size:
        raise ValueError(f"holds {len(packed)} bytes; the bits of {n} images are {size}")
    bits, padding = int.from_bytes(packed, "big"), 8 * size - n
    if bits & ((1 << padding) - 1):
        raise ValueError(f"has bits behind those of its {n} images; the last {padding} must be zero")
    return bits >> padding


def mean_wrong(texts: Iterable[str], n: int) -> "np.ndarray":
    """The share of `texts`, each the outcomes of one record, that is wrong on each of `n` images: float64 of (n,)."""
    import numpy as np  # late: most readers of records look at no image

    packed = (np.frombuffer(pybase64.b64decode(text), np.uint8) for text in texts)
    right, records = np.zeros(n, np.int64), 0
    while some := list(islice(packed, 255)):  # as many as a byte can count
        part = np.zeros(n, np.uint8)
        for one in some:
            part += np.unpackbits(one, count=n)
        right += part
        records += len(some)
    return (records - right) / records
