"""How good a detector is on a split of COCO's layout, and the boxes that it gives."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import orjson
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from pyconv import architectures, ranks
from pyconv.data.coco import CocoSplit, read_coco
from pyconv.data.detection_sets import TestSet
from pyconv.data.imagenet import normalise, stack
from pyconv.data.split import DataError
from pyconv.detection.errors import standard_errors
from pyconv.detection.postprocessing import Detections, detect
from pyconv.detection.scores import Found, as_results
from pyconv.detection.scores import scores as coco_scores
from pyconv.files import publish
from pyconv.models.folded import folded
from pyconv.models.ssd import default_boxes
from pyconv.numerics import numerics
from pyconv.tasks.values import Evaluation

RESULTS = "detections.json"
"""In the folder for predictions: what was detected, in COCO's result format."""


def evaluate(
    model: nn.Module,
    *,
    data_root: Path,
    split: str = "val",
    crop: int = 300,
    batch_size: int = 32,
    device: torch.device | str = "cpu",
    workers: int = 0,
    predictions: Path | None = None,
    errors: bool = True,
) -> Evaluation:
    """COCO's twelve numbers of `model` on a split, in percent: images stretched to `crop` x `crop`, eval mode, float32.

    Of each image the 200 best boxes above a score of 0.05 after NMS at 0.5 in each class. When torch.distributed
    runs, rank r takes every world_size-th image: each one is counted once and every rank gets the whole result.
    `batch_size` is a rank's and changes speed only. `model` is left as it is: a copy with folded batch norms is tested.
    `predictions`: a folder for `RESULTS`. Numbers of areas that no object has are left out. `errors`: whether the
    numbers get standard errors (`pyconv.detection.errors`), for twenty times as much counting.
    """
    images = read_coco(data_root, split)
    fitting(getattr(model, "network", None), images, crop)
    found = list(_found(model, images, crop, batch_size, torch.device(device), workers))
    everything = [one for some in ranks.gather(found) for one in some]
    assert sorted(one.number for one in everything) == list(range(len(images))), "an image was not counted exactly once"
    measured: dict[str, tuple[float, float | None]] = {}
    if ranks.current().rank == 0:
        if predictions is not None:
            _write(predictions, images, everything)
        known = standard_errors(images, everything) if errors else {}
        measured = {name: (value, known.get(name)) for name, value in coco_scores(images, everything).items()}
    metrics = {name: (value, len(images), error) for name, (value, error) in ranks.from_first(measured).items()}
    return Evaluation(metrics, len(everything), len(images), (crop, crop))


def fitting(network: object, images: CocoSplit, size: int) -> architectures.SSD:
    """`network` if it is an SSD for images of `size` pixels and the classes of the split. Raises `ValueError`."""
    if not isinstance(network, architectures.SSD):
        raise ValueError(f"{getattr(network, 'name', network)}: COCO's task takes an SSD")
    if size != network.image_size:
        raise ValueError(f"{network.name} takes images of {network.image_size} pixels, not of {size}")
    if (classes := len(images.categories) + 1) != network.num_classes:
        raise DataError(
            f"{images.root}: {classes - 1} categories for a network of {network.num_classes - 1} and the background; "
            f"build the network with num_classes={classes} or give the data set it is meant for"
        )
    return network


def _found(
    model: nn.Module, images: CocoSplit, size: int, batch_size: int, device: torch.device, workers: int
) -> Iterator[Found]:
    """This rank's images."""
    world = ranks.current()
    loader = DataLoader(
        TestSet(images, size),
        batch_size,
        sampler=range(world.rank, len(images), world.size),
        num_workers=workers,
        collate_fn=_collate,
        pin_memory=device.type == "cuda",
    )
    network, defaults = folded(model), default_boxes(size).to(device)
    with numerics(device, "fp32"), torch.inference_mode():
        for pixels, numbers in loader:
            detected = _detected(network, normalise(pixels.to(device, non_blocking=True)), defaults, images)
            for number, one in zip(numbers, detected, strict=True):
                yield Found(number, _rows(one, images.sizes[number].tolist()))


def _detected(network: nn.Module, pixels: Tensor, defaults: Tensor, images: CocoSplit) -> list[Detections]:
    try:
        locations, scores = network(pixels)
        return detect(locations, scores, defaults)
    except ValueError as error:
        raise DataError(f"{images.root}: {images.name}: {error}") from error


def _rows(detections: Detections, size: Sequence[int]) -> np.ndarray:
    """`Found.rows`: corners in units of the image side become pixels, in float64."""
    height, width = size
    boxes = detections.boxes.cpu().double().numpy() * np.array([width, height, width, height])
    boxes[:, 2:] -= boxes[:, :2]
    others = (values.cpu().double().numpy()[:, None] for values in (detections.scores, detections.labels))
    return np.concatenate([boxes, *others], axis=1)


def _collate(samples: Sequence[tuple[Tensor, int]]) -> tuple[Tensor, list[int]]:
    return stack([pixels for pixels, _ in samples]), [number for _, number in samples]


def _write(folder: Path, images: CocoSplit, found: Sequence[Found]) -> None:
    """Complete or not there; what stands there already is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    content = orjson.dumps(as_results(images, found))
    publish(folder / RESULTS, lambda file: file.write(content))
