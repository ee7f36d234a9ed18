"""Panels of segmentations, as Figures 10 and 11: photographs, label maps and predictions, read and checked.

A prediction is `<folder>/<stem>.png`, 8 bits, one channel, the photograph's size, class numbers from 1, 0 for none, as
the release's own label maps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pyconv.data.ade20k import IGNORE, Scenes

ROWS = 4
"""Photographs of a figure, unless they are named."""


class FigureError(ValueError):
    """A figure cannot be drawn: which network, which file, and what would be right."""


class NotPredicted(FigureError):  # noqa: N818 (a test that was not made, not a fault)
    """Predictions are not there."""


@dataclass(frozen=True)
class Source:
    """The predictions of one network: `folder` has the label maps. `header`: lines above its column; `target`: row."""

    header: tuple[str, ...]
    target: str
    folder: Path


@dataclass(frozen=True, eq=False)
class Photograph:
    """One row. `image`: uint8 (H, W, 3); `truth`, `predictions`: uint8 (H, W), classes from 0, `IGNORE` for none."""

    stem: str
    image: np.ndarray
    truth: np.ndarray
    predictions: tuple[np.ndarray, ...]


@dataclass(frozen=True, eq=False)
class Panels:
    """All that is drawn. `headers`: of the networks' columns; `classes`: names by class; `note`: a line below."""

    headers: tuple[tuple[str, ...], ...]
    rows: tuple[Photograph, ...]
    classes: tuple[str, ...]
    note: str = ""


def choose(scenes: Scenes, sources: Sequence[Source], wanted: Sequence[str] = ()) -> list[int]:
    """The photographs to show, by their number in `scenes`: those `wanted` by name, or `ROWS` that nobody picked.

    Of the n photographs that all networks predicted, in the order of their names, those in the middle of `ROWS` equal
    parts: number floor((2 k + 1) n / (2 ROWS)). ADE20K's names follow the scenes' kinds, so the kinds differ.
    Raises FigureError for names that are not in the split, and for networks without predictions.
    """
    numbers = {scenes.stem(number): number for number in range(len(scenes))}
    if unknown := [name for name in wanted if name not in numbers]:
        near = f"{next(iter(numbers))} to {list(numbers)[-1]}"
        raise FigureError(f"{unknown[0]} is no photograph of {scenes.root}, {scenes.name}; there are {near}")
    found = [{path.stem for path in source.folder.glob("*.png")} for source in sources]
    if empty := [source for source, stems in zip(sources, found, strict=True) if not stems & numbers.keys()]:
        raise NotPredicted("\n".join(f"{one.target} has no predictions in {one.folder}" for one in empty))
    if wanted:
        return [numbers[name] for name in dict.fromkeys(wanted)]
    common = [number for stem, number in sorted(numbers.items()) if all(stem in stems for stems in found)]
    if not common:
        raise NotPredicted(f"no photograph was predicted by all of {', '.join(one.target for one in sources)}")
    shown = min(ROWS, len(common))
    return [common[(2 * k + 1) * len(common) // (2 * shown)] for k in range(shown)]


def panels(scenes: Scenes, sources: Sequence[Source], chosen: Sequence[int], note: str = "") -> Panels:
    """Read the `chosen` photographs. Raises FigureError, DataError."""
    rows = tuple(_photograph(scenes, sources, number) for number in chosen)
    return Panels(tuple(source.header for source in sources), rows, scenes.classes, note)


def pixel_acc(prediction: np.ndarray, truth: np.ndarray) -> float | None:
    """Percent of the labelled pixels that are right; None where no pixel is labelled."""
    labelled = truth != IGNORE
    return float(100 * (prediction == truth)[labelled].mean()) if labelled.any() else None


def occurring(shown: Panels) -> tuple[list[int], bool]:
    """The classes in the figure's label maps, by their pixels, the largest first; whether pixels of none occur."""
    maps = [label_map for row in shown.rows for label_map in (row.truth, *row.predictions)]
    pixels = sum(np.bincount(one.ravel(), minlength=256) / one.size for one in maps)
    assert isinstance(pixels, np.ndarray), "a figure has rows"
    classes = np.flatnonzero(pixels[: len(shown.classes)])
    return sorted(map(int, classes), key=lambda number: (-pixels[number], number)), bool(pixels[IGNORE])


def _photograph(scenes: Scenes, sources: Sequence[Source], number: int) -> Photograph:
    image, truth = scenes.image(number), scenes.labels(number)
    if truth.shape != image.shape[:2]:
        raise FigureError(f"{scenes.root / scenes.annotations[number]}: {truth.shape}, its photograph has another size")
    predictions = tuple(_prediction(source, scenes.stem(number), truth, len(scenes.classes)) for source in sources)
    return Photograph(scenes.stem(number), image, truth, predictions)


def _prediction(source: Source, stem: str, truth: np.ndarray, classes: int) -> np.ndarray:
    path = source.folder / f"{stem}.png"
    try:
        with Image.open(path) as image:
            mode, numbers = image.mode, np.array(image)
    except FileNotFoundError:
        raise NotPredicted(f"{source.target} did not predict {stem}: {path} is not there") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise FigureError(f"{source.target}: {path} does not decode ({error}); test again") from error
    if mode not in ("L", "P") or numbers.shape != truth.shape:
        raise FigureError(
            f"{source.target}: {path} is {mode} of {numbers.shape}; one channel of 8 bits, {truth.shape} as the "
            "photograph, is right"
        )
    if numbers.max() > classes:
        raise FigureError(f"{source.target}: {path} has label {numbers.max()}; 0 to {classes} is right")
    return numbers.astype(np.uint8) - np.uint8(1)  # 0 wraps to 255: IGNORE
