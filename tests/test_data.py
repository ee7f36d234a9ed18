"""Readers, transforms and sampling, against the package's own digits, torchvision and arithmetic."""

import multiprocessing
import os
import random
import shutil
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import v2

from pyconv import data
from pyconv.data import DataError, manifest, read_split
from pyconv.data.cutmix import cut, draw_cutmix, draw_partners
from pyconv.data.digits import digits
from pyconv.data.imagenet import MEAN, STD, TestSet, TrainingSet, normalise, stack
from pyconv.data.pixels import Picture, random_box
from pyconv.data.sampling import Batches, Moment, derive_seed, epoch_order
from pyconv.recipe import ImageNetAugment


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    data.prepare("digits", folder)
    return folder / "digits"


def make(folder: Path, *names: str) -> None:
    """Small images of random pixels at `folder/<name>`."""
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)


def test_digits_are_mlxtends_pixels_in_a_stratified_split(root: Path) -> None:
    images, labels = digits()
    seen: dict[str, list[int]] = {}
    for name, per_class in (("train", 400), ("train-small", 128), ("val", 100)):
        split = read_split(root, name)
        assert split.classes == tuple("0123456789")
        assert Counter(split.labels.tolist()) == dict.fromkeys(range(10), per_class)
        for index in range(0, len(split), 97):
            row = int(split.path(index).stem)
            assert labels[row] == split.label(index)
            assert (np.asarray(Image.open(split.path(index))) == images[row]).all()
        seen[name] = [int(Path(name).stem) for name in split.files]
    assert sorted(seen["train"] + seen["val"]) == list(range(5000))
    assert set(seen["train-small"]) < set(seen["train"])


def test_digits_prepared_twice_are_left_alone_and_verified(root: Path, tmp_path: Path) -> None:
    written = (root / "manifest.json").stat().st_mtime_ns
    first = data.prepare("digits", root.parent)
    assert (root / "manifest.json").stat().st_mtime_ns == written
    assert first["name"] == "digits"
    assert first["splits"]["train"] == manifest(root, "train")  # type: ignore[index]
    damaged = tmp_path / "digits"
    shutil.copytree(root, damaged)
    victim = next((damaged / "val" / "3").iterdir())
    victim.write_bytes(victim.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match=r"digits: 1000 images of val.*delete the folder"):
        data.prepare("digits", tmp_path)


def test_two_processes_at_once_prepare_one_set(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=data.prepare, args=("digits", tmp_path)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]
    assert data.prepare("digits", tmp_path)["splits"]["val"]["samples"] == 1000  # type: ignore[index]


def test_preparing_fails_without_leaving_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="No space left"):
        data.prepare("digits", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_prepare_names_what_is_packaged(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'imagenet' is not packaged: only digits"):
        data.prepare("imagenet", tmp_path)


def test_classes_are_numbered_by_sorted_name_and_foreign_files_told(tmp_path: Path) -> None:
    make(tmp_path / "train", "n02/b.JPEG", "n01/a.png", "n10/c.jpg", "n02/a.jpg")
    for extra in ("train/.DS_Store", "train/n01/.hidden.jpg", "train/n01/notes.txt", "train/README"):
        (tmp_path / extra).write_text("x")
    split = read_split(tmp_path, "train")
    assert split.classes == ("n01", "n02", "n10")
    expected = [("n01/a.png", 0), ("n02/a.jpg", 1), ("n02/b.JPEG", 1), ("n10/c.jpg", 2)]
    assert [(split.place(index), split.label(index)) for index in range(len(split))] == [
        (f"train/{path}", label) for path, label in expected
    ]
    assert set(split.skipped) == {"train/n01/notes.txt", "train/README"}


@pytest.mark.parametrize(
    ("files", "folders", "message"),
    [
        ([], [], r"val: no such split \(.* holds no folder\); expected .*/val/<class>/<image>"),
        (["train/a/x.png"], [], r"no such split \(.* holds train\)"),
        (["val/x.png"], [], r"val: 1 images stand outside class folders \(first: x.png\)"),
        (["val/a/x.png"], ["val/b"], r"val/b: a class without images"),
        (["val/a/b/x.png"], [], r"val/a: holds the folder b; expected images only"),
        ([], ["val"], r"val: no class folder"),
    ],
)
def test_layouts_that_are_wrong(files: list[str], folders: list[str], message: str, tmp_path: Path) -> None:
    make(tmp_path, *files)
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(DataError, match=message):
        read_split(tmp_path, "val")


def test_missing_root(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere does not exist"):
        read_split(tmp_path / "nowhere", "val")


def test_manifest_moves_with_the_data_and_changes_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "one" / "val", "a/x.png", "b/y.png")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    first = manifest(tmp_path / "one", "val")
    assert first == manifest(tmp_path / "two", "val")
    assert (first["samples"], first["classes"], first["hashed"]) == (2, 2, "path, size, content")
    victim = tmp_path / "two" / "val" / "a" / "x.png"
    victim.write_bytes(victim.read_bytes()[:-1] + b"x")
    assert manifest(tmp_path / "two", "val")["sha256"] != first["sha256"]
    monkeypatch.setattr(sys.modules["pyconv.data.manifest"], "CONTENT_LIMIT", 1)
    assert manifest(tmp_path / "two", "val") == manifest(tmp_path / "one", "val")
    assert manifest(tmp_path / "two", "val")["hashed"] == "path, size"
    os.truncate(victim, 5)
    assert manifest(tmp_path / "two", "val") != manifest(tmp_path / "one", "val")


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1", "I;16", "RGB"])
def test_every_kind_of_image_becomes_rgb(mode: str, tmp_path: Path) -> None:
    grey = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    path = tmp_path / ("x.jpg" if mode == "CMYK" else "x.png")
    image = (
        Image.new("I;16", (16, 16), 7) if mode == "I;16" else grey.convert(mode if mode == "P" else "RGB").convert(mode)
    )
    image.save(path)
    assert Picture(path.read_bytes(), path).whole.mode == "RGB"
    if mode in ("L", "LA", "P", "RGBA", "RGB"):  # lossless: grey is repeated
        assert (np.asarray(Picture(path.read_bytes(), path).whole) == np.asarray(grey)[:, :, None]).all()


@pytest.mark.parametrize("keep", [0, 10, 400])
def test_a_torn_image_is_named(keep: int, tmp_path: Path) -> None:
    make(tmp_path, "val/a/torn.jpg")
    os.truncate(tmp_path / "val/a/torn.jpg", keep)
    with pytest.raises(DataError, match=r"val/a/torn.jpg: cannot be read as an image \(.+\); replace or delete"):
        TestSet(read_split(tmp_path, "val"), 8, 10)[0]


def test_training_crops_depend_on_seed_epoch_and_index_only(root: Path) -> None:
    images = TrainingSet(read_split(root, "train"), ImageNetAugment(crop=20, scale=(0.3, 1)), seed=3)
    before = torch.get_rng_state()
    first = [images[2, index] for index in (5, 1, 7)]
    torch.rand(13)
    again = [images[2, index] for index in (7, 5, 1)]
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, (again[1], again[2], again[0]), strict=True))
    assert first[0][0].dtype == torch.uint8
    assert first[0][0].shape == (3, 20, 20)
    assert not torch.equal(images[2, 5][0], images[3, 5][0])
    torch.set_rng_state(before)
    images[1, 0]
    assert torch.equal(torch.get_rng_state(), before)  # the caller's generator is left alone


def test_training_crops_are_resized_and_mirrored_rectangles_of_the_image(tmp_path: Path) -> None:
    make(tmp_path, "train/a/x.png")
    image = Image.open(tmp_path / "train/a/x.png").convert("RGB")
    augment = ImageNetAugment(crop=12)
    images = TrainingSet(read_split(tmp_path, "train"), augment, seed=1)
    mirrored = 0
    for epoch in range(40):
        rng = random.Random(derive_seed("sample", 1, epoch, 0))
        left, top, width, height = random_box(image.size, augment.scale, augment.ratio, rng)
        pil = image.crop((left, top, left + width, top + height)).resize((12, 12), Image.Resampling.BILINEAR)
        wanted = v2.functional.pil_to_tensor(pil)
        if rng.random() < augment.flip:
            wanted, mirrored = wanted.flip(-1), mirrored + 1
        assert int((images[epoch, 0][0].int() - wanted.int()).abs().max()) <= 1
    assert 8 <= mirrored <= 32  # 2e-4 of fair draws lie outside


def test_test_crops_are_the_middle_of_pils_bilinear_resize(tmp_path: Path) -> None:
    make(tmp_path, "val/a/x.png")
    tensor, label, number = TestSet(read_split(tmp_path, "val"), 8, 10)[0]
    resized = np.asarray(Image.open(tmp_path / "val/a/x.png").resize((15, 10), Image.Resampling.BILINEAR))
    # (15 - 8) / 2 = 3.5: torchvision rounds half to even, as Python.
    assert (tensor.permute(1, 2, 0).numpy() == resized[1:9, 4:12]).all()
    assert (label, number) == (0, 0)
    with pytest.raises(ValueError, match="crop of 32 does not fit into images resized to 28"):
        TestSet(read_split(tmp_path, "val"), 32, 28)


def test_stacking_keeps_colours_last_in_memory() -> None:
    images = [torch.randint(0, 256, (3, 5, 4), dtype=torch.uint8) for _ in range(3)]
    stacked = stack(images)
    assert torch.equal(stacked, torch.stack(images))
    assert stacked.is_contiguous(memory_format=torch.channels_last)


def test_normalise_is_mean_and_deviation_of_imagenet() -> None:
    pixels = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    expected = v2.functional.normalize(pixels.float() / 255, list(MEAN), list(STD))
    assert torch.allclose(normalise(pixels), expected, atol=1e-6)


def test_derived_seeds_differ_and_do_not_change_between_processes() -> None:
    keys = [("order", seed, epoch) for seed in range(30) for epoch in range(30)]
    assert len({derive_seed(*key) for key in keys}) == 900
    # `printf '["order", 0, 0]' | sha256sum`, its first 16 digits as a number, halved.
    assert derive_seed("order", 0, 0) == 0xDF088DC9A0203344 // 2


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 70), st.integers(1, 40), st.integers(1, 20), st.booleans(), st.integers(1, 5))
def test_batches_are_a_partition_for_any_number_of_ranks(
    samples: int, batch_size: int, micro_batch: int, drop_last: bool, world_size: int
) -> None:
    if drop_last and samples < batch_size:
        with pytest.raises(ValueError, match="use batch_size <="):
            Batches(samples, batch_size, micro_batch, drop_last)
        return
    order = epoch_order(samples, seed=1, epoch=2)
    per_rank = [Batches(samples, batch_size, micro_batch, drop_last, r, world_size) for r in range(world_size)]
    alone = Batches(samples, batch_size, micro_batch, drop_last)
    seen: list[int] = []
    for step in range(alone.steps):
        dealt = [batches.step(order, step) for batches in per_rank]
        assert len({len(micros) for micros in dealt}) == 1  # every rank takes part equally often
        real = sorted((m for micros in dealt for m in micros if m.share), key=lambda m: m.number)
        assert real == alone.step(order, step)
        assert sum(m.share for m in real) == pytest.approx(1)
        assert real[0] in dealt[0]
        assert all(len(m.indices) > 1 or len(real) == 1 or micro_batch == 1 for m in real)
        seen += [index for m in real for index in m.indices]
    complete = samples // batch_size * batch_size if drop_last else samples
    assert seen == order[:complete]
    assert sorted(order) == list(range(samples))


@given(st.floats(0, 1), st.integers(1, 40), st.integers(1, 40), st.data())
def test_cutmix_mixes_by_the_area_that_is_pasted(lam: float, height: int, width: int, draw: st.DataObject) -> None:
    centre = draw.draw(st.integers(0, height - 1)), draw.draw(st.integers(0, width - 1))
    mixing = cut(lam, (height, width), centre)
    images = torch.stack([torch.zeros(3, height, width), torch.ones(3, height, width)])
    mixed = mixing.mix(images, torch.tensor([1, 0]))
    assert mixed[0].mean().item() == pytest.approx(1 - mixing.kept, abs=1e-6)
    assert mixed[1].mean().item() == pytest.approx(mixing.kept, abs=1e-6)
    assert images[0].sum() == 0  # not in place
    # The sides are whole even pixels at most the drawn ones, so the box is never larger than 1 - lambda.
    assert 1 - mixing.kept <= 1 - lam + 1e-9


def test_cutmix_is_drawn_by_probability_beta_and_step() -> None:
    def draws(probability: float, beta: float) -> list[float | None]:
        made = [draw_cutmix(Moment(0, 0, step), (224, 224), probability=probability, beta=beta) for step in range(4000)]
        return [None if mixing is None else mixing.kept for mixing in made]

    assert draws(0.0, 1.0) == [None] * 4000
    half = [kept for kept in draws(0.5, 1.0) if kept is not None]
    assert abs(len(half) - 2000) < 4 * np.sqrt(1000)
    sure = draws(1.0, 1.0)
    assert None not in sure
    # Uniform lambda and centre: the box keeps less than 1 - lambda = 1/2 on average, because it is clipped.
    rng, total = random.Random(1), 0.0
    for _ in range(4000):
        total += cut(rng.random(), (224, 224), (rng.randrange(224), rng.randrange(224))).kept
    assert np.mean([kept for kept in sure if kept is not None]) == pytest.approx(total / 4000, abs=0.03)
    assert draw_cutmix(Moment(0, 1, 2, micro=0), (9, 9), probability=1, beta=1) == draw_cutmix(
        Moment(0, 1, 2, micro=5), (9, 9), probability=1, beta=1
    )


def test_cutmix_partners_are_a_permutation() -> None:
    partners = draw_partners(Moment(0, 0, 0), 32)
    assert sorted(partners.tolist()) == list(range(32))
    assert not torch.equal(partners, draw_partners(Moment(0, 0, 1), 32))
