"""Training a segmentation: the loss by hand, groups and schedule, exact resume, ranks, a backbone to start from.

Photographs of 12 training and 5 validation scenes of coloured rectangles, in ADE20K's layout; a narrow network.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, distributed, multiprocessing, nn

from pyconv import ranks
from pyconv.architectures import ResNet, SegNet, Stage, pyconvresnet, resnet, segnet
from pyconv.checkpoints import load_weights, start_from
from pyconv.data import DataError
from pyconv.data.ade20k import IGNORE, read_scenes
from pyconv.data.imagenet import MEAN, STD
from pyconv.data.sampling import Moment
from pyconv.models import build
from pyconv.optimisation import Optimisation, _synchronised
from pyconv.pyramid import PYRAMIDS
from pyconv.recipe import Ade20kAugment, ImageNetAugment, Recipe
from pyconv.tasks import ade20k
from pyconv.train import Execution, Interrupted, StepReport, Trained, train

BACKBONE = ResNet(
    "basic", tuple(Stage(1, 8 << n, 8 << n, 2 if n else 1, PYRAMIDS[1]) for n in range(4)), "stem", name="tiny"
)
TINY = replace(segnet(BACKBONE, "conv3x3"), num_classes=4, name="tiny-segnet")
RECIPE = Recipe(
    "scenes",
    epochs=3,
    batch_size=5,
    lr=0.01,
    augment=Ade20kAugment(crop=33),
    schedule="poly",
    head_lr_factor=10,
    auxiliary_weight=0.4,
    batch_norm_batch=0,
    drop_last=True,
)
STEPS = 2  # an epoch: 12 photographs in batches of 5, the last two left out
CPU = Execution(device="cpu", threads=1)
HERE = torch.device("cpu")
COLOURS = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200], [220, 220, 90]])
START = Moment(0, 0, 0)


def scene(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rectangles of the classes' colours with noise on a ground of class 1; a border without a class."""
    height, width = (int(side) for side in rng.integers(24, 60, 2))
    numbers = np.ones((height, width), np.uint8)
    for number in (2, 3, 4):
        top, left = int(rng.integers(0, height - 10)), int(rng.integers(0, width - 10))
        numbers[top : top + 12, left : left + 14] = number
    image = COLOURS[numbers - 1] + rng.integers(-30, 31, (height, width, 3))
    numbers[:2] = 0
    return np.clip(image, 0, 255).astype(np.uint8), numbers


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("scenes"), np.random.default_rng(0)
    for split, photographs in (("training", 12), ("validation", 5)):
        for kind in ("images", "annotations"):
            (folder / kind / split).mkdir(parents=True)
        for number in range(photographs):
            image, numbers = scene(rng)
            Image.fromarray(image).save(folder / "images" / split / f"{number:02}.jpg", quality=95)
            Image.fromarray(numbers).save(folder / "annotations" / split / f"{number:02}.png")
    rows = [f"{number}\t0.1\t1\t1\tthing {number}" for number in range(1, 5)]
    (folder / "objectInfo150.txt").write_text("\n".join(["Idx\tRatio\tTrain\tVal\tName", *rows]) + "\n")
    return folder


def run(root: Path, folder: Path, recipe: Recipe = RECIPE, network: SegNet = TINY, **options: Any) -> Trained:
    return train(network, recipe, seed=5, data_root=root, run_dir=folder, **{"execution": CPU, **options})


def measured(trained: Trained) -> list[dict[str, float]]:
    """The history without its seconds."""
    return [{key: value for key, value in entry.items() if key != "seconds"} for entry in trained.history]


class Given(nn.Module):
    """A network whose outputs are parameters, whatever it is shown."""

    def __init__(self, **outputs: Tensor) -> None:
        super().__init__()
        self.outputs = nn.ParameterDict({name: nn.Parameter(tensor) for name, tensor in outputs.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        self.images = images
        return {name: tensor * 1 for name, tensor in self.outputs.items()}


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def batch_of(images: int, labelled: float = 0.7) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, (images, 5, 6), dtype=np.uint8)
    labels[rng.random(labels.shape) > labelled] = IGNORE
    colours = rng.uniform(0, 255, (images, 3, 5, 6)).astype(np.float32)
    batch = ade20k.collate([(torch.tensor(c), torch.tensor(n)) for c, n in zip(colours, labels, strict=True)])
    assert (batch[0].dtype, batch[1].dtype) == (torch.float32, torch.int64)
    assert batch[0].is_contiguous(memory_format=torch.channels_last)
    assert np.array_equal(batch[0].numpy(), colours)
    return batch


def test_the_loss_is_that_of_labelled_pixels_one_by_one() -> None:
    images, labels = batch_of(3)
    labels[1] = IGNORE
    model = Given(out=drawn(3, 4, 5, 6), aux=drawn(3, 4, 5, 6, seed=1))
    before = images.clone()
    found = ade20k.loss(model, (images, labels), RECIPE, START)
    sums, right, labelled = {"out": 0.0, "aux": 0.0}, [0.0] * 3, [0] * 3
    for image, row, column in np.ndindex(3, 5, 6):
        label = int(labels[image, row, column])
        if label != IGNORE:
            for name in sums:
                logits = model.outputs[name][image, :, row, column].detach().double()
                sums[name] += float(logits.exp().sum().log() - logits[label])
            labelled[image] += 1
            right[image] += int(model.outputs["out"][image, :, row, column].argmax()) == label
    expected = (sums["out"] + 0.4 * sums["aux"]) / sum(labelled)
    assert float(found.mean.detach()) == pytest.approx(expected, rel=1e-6)
    shares = [r / n if n else 1.0 for r, n in zip(right, labelled, strict=True)]
    assert float(found.correct) == pytest.approx(sum(shares), rel=1e-6)
    entered = (before / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    assert torch.allclose(model.images, entered, atol=1e-5)
    assert torch.equal(images, before)


def test_photographs_without_labels_have_no_loss_and_no_gradient() -> None:
    images, labels = batch_of(2, labelled=0)
    model = Given(out=drawn(2, 4, 5, 6), aux=drawn(2, 4, 5, 6))
    found = ade20k.loss(model, (images, labels), RECIPE, START)
    found.mean.backward()
    assert (float(found.mean.detach()), float(found.correct)) == (0.0, 2.0)
    assert all(bool((parameter.grad == 0).all()) for parameter in model.parameters())


def test_the_loss_of_bfloat16_logits_is_computed_in_float32() -> None:
    images, labels = batch_of(2)
    logits = drawn(2, 4, 5, 6).bfloat16()
    found = ade20k.loss(Given(out=logits), (images, labels), replace(RECIPE, auxiliary_weight=0), START)
    assert found.mean.dtype == torch.float32
    exact = ade20k.loss(Given(out=logits.double()), (images, labels), replace(RECIPE, auxiliary_weight=0), START)
    assert float(found.mean.detach()) == pytest.approx(float(exact.mean.detach()), rel=1e-6)


@pytest.mark.parametrize("output_stride", [8, 16])
def test_heads_learn_ten_times_as_fast_and_everything_decays(output_stride: int) -> None:
    model = replace(segnet(BACKBONE, "ppm", output_stride), num_classes=4).build(seed=0)
    own = Optimisation(model, RECIPE, HERE)
    factors = {id(p): 1 if name.startswith("backbone.") else 10 for name, p in model.named_parameters()}
    steps = RECIPE.epochs * STEPS
    for step in (0, steps // 2, steps - 1):
        own.lr = RECIPE.lr_at(step, STEPS)
        groups = [
            (id(p), group["lr"], group["weight_decay"]) for group in own.sgd.param_groups for p in group["params"]
        ]
        assert sorted(key for key, _, _ in groups) == sorted(factors)
        for key, lr, decay in groups:
            assert lr == pytest.approx(factors[key] * 0.01 * (1 - step / steps) ** 0.9, rel=1e-12)
            assert decay == 1e-4


def test_training_follows_the_schedule_and_drops_what_makes_no_batch(root: Path, tmp_path: Path) -> None:
    reports: list[StepReport] = []
    trained = run(root, tmp_path, on_step=reports.append)
    steps = RECIPE.epochs * STEPS
    assert [r.lr for r in reports] == pytest.approx([0.01 * (1 - n / steps) ** 0.9 for n in range(steps)], rel=1e-12)
    for entry in trained.history:
        assert (entry["steps"], entry["samples"], entry["batch"]) == (STEPS, 10, [5, 5])
        assert (entry["norm_batch"], entry["input"]) == (5, [33, 33])
        assert {"train_loss", "train_pixel_acc", "miou", "pixel_acc"} <= set(entry)
    assert trained.deviations == []
    assert [trained.data["splits"][split]["samples"] for split in ("train", "val")] == [12, 5]
    best = max(trained.history, key=lambda entry: entry["miou"])
    assert trained.best_epoch == best["epoch"]
    model = build(TINY)
    model.load_state_dict(load_weights(trained.best or tmp_path))
    assert ade20k.validate(model, RECIPE, root, device=HERE) == {name: best[name] for name in ("miou", "pixel_acc")}


def test_a_network_learns_what_colours_mean(root: Path, tmp_path: Path) -> None:
    """Class 1 has less than three quarters of the pixels: naming it everywhere gives an miou below 75 / 4."""
    recipe = replace(RECIPE, epochs=20, lr=0.02, augment=Ade20kAugment(crop=49, scale=(0.75, 1.5)))
    last = run(root, tmp_path, recipe).history[-1]
    assert last["miou"] > 40
    assert last["train_loss"] < 1.0


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
    for trial in range(3):
        trained = None
        while trained is None:
            try:
                trained = run(root, tmp_path / str(trial), recipe, should_stop=stop_after(rng.randrange(1, 4)))
            except Interrupted:
                interruptions += 1
        assert trained.sha256 == uninterrupted.sha256
        assert measured(trained) == measured(uninterrupted)
        assert trained.best is not None
        assert uninterrupted.best is not None
        assert trained.best.read_bytes() == uninterrupted.best.read_bytes()
    assert interruptions >= 5


def test_workers_change_nothing_and_go_when_the_run_ends(root: Path, tmp_path: Path) -> None:
    recipe, helped = replace(RECIPE, epochs=1), replace(CPU, workers=2)
    with pytest.raises(Interrupted, match="after step 1 of 2"):
        run(root, tmp_path / "b", recipe, execution=helped, should_stop=stop_after(1))
    assert not active_children()
    trained = run(root, tmp_path / "b", recipe, execution=helped)
    assert not active_children()
    assert trained.sha256 == run(root, tmp_path / "a", recipe).sha256


@pytest.mark.parametrize("output_stride", [8, 16])
def test_a_dilated_backbone_starts_from_a_classification_network(
    output_stride: int, root: Path, tmp_path: Path
) -> None:
    weights = build(BACKBONE, seed=77).state_dict()
    network = replace(segnet(BACKBONE, "conv3x3", output_stride), num_classes=4)
    model = network.build(seed=5)
    start_from(model, weights)
    own = model.state_dict()
    assert all(torch.equal(own[f"backbone.{name}"], w) for name, w in weights.items() if not name.startswith("fc."))
    recipe = replace(RECIPE, epochs=1, lr=1e-12, weight_decay=0.0)
    trained = load_weights(run(root, tmp_path, recipe, network, init_state=weights).checkpoint)
    kept = [name for name in weights if name.endswith("weight") and not name.startswith("fc.")]
    assert all(torch.allclose(trained[f"backbone.{name}"], weights[name], atol=1e-7) for name in kept)


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("backbone", [resnet(50), pyconvresnet(50)], ids=lambda network: network.name)
def test_the_papers_backbones_have_the_weights_of_table_3(backbone: ResNet, output_stride: int) -> None:
    with torch.device("meta"):
        trained, own = (
            build(network).state_dict() for network in (backbone, segnet(backbone, "pyconvph", output_stride))
        )
    expected = {f"backbone.{name}": w.shape for name, w in trained.items() if not name.startswith("fc.")}
    assert {name: w.shape for name, w in own.items() if name.startswith("backbone.")} == expected


def recount(model: nn.Module, root: Path, crop: int) -> dict[str, float]:
    """miou and pixel_acc of the centre crops of whole photographs, one photograph and one class at a time."""
    scenes = read_scenes(root, "val")
    intersection, union, right, total = [0] * 4, [0] * 4, 0, 0
    for index in range(len(scenes)):
        image, labels = scenes.image(index) / 255, scenes.labels(index)
        padding = [(max(crop - side, 0) // 2, -(-max(crop - side, 0) // 2)) for side in labels.shape]
        image = np.pad((image - MEAN) / STD, [*padding, (0, 0)])  # the mean colour is 0
        labels = np.pad(labels, padding, constant_values=IGNORE)
        place = tuple(slice((side - crop) // 2, (side - crop) // 2 + crop) for side in labels.shape)
        with torch.no_grad():
            logits = model(torch.tensor(image[place].transpose(2, 0, 1)[None], dtype=torch.float32))["out"]
        predicted, labels = logits[0].argmax(0).numpy(), labels[place]
        known = labels != IGNORE
        right, total = right + int((predicted == labels)[known].sum()), total + int(known.sum())
        for number in range(4):
            is_one, taken_for = (labels == number) & known, (predicted == number) & known
            intersection[number] += int((is_one & taken_for).sum())
            union[number] += int((is_one | taken_for).sum())
    ious = [100 * i / u for i, u in zip(intersection, union, strict=True) if u]
    return {"miou": sum(ious) / len(ious), "pixel_acc": 100 * right / total}


@pytest.mark.parametrize("crop", [33, 48])
def test_validation_counts_the_centre_crops(crop: int, root: Path) -> None:
    model = TINY.build(seed=3).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    recipe = replace(RECIPE, augment=Ade20kAugment(crop=crop))
    found = ade20k.validate(model, recipe, root, device=HERE)
    assert model.training
    assert model.aux is not None
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert found == pytest.approx(recount(model.eval(), root, crop), abs=0.02)  # a tie of float32 moves one pixel


PER_RANK = replace(RECIPE, epochs=2, batch_norm_batch=2)  # a batch of 5: micro-batches of 2 and 3


def _train_rank(rank: int, size: int, root: Path, folder: Path) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=size)
    try:
        trained = run(root, folder / "run", PER_RANK)
        model = TINY.build(seed=3)
        torch.save(
            [trained.sha256, measured(trained), ade20k.validate(model, RECIPE, root, device=HERE)],
            folder / f"rank{rank}.pt",
        )
    finally:
        distributed.destroy_process_group()


def test_batch_norms_of_backbone_and_heads_are_synchronised(monkeypatch: pytest.MonkeyPatch) -> None:
    """What several GPUs do with batch_norm_batch=0; the conversion itself needs none."""
    monkeypatch.setattr(ranks, "current", lambda: ranks.World(rank=1, size=2))
    model = replace(TINY, head="aspp").build(seed=0)
    names = [name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert {name.split(".")[0] for name in names} == {"backbone", "head", "aux"}
    weights = list(model.state_dict())
    apart = _synchronised(model, replace(RECIPE, batch_norm_batch=2), torch.device("cuda"))
    assert not any(isinstance(module, nn.SyncBatchNorm) for module in apart.modules())
    together = _synchronised(model, RECIPE, torch.device("cuda"))
    assert [name for name, m in together.named_modules() if isinstance(m, nn.SyncBatchNorm)] == names
    assert list(together.state_dict()) == weights
    with pytest.raises(ValueError, match=r"batch_norm_batch=0 .* on several ranks needs GPUs"):
        _synchronised(model, RECIPE, HERE)


@pytest.mark.slow
def test_two_ranks_train_what_one_does(root: Path, tmp_path: Path) -> None:
    """Sums are ordered differently: equal to float tolerance; what is counted is identical."""
    alone = run(root, tmp_path / "alone", PER_RANK)
    multiprocessing.spawn(_train_rank, (2, root, tmp_path), nprocs=2)
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    assert first == second
    assert first[2] == ade20k.validate(TINY.build(seed=3), RECIPE, root, device=HERE)
    for one, two in zip(measured(alone), first[1], strict=True):
        assert (two["lrs"], two["batch"], two["norm_batch"]) == (one["lrs"], one["batch"], one["norm_batch"])
        assert two["train_loss"] == pytest.approx(one["train_loss"], rel=1e-4)
        assert two["train_pixel_acc"] == pytest.approx(one["train_pixel_acc"], abs=0.1)
    weights, expected = load_weights(tmp_path / "run" / "weights.pt"), load_weights(alone.checkpoint)
    for name, tensor in expected.items():
        assert torch.allclose(weights[name].float(), tensor.float(), rtol=1e-3, atol=1e-4), name


def test_what_does_not_fit_is_refused(root: Path, tmp_path: Path) -> None:
    def refused(match: str, network: Any = TINY, kind: type[Exception] = ValueError, **changes: Any) -> None:
        with pytest.raises(kind, match=match):
            ade20k.training_set(network, replace(RECIPE, **changes), root, seed=0)

    refused("resnet50: ADE20K's task trains a SegNet", resnet(50))
    refused("augment must be an Ade20kAugment, got ImageNetAugment", augment=ImageNetAugment())
    refused(
        "4 classes for a network of 150; build the network with num_classes=4", segnet(resnet(50), "ppm"), DataError
    )
    refused(r"tiny-segnet has no auxiliary head for an auxiliary_weight of 0\.4", replace(TINY, auxiliary=False))
    refused("blur_kernel must be one of 1, 3, 5, got 4", augment=Ade20kAugment(blur_kernel=4))
    refused("ignore_label must be 255", augment=Ade20kAugment(ignore_label=0))
    refused("scale ascend from above 0", augment=Ade20kAugment(scale=(2.0, 0.5)))
    assert len(ade20k.training_set(TINY, replace(RECIPE, split="train+val"), root, seed=0)) == 12 + 5
    refused("'trainval' is no split", kind=DataError, split="trainval")
    (root / "images" / "testing").mkdir()
    Image.new("RGB", (40, 40)).save(root / "images" / "testing" / "a.jpg")
    refused("split test has no label maps to train with", kind=DataError, split="test")
    with pytest.raises(DataError, match="4 classes for a network of 7"):
        ade20k.validate(TINY.build(7, seed=0), RECIPE, root, device=HERE)
    model = TINY.build(seed=0)
    nn.init.constant_(model.get_parameter("classifier.1.bias"), float("nan"))
    with pytest.raises(ValueError, match="the network gives NaN or Inf"):
        ade20k.validate(model, RECIPE, root, device=HERE)
    no_aux = replace(TINY, auxiliary=False)
    trained = run(root, tmp_path, replace(RECIPE, epochs=1, auxiliary_weight=0.0), no_aux)
    assert not any(name.startswith("aux") for name in load_weights(trained.checkpoint))
