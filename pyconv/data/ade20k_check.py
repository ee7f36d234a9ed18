"""Whether a set of scenes can be used: photographs and label maps paired, measured, decoded; its manifest kept.

The size and form of every file are looked at, from its header; damage and label numbers in what is decoded. A class
that no label map of a split shows is a note: in the mean IoU it counts only where it is predicted, with 0.
"""

import multiprocessing
import random
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from pyconv.data import ade20k, ade20k_classes, decoding, kept
from pyconv.data.ade20k import Listing, Scenes
from pyconv.data.check import CHANGED, NAMED, NOT_KEPT, SEED, Checked, Finding, some
from pyconv.data.contents import read
from pyconv.data.listing import Told, untold

SAMPLES = {"train": 20_210, "val": 2_000, "train+val": 22_210, "test": 3_352}
"""Photographs of the release (sceneparsing.csail.mit.edu)."""
ERRORS = {
    "empty": "are empty (0 bytes); replace them",
    "photograph": "are photographs that do not decode; replace them",
    "form": "are no label maps of one channel of 8 bits; save the class numbers as greyscale PNG",
    "map": "are label maps that do not decode; replace them",
    "size": "are label maps of another size than their photograph; replace one of the two",
    "number": "are label maps with numbers that are no class; 0 to {classes} is right",
}
NOTES = {
    "blank": "are label maps without a labelled pixel",
    "turned": "are photographs with an EXIF orientation; it is not applied, label maps lie on the pixels as stored",
    "repaired": "are photographs with damage that the decoder repairs; compare them with the release's",
}
_CHUNK = 100
_VALUES = 256


@dataclass
class Survey:
    """What a look at some scenes found: `faults` by kind, and pixels of each number in the label maps decoded."""

    faults: dict[str, list[str]] = field(default_factory=dict)
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(_VALUES, np.int64))

    def tell(self, kind: str, place: str, reason: object = None) -> None:
        """Note a file, with the reason."""
        self.faults.setdefault(kind, []).append(place if reason is None else f"{place} ({reason})")

    def add(self, other: "Survey") -> None:
        """What another look found, too."""
        for kind, places in other.faults.items():
            self.faults.setdefault(kind, []).extend(places)
        self.pixels = self.pixels + other.pixels


def check(
    root: Path,
    name: str,
    *,
    decode: int | None = None,
    workers: int = 1,
    told: Told = untold,
    release: bool = False,
) -> Checked:
    """Look at every file of a split, decode `decode` scenes (None: all), keep its manifest unless it is unusable.

    `release`: say where it is not ADE20K's scene-parsing release. Raises `DataError` where it cannot even be listed.
    """
    listing = ade20k.listed(root, name)
    scenes = ade20k.scenes_of(root, name, listing)
    kept.forget(scenes)
    seen = ade20k.witness(scenes)
    sizes = ade20k.file_sizes(scenes, told)
    found = _surveyed(scenes, sizes, decode, workers, told)
    manifest = ade20k.compute(scenes, sizes)
    errors = [*_unpaired(listing), *_told(scenes, found, ERRORS)]
    if ade20k.witness(ade20k.scenes_of(root, name, ade20k.listed(root, name))) != seen:
        errors.append(CHANGED)
    path = None if errors else kept.keep(scenes, manifest, seen)
    notes = [*_told(scenes, found, NOTES), *_classes(scenes, found, whole=decode is None or decode >= len(scenes))]
    notes += (
        [some(listing.skipped, "are neither photographs nor label maps and passed over")] if listing.skipped else []
    )
    notes += [NOT_KEPT] if path is None and not errors else []
    findings = [Finding(name, "error", text) for text in errors]
    findings += [Finding(name, "difference", text) for text in differences(scenes) if release]
    return Checked(scenes, manifest, findings + [Finding(name, "note", text) for text in notes], path)


def differences(scenes: Scenes) -> Iterator[str]:
    """How a split is not the release's, in sentences."""
    if len(scenes) != SAMPLES[scenes.name]:
        yield f"{len(scenes):,} photographs, the release has {SAMPLES[scenes.name]:,}"
    if len(scenes.classes) != ade20k_classes.CLASSES:
        yield f"{len(scenes.classes)} classes, the release has {ade20k_classes.CLASSES}"
        return
    pairs = zip(scenes.classes, ade20k_classes.names(), strict=True)
    # One synonym in common is enough: copies of the list differ in how many they give.
    others = [
        f"{number} is {ours!r}, not {theirs!r}"
        for number, (ours, theirs) in enumerate(pairs, start=1)
        if not ade20k_classes.synonyms(ours) & ade20k_classes.synonyms(theirs)
    ]
    if others:
        yield f"{len(others)} classes are not the release's (first: {others[0]})"


def survey(scenes: Scenes, sizes: Mapping[str, int], decoded: frozenset[int]) -> Survey:
    """Look at each of the scenes; at the content of those whose number is in `decoded`."""
    found = Survey()
    for index in range(len(scenes)):
        photograph = scenes.images[index]
        size = None
        if not sizes[photograph]:
            found.tell("empty", photograph)
        else:
            size = _look(found, "photograph", photograph, partial(_photograph, scenes, index, found, index in decoded))
        if not scenes.annotations:
            continue
        place = scenes.annotations[index]
        if not sizes[place]:
            found.tell("empty", place)
            continue
        of_map = _look(found, "map", place, partial(_label_map, scenes, index, found, index in decoded))
        if size and of_map and size != of_map:
            found.tell("size", place, f"{of_map[0]} x {of_map[1]}, the photograph {size[0]} x {size[1]}")
    return found


def _look(found: Survey, kind: str, place: str, look: Callable[[], tuple[int, int] | None]) -> tuple[int, int] | None:
    try:
        return look()
    except OSError as error:
        found.tell(kind, place, f"cannot be read: {error.strerror}")
    except ValueError as error:
        found.tell(kind, place, error)
    return None


def _photograph(scenes: Scenes, index: int, found: Survey, decoded: bool) -> tuple[int, int]:
    """(width, height)."""
    place = scenes.images[index]
    if not decoded:
        size, turned = decoding.photograph_header(scenes.root / place)
    else:
        content = read(scenes.root / place)
        sound = decoding.sound_jpeg(content)
        height, width, _ = (decoding.rgb(content) if sound is None else sound).shape
        size, turned = (width, height), decoding.is_turned(content)
        if sound is None and decoding.is_repaired(content):
            found.tell("repaired", place)
    if turned:
        found.tell("turned", place)
    return size


def _label_map(scenes: Scenes, index: int, found: Survey, decoded: bool) -> tuple[int, int] | None:
    """(width, height); None of a file that is no label map."""
    place = scenes.annotations[index]
    path = scenes.root / place
    with path.open("rb") as file:
        content = file.read(-1 if decoded else decoding.HEADER)
    if form := decoding.wrong_form(content):
        found.tell("form", place, form)
        return None
    if decoded:
        counts = np.array(Image.fromarray(decoding.numbers(content)).histogram(), np.int64)  # bincount takes 5 times
        found.pixels += counts
        highest = int(np.flatnonzero(counts)[-1])
        if highest > len(scenes.classes):
            found.tell("number", place, f"label {highest}")
        elif highest == 0:
            found.tell("blank", place)
    return decoding.png_size(content)


def _surveyed(scenes: Scenes, sizes: Mapping[str, int], decode: int | None, workers: int, told: Told) -> Survey:
    total = len(scenes)
    chosen = range(total) if decode is None or decode >= total else random.Random(SEED).sample(range(total), decode)
    decoded, found = frozenset(chosen), Survey()
    parts = []
    for start in range(0, total, _CHUNK):
        part = scenes.take(range(start, min(start + _CHUNK, total)))
        places = [*part.images, *part.annotations]
        here = frozenset(index - start for index in range(start, start + len(part)) if index in decoded)
        parts.append((part, {place: sizes[place] for place in places}, here))
    for number, result in enumerate(_each(parts, workers), start=1):
        found.add(result)
        told(min(number * _CHUNK, total), total, f"{scenes.name}, looking")
    return found


def _each(parts: list[tuple[Scenes, dict[str, int], frozenset[int]]], workers: int) -> Iterator[Survey]:
    if workers <= 1 or len(parts) <= 1:
        yield from (survey(*part) for part in parts)
        return
    with ProcessPoolExecutor(min(workers, len(parts)), multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(survey, *zip(*parts, strict=True))


def _unpaired(listing: Listing) -> Iterator[str]:
    for places, what in (
        (listing.bare, "are photographs without a label map; add it or delete the photograph"),
        (listing.lone, "are label maps without a photograph; add it or delete the label map"),
        (listing.twice, "have a name that is there already; delete one of the two"),
    ):
        if places:
            yield some(places, what)


def _told(scenes: Scenes, found: Survey, kinds: Mapping[str, str]) -> Iterator[str]:
    for kind, what in kinds.items():
        if places := found.faults.get(kind):
            yield some(places, what.format(classes=len(scenes.classes)))


def _classes(scenes: Scenes, found: Survey, *, whole: bool) -> Iterator[str]:
    """Which classes the label maps never show, and how much of them is of none."""
    if not (total := int(found.pixels.sum())):
        return
    share, of = 100 * int(found.pixels[0]) / total, "" if whole else " of what was decoded"
    yield f"{share:.1f}% of the pixels{of} are of no class"
    absent = [name for number, name in enumerate(scenes.classes, start=1) if not found.pixels[number]]
    if whole and absent:
        names = ", ".join(ade20k_classes.short(name) for name in absent[:NAMED])
        more = f" and {len(absent) - NAMED} more" if len(absent) > NAMED else ""
        yield (
            f"{len(absent)} of {len(scenes.classes)} classes never occur ({names}{more}): not to be learnt from this "
            f"split, and in a mean IoU over it they count only where they are predicted"
        )
