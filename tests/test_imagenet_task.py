"""Testing a classifier: every image once, errors recounted one by one, on one rank and on several."""

from math import sqrt
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, distributed, multiprocessing, nn
from torch.nn import functional

from pyconv.architectures import ResNet, Stage, resnet, resnet3d
from pyconv.data import DataError
from pyconv.data.cutmix import draw_cutmix, draw_partners
from pyconv.data.imagenet import normalise
from pyconv.data.pixels import Picture
from pyconv.data.sampling import Moment
from pyconv.pyramid import PYRAMIDS
from pyconv.recipe import Ade20kAugment, ImageNetAugment, Recipe
from pyconv.tasks import imagenet

TINY = ResNet("bottleneck", tuple(Stage(1, 8, 16, 2, PYRAMIDS[n]) for n in (2, 1)), "stem", num_classes=7, name="tiny")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_set(tmp_path_factory.mktemp("images"), classes=7, images=5)


def make_set(root: Path, classes: int, images: int) -> Path:
    """Images of random pixels and different shapes."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for label in range(classes):
            folder = root / split / f"class{label}"
            folder.mkdir(parents=True)
            for number in range(images):
                shape = (int(rng.integers(20, 40)), int(rng.integers(20, 40)), 3)
                Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / f"{number}.png")
    return root


def recount(model: nn.Module, root: Path, crop: int, resize: int) -> list[list[bool]]:
    """Top-1 and top-5 by sorting the logits of one image at a time."""
    rows = []
    for path in sorted((root / "val").glob("*/*.png")):
        image = Picture(path.read_bytes(), path).whole
        scale = resize / min(image.size)
        # torchvision: the long side is truncated to whole pixels.
        width, height = (resize if side == min(image.size) else int(side * scale) for side in image.size)
        pixels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
        top, left = (round((length - crop) / 2) for length in pixels.shape[:2])
        tensor = torch.tensor(pixels[top : top + crop, left : left + crop].transpose(2, 0, 1).copy())
        with torch.no_grad():
            ranking = model(normalise(tensor[None]))[0].argsort(descending=True).tolist()
        place = ranking.index(int(path.parent.name.removeprefix("class")))
        rows.append([place < 1, place < 5])
    return rows


@pytest.mark.parametrize(("crop", "resize", "batch_size"), [(16, 20, 4), (24, 24, 100)])
def test_errors_are_those_of_a_slow_recount(root: Path, crop: int, resize: int, batch_size: int) -> None:
    model = TINY.build(seed=0).eval()
    evaluation = imagenet.evaluate(model, data_root=root, crop=crop, resize=resize, batch_size=batch_size)
    rows = np.array(recount(model, root, crop, resize))
    assert (evaluation.samples, evaluation.expected, evaluation.input) == (35, 35, (crop, crop))
    for column, name in enumerate(("top1_err", "top5_err")):
        assert evaluation.correct[name].tolist() == rows[:, column].tolist()
        p = 1 - rows[:, column].mean()
        assert evaluation.metrics[name] == pytest.approx((100 * p, 35, 100 * sqrt(p * (1 - p) / 35)))
    assert 0 < rows[:, 1].sum() < 35  # the recount says something


def test_testing_changes_nothing_in_the_network(root: Path) -> None:
    model = TINY.build(seed=0).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    imagenet.evaluate(model, data_root=root, crop=16, resize=20)
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_of_fewer_than_five_classes_all_are_in_the_top_five(tmp_path: Path) -> None:
    root = make_set(tmp_path, classes=3, images=2)
    evaluation = imagenet.evaluate(TINY.build(3, seed=1), data_root=root, crop=16, resize=20)
    assert evaluation.metrics["top5_err"] == (0.0, 6, 0.0)


def _evaluate_rank(rank: int, size: int, root: Path, rendezvous: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=size)
    evaluation = imagenet.evaluate(TINY.build(seed=0), data_root=root, crop=16, resize=20, batch_size=3)
    torch.save([evaluation.metrics, evaluation.samples, evaluation.correct, evaluation.input], f"{rendezvous}-{rank}")
    distributed.destroy_process_group()


def test_on_several_ranks_every_image_is_counted_once(root: Path, tmp_path: Path) -> None:
    multiprocessing.spawn(_evaluate_rank, (2, root, tmp_path / "meet"), nprocs=2)  # 35 images: 18 + 17
    alone = imagenet.evaluate(TINY.build(seed=0), data_root=root, crop=16, resize=20)
    for rank in range(2):
        metrics, samples, correct, size = torch.load(f"{tmp_path}/meet-{rank}", weights_only=True)
        assert metrics == alone.metrics
        assert size == alone.input == (16, 16)
        assert samples == 35
        assert all(torch.equal(correct[name], alone.correct[name]) for name in correct)


def test_the_loss_with_cutmix_is_the_mix_of_two_losses() -> None:
    class Linear(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :, ::3, ::3].flatten(1)[:, :7]

    recipe = Recipe("x", 1, 8, 0.1, ImageNetAugment(crop=12, cutmix_prob=1.0))
    images = torch.randint(0, 256, (8, 3, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(8) % 7
    for step in range(5):
        moment = Moment(0, 0, step, micro=1)
        mixing, partner = draw_cutmix(moment, (12, 12), probability=1, beta=1), draw_partners(moment, 8)
        assert mixing is not None
        top, bottom, left, right = mixing.box
        pasted = normalise(images)
        for image in range(8):
            pasted[image, :, top:bottom, left:right] = normalise(images)[partner[image], :, top:bottom, left:right]
        logits = Linear()(pasted)
        log_p = functional.log_softmax(logits, 1)
        expected = torch.stack(
            [-mixing.kept * log_p[i, labels[i]] - (1 - mixing.kept) * log_p[i, labels[partner[i]]] for i in range(8)]
        )
        found = imagenet.loss(Linear(), (images, labels), recipe, moment)
        assert found.mean.item() == pytest.approx(expected.mean().item(), rel=1e-5)
        guesses = logits.argmax(1)
        right_answers = mixing.kept * (guesses == labels) + (1 - mixing.kept) * (guesses == labels[partner])
        assert float(found.correct) == pytest.approx(float(right_answers.sum()), rel=1e-5)


def recipe_for(split: str = "train") -> Recipe:
    return Recipe("images", 1, 4, 0.1, ImageNetAugment(crop=16), split=split)


def test_networks_and_data_that_do_not_fit(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train: 7 class folders for a network of 1000 classes; .*num_classes=7"):
        imagenet.training_set(resnet(50), recipe_for(), root, seed=0)
    with pytest.raises(ValueError, match="resnet3d50: ImageNet's task trains a 2-D classifier"):
        imagenet.training_set(resnet3d(50), recipe_for(), root, seed=0)
    wrong = Recipe("images", 1, 4, 0.1, Ade20kAugment())
    with pytest.raises(ValueError, match="augment must be an ImageNetAugment, got Ade20kAugment"):
        imagenet.training_set(TINY, wrong, root, seed=0)
    with pytest.raises(DataError, match="no such split"):
        imagenet.training_set(TINY, recipe_for("trainval"), root, seed=0)
    with pytest.raises(DataError, match="7 class folders for a network of 8 classes"):
        imagenet.evaluate(TINY.build(8, seed=0), data_root=root, crop=16, resize=20)
    other = make_set(tmp_path, classes=7, images=1)
    (other / "val" / "class3").rename(other / "val" / "klass3")
    with pytest.raises(DataError, match="train: class class3 is not in val"):
        imagenet.training_set(TINY, recipe_for(), other, seed=0)


def test_weights_that_are_no_numbers_are_no_measurement(root: Path) -> None:
    model = TINY.build(seed=0)
    nn.init.constant_(model.get_parameter("fc.bias"), float("nan"))
    with pytest.raises(ValueError, match="the network gives NaN or Inf"):
        imagenet.evaluate(model, data_root=root, crop=16, resize=20)
