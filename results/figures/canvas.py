"""A page of a figure, in inches from its top left corner: pictures, text, patches, a legend, and the files' bytes.

The same page is the same bytes: no clock is in them. Text is text, and TrueType, in the PDF.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 7.16  # of a page of two columns
GAP, MARGIN = 0.04, 0.02
LINE = 0.125  # a line of text
ENTRY = 1.15 * LINE  # a line of the legend
DPI = 300
COLUMNS = 6  # classes in a line of the legend
STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 6.5,
    "pdf.fonttype": 42,  # TrueType: journals refuse Type 3
    "pdf.compression": 6,
}
Entry = tuple[tuple[int, ...] | None, str]
"""A line of the legend: the colour of its patch, None for none, and a text."""


@dataclass(frozen=True)
class Box:
    """A place on the page, from its top left corner."""

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """The x of its right side."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """The y of its lower side."""
        return self.top + self.height


@contextmanager
def style() -> Iterator[None]:
    """Everything inside is drawn alike, whatever the user's settings are."""
    import matplotlib.style  # a second, and only figures need it

    with matplotlib.style.context(["default", STYLE]):
        yield


def blank(height: float) -> "Figure":
    """A page of the full width."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height))


def column_width(columns: int) -> float:
    """Of `columns` equal ones with gaps between them."""
    return (WIDTH - 2 * MARGIN - GAP * (columns - 1)) / columns


def place(figure: "Figure", picture: np.ndarray, box: Box, *, smooth: bool = True) -> None:
    """The picture, as wide and high as the box."""
    wide, high = figure.get_size_inches()
    axes = figure.add_axes((box.left / wide, 1 - box.bottom / high, box.width / wide, box.height / high))
    axes.imshow(picture, interpolation="auto" if smooth else "none", aspect="auto")
    axes.set_axis_off()


def inside(shape: Sequence[int], box: Box) -> Box:
    """The largest place of a picture's shape (height, width) in the middle of the box."""
    width = min(box.width, box.height * shape[1] / shape[0])
    height = min(box.height, box.width * shape[0] / shape[1])
    return Box(box.left + (box.width - width) / 2, box.top + (box.height - height) / 2, width, height)


def patch(figure: "Figure", box: Box, **looks: Any) -> None:
    """A rectangle; `looks`: matplotlib's."""
    from matplotlib.patches import Rectangle

    wide, high = figure.get_size_inches()
    corner = box.left / wide, 1 - box.bottom / high
    figure.add_artist(Rectangle(corner, box.width / wide, box.height / high, transform=figure.transFigure, **looks))


def text(
    figure: "Figure", left: float, top: float, words: str, across: str = "left", along: str = "baseline", **looks: Any
) -> None:
    """`words` as they are: no sign of them is a formula."""
    wide, high = figure.get_size_inches()
    figure.text(left / wide, 1 - top / high, words, ha=across, va=along, linespacing=1.1, parse_math=False, **looks)


def header(figure: "Figure", column: int, columns: int, lines: Sequence[str], bottom: float) -> None:
    """Lines in the middle above a column, the last one just above `bottom`."""
    width = column_width(columns)
    middle = MARGIN + column * (width + GAP) + width / 2
    for number, line in enumerate(reversed(lines)):
        text(figure, middle, bottom - 0.06 - number * LINE, line, "center")


def legend(figure: "Figure", entries: Sequence[Entry], top: float) -> None:
    """Patches with names, line by line."""
    step = (WIDTH - 2 * MARGIN) / COLUMNS
    for number, (colour, name) in enumerate(entries):
        line, left = top + ENTRY * (number // COLUMNS), MARGIN + step * (number % COLUMNS)
        if colour is not None:
            box = Box(left, line, 0.14, 0.85 * LINE)
            patch(figure, box, facecolor=[part / 255 for part in colour], edgecolor="0.4", linewidth=0.3)
        text(figure, left + 0.18 * (colour is not None), line + 0.42 * LINE, name, along="center_baseline")


def saved(figure: "Figure") -> dict[str, bytes]:
    """The page by its format, `png` and `pdf`; without a clock in them."""
    return {
        "png": _saved(figure, "png", {"Software": None}),
        "pdf": _saved(figure, "pdf", {"CreationDate": None}),
    }


def _saved(figure: "Figure", kind: str, metadata: dict[str, None]) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format=kind, dpi=DPI, metadata=metadata)
    return file.getvalue()
