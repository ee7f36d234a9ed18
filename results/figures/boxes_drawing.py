"""`Panels` of detections as a picture: boxes in their class's colour, labels that cover neither each other nor a box.

Lines and letters have sizes of the page, in points, whatever the photograph's resolution is.
"""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from results.figures import canvas
from results.figures.canvas import Box, Entry
from results.figures.class_colours import colours, luminance
from results.figures.detections import Boxes, Panels, Photograph, occurring
from results.figures.labels import Placed, Size, arrange

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINT = 1 / 72  # of an inch
LETTERS = 5.0  # points
LABEL = 1.3 * LETTERS * POINT  # height of a label
PAD = 0.02  # beside its text
STROKE, HALO = 0.9, 1.7  # points; the halo, black or white, keeps a line visible on its own colour
TALLEST = 1.0  # height over width of a panel; taller photographs are narrower
LISTED = 30  # classes in the legend
DARK = 0.179  # luminance from which black stands out more than white: 1.05 / (L + 0.05) = (L + 0.05) / 0.05
NAME = 0.93  # of a class's name in the legend, so that it ends before the next column


def draw(shown: Panels) -> dict[str, bytes]:
    """The picture by its format, `png` and `pdf`."""
    with canvas.style():
        return canvas.saved(_figure(shown))


def label_texts(boxes: Boxes, number: int, classes: Sequence[str]) -> tuple[str, ...]:
    """What may stand at a box: class and score, else the score alone; of a true box its class, of a region "crowd"."""
    name = shortened(classes[boxes.labels[number] - 1])
    if boxes.scores is None:
        return (f"{name}, crowd",) if boxes.crowd[number] else (name,)
    score = f"{boxes.scores[number]:.2f}"
    return f"{name}: {score}", score


def placed(boxes: Boxes, classes: Sequence[str], shape: Sequence[int], picture: Box) -> list[tuple[Box, Placed | None]]:
    """Where each box stands on the page, in a `picture` of a photograph of `shape`, and where its label."""
    corners = boxes.corners * np.array([picture.width / shape[1], picture.height / shape[0]] * 2)
    corners = corners + np.array([picture.left, picture.top] * 2)
    places = [Box(left, top, right - left, bottom - top) for left, top, right, bottom in corners.tolist()]
    sizes = [[_size(text) for text in label_texts(boxes, number, classes)] for number in range(len(boxes))]
    return list(zip(places, arrange(places, sizes, picture), strict=True))


def told(shown: Panels) -> list[list[list[dict[str, Any]]]]:
    """What is drawn, row by row, column by column, box by box: `bbox` is x, y, width, height in pixels of the image.

    `label`: what stands at the box; empty where there was no room.
    """
    return [
        [_told(boxes, row, place, shown.classes) for boxes, place in zip(row.columns, places, strict=True)]
        for row, places in zip(shown.rows, layout(shown), strict=True)
    ]


@cache
def shortened(name: str) -> str:
    """A class's name on one line, without letters that the font has not, cut where it would run into others."""
    word = "".join(letter if ord(letter) in _letters() else "\ufffd" for letter in " ".join(name.split()))
    size = canvas.STYLE["font.size"]
    if _width(word, size) <= NAME:
        return word
    return next(cut for end in range(len(word), -1, -1) if _width(cut := f"{word[:end]}…", size) <= NAME)


def layout(shown: Panels) -> list[list[Box]]:
    """The place of each photograph's picture in each column, row by row."""
    columns = len(shown.headers) + 1
    width = canvas.column_width(columns)
    top, rows = _above(shown), []
    for row in shown.rows:
        height = width * min(row.image.shape[0] / row.image.shape[1], TALLEST)
        cells = [Box(canvas.MARGIN + n * (width + canvas.GAP), top, width, height) for n in range(columns)]
        rows.append([canvas.inside(row.image.shape, cell) for cell in cells])
        top += height + canvas.GAP
    return rows


def _told(boxes: Boxes, row: Photograph, picture: Box, classes: Sequence[str]) -> list[dict[str, Any]]:
    found = []
    for number, (_, label) in enumerate(placed(boxes, classes, row.image.shape, picture)):
        left, top, right, bottom = boxes.corners[number].tolist()
        one: dict[str, Any] = {
            "class": classes[boxes.labels[number] - 1],
            "bbox": [left, top, right - left, bottom - top],
        }
        if boxes.scores is None:
            one |= {"crowd": bool(boxes.crowd[number])}
        else:
            one |= {"score": float(boxes.scores[number])}
        found.append({**one, "label": label_texts(boxes, number, classes)[label.text] if label is not None else ""})
    return found


def _figure(shown: Panels) -> "Figure":
    places, entries = layout(shown), _entries(shown)
    lines = [_reading(shown), *([shown.note] if shown.note else [])]
    end = places[-1][0].bottom + 0.08
    below = canvas.ENTRY * -(-len(entries) // canvas.COLUMNS) + canvas.LINE * len(lines)
    figure = canvas.blank(end + below)
    for column, header in enumerate((("Ground truth",), *shown.headers)):
        canvas.header(figure, column, len(shown.headers) + 1, header, _above(shown))
    for row, boxes in zip(shown.rows, places, strict=True):
        for column, box in enumerate(boxes):
            _panel(figure, row, column, box, shown.classes)
    canvas.legend(figure, entries, end)
    for number, line in enumerate(reversed(lines)):
        canvas.text(figure, canvas.MARGIN, end + below - (0.4 + number) * canvas.LINE, line)
    return figure


def _above(shown: Panels) -> float:
    return canvas.LINE * max(map(len, shown.headers), default=1) + 0.04


def _reading(shown: Panels) -> str:
    crowd = any(row.truth.crowd.any() for row in shown.rows)
    told = f"Boxes with a score of {shown.threshold:g} or more, the score behind the class"
    return f"{told}; without a label where there is no room for one{'; dashed: a crowd' if crowd else ''}."


def _entries(shown: Panels) -> list[Entry]:
    """Colour and name of what occurs in the figure, the commonest class first; without a colour how many more."""
    labels = occurring(shown)
    listed = labels if len(labels) <= LISTED else labels[: LISTED - 1]
    table = colours(len(shown.classes))
    entries: list[Entry] = [
        (tuple(map(int, table[label - 1])), shortened(shown.classes[label - 1])) for label in listed
    ]
    return entries + ([(None, f"and {len(labels) - len(listed)} more")] if len(listed) < len(labels) else [])


def _panel(figure: "Figure", row: Photograph, column: int, picture: Box, classes: Sequence[str]) -> None:
    """The photograph, boxes on it with the largest below, labels above all of them."""
    boxes = row.columns[column]
    canvas.place(figure, row.image, picture)
    table = colours(len(classes))
    found = placed(boxes, classes, row.image.shape, picture)
    for number in sorted(range(len(boxes)), key=lambda n: -found[n][0].width * found[n][0].height):
        _outline(figure, found[number][0], picture, table[boxes.labels[number] - 1], dashed=boxes.crowd[number])
    for number, (_, label) in enumerate(found):
        if label is not None:
            words = label_texts(boxes, number, classes)[label.text]
            _label(figure, label.box, words, table[boxes.labels[number] - 1])


def _outline(figure: "Figure", box: Box, picture: Box, colour: np.ndarray, *, dashed: bool) -> None:
    """The box's line, all of it on the photograph."""
    half = HALO * POINT / 2
    left, top = max(box.left, picture.left + half), max(box.top, picture.top + half)
    right, bottom = min(box.right, picture.right - half), min(box.bottom, picture.bottom - half)
    line = Box(left, top, max(right - left, 0), max(bottom - top, 0))
    looks: dict[str, Any] = {"fill": False, "joinstyle": "miter"}
    shade = 0.0 if luminance(colour) > DARK else 1.0
    canvas.patch(figure, line, edgecolor=(shade, shade, shade, 0.55), linewidth=HALO, **looks)
    style = (0, (3, 2)) if dashed else "-"
    canvas.patch(figure, line, edgecolor=tuple(colour / 255), linewidth=STROKE, linestyle=style, **looks)


def _label(figure: "Figure", box: Box, words: str, colour: np.ndarray) -> None:
    """Black or white letters, whichever stands out, on the class's colour."""
    canvas.patch(figure, box, facecolor=tuple(colour / 255), linewidth=0)
    ink = "black" if luminance(colour) > DARK else "white"
    middle = box.top + box.height / 2
    canvas.text(figure, box.left + PAD, middle, words, along="center_baseline", size=LETTERS, color=ink)


def _size(text: str) -> Size:
    """Of a label with this text."""
    return Size(_width(text, LETTERS) + 2 * PAD, LABEL)


@cache
def _width(text: str, points: float) -> float:
    """Of a text in letters of so many points, in inches; the same for every format."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    properties = FontProperties(family=canvas.STYLE["font.family"], size=points)
    width, _, _ = text_to_path.get_text_width_height_descent(text, properties, ismath=False)
    return float(width) * POINT


@cache
def _letters() -> frozenset[int]:
    """The characters that the font has."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return frozenset(get_font(findfont(FontProperties(family=canvas.STYLE["font.family"]))).get_charmap())
