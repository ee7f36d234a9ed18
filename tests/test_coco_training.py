"""Training a detector: the loss by hand, exact resume, ranks, a backbone to start from, and tests that count exactly.

Images of 14 training and 5 validation scenes of coloured rectangles, in COCO's layout; a narrow network at 64 pixels.
"""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, distributed, multiprocessing, nn

from pyconv.architectures import SSD, ResNet, Stage, resnet
from pyconv.checkpoints import load_weights
from pyconv.data import DataError
from pyconv.data.coco import read_coco
from pyconv.data.detection_sets import TestSet
from pyconv.data.imagenet import normalise
from pyconv.data.sampling import Moment
from pyconv.detection import testing
from pyconv.detection.postprocessing import detect
from pyconv.models import build, default_boxes
from pyconv.optimisation import Optimisation
from pyconv.pyramid import PYRAMIDS
from pyconv.recipe import CocoAugment, ImageNetAugment, Recipe
from pyconv.tasks import coco
from pyconv.train import Execution, Interrupted, StepReport, Trained, train

SIDE = 64
FULL = ResNet(
    "basic", tuple(Stage(1, 8 << n, 8 << n, 2 if n else 1, PYRAMIDS[1]) for n in range(4)), "stem", name="tiny"
)
TINY = SSD(FULL.truncated(3), "conv", num_classes=4, image_size=SIDE, name="tiny-ssd")
RECIPE = Recipe(
    "signs",
    epochs=3,
    batch_size=5,
    lr=0.005,
    augment=CocoAugment(size=SIDE),
    milestones=(2,),
    warmup_epochs=1,
    weight_decay=5e-4,
    decay_norm_and_bias=False,
    batch_norm_batch=5,
)
STEPS = 3  # an epoch: 13 images with boxes in batches of 5, 5 and 3
CPU = Execution(device="cpu", threads=1)
HERE = torch.device("cpu")
COLOURS = [(220, 60, 60), (60, 200, 60), (70, 70, 220)]
CATEGORIES = [{"id": 4 * number, "name": f"colour {number}"} for number in (1, 2, 3)]


def write_split(root: Path, folder: str, images: int, empty: int, rng: np.random.Generator) -> None:
    """`images` scenes of one or two rectangles on grey noise; the last `empty` of them without any."""
    content: dict[str, Any] = {"images": [], "annotations": [], "categories": CATEGORIES}
    (root / folder).mkdir(parents=True)
    for number in range(1, images + 1):
        width, height = (int(side) for side in rng.integers(70, 120, 2))
        pixels = rng.integers(90, 150, (height, width, 3)).astype(np.uint8)
        for _ in range(0 if number > images - empty else int(rng.integers(1, 3))):
            w, h = (int(side) for side in rng.integers(20, 50, 2))
            x, y, kind = int(rng.integers(0, width - w)), int(rng.integers(0, height - h)), int(rng.integers(0, 3))
            pixels[y : y + h, x : x + w] = COLOURS[kind]
            identity = len(content["annotations"]) + 1
            content["annotations"].append(
                {
                    "id": identity,
                    "image_id": number,
                    "category_id": 4 * (kind + 1),
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": 0,
                }
            )
        name = f"{number:012}.jpg"
        Image.fromarray(pixels).save(root / folder / name, quality=95)
        content["images"].append({"id": number, "file_name": name, "width": width, "height": height})
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / f"instances_{folder}.json").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("coco"), np.random.default_rng(0)
    write_split(folder, "train2017", 14, 1, rng)
    write_split(folder, "val2017", 5, 1, rng)
    return folder


def run(root: Path, folder: Path, recipe: Recipe = RECIPE, network: SSD = TINY, **options: Any) -> Trained:
    return train(network, recipe, seed=5, data_root=root, run_dir=folder, **{"execution": CPU, **options})


def measured(trained: Trained) -> list[dict[str, Any]]:
    """The history without its seconds."""
    return [{key: value for key, value in entry.items() if key != "seconds"} for entry in trained.history]


class Given(nn.Module):
    """A network whose outputs are parameters, whatever it is shown."""

    def __init__(self, locations: Tensor, scores: Tensor) -> None:
        super().__init__()
        self.locations, self.scores = nn.Parameter(locations), nn.Parameter(scores)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        self.images = images
        return self.locations * 1, self.scores * 1


def given(images: int, dtype: torch.dtype = torch.float32) -> Given:
    """Random outputs for the default boxes of `SIDE`."""
    generator, boxes = torch.Generator().manual_seed(0), len(default_boxes(SIDE))
    outputs = (torch.randn(images, boxes, values, generator=generator).to(dtype) for values in (4, 4))
    return Given(*outputs)


def overlap(one: list[float], other: list[float]) -> float:
    """Intersection over union of two boxes of corners."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared)


def loss_by_hand(model: Given, image: int, boxes: list[list[float]], labels: list[int]) -> tuple[float, float]:
    """Loss of one image after Liu et al., default box by default box; and the part of the positives that is right."""
    centres = default_boxes(SIDE).double().tolist()
    corners = [[x - w / 2, y - h / 2, x + w / 2, y + h / 2] for x, y, w, h in centres]
    table = [[overlap(box, corner) for corner in corners] for box in boxes]
    owner = {}
    for place in range(len(corners)):
        best = max(range(len(boxes)), key=lambda g: table[g][place])
        if table[best][place] > 0.5:
            owner[place] = best
    for number, row in enumerate(table):
        owner[row.index(max(row))] = number
    logits, offsets = model.scores[image].double(), model.locations[image].double()
    costs = (logits.exp().sum(1).log()[:, None] - logits).tolist()
    total, right = 0.0, 0
    for place, box in owner.items():
        total += costs[place][labels[box]]
        right += int(logits[place].argmax()) == labels[box]
        left, top, stop, bottom = boxes[box]
        x, y, w, h = centres[place]
        wanted = [((left + stop) / 2 - x) / w / 0.1, ((top + bottom) / 2 - y) / h / 0.1]
        wanted += [float(np.log((stop - left) / w)) / 0.2, float(np.log((bottom - top) / h)) / 0.2]
        for value, target in zip(offsets[place].tolist(), wanted, strict=True):
            apart = abs(value - target)
            total += 0.5 * apart**2 if apart < 1 else apart - 0.5
    others = sorted((costs[place][0] for place in range(len(corners)) if place not in owner), reverse=True)
    return (total + sum(others[: 3 * len(owner)])) / len(owner), right / len(owner)


def test_the_loss_is_that_of_the_default_boxes_one_by_one(root: Path) -> None:
    samples = coco.training_set(TINY, RECIPE, root, seed=0)
    batch = coco.collate([samples[0, index] for index in (0, 3, 7)])
    assert (batch[0].dtype, batch[1].dtype, batch[2].dtype) == (torch.uint8, torch.float32, torch.int64)
    model, before = given(3), batch[0].clone()
    found = coco.loss(model, batch, RECIPE, Moment(0, 0, 0))
    pairs = []
    for image in range(3):
        real = batch[2][image] > 0
        boxes, labels = batch[1][image][real].double().tolist(), batch[2][image][real].tolist()
        pairs.append(loss_by_hand(model, image, boxes, labels))
    assert float(found.mean.detach()) == pytest.approx(sum(loss for loss, _ in pairs) / 3, rel=1e-5)
    assert float(found.correct) == pytest.approx(sum(right for _, right in pairs), rel=1e-6)
    assert torch.equal(model.images, normalise(before))


def test_images_without_boxes_have_no_loss_and_no_gradient() -> None:
    model = given(2)
    batch = torch.zeros(2, 3, SIDE, SIDE, dtype=torch.uint8), torch.zeros(2, 1, 4), torch.zeros(2, 1, dtype=torch.int64)
    found = coco.loss(model, batch, RECIPE, Moment(0, 0, 0))
    found.mean.backward()
    assert (float(found.mean.detach()), float(found.correct)) == (0.0, 2.0)
    assert all(bool((parameter.grad == 0).all()) for parameter in model.parameters())


def test_biases_and_batch_norms_do_not_decay() -> None:
    own = Optimisation(TINY.build(seed=0), RECIPE, HERE)
    decays = {id(p): group["weight_decay"] for group in own.sgd.param_groups for p in group["params"]}
    for name, parameter in own.model.named_parameters():
        assert decays[id(parameter)] == (5e-4 if parameter.dim() > 1 else 0.0), name


def test_training_follows_the_schedule_and_leaves_out_images_without_boxes(root: Path, tmp_path: Path) -> None:
    reports: list[StepReport] = []
    trained = run(root, tmp_path, on_step=reports.append)
    warm = [0.005 * (step + 1) / STEPS for step in range(STEPS)]
    assert [r.lr for r in reports] == pytest.approx([*warm, *[0.005] * STEPS, *[0.0005] * STEPS], rel=1e-12)
    for entry in trained.history:
        assert (entry["steps"], entry["samples"], entry["batch"]) == (STEPS, 13, [3, 5])
        assert entry["input"] == [SIDE, SIDE]
        assert {"train_loss", "train_class_acc", "ap", "ap50", "ar100"} <= set(entry)
        assert np.isfinite(entry["train_loss"])
    splits = trained.data["splits"]
    assert [(splits[split]["samples"], splits[split]["trainable"]) for split in ("train", "val")] == [(14, 13), (5, 4)]
    best = max(trained.history, key=lambda entry: entry["ap"])
    assert trained.best_epoch == best["epoch"]


@pytest.mark.slow
def test_a_network_learns_where_colours_are(root: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, epochs=120, lr=0.002, milestones=(96,))
    trained = run(root, tmp_path, recipe, execution=replace(CPU, validate_every=120))
    untrained = coco.validate(TINY.build(seed=5), recipe, root, device=HERE)
    assert untrained["ap50"] < 12  # 200 boxes an image, some of them right
    assert trained.history[-1]["ap50"] > 40
    assert trained.history[-1]["train_loss"] < trained.history[0]["train_loss"] / 2


def stop_after(polls: int) -> Callable[[], bool]:
    """True at poll `polls` and only then."""
    counter = iter(range(10**6))
    return lambda: next(counter) == polls


@pytest.mark.parametrize("precision", ["fp32", "amp"])
def test_interrupted_anywhere_and_resumed_gives_the_same_bits(
    precision: Literal["fp32", "amp"], root: Path, tmp_path: Path
) -> None:
    recipe = replace(RECIPE, precision=precision)
    uninterrupted = run(root, tmp_path / "whole", recipe)
    rng, interruptions = random.Random(precision), 0
    for trial in range(2):
        trained = None
        while trained is None:
            try:
                trained = run(root, tmp_path / str(trial), recipe, should_stop=stop_after(rng.randrange(1, 5)))
            except Interrupted:
                interruptions += 1
        assert trained.sha256 == uninterrupted.sha256
        assert measured(trained) == measured(uninterrupted)
    assert interruptions >= 4


def test_workers_change_nothing(root: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, epochs=1, milestones=())
    helped = run(root, tmp_path / "b", recipe, execution=replace(CPU, workers=2))
    assert helped.sha256 == run(root, tmp_path / "a", recipe).sha256


def test_a_cut_backbone_starts_from_a_classification_network(root: Path, tmp_path: Path) -> None:
    weights = build(FULL, seed=77).state_dict()
    recipe = replace(RECIPE, epochs=1, milestones=(), lr=1e-12, weight_decay=0.0)
    trained = load_weights(run(root, tmp_path, recipe, init_state=weights).checkpoint)
    shared = [name for name in weights if f"backbone.{name}" in trained and name.endswith("weight")]
    assert any(name.startswith("stages.2") or "2." in name for name in shared)
    assert all(torch.allclose(trained[f"backbone.{name}"], weights[name], atol=1e-7) for name in shared)
    with pytest.raises(ValueError, match="init_state does not fit the network: missing"):
        run(root, tmp_path / "other", recipe, init_state=build(resnet(50), seed=0).state_dict())


def test_a_test_detects_in_each_image_what_the_network_gives_for_it_alone(root: Path, tmp_path: Path) -> None:
    """Written files: COCO's results of each image by itself, in pixels of the image."""
    model = TINY.build(seed=3)
    split = read_coco(root, "val")
    evaluation = testing.evaluate(model, data_root=root, crop=SIDE, batch_size=2, predictions=tmp_path)
    assert (evaluation.samples, evaluation.expected, evaluation.input) == (5, 5, (SIDE, SIDE))
    assert all(n == 5 for _, n, _ in evaluation.metrics.values())
    assert evaluation.metrics["ap"][2] is not None
    results = json.loads((tmp_path / testing.RESULTS).read_text())
    model.eval()
    for number in range(len(split)):
        own = [result for result in results if result["image_id"] == split.ids[number]]
        height, width = split.sizes[number].tolist()
        with torch.no_grad():
            (alone,) = detect(*model(normalise(TestSet(split, SIDE)[number][0][None])), default_boxes(SIDE))
        assert len(own) == len(alone)
        scores = sorted(result["score"] for result in own)
        assert scores == pytest.approx(sorted(alone.scores.tolist()), abs=1e-4)
        left, top, right, bottom = (alone.boxes * torch.tensor([width, height, width, height])).T.tolist()
        assert sum(result["bbox"][0] for result in own) == pytest.approx(sum(left), abs=0.05 * len(own))
        assert sum(result["bbox"][3] for result in own) == pytest.approx(sum(bottom) - sum(top), abs=0.05 * len(own))
        assert {result["category_id"] for result in own} <= {4, 8, 12}
        assert len(right) == len(own)


def _test_rank(rank: int, size: int, root: Path, folder: Path) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=size)
    try:
        found = testing.evaluate(TINY.build(seed=3), data_root=root, crop=SIDE, predictions=folder / "kept")
        torch.save([dict(found.metrics), found.samples], folder / f"rank{rank}.pt")
    finally:
        distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3])
def test_ranks_detect_together_what_one_does(size: int, root: Path, tmp_path: Path) -> None:
    """The batch is one image, so that no rounding depends on who sits beside it."""
    multiprocessing.spawn(_test_rank, (size, root, tmp_path), nprocs=size)
    alone = testing.evaluate(TINY.build(seed=3), data_root=root, crop=SIDE, predictions=tmp_path / "alone")
    for rank in range(size):
        metrics, samples = torch.load(tmp_path / f"rank{rank}.pt", weights_only=True)
        assert samples == 5
        assert metrics.keys() == alone.metrics.keys()
        assert all(metrics[name][0] == pytest.approx(alone.metrics[name][0], abs=1e-6) for name in metrics)
    ours, theirs = (json.loads((tmp_path / name / testing.RESULTS).read_text()) for name in ("alone", "kept"))
    assert [(one["image_id"], one["category_id"]) for one in ours] == [
        (one["image_id"], one["category_id"]) for one in theirs
    ]


def test_what_does_not_fit_is_refused(root: Path) -> None:
    def refused(match: str, network: Any = TINY, kind: type[Exception] = ValueError, **changes: Any) -> None:
        with pytest.raises(kind, match=match):
            coco.training_set(network, replace(RECIPE, **changes), root, seed=0)

    refused("resnet50: COCO's task takes an SSD", resnet(50))
    refused("augment must be a CocoAugment, got ImageNetAugment", augment=ImageNetAugment())
    refused("tiny-ssd takes images of 64 pixels, not of 300", augment=CocoAugment())
    refused("3 categories for a network of 80 .* num_classes=4", replace(TINY, num_classes=81), DataError)
    refused("'trainval' is no split", kind=DataError, split="trainval")
    with pytest.raises(ValueError, match="takes images of 64 pixels, not of 96"):
        testing.evaluate(TINY.build(seed=0), data_root=root, crop=96)
    model = TINY.build(seed=0)
    nn.init.constant_(model.get_parameter("scores.0.bias"), float("nan"))
    with pytest.raises(DataError, match="val: "):
        coco.validate(model, RECIPE, root, device=HERE)
