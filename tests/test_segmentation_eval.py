"""Testing a segmentation network on a split in the release's layout: recounted, over ranks, written, refused."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import randomise
from PIL import Image
from torch import distributed, multiprocessing, nn

from pyconv import PYRAMIDS, ResNet, segnet
from pyconv.architectures import Stage
from pyconv.data import DataError
from pyconv.segmentation import evaluate, predict
from pyconv.segmentation.labelling import Labeller
from pyconv.segmentation.windows import Sliding
from results.classes import check_classes

CLASSES = 5
SIZES = [(40, 57), (57, 40), (33, 33), (1, 50), (20, 20), (70, 30), (44, 44)]
TEST = {"crop": 33, "resize": 44, "scales": (0.5, 1.0)}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_set(tmp_path_factory.mktemp("scenes"))


def make_set(root: Path, classes: int = CLASSES) -> Path:
    """Photographs of random pixels, label maps in which class 5 occurs nowhere and 0 is no class."""
    rng = np.random.default_rng(0)
    names = "".join(f"{n}\t0.1\t1\t1\tclass {n}\n" for n in range(1, classes + 1))
    (root / "objectInfo150.txt").write_text("Idx\tRatio\tTrain\tVal\tName\n" + names)
    for folder in ("images/validation", "images/testing", "annotations/validation"):
        (root / folder).mkdir(parents=True)
    for number, size in enumerate(SIZES):
        pixels = Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8))
        pixels.save(root / f"images/validation/scene_{number}.jpg", quality=95)
        pixels.save(root / f"images/testing/hidden_{number}.jpg", quality=95)
        labels = Image.fromarray(rng.integers(0, 5, size, dtype=np.uint8))
        labels.save(root / f"annotations/validation/scene_{number}.png")
    return root


def network(classes: int = CLASSES) -> nn.Module:
    stages = tuple(Stage(1, 4, 8 << i, 2 if i else 1, PYRAMIDS[1]) for i in range(4))
    return randomise(segnet(ResNet("bottleneck", stages, "stem"), "conv3x3", 8).build(classes, seed=0))


def written(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: np.asarray(Image.open(path)) for path in sorted(folder.iterdir())}


def test_the_scores_are_those_of_the_label_maps_that_are_written(root: Path, tmp_path: Path) -> None:
    evaluation = evaluate(network(), data_root=root, predictions=tmp_path / "new" / "folder", **TEST)
    assert (evaluation.samples, evaluation.expected, evaluation.input) == (7, 7, (33, 33))
    maps = written(tmp_path / "new" / "folder")
    assert list(maps) == [f"scene_{number}.png" for number in range(7)]
    right = labelled = 0
    for number, size in enumerate(SIZES):
        predicted = maps[f"scene_{number}.png"]
        assert (predicted.shape, predicted.dtype) == (size, np.uint8)
        assert 1 <= predicted.min() <= predicted.max() <= CLASSES
        labels = np.asarray(Image.open(root / f"annotations/validation/scene_{number}.png"))
        right += int((predicted == labels).sum())
        labelled += int((labels > 0).sum())
    value, samples, error = evaluation.metrics["pixel_acc"]
    assert (value, samples) == (pytest.approx(100 * right / labelled), 7)
    assert error is not None
    assert 0 < error < 20
    assert sum(evaluation.per_class["labelled"]) == labelled
    assert evaluation.per_class["labelled"][-1] == 0
    check_classes(evaluation.per_class, {name: {"value": v} for name, (v, _, _) in evaluation.metrics.items()}, "here")


def test_what_is_written_is_what_the_labeller_finds_and_workers_change_nothing(root: Path, tmp_path: Path) -> None:
    alone = evaluate(network(), data_root=root, predictions=tmp_path, **TEST)
    labeller = Labeller(network(), CLASSES, Sliding(33, 44, (0.5, 1.0)), device=torch.device("cpu"))
    for number in range(len(SIZES)):
        with Image.open(root / f"images/validation/scene_{number}.jpg") as image:
            found = labeller.label(torch.from_numpy(np.array(image)))
        assert np.array_equal(found.numpy() + 1, np.asarray(Image.open(tmp_path / f"scene_{number}.png")))
    assert evaluate(network(), data_root=root, workers=2, **TEST) == alone


def test_of_the_test_split_only_label_maps_are_written(root: Path, tmp_path: Path) -> None:
    (tmp_path / "hidden_3.png").write_bytes(b"left by an older test")
    assert predict(network(), data_root=root, predictions=tmp_path, **TEST) == 7
    maps = written(tmp_path)
    assert {name: array.shape for name, array in maps.items()} == {f"hidden_{n}.png": s for n, s in enumerate(SIZES)}
    predict(network(), data_root=root, split="val", predictions=tmp_path / "val", **TEST)
    for name, array in written(tmp_path / "val").items():
        assert np.array_equal(array, maps[name.replace("scene", "hidden")])  # the same photographs
    with pytest.raises(ValueError, match="the test split has no label maps"):
        evaluate(network(), data_root=root, split="test", **TEST)


def test_an_interrupted_write_leaves_the_older_file(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hidden_0.png").write_bytes(b"older")

    def torn(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", torn)
    with pytest.raises(KeyboardInterrupt):
        predict(network(), data_root=root, predictions=tmp_path, **TEST)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"hidden_0.png": b"older"}


def _test_rank(rank: int, root: Path, folder: Path) -> None:
    """As one of three, then of two."""
    torch.set_num_threads(1)
    for size in (3, 2):
        if rank == size:
            return
        place = folder / str(size)
        distributed.init_process_group("gloo", init_method=f"file://{place}-meet", rank=rank, world_size=size)
        found = evaluate(network(), data_root=root, predictions=place / "maps", **TEST)
        number = predict(network(), data_root=root, predictions=place / "hidden", **TEST)
        torch.save([found.metrics, dict(found.per_class), found.samples, found.input, number], f"{place}-{rank}")
        distributed.destroy_process_group()


def test_on_several_ranks_the_result_is_that_of_one_to_the_pixel(root: Path, tmp_path: Path) -> None:
    multiprocessing.spawn(_test_rank, (root, tmp_path), nprocs=3)  # 7 images: 3 + 2 + 2, then 4 + 3
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    alone = evaluate(network(), data_root=root, predictions=tmp_path / "alone", **TEST)
    torch.set_num_threads(threads)
    by_one = written(tmp_path / "alone")
    for size in (2, 3):
        for rank in range(size):
            found = torch.load(tmp_path / f"{size}-{rank}", weights_only=True)
            assert found == [alone.metrics, alone.per_class, 7, (33, 33), 7]
        maps = written(tmp_path / str(size) / "maps")
        assert maps.keys() == by_one.keys()
        assert all(np.array_equal(maps[name], by_one[name]) for name in maps)
        assert len(written(tmp_path / str(size) / "hidden")) == 7


def test_data_that_do_not_fit(tmp_path: Path) -> None:
    root = make_set(tmp_path)
    with pytest.raises(DataError, match=r"scene_0.jpg: the network gives 6 classes, the data has 5; .*num_classes=5"):
        evaluate(network(6), data_root=root, **TEST)
    path = root / "annotations/validation/scene_2.png"
    with Image.open(path) as image:
        image.crop((0, 0, 33, 32)).save(path)
    with pytest.raises(DataError, match=r"scene_2.png: a label map of 33x32 pixels for a photograph of 33x33"):
        evaluate(network(), data_root=root, **TEST)


def test_where_nothing_is_labelled_there_is_no_measurement(tmp_path: Path) -> None:
    root = make_set(tmp_path)
    for number, (height, width) in enumerate(SIZES):
        path = root / f"annotations/validation/scene_{number}.png"
        Image.fromarray(np.zeros((height, width), dtype=np.uint8)).save(path)
    with pytest.raises(DataError, match="val: no pixel is labelled"):
        evaluate(network(), data_root=root, **TEST)


def test_weights_that_are_no_numbers_are_no_measurement(root: Path) -> None:
    model = network()
    nn.init.constant_(model.get_parameter("classifier.1.bias"), float("nan"))
    with pytest.raises(ValueError, match=r"scene_0.jpg: the network gives NaN or Inf"):
        evaluate(model, data_root=root, **TEST)
