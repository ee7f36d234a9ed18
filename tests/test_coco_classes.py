"""The 80 categories of COCO 2017: facts of the release's own list."""

from itertools import pairwise

from pyconv.data.coco_classes import CLASSES, categories, supercategories


def test_categories_are_the_releases() -> None:
    found = categories()
    assert len(found) == len({one.name for one in found}) == CLASSES == 80
    assert [*range(1, 91)] == sorted([*(one.id for one in found), 12, 26, 29, 30, 45, 66, 68, 69, 71, 83])
    assert all(one.id < other.id for one, other in pairwise(found))
    known = {
        1: (1, "person"),
        12: (13, "stop sign"),
        40: (44, "bottle"),
        73: (82, "refrigerator"),
        80: (90, "toothbrush"),
    }
    assert {label: (found[label - 1].id, found[label - 1].name) for label in known} == known
    assert set(supercategories()) == {one.name for one in found}
    assert len(set(supercategories().values())) == 12
    assert {name for name, kind in supercategories().items() if kind == "outdoor"} == {
        "traffic light",
        "fire hydrant",
        "stop sign",
        "parking meter",
        "bench",
    }
