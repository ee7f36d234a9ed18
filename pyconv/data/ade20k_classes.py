"""The 150 classes of the ADE20K scene-parsing benchmark (Zhou et al., CVPR 2017): names and the usual colours.

`ade20k_classes.csv`: number from 1, name, red, green, blue. Names: objectInfo150.txt of the benchmark's development kit
(github.com/CSAILVision/sceneparsing). Colours: its color150 table, as semseg's ade20k_colors.txt and mmsegmentation's
palette list it, equal in both; road and skyscraper share one there. No torch here.
"""

import csv
from functools import cache
from importlib.resources import files

import numpy as np

CLASSES = 150


def names() -> tuple[str, ...]:
    """Each class with its synonyms, in the benchmark's order: "wall", "building, edifice", ..."""
    return tuple(row["name"] for row in _rows())


def palette() -> np.ndarray:
    """Colour of each class, uint8 (150, 3), RGB: class 0 of `Scenes.labels` is wall."""
    return np.array([[row[part] for part in ("red", "green", "blue")] for row in _rows()], np.int64).astype(np.uint8)


def short(name: str) -> str:
    """The first of a class's synonyms, for legends: "building" of "building, edifice". They differ from each other."""
    return name.partition(",")[0].strip()


def synonyms(name: str) -> frozenset[str]:
    """All of them, in lower case: lists that mean the same class separate them by commas or semicolons."""
    return frozenset(word.strip().lower() for word in name.replace(";", ",").split(",") if word.strip())


@cache
def _rows() -> tuple[dict[str, str], ...]:
    text = (files("pyconv.data") / "ade20k_classes.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))
