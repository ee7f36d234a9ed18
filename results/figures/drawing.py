"""`Panels` as a picture: PNG at 300 dpi and PDF with text as text, the same bytes for the same panels.

Sizes are in inches, of a page's full width. Label maps are never interpolated: a blend of two colours is a third class.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pyconv.data.ade20k import IGNORE
from pyconv.data.ade20k_classes import palette, short
from results.figures.segmentations import Panels, Photograph, occurring

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 7.16  # of a page of two columns
GAP, MARGIN = 0.04, 0.02
TALLEST = 1.5  # height over width of a panel; taller photographs are narrower
LINE = 0.125  # a line of text
ENTRY = 1.15 * LINE  # a line of the legend
DPI = 300
LISTED, COLUMNS = 30, 6  # classes in the legend, and in one of its lines
NAME = 20  # letters of a class's name
NOTHING = (0, 0, 0)  # the colour of pixels without a class
STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 6.5,
    "pdf.fonttype": 42,  # TrueType: journals refuse Type 3
    "pdf.compression": 6,
}


@dataclass(frozen=True)
class _Box:
    """A place on the page, from its top left corner."""

    left: float
    top: float
    width: float
    height: float


def draw(shown: Panels) -> dict[str, bytes]:
    """The picture by its format, `png` and `pdf`."""
    import matplotlib.style  # a second, and only figures need it

    with matplotlib.style.context(["default", STYLE]):
        figure = _figure(shown)
        return {
            "png": _saved(figure, "png", {"Software": None}),
            "pdf": _saved(figure, "pdf", {"CreationDate": None}),
        }


def colours(classes: Sequence[str]) -> np.ndarray:
    """Colour of each class, uint8 (classes, 3): the benchmark's for its 150, else twenty that can be told apart."""
    if len(classes) == len(palette()):
        return palette()
    from matplotlib import colormaps

    table = np.array(colormaps["tab20"].colors)  # type: ignore[attr-defined]
    return np.round(255 * table[np.arange(len(classes)) % len(table)]).astype(np.uint8)


def _figure(shown: Panels) -> "Figure":
    from matplotlib.figure import Figure

    headers = (("Image",), ("Ground truth",), *shown.headers)
    entries = _entries(shown)
    width = (WIDTH - 2 * MARGIN - GAP * (len(headers) - 1)) / len(headers)
    heights = [_height(row, width) for row in shown.rows]
    above = LINE * max(map(len, headers)) + 0.04
    below = 0.08 + ENTRY * -(-len(entries) // COLUMNS) + (LINE if shown.note else 0)
    total = above + sum(heights) + GAP * (len(heights) - 1) + below
    figure = Figure(figsize=(WIDTH, total))
    table = np.concatenate([colours(shown.classes), np.array([NOTHING], np.uint8)])
    for column, header in enumerate(headers):
        left = MARGIN + column * (width + GAP)
        for number, line in enumerate(reversed(header)):
            _text(figure, left + width / 2, above - 0.06 - number * LINE, line, "center", "baseline")
        top = above
        for row, height in zip(shown.rows, heights, strict=True):
            _place(figure, _picture(row, column, table), _Box(left, top, width, height), smooth=column == 0)
            top += height + GAP
    _legend(figure, entries, total - below + 0.08)
    _text(figure, MARGIN, total - 0.4 * LINE, shown.note, "left", "baseline")
    return figure


def _entries(shown: Panels) -> list[tuple[tuple[int, ...] | None, str]]:
    """Colour and name of what occurs in the figure, the largest class first; without a colour how many more."""
    classes, nothing = occurring(shown)
    room = LISTED - nothing
    listed = classes if len(classes) <= room else classes[: room - 1]
    table = colours(shown.classes)
    entries: list[tuple[tuple[int, ...] | None, str]]
    entries = [(tuple(map(int, table[number])), _name(shown.classes[number])) for number in listed]
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


def _place(figure: "Figure", picture: np.ndarray, box: _Box, *, smooth: bool) -> None:
    """The picture inside the box, its shape kept."""
    wide, high = figure.get_size_inches()
    width = min(box.width, box.height * picture.shape[1] / picture.shape[0])
    left = box.left + (box.width - width) / 2
    axes = figure.add_axes((left / wide, 1 - (box.top + box.height) / high, width / wide, box.height / high))
    axes.imshow(picture, interpolation="auto" if smooth else "none", aspect="auto")
    axes.set_axis_off()


def _legend(figure: "Figure", entries: Sequence[tuple[tuple[int, ...] | None, str]], top: float) -> None:
    """Patches with names, line by line."""
    step = (WIDTH - 2 * MARGIN) / COLUMNS
    for number, (colour, name) in enumerate(entries):
        line, left = top + ENTRY * (number // COLUMNS), MARGIN + step * (number % COLUMNS)
        if colour is not None:
            _patch(figure, _Box(left, line, 0.14, 0.85 * LINE), colour)
        _text(figure, left + 0.18 * (colour is not None), line + 0.42 * LINE, name, "left", "center_baseline")


def _name(name: str) -> str:
    """The first of a class's synonyms, shortened where it would run into the next column."""
    word = short(name)
    return word if len(word) <= NAME else f"{word[: NAME - 1]}…"


def _patch(figure: "Figure", box: _Box, colour: Sequence[int]) -> None:
    from matplotlib.patches import Rectangle

    wide, high = figure.get_size_inches()
    place = box.left / wide, 1 - (box.top + box.height) / high
    patch = Rectangle(
        place,
        box.width / wide,
        box.height / high,
        transform=figure.transFigure,
        facecolor=[int(part) / 255 for part in colour],
        edgecolor="0.4",
        linewidth=0.3,
    )
    figure.add_artist(patch)


def _text(figure: "Figure", left: float, top: float, text: str, across: str, along: str) -> None:
    wide, high = figure.get_size_inches()
    figure.text(left / wide, 1 - top / high, text, ha=across, va=along, linespacing=1.1, parse_math=False)


def _saved(figure: "Figure", kind: str, metadata: dict[str, None]) -> bytes:
    """The file's bytes; without a clock in them."""
    file = io.BytesIO()
    figure.savefig(file, format=kind, dpi=DPI, metadata=metadata)
    return file.getvalue()
