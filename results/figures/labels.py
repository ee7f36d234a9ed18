"""Where the labels of boxes stand: at their own box, inside the picture, on no other label, hiding no whole box.

Where boxes crowd, the first ones are labelled and the rest is left to its colour: labels hide no more than `COVERED`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from results.figures.canvas import Box

COVERED = 0.3
"""Of the picture, by all its labels together."""
STEPS = 5
"""Places tried along a side of a box."""
_TOUCH = 1e-9  # what a sum of lengths may be off


@dataclass(frozen=True)
class Size:
    """Width and height of a text."""

    width: float
    height: float


@dataclass(frozen=True)
class Placed:
    """Which of a box's texts is shown, by its number, and where."""

    text: int
    box: Box


def arrange(boxes: Sequence[Box], texts: Sequence[Sequence[Size]], picture: Box) -> list[Placed | None]:
    """The label of each box, the first box first; None where no place is left.

    `texts`: the sizes of what may be shown at a box, the best first; a shorter one is shown where that has no place.
    """
    taken: list[Box] = []
    room = COVERED * picture.width * picture.height
    found: list[Placed | None] = []
    for number, (box, sizes) in enumerate(zip(boxes, texts, strict=True)):
        others = [other for n, other in enumerate(boxes) if n != number]
        small = [(text, size) for text, size in enumerate(sizes) if size.width * size.height <= room]
        places = (Placed(text, at) for text, size in small for at in _places(box, size, picture))
        best = next((place for place in places if _is_free(place.box, taken, others)), None)
        found.append(best)
        if best is not None:
            taken.append(best.box)
            room -= best.box.width * best.box.height
    return found


def _places(box: Box, size: Size, picture: Box) -> Iterator[Box]:
    """Above the box, inside it at the top, below it, inside it at the bottom; from the left to the right."""
    if size.width > picture.width or size.height > picture.height:
        return
    slack = box.width - size.width
    for top in (box.top - size.height, box.top, box.bottom, box.bottom - size.height):
        for step in range(STEPS):
            left = box.left + slack * step / (STEPS - 1)
            yield Box(
                min(max(left, picture.left), picture.right - size.width),
                min(max(top, picture.top), picture.bottom - size.height),
                size.width,
                size.height,
            )


def _is_free(place: Box, taken: Sequence[Box], others: Sequence[Box]) -> bool:
    return not any(_overlap(place, label) for label in taken) and not any(_holds(place, box) for box in others)


def _overlap(one: Box, other: Box) -> bool:
    across = min(one.right, other.right) - max(one.left, other.left)
    along = min(one.bottom, other.bottom) - max(one.top, other.top)
    return across > _TOUCH and along > _TOUCH


def _holds(place: Box, box: Box) -> bool:
    return place.left <= box.left and box.right <= place.right and place.top <= box.top and box.bottom <= place.bottom
