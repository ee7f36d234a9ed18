"""A colour for each of many classes: every one as far as can be from those before it, as people see them (CIELAB)."""

from functools import cache

import numpy as np

LEVELS = 12  # of each of red, green and blue: what is chosen from
LIGHTNESS, CHROMA = (40, 90), 35  # a line stands out from photographs, which are dark, pale and grey
FIRST = (255, 0, 0)
_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])  # IEC 61966-2-1


@cache
def colours(classes: int) -> np.ndarray:
    """uint8 (classes, 3), no two alike; the colour of a class does not depend on how many others there are."""
    every = np.stack(np.meshgrid(*[np.linspace(0, 255, LEVELS)] * 3, indexing="ij"), -1).reshape(-1, 3).round()
    seen = lab(every)
    light, chroma = seen[:, 0], np.hypot(seen[:, 1], seen[:, 2])
    fit = (LIGHTNESS[0] <= light) & (light <= LIGHTNESS[1]) & (chroma >= CHROMA)
    every, seen = every[fit], seen[fit]
    chosen: list[int] = []
    distance = -np.linalg.norm(seen - lab(np.array(FIRST)), axis=1)
    for _ in range(classes):
        chosen.append(int(distance.round(6).argmax()))  # rounded: the first of equals on every machine
        own = np.linalg.norm(seen - seen[chosen[-1]], axis=1)
        distance = own if len(chosen) == 1 else np.minimum(distance, own)
    return every[chosen].astype(np.uint8).reshape(-1, 3)


def lab(colour: np.ndarray) -> np.ndarray:
    """CIELAB (D65) of sRGB colours 0 to 255, (..., 3)."""
    ratio = linear(colour) @ _TO_XYZ.T / _TO_XYZ.sum(1)
    bent = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = np.moveaxis(bent, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def luminance(colour: np.ndarray) -> float:
    """Relative luminance of an sRGB colour, 0 to 1 (WCAG 2)."""
    return float(linear(colour) @ _TO_XYZ[1])


def linear(colour: np.ndarray) -> np.ndarray:
    """Light of sRGB values 0 to 255, as fractions."""
    part = np.asarray(colour) / 255
    return np.asarray(np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4))
