"""The pages of a figure: PNG, PDF and, as JSON, what is in them."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.figures import DetectionFigure, Pictured, SegmentationFigure
from experiments.spec import Table
from pyconv.data.ade20k import read_scenes
from pyconv.data.coco import read_coco
from results.bundle_layout import json_text
from results.evidence import Evidence
from results.figures import boxes_drawing, detections, drawing, segmentations, training_curves
from results.figures.segmentations import FigureError, NotPredicted
from results.printers.curves import Wanted
from slurm.commands.figure_sources import MINI, Asked, about, data_of, remedy, sources_of

LABEL_MAPS = "*.png"
RULE = "in the middle of equal parts of those that all networks predicted, by name"
OBJECTS_RULE = "in the middle of equal parts of those with an object, by id"


def segmentation_pages(figure: SegmentationFigure, columns: Sequence[Pictured], asked: Asked) -> dict[str, str | bytes]:
    """Label maps side by side. Raises FigureError, DataError."""
    root, split = data_of(columns, asked)
    scenes = read_scenes(root, split)
    sources = sources_of(columns, asked.runs, LABEL_MAPS)
    try:
        chosen = segmentations.choose(scenes, sources, asked.images)
        shown = segmentations.panels(scenes, sources, chosen, asked.note)
    except NotPredicted as error:
        raise FigureError(f"{error}\n{remedy(columns, asked, LABEL_MAPS)}") from error
    networks = []
    for number, (one, source) in enumerate(zip(columns, sources, strict=True)):
        predictions = {
            row.stem: {
                "pixel_acc": segmentations.pixel_acc(row.predictions[number], row.truth),
                "sha256": _sha256(source.folder / f"{row.stem}.png"),
            }
            for row in shown.rows
        }
        networks.append({**about(one, source, asked.runs), "predictions": predictions})
    content = _content(figure.number, figure.caption, columns, asked)
    content |= {"photographs": [row.stem for row in shown.rows], "chosen": "by name" if asked.images else RULE}
    return {**drawing.draw(shown), "json": json_text({**content, "networks": networks})}


def detection_pages(figure: DetectionFigure, columns: Sequence[Pictured], asked: Asked) -> dict[str, str | bytes]:
    """Boxes side by side. Raises FigureError, DataError."""
    root, name = data_of(columns, asked)
    split = read_coco(root, name)
    sources = sources_of(columns, asked.runs, detections.FILE)
    try:
        shown = detections.panels(split, sources, detections.choose(split, asked.images), asked.note)
    except NotPredicted as error:
        raise FigureError(f"{error}\n{remedy(columns, asked, detections.FILE)}") from error
    drawn = dict(zip((row.name for row in shown.rows), boxes_drawing.told(shown), strict=True))
    networks = [
        {
            **about(one, source, asked.runs),
            "sha256": _sha256(source.folder / detections.FILE),
            "detections": {name: boxes[number] for name, boxes in drawn.items()},
            "below_threshold": {row.name: row.found[number - 1].below for row in shown.rows},
        }
        for number, (one, source) in enumerate(zip(columns, sources, strict=True), start=1)
    ]
    content = _content(figure.name, figure.caption, columns, asked) | {
        "photographs": list(drawn),
        "chosen": "by name" if asked.images else OBJECTS_RULE,
        "threshold": shown.threshold,
        "objects": {name: boxes[0] for name, boxes in drawn.items()},
    }
    return {**boxes_drawing.draw(shown), "json": json_text({**content, "networks": networks})}


def curve_pages(wanted: Wanted, table: Table, mini: bool, evidence: Evidence) -> dict[str, str | bytes]:
    """Errors over epochs. Raises FigureError where no network has a history."""
    shown = training_curves.curves(wanted, table, evidence)
    if not shown.panels:
        lacking = ", ".join(target.removeprefix("mini-") for _, target in shown.missing)
        raise FigureError(
            f"nothing to draw yet: no run of {lacking} with a history is recorded in {evidence.root}; "
            f"pyconv run TARGET{' --mini' if mini else ''} trains one"
        )
    content = {
        "figure": wanted.key.removeprefix("figure"),
        "mini": mini,
        "caption": wanted.caption,
        "table": table.name,
        "missing": [target for _, target in shown.missing],
        "networks": training_curves.told(shown),
    }
    return {**training_curves.draw(shown, MINI if mini else ""), "json": json_text(content)}


def _content(name: int | str, caption: str, columns: Sequence[Pictured], asked: Asked) -> dict[str, Any]:
    """What every figure tells."""
    protocol = columns[0].protocol
    return {
        "figure": name,
        "mini": asked.mini,
        "caption": caption,
        "data": protocol.data,
        "split": protocol.split,
    }


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
