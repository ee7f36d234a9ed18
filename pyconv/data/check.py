"""Whether a data set can be used: listed, measured, decoded; and its manifest kept for the runs that come.

What makes it unusable is an error; what makes it another data set than ILSVRC-2012 is a difference.
"""

import multiprocessing
import random
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from pyconv.data import kept
from pyconv.data.ade20k import Scenes
from pyconv.data.coco import CocoSplit
from pyconv.data.ilsvrc import differences
from pyconv.data.kinetics import VideoSplit
from pyconv.data.listing import Told, file_facts, read_split, untold
from pyconv.data.manifest import compute
from pyconv.data.shards import damaged_shards
from pyconv.data.split import DataError, Split

DECODED = 200
"""So many images of a split are decoded unless told otherwise."""
SEED = 0
"""Of the choice of those: the same ones each time."""
_CHUNK = 500
NAMED = 20
"""So many files of one complaint are named."""
CHANGED = "changed while it was looked at; check again when nobody writes"
NOT_KEPT = "the manifest could not be kept: neither below the root nor in the cache"


@dataclass(frozen=True)
class Finding:
    """`kind`: the set cannot be used, it is not ILSVRC-2012, or it is worth knowing."""

    split: str
    kind: Literal["error", "difference", "note"]
    text: str


@dataclass(frozen=True)
class Checked:
    """What was found in a split. `manifest`: as a record names it, `kept`: the file that later runs read it from."""

    split: Split | Scenes | CocoSplit | VideoSplit
    manifest: dict[str, Any]
    findings: list[Finding]
    kept: Path | None


def check(root: Path, name: str, *, decode: int | None = DECODED, workers: int = 1, told: Told = untold) -> Checked:
    """Look at every file of a split, decode `decode` of them (None: all), keep its manifest unless it is unusable.

    Raises `DataError` where it cannot even be listed.
    """
    split = read_split(root, name)
    kept.forget(split)
    seen = kept.witness(split)
    sizes = file_facts(split, told)[:, 0]
    errors = [*_empty(split, sizes), *_damaged(split), *_undecoded(split, sizes, decode, workers, told)]
    manifest = compute(split, sizes)
    if kept.witness(read_split(root, name)) != seen:
        errors.append(CHANGED)
    path = None if errors else kept.keep(split, manifest, seen)
    findings = [Finding(name, "error", text) for text in errors]
    if path is None and not errors:
        findings.append(Finding(name, "note", NOT_KEPT))
    if split.skipped:
        findings.append(Finding(name, "note", some(split.skipped, "are no images and passed over")))
    return Checked(split, manifest, findings, path)


def compare(splits: Sequence[Split], *, ilsvrc: bool) -> list[Finding]:
    """How splits differ from each other (classes are numbered by their place in the list), and from ILSVRC-2012."""
    findings = [Finding(split.name, "difference", text) for split in splits if ilsvrc for text in differences(split)]
    for split in splits[1:]:
        ours, theirs = set(split.classes), set(splits[0].classes)
        if other := sorted(ours ^ theirs):
            text = f"other classes than {splits[0].name}: {len(other)} are in one of them only (first: {other[0]})"
            findings.append(Finding(split.name, "error", text))
    return findings


def _empty(split: Split, sizes: np.ndarray) -> Iterator[str]:
    places = [split.place(index) for index in np.flatnonzero(sizes == 0).tolist()]
    if places:
        yield some(places, "are empty (0 bytes); replace or delete them")


def _damaged(split: Split) -> list[str]:
    if split.shards is None:
        return []
    return [f"{wrong}; delete it and run `pyconv data shard` again" for wrong in damaged_shards(split)]


def _undecoded(split: Split, sizes: np.ndarray, decode: int | None, workers: int, told: Told) -> Iterator[str]:
    chosen = np.flatnonzero(sizes).tolist()
    if decode is not None and decode < len(chosen):
        chosen = sorted(random.Random(SEED).sample(chosen, decode))
    parts = [split.take(chosen[start : start + _CHUNK]) for start in range(0, len(chosen), _CHUNK)]
    wrong: list[str] = []
    for number, faults in enumerate(_each(parts, workers), start=1):
        wrong += faults
        told(min(number * _CHUNK, len(chosen)), len(chosen), f"{split.name}, decoding")
    if wrong:
        yield some(wrong, "do not decode; replace or delete them")


def _each(parts: list[Split], workers: int) -> Iterator[list[str]]:
    if workers <= 1 or len(parts) <= 1:
        yield from map(faults, parts)
        return
    with ProcessPoolExecutor(min(workers, len(parts)), multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(faults, parts)


def faults(split: Split) -> list[str]:
    """The samples of a split that do not decode to their end, each with the reason."""
    found = []
    for index in range(len(split)):
        try:
            _decode(split.read(index))
        except DataError as error:
            found.append(str(error))
        except UnidentifiedImageError:
            found.append(f"{split.place(index)} (not an image)")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            found.append(f"{split.place(index)} ({error})")
    return found


def _decode(content: bytes) -> None:
    with warnings.catch_warnings(), Image.open(BytesIO(content)) as image:
        warnings.simplefilter("ignore")  # transparent palettes and broken EXIF do not touch the pixels
        image.load()


def some(places: Iterable[str], what: str) -> str:
    """`what` of so many files, of which the first `NAMED` are named."""
    places = list(places)
    more = f" and {len(places) - NAMED} more" if len(places) > NAMED else ""
    return f"{len(places)} files {what}: {', '.join(places[:NAMED])}{more}"
