"""Whether a detection set can be used: annotations against images, boxes, sizes, decoding; its manifest kept.

The annotation file is looked at as a whole, and the header of every image; damage in what is decoded. Boxes without
area, boxes that reach out of their image and crowds are notes: COCO's release has them, and each has its treatment.
"""

import multiprocessing
import random
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pyconv.data import coco, coco_classes, decoding, kept
from pyconv.data.check import CHANGED, NAMED, NOT_KEPT, SEED, Checked, Finding, some
from pyconv.data.coco import CocoSplit
from pyconv.data.contents import read
from pyconv.data.listing import Told, untold

EDGE = 0.02
"""Pixels: two numbers of two decimals add up to so much beyond the edge by rounding alone."""
ERRORS = {
    "empty": "are empty (0 bytes); replace them",
    "image": "are images that do not decode; replace them",
    "size": "are of another size than the annotations say; replace them",
}
NOTES = {
    "turned": "are images with an EXIF orientation; it is not applied, boxes lie on the pixels as stored",
    "repaired": "are images with damage that the decoder repairs; compare them with the release's",
}
_CHUNK = 500
Faults = dict[str, list[str]]
"""Kind -> the files, each with the reason."""


@dataclass(frozen=True)
class Counts:
    """Of a split: images, annotations, those of them that are crowds, images with an annotation."""

    images: int
    annotations: int
    crowds: int
    annotated: int


RELEASE = {"train": Counts(118_287, 860_001, 10_052, 117_266), "val": Counts(5_000, 36_781, 446, 4_952)}
"""COCO 2017 (github.com/cocodataset/cocoapi, issues 76 and 117): 849,949 and 36,335 annotations are no crowds."""


def check(
    root: Path,
    name: str,
    *,
    decode: int | None = None,
    workers: int = 1,
    told: Told = untold,
    release: bool = False,
) -> Checked:
    """Look at every annotation and image of a split, decode `decode` of them (None: all), keep its manifest.

    It is not kept where the split is unusable. `release`: say where it is not COCO 2017. Raises `DataError` where the
    annotation file is torn or not of COCO's form.
    """
    kept.forget(coco.Place(Path(root), name))
    seen = coco.witness(root, name)
    whole, faults = coco.parsed(root, name)
    absent = coco.missing(whole, names := coco.present(whole))
    split = whole.take(_there(whole, absent)) if absent else whole
    sizes = coco.file_sizes(split, told)
    found = _surveyed(split, sizes, decode, workers, told)
    errors = [*faults, *_absent(absent), *_told(found, ERRORS)]
    manifest = coco.compute(split, sizes)
    errors += [CHANGED] if coco.witness(root, name) != seen else []
    path = None if errors else kept.keep(split, manifest, seen)
    notes = [*_told(found, NOTES), *_boxes(whole), *_unlisted(whole, names)]
    notes += [NOT_KEPT] if path is None and not errors else []
    findings = [Finding(name, "error", text) for text in errors]
    findings += [Finding(name, "difference", text) for text in differences(whole) if release]
    return Checked(split, manifest, findings + [Finding(name, "note", text) for text in notes], path)


def compare(splits: Sequence[CocoSplit]) -> list[Finding]:
    """How splits differ from the first: labels are places in the list of categories."""
    findings = []
    for split in splits[1:]:
        if odd := sorted({category.name for category in set(split.categories) ^ set(splits[0].categories)}):
            text = f"other categories than {splits[0].name}: {', '.join(odd[:NAMED])}; make the two lists the same"
            findings.append(Finding(split.name, "error", text))
    return findings


def counts(split: CocoSplit) -> Counts:
    """What the release's numbers are compared with."""
    crowds, annotated = np.count_nonzero(split.every.crowd), np.count_nonzero(np.diff(split.starts))
    return Counts(len(split), len(split.every), int(crowds), int(annotated))


def differences(split: CocoSplit) -> Iterator[str]:
    """How a split is not the release's, in sentences."""
    ours, theirs = counts(split), RELEASE[split.name]
    words = {
        "images": "images",
        "annotations": "annotations",
        "crowds": "crowds",
        "annotated": "images with annotations",
    }
    for key, what in words.items():
        if (number := getattr(ours, key)) != (right := getattr(theirs, key)):
            yield f"{number:,} {what}, the release has {right:,}"
    true = coco_classes.categories()
    for odd, what in (
        ([one for one in split.categories if one not in true], "categories are not the release's"),
        ([one for one in true if one not in split.categories], "of the release's categories are not here"),
    ):
        if odd:
            yield f"{len(odd)} {what} (first: {odd[0].id} {odd[0].name})"


def survey(split: CocoSplit, sizes: Mapping[str, int], decoded: frozenset[int]) -> Faults:
    """Look at each of the images; at the content of those whose number is in `decoded`."""
    found: Faults = {}

    def tell(kind: str, reason: object) -> None:
        found.setdefault(kind, []).append(f"{place} ({reason})" if reason else place)

    for index, file in enumerate(split.files):
        place = f"{split.folder.name}/{file}"
        if not sizes[file]:
            tell("empty", "")
            continue
        try:
            size, remarks = _look(split.path(index), index in decoded)
        except OSError as error:
            tell("image", f"cannot be read: {error.strerror}")
        except ValueError as error:
            tell("image", error)
        else:
            for kind in remarks:
                tell(kind, "")
            height, width = split.sizes[index].tolist()
            if size != (width, height):
                tell("size", f"{size[0]} x {size[1]}, the annotations {width} x {height}")
    return found


def _look(path: Path, decoded: bool) -> tuple[tuple[int, int], list[str]]:
    """(width, height) of an image, and the kinds of notes on it."""
    if not decoded:
        size, turned = decoding.photograph_header(path)
        return size, ["turned"] if turned else []
    content = read(path)
    sound = decoding.sound_jpeg(content)
    height, width, _ = (decoding.rgb(content) if sound is None else sound).shape
    remarks = ["turned"] if decoding.is_turned(content) else []
    remarks += ["repaired"] if sound is None and decoding.is_repaired(content) else []
    return (width, height), remarks


def _surveyed(split: CocoSplit, sizes: Mapping[str, int], decode: int | None, workers: int, told: Told) -> Faults:
    total, found = len(split), Faults()
    chosen = range(total) if decode is None or decode >= total else random.Random(SEED).sample(range(total), decode)
    decoded, parts = frozenset(chosen), []
    for start in range(0, total, _CHUNK):
        part = split.take(range(start, min(start + _CHUNK, total)))
        here = frozenset(index - start for index in range(start, start + len(part)) if index in decoded)
        parts.append((part, {file: sizes[file] for file in part.files}, here))
    for number, faults in enumerate(_each(parts, workers), start=1):
        for kind, places in faults.items():
            found.setdefault(kind, []).extend(places)
        told(min(number * _CHUNK, total), total, f"{split.name}, looking")
    return found


def _each(parts: list[tuple[CocoSplit, dict[str, int], frozenset[int]]], workers: int) -> Iterator[Faults]:
    if workers <= 1 or len(parts) <= 1:
        yield from (survey(*part) for part in parts)
        return
    with ProcessPoolExecutor(min(workers, len(parts)), multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(survey, *zip(*parts, strict=True))


def _there(split: CocoSplit, absent: Sequence[str]) -> list[int]:
    gone = set(absent)
    return [index for index, file in enumerate(split.files) if file not in gone]


def _absent(absent: Sequence[str]) -> Iterator[str]:
    if absent:
        yield some(absent, "are in the annotations and not in the folder of images; prepare or copy them again")


def _unlisted(split: CocoSplit, names: Sequence[str]) -> Iterator[str]:
    listed = set(split.files)
    if others := [name for name in names if name not in listed]:
        yield some(others, "are in the folder of images and not in the annotations; passed over")


def _told(found: Faults, kinds: Mapping[str, str]) -> Iterator[str]:
    return (some(found[kind], what) for kind, what in kinds.items() if kind in found)


def _boxes(split: CocoSplit) -> Iterator[str]:
    """What is worth knowing of the annotations, in sentences."""
    if crowds := int(split.every.crowd.sum()):
        share = f"{crowds:,} of {len(split.every):,} annotations"
        yield f"{share} are crowds: not trained on, and in a test detections that lie on them do not count"
    yield from _odd_boxes(split)
    if bare := len(split) - len(split.trainable):
        yield f"{bare:,} of {len(split):,} images have no box to train on: not trained on, tested like the others"
    if never := set(range(1, len(split.categories) + 1)) - set(np.unique(split.every.labels).tolist()):
        names = ", ".join(split.categories[label - 1].name for label in sorted(never)[:NAMED])
        more = f" and {len(never) - NAMED} more" if len(never) > NAMED else ""
        yield f"{len(never)} of {len(split.categories)} categories never occur ({names}{more})"


def _odd_boxes(split: CocoSplit) -> Iterator[str]:
    boxes, sizes = split.every.boxes, split.sizes[split.owners]
    left, top, right, bottom = coco.clipped(boxes, sizes).T
    flat = (boxes[:, 2:] == 0).any(1)
    outside = ~flat & ((right <= left) | (bottom <= top))
    over = np.maximum(-boxes[:, :2], boxes[:, :2] + boxes[:, 2:] - sizes[:, ::-1]).max(1)
    reaching = ~outside & (over > EDGE)
    if flat.any():
        yield _named(split, flat, "boxes have no area: not trained on")
    if outside.any():
        yield _named(split, outside, "boxes lie outside of their image: not trained on")
    if reaching.any():
        most = f"{over[reaching].max():.1f} pixels at most"
        yield _named(split, reaching, f"boxes reach out of their image, by {most}: cut to it in training")


def _named(split: CocoSplit, chosen: np.ndarray, what: str) -> str:
    rows = np.flatnonzero(chosen)
    named = [f"{split.every.ids[row]} of image {split.ids[split.owners[row]]}" for row in rows[:NAMED]]
    more = f" and {len(rows) - NAMED:,} more" if len(rows) > NAMED else ""
    return f"{len(rows):,} {what} (annotations {', '.join(named)}{more})"
