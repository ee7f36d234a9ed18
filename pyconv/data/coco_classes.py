"""The 80 categories of COCO 2017 (Lin et al., ECCV 2014): numbers with their gaps, names, supercategories.

`coco_classes.csv`: id (1 to 90), name, supercategory, as "categories" of the release's instances files list them; the
ten numbers between that are missing belong to categories of the paper that were not released. Label = place in this
list, from 1. No torch here.
"""

import csv
from functools import cache
from importlib.resources import files

from pyconv.data.coco_json import Category

CLASSES = 80


def categories() -> tuple[Category, ...]:
    """By ascending id: label 1 is person (1), label 80 toothbrush (90)."""
    return tuple(Category(int(row["id"]), row["name"]) for row in _rows())


def supercategories() -> dict[str, str]:
    """Name of a category -> what it is one of: person, vehicle, outdoor, animal, accessory, ... twelve in all."""
    return {row["name"]: row["supercategory"] for row in _rows()}


@cache
def _rows() -> tuple[dict[str, str], ...]:
    text = (files("pyconv.data") / "coco_classes.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))
