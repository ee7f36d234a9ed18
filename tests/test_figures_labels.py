"""Laws of labels and colours: nothing covers what it must not, and everything can be told apart."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from results.figures.boxes_drawing import DARK
from results.figures.canvas import Box
from results.figures.class_colours import colours, lab, luminance
from results.figures.labels import COVERED, Placed, Size, arrange

PICTURE = Box(1.0, 2.0, 2.0, 1.5)
TOUCH = 1e-9


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    """Inside the picture, of any size down to a point, on a coarse grid so that sides meet."""
    left, right = sorted(draw(st.tuples(st.integers(0, 20), st.integers(0, 20))))
    top, bottom = sorted(draw(st.tuples(st.integers(0, 15), st.integers(0, 15))))
    return Box(PICTURE.left + left / 10, PICTURE.top + top / 10, (right - left) / 10, (bottom - top) / 10)


texts = st.tuples(st.floats(0.1, 2.5), st.floats(0.05, 0.4)).map(
    lambda wide: (Size(wide[0], 0.09), Size(min(wide), 0.09))
)
crowds = st.lists(st.tuples(boxes(), texts), max_size=25)


def common(one: Box, other: Box) -> tuple[float, float]:
    """Width and height that two places have in common; negative: how far they are apart."""
    return (
        min(one.right, other.right) - max(one.left, other.left),
        min(one.bottom, other.bottom) - max(one.top, other.top),
    )


@given(crowds)
@settings(max_examples=150, deadline=None)
def test_labels_are_inside_at_their_box_on_no_other_label_and_hide_no_whole_box(
    crowd: list[tuple[Box, tuple[Size, Size]]],
) -> None:
    found = arrange([box for box, _ in crowd], [sizes for _, sizes in crowd], PICTURE)
    labels = [(number, placed.box) for number, placed in enumerate(found) if placed is not None]
    for number, label in labels:
        assert min(common(label, PICTURE)) > 0
        assert np.allclose(common(label, PICTURE), (label.width, label.height))
        assert min(common(label, crowd[number][0])) >= -TOUCH  # it touches its box
        others = [box for other, (box, _) in enumerate(crowd) if other != number]
        inside = [common(label, box) == (box.width, box.height) and box.width * box.height > 0 for box in others]
        assert not any(inside)
        assert all(min(common(label, other)) <= TOUCH for n, other in labels if n != number)
    assert sum(label.width * label.height for _, label in labels) <= COVERED * PICTURE.width * PICTURE.height + TOUCH


def test_one_box_has_its_whole_label_above_its_left_corner() -> None:
    box = Box(1.5, 2.5, 0.5, 0.5)
    assert arrange([box], [(Size(0.4, 0.1), Size(0.2, 0.1))], PICTURE) == [Placed(0, Box(1.5, 2.4, 0.4, 0.1))]


def test_a_label_wider_than_the_picture_gives_way_to_the_score_and_that_to_nothing() -> None:
    box = Box(1.0, 2.0, 2.0, 1.5)
    (placed,) = arrange([box], [(Size(2.1, 0.1), Size(0.2, 0.1))], PICTURE)
    assert placed is not None
    assert placed.text == 1
    assert arrange([box], [(Size(2.1, 0.1), Size(2.2, 0.1))], PICTURE) == [None]


def test_of_equal_boxes_the_first_ones_are_labelled() -> None:
    """Equal boxes in a picture of 3 square inches: 0.9 may be covered, by nine labels of 0.1."""
    crowd = [Box(1.0, 2.0, 2.0, 1.5)] * 30
    found = arrange(crowd, [(Size(0.5, 0.2),)] * 30, PICTURE)
    shown = [number for number, placed in enumerate(found) if placed is not None]
    assert shown == list(range(len(shown)))
    assert 2 <= len(shown) <= 9


def test_eighty_classes_have_colours_that_differ_and_do_not_depend_on_their_number() -> None:
    """A difference of 2.3 in CIELAB is just noticeable; white has lightness 100 and no colour."""
    table = colours(80)
    apart = np.linalg.norm(lab(table)[:, None] - lab(table)[None], axis=-1)
    assert apart[~np.eye(80, dtype=bool)].min() > 6 * 2.3
    assert (colours(10) == table[:10]).all()
    np.testing.assert_allclose(lab(np.array([[255, 255, 255], [0, 0, 0]])), [[100, 0, 0], [0, 0, 0]], atol=1e-9)
    np.testing.assert_allclose(
        lab(np.array([255, 0, 0])), [53.24, 80.09, 67.20], atol=0.05
    )  # as tables print it, by rounded matrices


def test_letters_stand_out_from_every_class_s_colour() -> None:
    """WCAG 2 asks for a contrast of 4.5 of small letters."""
    for colour in colours(80):
        light = luminance(colour)
        contrast = (light + 0.05) / 0.05 if light > DARK else 1.05 / (light + 0.05)
        assert contrast > 4.5
