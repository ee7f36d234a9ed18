"""What is known of ILSVRC-2012 (Russakovsky et al., IJCV 2015, table 2), and how a split differs from it."""

import re
from collections.abc import Iterator

import numpy as np

from pyconv.data.split import Split

CLASSES = 1000
SAMPLES = {"train": 1_281_167, "val": 50_000}
PER_CLASS = {"train": (732, 1300), "val": (50, 50)}
"""Fewest and most images of a class."""
WNID = re.compile(r"n\d{8}")
"""A WordNet number, as ImageNet names its classes."""


def differences(split: Split) -> Iterator[str]:
    """How the split is not the data set of the challenge, in sentences; other splits than its two are not judged."""
    if split.name not in SAMPLES:
        return
    if len(split.classes) != CLASSES:
        yield f"{len(split.classes)} classes, ILSVRC-2012 has {CLASSES}"
    if strange := [label for label in split.classes if not WNID.fullmatch(label)]:
        yield f"{len(strange)} class names are no WordNet numbers like n01440764 (first: {strange[0]})"
    if len(split) != SAMPLES[split.name]:
        yield f"{len(split):,} images, ILSVRC-2012 has {SAMPLES[split.name]:,}"
    fewest, most = PER_CLASS[split.name]
    counts = np.bincount(split.labels, minlength=len(split.classes))
    if len(odd := np.flatnonzero((counts < fewest) | (counts > most))):
        usual = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        first = f"{split.classes[odd[0]]} has {counts[odd[0]]}"
        yield f"{len(odd)} classes have not the usual {usual} images (first: {first})"
