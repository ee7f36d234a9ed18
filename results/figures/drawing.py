"""`Panels` as a picture: PNG at 300 dpi and PDF with text as text, the same bytes for the same panels.

Label maps are never interpolated: a blend of two colours is a third class.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pyconv.data.ade20k import IGNORE
from pyconv.data.ade20k_classes import palette, short
from results.figures import canvas
from results.figures.canvas import DPI, GAP, MARGIN, WIDTH, Box, Entry
from results.figures.segmentations import Panels, Photograph, occurring

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["DPI", "GAP", "MARGIN", "WIDTH", "colours", "draw"]

TALLEST = 1.5  # height over width of a panel; taller photographs are narrower
LISTED = 30  # classes in the legend
NAME = 20  # letters of a class's name
NOTHING = (0, 0, 0)  # the colour of pixels without a class


def draw(shown: Panels) -> dict[str, bytes]:
    """The picture by its format, `png` and `pdf`."""
    with canvas.style():
        return canvas.saved(_figure(shown))


def colours(classes: Sequence[str]) -> np.ndarray:
    """Colour of each class, uint8 (classes, 3): the benchmark's for its 150, else twenty that can be told apart."""
    if len(classes) == len(palette()):
        return palette()
    from matplotlib import colormaps

    table = np.array(colormaps["tab20"].colors)  # type: ignore[attr-defined]
    return np.round(255 * table[np.arange(len(classes)) % len(table)]).astype(np.uint8)


def _figure(shown: Panels) -> "Figure":
    headers = (("Image",), ("Ground truth",), *shown.headers)
    entries = _entries(shown)
    width = canvas.column_width(len(headers))
    heights = [_height(row, width) for row in shown.rows]
    above = canvas.LINE * max(map(len, headers)) + 0.04
    below = 0.08 + canvas.ENTRY * -(-len(entries) // canvas.COLUMNS) + (canvas.LINE if shown.note else 0)
    total = above + sum(heights) + GAP * (len(heights) - 1) + below
    figure = canvas.blank(total)
    table = np.concatenate([colours(shown.classes), np.array([NOTHING], np.uint8)])
    for column, header in enumerate(headers):
        canvas.header(figure, column, len(headers), header, above)
        top = above
        for row, height in zip(shown.rows, heights, strict=True):
            picture = _picture(row, column, table)
            box = canvas.inside(picture.shape, Box(MARGIN + column * (width + GAP), top, width, height))
            canvas.place(figure, picture, box, smooth=column == 0)
            top += height + GAP
    canvas.legend(figure, entries, total - below + 0.08)
    canvas.text(figure, MARGIN, total - 0.4 * canvas.LINE, shown.note)
    return figure


def _entries(shown: Panels) -> list[Entry]:
    """Colour and name of what occurs in the figure, the largest class first; without a colour how many more."""
    classes, nothing = occurring(shown)
    room = LISTED - nothing
    listed = classes if len(classes) <= room else classes[: room - 1]
    table = colours(shown.classes)
    entries: list[Entry] = [(tuple(map(int, table[number])), _name(shown.classes[number])) for number in listed]
    entries += [(NOTHING, "no class")] if nothing else []
    return entries + ([(None, f"and {len(classes) - len(listed)} more")] if len(listed) < len(classes) else [])


def _height(row: Photograph, width: float) -> float:
    high, wide = row.truth.shape
    return float(width * min(high / wide, TALLEST))


def _picture(row: Photograph, column: int, table: np.ndarray) -> np.ndarray:
    """The cell of the row in a column, as RGB: the photograph, the label map, what each network predicted."""
    if column == 0:
        return row.image
    classes = (row.truth, *row.predictions)[column - 1]
    picture: np.ndarray = table[np.where(classes == IGNORE, len(table) - 1, classes)]
    return picture


def _name(name: str) -> str:
    """The first of a class's synonyms, shortened where it would run into the next column."""
    word = short(name)
    return word if len(word) <= NAME else f"{word[: NAME - 1]}…"
