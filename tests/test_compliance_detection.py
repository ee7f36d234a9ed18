"""The protocol check of a detector's training: an epoch has the images that show something to learn, not all."""

from evidence import SHA
from faithful import faithful

from experiments import TABLES
from experiments.protocols import COCO300
from results.compliance import check

IMAGES, TRAINABLE = 118_287, 117_266
EXPERIMENT = next(row.experiment for row in TABLES[8].rows if row.key == "pyconvssd50")


def data(**told: int) -> dict[str, object]:
    manifest = {"samples": IMAGES, "classes": 80, "sha256": SHA, **told}
    return {"name": "coco", "splits": {"train": manifest, "val": {"samples": 5_000, "classes": 80, "sha256": SHA}}}


def test_an_epoch_of_all_trainable_images_is_kept() -> None:
    record = faithful(EXPERIMENT, COCO300, TRAINABLE, data=data(trainable=TRAINABLE))
    assert check(record).text == "kept"


def test_an_epoch_of_all_images_is_not_one_of_the_trainable_ones() -> None:
    """117,266 images are 458 full batches of 256 and one of 18; 118,287 are 462 and one of 15."""
    record = faithful(EXPERIMENT, COCO300, IMAGES, data=data(trainable=TRAINABLE))
    told = {one.what: (one.expected, one.observed) for one in check(record).departures}
    assert told["training images"] == (TRAINABLE, IMAGES)
    assert told["optimiser steps"] == (459, 463)


def test_where_the_manifest_does_not_tell_what_is_trainable_all_images_are_expected() -> None:
    assert check(faithful(EXPERIMENT, COCO300, IMAGES, data=data())).text == "kept"
    assert check(faithful(EXPERIMENT, COCO300, TRAINABLE, data=data())).departures
