"""The training loop: schedule, accumulation, precision, exact resume, ranks, errors. A tiny network, real digits."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from PIL import Image
from torch import Tensor, distributed, multiprocessing, nn
from torch.nn import functional

from pyconv.architectures import ResNet, Stage, pyconvsegnet, resnet
from pyconv.checkpoints import CheckpointError, load_weights
from pyconv.data import DataError
from pyconv.data.digits import digits
from pyconv.data.sampling import Batches, MicroBatch
from pyconv.models import build
from pyconv.optimisation import Optimisation, parameter_groups
from pyconv.pyramid import PYRAMIDS
from pyconv.recipe import ImageNetAugment, Recipe, micro_batch_size
from pyconv.tasks import imagenet
from pyconv.train import Diverged, Execution, Interrupted, StepReport, Trained, train

TINY = ResNet(
    "bottleneck",
    tuple(Stage(1, 8, 16, stride, PYRAMIDS[levels]) for stride, levels in ((1, 2), (2, 1))),
    "stem",
    num_classes=10,
    dropout=0.2,
    name="tiny",
)
RECIPE = Recipe(
    "digits",
    epochs=3,
    batch_size=20,
    lr=0.05,
    augment=ImageNetAugment(crop=16, scale=(0.5, 1), cutmix_prob=0.5),
    milestones=(1, 2),
    warmup_epochs=0.5,
    batch_norm_batch=8,
)
ONE_EPOCH = replace(RECIPE, epochs=1, milestones=())
CPU = Execution(device="cpu", threads=1)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven real digits a class to train (70 images: the fourth batch of 20 holds 10), two to test."""
    folder = tmp_path_factory.mktemp("digits")
    images, labels = digits()
    for label in range(10):
        rows = (labels == label).nonzero()[0][:9]
        for position, row in enumerate(rows):
            path = folder / ("train" if position < 7 else "val") / str(label) / f"{row}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(images[row]).save(path)
    return folder


def run(root: Path, folder: Path, recipe: Recipe = RECIPE, execution: Execution = CPU, **options: Any) -> Trained:
    return train(TINY, recipe, seed=5, data_root=root, run_dir=folder, execution=execution, **options)


def measured(trained: Trained) -> list[dict[str, float]]:
    """The history without its seconds."""
    return [{key: value for key, value in entry.items() if key != "seconds"} for entry in trained.history]


@pytest.mark.parametrize(
    "recipe",
    [
        RECIPE,
        replace(RECIPE, schedule="cosine", milestones=(), warmup_epochs=1.0),
        replace(RECIPE, schedule="poly", milestones=(), warmup_epochs=0.0, drop_last=True),
    ],
)
def test_every_step_has_the_recipes_learning_rate(recipe: Recipe, root: Path, tmp_path: Path) -> None:
    reports: list[StepReport] = []
    trained = run(root, tmp_path, recipe, on_step=reports.append)
    steps = 3 if recipe.drop_last else 4  # 70 images in batches of 20
    assert [(r.epoch, r.step, r.steps) for r in reports] == [
        (epoch, step, steps) for epoch in (1, 2, 3) for step in range(1, steps + 1)
    ]
    assert [r.lr for r in reports] == [recipe.lr_at(step, steps) for step in range(3 * steps)]
    assert [entry["lr"] for entry in trained.history] == [recipe.lr_at(n * steps - 1, steps) for n in (1, 2, 3)]


def test_the_schedule_of_section_6_is_the_papers() -> None:
    recipe = Recipe("imagenet", 90, 256, 0.1, ImageNetAugment(), milestones=(30, 60, 80))
    by_epoch = [recipe.lr_at(epoch * 5005 + 5004, 5005) for epoch in range(90)]
    assert by_epoch == pytest.approx([0.1] * 30 + [0.01] * 30 + [0.001] * 20 + [0.0001] * 10)


@dataclass
class Mean:
    mean: Tensor
    correct: Tensor


def linear_loss(model: nn.Module, batch: tuple[Tensor, Tensor], _: MicroBatch) -> Mean:
    logits = model(batch[0])
    return Mean(functional.cross_entropy(logits, batch[1]), (logits.argmax(1) == batch[1]).sum())


@pytest.mark.parametrize("size", [20, 13])
@pytest.mark.parametrize("micro_batch", [3, 6, 19])
def test_accumulated_micro_batches_are_one_batch(size: int, micro_batch: int) -> None:
    """Without batch norm: the same step as torch's own SGD on the whole batch, also when the last part is smaller."""
    recipe = Recipe("x", 1, size, 0.1, ImageNetAugment(), momentum=0.9, weight_decay=1e-2, batch_norm_batch=micro_batch)
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(size, 2, 5, 5, generator=generator)
    labels = torch.randint(0, 3, (size,), generator=generator)

    def network() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(2, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(36, 3))

    reference, own = network(), Optimisation(network(), recipe, torch.device("cpu"))
    sgd = torch.optim.SGD(reference.parameters(), 0.1, momentum=0.9, weight_decay=1e-2)
    order = torch.randperm(size, generator=generator).tolist()
    for _ in range(3):
        sgd.zero_grad()
        loss = functional.cross_entropy(reference(images), labels)
        loss.backward()
        sgd.step()
        micros = Batches(size, size, micro_batch).step(order, 0)
        totals = own.step(((m, (images[list(m.indices)], labels[list(m.indices)])) for m in micros), 99, linear_loss)
        assert float(totals[0] / totals[2]) == pytest.approx(loss.item(), rel=1e-5)
        assert float(totals[2]) == size
    for expected, parameter in zip(reference.parameters(), own.model.parameters(), strict=True):
        assert torch.allclose(parameter, expected, atol=1e-6)


def test_batch_norms_keep_the_first_micro_batchs_statistics() -> None:
    recipe = Recipe("x", 1, 12, 0.1, ImageNetAugment(), batch_norm_batch=4)
    own = Optimisation(nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.Flatten()), recipe, torch.device("cpu"))
    images, labels = torch.randn(12, 2, 1, 1), torch.zeros(12, dtype=torch.long)
    with torch.no_grad():
        maps = own.model[0](images[:4]).flatten(1)  # type: ignore[index]
    parts = [(MicroBatch(n, (0,) * 4, 1 / 3), (images[4 * n : 4 * n + 4], labels[:4])) for n in range(3)]
    own.step(iter(parts), 3, linear_loss)
    norm = own.model[1]  # type: ignore[index]
    assert torch.allclose(norm.running_mean, 0.1 * maps.mean(0), atol=1e-6)
    assert torch.allclose(norm.running_var, 0.9 + 0.1 * maps.var(0), atol=1e-6)
    assert int(norm.num_batches_tracked) == 1
    assert norm.track_running_stats


def test_weight_decay_and_learning_rate_by_group() -> None:
    model = build(TINY, seed=0)
    together = parameter_groups(model, RECIPE)
    assert [(g["weight_decay"], g["lr_factor"], len(g["params"])) for g in together] == [
        (1e-4, 1.0, len(list(model.parameters())))
    ]
    apart = parameter_groups(model, replace(RECIPE, decay_norm_and_bias=False, head_lr_factor=10))
    kinds = {(g["weight_decay"], g["lr_factor"]): g["params"] for g in apart}
    assert set(kinds) == {(1e-4, 1.0), (0.0, 1.0), (1e-4, 10.0), (0.0, 10.0)}
    assert all(parameter.ndim == 1 for parameter in kinds[0.0, 1.0])
    assert all(parameter.ndim == 4 for parameter in kinds[1e-4, 1.0])
    assert [p.shape for p in kinds[1e-4, 10.0] + kinds[0.0, 10.0]] == [(10, 16), (10,)]
    with torch.device("meta"):
        segnet = pyconvsegnet(resnet(50)).build()
    factor = {
        id(p): g["lr_factor"] for g in parameter_groups(segnet, replace(RECIPE, head_lr_factor=10)) for p in g["params"]
    }
    for name, parameter in segnet.named_parameters():
        assert factor[id(parameter)] == (1 if name.startswith("backbone.") else 10)


@pytest.mark.parametrize(
    ("batch_size", "norm", "world", "limit", "size", "said"),
    [
        (256, 32, 8, None, 32, ""),
        (256, 32, 1, None, 32, ""),
        (256, 32, 1, 16, 16, "batch norm over 16 samples (micro_batch) instead of the recipe's 32"),
        (256, 32, 1, 64, 32, ""),
        (16, 32, 1, None, 16, ""),
        (16, 0, 1, None, 16, ""),
        (16, 0, 8, None, 2, ""),
        (16, 0, 1, 4, 4, "batch norm over 4 samples (micro_batch) instead of the recipe's 16"),
    ],
)
def test_micro_batches_follow_the_batch_norm(
    batch_size: int, norm: int, world: int, limit: int | None, size: int, said: str
) -> None:
    recipe = replace(RECIPE, batch_size=batch_size, batch_norm_batch=norm)
    assert micro_batch_size(recipe, world, limit) == (size, [said] if said else [])


def test_micro_batches_of_one_image_are_refused() -> None:
    with pytest.raises(ValueError, match="micro_batch must be at least 2"):
        micro_batch_size(RECIPE, 1, 1)


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(root: Path, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    first, second = run(root, tmp_path / "a"), run(root, tmp_path / "b")
    other = train(TINY, RECIPE, seed=6, data_root=root, run_dir=tmp_path / "c", execution=CPU)
    assert first.sha256 == second.sha256
    assert measured(first) == measured(second)
    assert first.sha256 != other.sha256
    assert torch.equal(torch.get_rng_state(), before)


def test_workers_change_nothing(root: Path, tmp_path: Path) -> None:
    alone = run(root, tmp_path / "a")
    helped = run(root, tmp_path / "b", execution=replace(CPU, workers=2))
    assert helped.sha256 == alone.sha256
    assert measured(helped) == measured(alone)


def stop_after(polls: int) -> Callable[[], bool]:
    """True at poll `polls` and only then."""
    counter = iter(range(10**6))
    return lambda: next(counter) == polls


@pytest.mark.parametrize("cutmix", [0.0, 1.0], ids=["plain", "cutmix"])
@pytest.mark.parametrize("precision", ["fp32", "amp"])
def test_interrupted_at_25_random_points_and_resumed_gives_the_same_bits(
    precision: Literal["fp32", "amp"], cutmix: float, root: Path, tmp_path: Path
) -> None:
    recipe = replace(RECIPE, precision=precision, augment=replace(RECIPE.augment, cutmix_prob=cutmix))
    uninterrupted = run(root, tmp_path / "whole", recipe)
    rng, interruptions, trial = random.Random(f"{precision} {cutmix}"), 0, 0
    while interruptions < 25:
        trial += 1
        folder, trained = tmp_path / f"trial{trial}", None
        seen: list[tuple[int, int]] = []
        while trained is None:
            try:
                trained = run(
                    root,
                    folder,
                    recipe,
                    should_stop=stop_after(rng.randrange(1, 5)),
                    on_step=lambda report, seen=seen: seen.append((report.epoch, report.step)),
                )
            except Interrupted:
                interruptions += 1
        assert seen == [(epoch, step) for epoch in (1, 2, 3) for step in (1, 2, 3, 4)]
        assert trained.sha256 == uninterrupted.sha256
        assert measured(trained) == measured(uninterrupted)
        assert best_bytes(trained) == best_bytes(uninterrupted)


def best_bytes(trained: Trained) -> bytes:
    assert trained.best is not None
    return trained.best.read_bytes()


def test_the_history_says_what_the_steps_did(root: Path, tmp_path: Path) -> None:
    """Four steps of 20, 20, 20 and 10 images, micro-batches of eight: what the loop saw, against arithmetic."""
    trained = run(root, tmp_path)
    for number, entry in enumerate(trained.history):
        assert (entry["steps"], entry["samples"], entry["batch"]) == (4, 70, [10, 20])
        assert (entry["norm_batch"], entry["input"]) == (8, [16, 16])
        trace = [lr for lr, steps in entry["lrs"] for _ in range(int(steps))]
        assert trace == [RECIPE.lr_at(4 * number + step, 4) for step in range(4)]


def test_the_best_epochs_weights_are_kept(root: Path, tmp_path: Path) -> None:
    kept: list[Tensor] = []
    folder = tmp_path / "run"
    trained = run(root, folder, on_epoch=lambda _: kept.append(load_weights(folder / "best.pt")["fc.weight"]))
    errors = [entry["top1_err"] for entry in trained.history]
    best = errors.index(min(errors))
    assert trained.best_epoch == best + 1
    assert trained.best == folder / "best.pt"
    assert all(torch.equal(weights, kept[best]) for weights in kept[best:])
    model = build(TINY)
    model.load_state_dict(load_weights(trained.best))
    assert imagenet.validate(model, RECIPE, root, device=torch.device("cpu"))["top1_err"] == errors[best]


def test_a_stop_before_the_first_step_and_a_damaged_checkpoint_change_nothing(root: Path, tmp_path: Path) -> None:
    uninterrupted = run(root, tmp_path / "whole")
    for polls, where in ((0, "epoch 1 after step 0"), (7, "epoch 2 after step 2")):
        with pytest.raises(Interrupted, match=f"stopped in {where} of 4; the same call goes on from"):
            run(root, tmp_path / "cut", should_stop=stop_after(polls))
    newest = max((tmp_path / "cut").glob("step-*.pt"))
    newest.write_bytes(newest.read_bytes()[:1000])
    trained = run(root, tmp_path / "cut")
    assert trained.sha256 == uninterrupted.sha256
    assert measured(trained) == measured(uninterrupted)


def test_a_finished_run_is_not_trained_again(root: Path, tmp_path: Path) -> None:
    first = run(root, tmp_path)
    steps: list[StepReport] = []
    again = run(root, tmp_path, on_step=steps.append)
    assert steps == []
    assert (again.sha256, measured(again)) == (first.sha256, measured(first))


def test_what_comes_out_can_be_tested_and_is_described(root: Path, tmp_path: Path) -> None:
    epochs: list[dict[str, float]] = []
    trained = run(root, tmp_path, on_epoch=epochs.append)
    assert epochs == trained.history
    assert [entry["epoch"] for entry in epochs] == [1, 2, 3]
    assert {"lr", "train_loss", "train_top1_err", "top1_err", "top5_err", "seconds"} <= set(epochs[0])
    model = build(TINY)
    model.load_state_dict(load_weights(trained.checkpoint))
    evaluation = imagenet.evaluate(model, data_root=root, crop=16, resize=round(16 * 256 / 224))
    for name in ("top1_err", "top5_err"):
        assert evaluation.metrics[name][0] == epochs[-1][name]
    assert trained.data["name"] == "digits"
    assert [(trained.data["splits"][s]["samples"], trained.data["splits"][s]["classes"]) for s in ("train", "val")] == [
        (70, 10),
        (20, 10),
    ]
    assert trained.deviations == []
    assert set(trained.timings) == {"train", "validation", "checkpoint"}
    short = run(root, tmp_path / "short", ONE_EPOCH, replace(CPU, micro_batch=4, validate_every=0))
    assert short.deviations == ["batch norm over 4 samples (micro_batch) instead of the recipe's 8"]
    assert "top1_err" not in short.history[0]


def test_the_training_loss_is_the_mean_over_all_images(root: Path, tmp_path: Path) -> None:
    """No augmentation and one batch of everything: the loss and the errors of the first weights."""
    recipe = replace(
        ONE_EPOCH,
        batch_size=70,
        batch_norm_batch=0,
        augment=ImageNetAugment(crop=28, scale=(1, 1), ratio=(1, 1), flip=0),
    )
    network = replace(TINY, dropout=0.0)
    trained = train(network, recipe, seed=5, data_root=root, run_dir=tmp_path, execution=CPU)
    images = imagenet.training_set(network, recipe, root, seed=5)
    pixels, labels = imagenet.collate([images[0, index] for index in range(70)])
    logits = build(network, seed=5).train()(imagenet.normalise(pixels)).detach()
    assert trained.history[0]["train_loss"] == pytest.approx(float(functional.cross_entropy(logits, labels)), rel=1e-4)
    wrong = float((logits.argmax(1) != labels).double().mean())
    assert trained.history[0]["train_top1_err"] == pytest.approx(100 * wrong, abs=1.5)


def test_init_state_is_where_training_starts(root: Path, tmp_path: Path) -> None:
    start = build(TINY, seed=77).state_dict()
    tiny_lr = replace(ONE_EPOCH, lr=1e-12, weight_decay=0.0)
    trained = run(root, tmp_path, tiny_lr, init_state=start)
    weights = load_weights(trained.checkpoint)
    assert all(torch.allclose(weights[name], start[name], atol=1e-7) for name in start if name.endswith("weight"))
    with pytest.raises(CheckpointError, match="belongs to another run"):
        run(root, tmp_path, tiny_lr)
    with pytest.raises(ValueError, match=r"init_state does not fit the network: missing \['fc.bias'\]"):
        run(root, tmp_path, tiny_lr, init_state={name: w for name, w in start.items() if name != "fc.bias"})


def test_a_diverging_run_stops_and_says_where(root: Path, tmp_path: Path) -> None:
    with pytest.raises(Diverged, match=r"the loss is (nan|inf) at epoch 1 of 3, step [234] of 4, lr 1e\+3[08]"):
        run(root, tmp_path, replace(RECIPE, lr=1e38, warmup_epochs=0.0))
    assert not list(tmp_path.glob("*.pt"))  # no checkpoint of weights that are no numbers


def test_requests_that_do_not_fit(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="10 class folders for a network of 12 classes"):
        train(replace(TINY, num_classes=12), RECIPE, seed=0, data_root=root, run_dir=tmp_path)
    with pytest.raises(ValueError, match="70 samples make no batch of 90"):
        run(root, tmp_path, replace(RECIPE, batch_size=90, drop_last=True))
    with pytest.raises(ValueError, match="device must be auto, cpu or cuda, got 'gpu'"):
        run(root, tmp_path, execution=Execution(device="gpu"))  # type: ignore[arg-type]
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="torch sees no GPU here"):
            run(root, tmp_path, execution=Execution(device="cuda"))


def test_other_data_in_the_same_place_are_noticed(root: Path, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        run(root, tmp_path / "run", should_stop=stop_after(2))
    smaller = tmp_path / "data"
    for path in root.glob("*/*/*.png"):
        target = smaller / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    next((smaller / "train" / "4").iterdir()).unlink()
    with pytest.raises(ValueError, match=r"made with 70 training samples, .* now has 69"):
        run(smaller, tmp_path / "run")


def _train_rank(rank: int, size: int, root: Path, folder: Path, stop: int | None) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet-{stop}", rank=rank, world_size=size)
    try:
        trained = run(root, folder / "run", should_stop=stop_after(stop) if stop is not None and rank == 1 else None)
        torch.save([trained.sha256, measured(trained)], folder / f"rank{rank}.pt")
    except Interrupted:
        (folder / f"stopped{rank}").touch()
    finally:
        distributed.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_train_what_one_does(root: Path, tmp_path: Path) -> None:
    """Also when the second rank stops in mid-epoch. Sums are ordered differently: equal to float tolerance."""
    alone = run(root, tmp_path / "alone")
    for stop in (6, None):
        multiprocessing.spawn(_train_rank, (2, root, tmp_path, stop), nprocs=2)
    assert all((tmp_path / f"stopped{rank}").exists() for rank in (0, 1))
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    assert first == second
    for one, two in zip(measured(alone), first[1], strict=True):
        assert two["lr"] == one["lr"]
        assert two["train_loss"] == pytest.approx(one["train_loss"], rel=1e-4)
    weights, expected = load_weights(tmp_path / "run" / "weights.pt"), load_weights(alone.checkpoint)
    for name, tensor in expected.items():
        assert torch.allclose(weights[name].float(), tensor.float(), rtol=1e-3, atol=1e-4), name


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
