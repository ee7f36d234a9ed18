"""Which class each image of ImageNet's validation set has, from any of the forms in which people have that.

The form is recognised by the content: the development kit (ILSVRC2012_devkit_t12, a folder or an archive), Kaggle's
LOC_val_solution.csv, Caffe's val.txt, or two columns of file name and WordNet number.
"""

import io
import re
import tarfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyconv.data.ilsvrc import WNID
from pyconv.data.split import DataError

KNOWN = (
    "ILSVRC2012_devkit_t12",
    "ILSVRC2012_devkit_t12.tar.gz",
    "LOC_val_solution.csv",
    "val.txt",
)
"""The names under which it is downloaded."""
TRUTH, META = "ILSVRC2012_validation_ground_truth.txt", "meta.mat"
FORMS = f"the development kit, LOC_val_solution.csv, Caffe's val.txt, or lines of `image wnid`, e.g. {KNOWN[0]}"


@dataclass(frozen=True)
class GroundTruth:
    """`form`: what it was recognised as. `wnids`: the class of each image, by file name."""

    form: str
    wnids: dict[str, str]


def find(folders: Sequence[Path]) -> Path:
    """The first ground truth that stands in one of the folders under its usual name."""
    for folder in folders:
        for name in KNOWN:
            if (folder / name).exists():
                return folder / name
    places = ", ".join(dict.fromkeys(str(folder) for folder in folders))
    raise DataError(f"no labels of the validation images in {places}; give --labels PATH: {FORMS}")


def read(path: Path, classes: Callable[[], Sequence[str]]) -> GroundTruth:
    """The classes that `path` tells. `classes`: the sorted WordNet numbers, asked for when it has only their places.

    Raises `DataError` naming file and line: unreadable, of no known form, an image twice, an unknown class.
    """
    try:
        if path.is_dir():
            folder = path / "data" if (path / "data").is_dir() else path
            return _kit(path, (folder / TRUTH).read_text(), (folder / META).read_bytes())
        if tarfile.is_tarfile(path):
            with tarfile.open(path) as archive:
                return _kit(path, _member(archive, TRUTH).decode(), _member(archive, META))
        return _text(path, path.read_text(), classes)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: neither text nor an archive; give {FORMS}") from error
    except (OSError, tarfile.TarError, zlib.error, EOFError) as error:
        raise DataError(f"{path}: cannot be read as ground truth ({error}); give {FORMS}") from error


def _text(path: Path, text: str, classes: Callable[[], Sequence[str]]) -> GroundTruth:
    rows = [(number, re.split(r"[\s,;]+", line.strip())) for number, line in enumerate(text.splitlines(), 1)]
    rows = [(number, row) for number, row in rows if row != [""]]
    if not rows:
        raise DataError(f"{path}: empty; give {FORMS}")
    if all(len(row) == 1 and row[0].isdecimal() for _, row in rows):
        return _kit(path, text, (path.parent / META).read_bytes())
    if rows[0][1][:2] == ["ImageId", "PredictionString"]:
        pairs = [(number, f"{row[0]}.JPEG", _second(path, number, row)) for number, row in rows[1:]]
        return GroundTruth("Kaggle's LOC_val_solution.csv", _wnids(path, pairs))
    if len(rows) > 1 and len(rows[0][1]) > 1 and not re.fullmatch(rf"\d+|{WNID.pattern}", rows[0][1][1]):
        rows = rows[1:]  # a header
    pairs = [(number, row[0].rpartition("/")[2], _second(path, number, row)) for number, row in rows]
    if all(label.isdecimal() for _, _, label in pairs):
        known = classes()
        pairs = [(number, name, _of_place(path, number, known, int(label))) for number, name, label in pairs]
        return GroundTruth("Caffe's val.txt", _wnids(path, pairs))
    return GroundTruth("file names and WordNet numbers", _wnids(path, pairs))


def _kit(path: Path, truth: str, meta: bytes) -> GroundTruth:
    """Line i of the truth is the ILSVRC2012_ID of validation image i."""
    known = _kit_classes(path, meta)
    pairs = []
    for number, line in enumerate(truth.split(), 1):
        if not line.isdecimal() or int(line) not in known:
            raise DataError(f"{path}: line {number} of {TRUTH} is {line!r}, no ILSVRC2012_ID of {META}")
        pairs.append((number, f"ILSVRC2012_val_{number:08}.JPEG", known[int(line)]))
    return GroundTruth("the development kit", _wnids(path, pairs))


def _kit_classes(path: Path, meta: bytes) -> dict[int, str]:
    """The WordNet number of each ILSVRC2012_ID that has no children, i.e. of the classes of the challenge."""
    from scipy.io import loadmat  # late: half a second

    try:
        synsets = loadmat(io.BytesIO(meta), squeeze_me=True, variable_names=["synsets"])["synsets"]
        return {int(one["ILSVRC2012_ID"]): str(one["WNID"]) for one in synsets if int(one["num_children"]) == 0}
    except (ValueError, LookupError, TypeError, OSError, NotImplementedError, zlib.error) as error:
        raise DataError(f"{path}: {META} is not the development kit's ({error}); download the kit again") from error


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    for member in archive:
        if member.isfile() and member.name.rpartition("/")[2] == name and (file := archive.extractfile(member)):
            return file.read()
    raise DataError(f"{archive.name!r}: holds no {name}; give the development kit {KNOWN[1]}")


def _second(path: Path, number: int, row: list[str]) -> str:
    if len(row) < 2:
        raise DataError(f"{path}: line {number} has no class ({row[0]!r}); give {FORMS}")
    return row[1]


def _of_place(path: Path, number: int, known: Sequence[str], place: int) -> str:
    if place >= len(known):
        raise DataError(f"{path}: line {number} names class {place}, there are {len(known)}, counted from 0")
    return known[place]


def _wnids(path: Path, pairs: list[tuple[int, str, str]]) -> dict[str, str]:
    """Each image once, each class a WordNet number."""
    wnids: dict[str, str] = {}
    for number, name, wnid in pairs:
        if not WNID.fullmatch(wnid):
            raise DataError(f"{path}: line {number}, {name}: {wnid!r} is no WordNet number like n01440764")
        if name in wnids:
            raise DataError(f"{path}: line {number}: {name} is there twice; each image has one class")
        wnids[name] = wnid
    return wnids
