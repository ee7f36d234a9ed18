"""Items of detection sets: the same for any worker and order, boxes that stand for objects, errors that name files."""

import json
import pickle
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.transforms.v2 import functional

from pyconv.data import DataError, signs
from pyconv.data.coco import CocoSplit, read_coco
from pyconv.data.detection_sets import TestSet, TrainingSet, objects
from pyconv.data.detection_transforms import View, placed, random_view
from pyconv.data.sampling import derive_seed
from pyconv.recipe import CocoAugment

SIZE = (52, 40)  # width, height of the pictures made here
STEP = 4  # levels between neighbours
MINI = CocoAugment(size=48)
STILL = replace(MINI, color_jitter=(0.0, 0.0, 0.0, 0.0))

BOXES = [
    # image, category, box, crowd
    (1, 3, [0, 0, 50, 40], 1),
    (1, 7, [4, 6, 20, 10], 0),
    (1, 3, [30.5, 20.25, 12, 14.5], 0),
    (2, 3, [-6, 10, 16, 12], 0),  # reaches out to the left
    (2, 7, [40, 30, 40, 40], 0),  # and to the right and below
    (2, 7, [60, 5, 9, 9], 0),  # is outside
    (2, 7, [10, 10, 0, 9], 0),  # has no width
    (3, 3, [1, 1, 30, 30], 1),  # nothing but a crowd
    (4, 3, [5, 5, 9, 0], 0),  # nothing with an area
    (6, 7, [0, 0, 52, 40], 0),
]


def coordinates() -> np.ndarray:
    """Red is the column times `STEP`, green the row times `STEP`."""
    pixels = np.zeros((*SIZE[::-1], 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = np.arange(SIZE[0]) * STEP, np.arange(SIZE[1])[:, None] * STEP
    return pixels


def written(root: Path, boxes: list[tuple[int, int, list[float], int]] = BOXES, images: int = 6) -> Path:
    """A training split in COCO's layout, of pictures that say of each pixel where it comes from."""
    (root / "annotations").mkdir(parents=True)
    (root / "train2017").mkdir()
    for number in range(1, images + 1):
        Image.fromarray(coordinates()).save(root / "train2017" / f"{number}.png", compress_level=1)
    listed = [{"id": n, "file_name": f"{n}.png", "width": SIZE[0], "height": SIZE[1]} for n in range(1, images + 1)]
    annotations = [
        {"id": n, "image_id": image, "category_id": category, "bbox": box, "area": box[2] * box[3], "iscrowd": crowd}
        for n, (image, category, box, crowd) in enumerate(boxes, start=1)
    ]
    content = {
        "images": listed,
        "annotations": annotations,
        "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}],
    }
    (root / "annotations" / "instances_train2017.json").write_text(json.dumps(content))
    return root


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> CocoSplit:
    return read_coco(written(tmp_path_factory.mktemp("made") / "coco"), "train")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> CocoSplit:
    folder = tmp_path_factory.mktemp("real")
    signs.prepare(folder)
    return read_coco(folder / "signs", "train")


def same(one: Any, other: Any) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_crowds_and_what_has_no_area_in_the_image_are_not_learnt(split: CocoSplit) -> None:
    boxes, labels = objects(split, 0)
    assert boxes.tolist() == [[4, 6, 24, 16], [30.5, 20.25, 42.5, 34.75]]
    assert labels.tolist() == [2, 1]
    boxes, labels = objects(split, 1)
    assert boxes.tolist() == [[0, 10, 10, 22], [40, 30, 52, 40]]
    assert labels.tolist() == [1, 2]
    assert [len(objects(split, image)[0]) for image in (2, 3, 4)] == [0, 0, 0]
    items = TrainingSet(split, MINI, 0)
    assert len(items) == 3
    seen = {index: {n for epoch in range(30) for n in items[epoch, index][2].tolist()} for index in range(3)}
    assert seen == {0: {1, 2}, 1: {1, 2}, 2: {2}}


def test_an_item_is_a_function_of_seed_epoch_and_index(real: CocoSplit) -> None:
    items = TrainingSet(real, MINI, 5)
    again = pickle.loads(pickle.dumps(items))
    assert len(items) == 380
    first = {visit: items[visit] for visit in ((0, 0), (0, 1), (1, 0), (7, 379))}
    random.seed(9)
    torch.manual_seed(9)
    for visit in reversed(first):
        assert same(first[visit], again[visit])
    pixels, boxes, labels = first[0, 0]
    assert (pixels.dtype, pixels.shape) == (torch.uint8, (3, 48, 48))
    assert (boxes.dtype, boxes.shape) == (torch.float32, (len(labels), 4))
    assert labels.dtype == torch.int64
    assert not torch.equal(pixels, first[1, 0][0])
    assert not torch.equal(pixels, TrainingSet(real, MINI, 6)[0, 0][0])


def listed(items: list[tuple[Tensor, ...]]) -> list[tuple[Tensor, ...]]:
    return items


def test_workers_change_nothing(real: CocoSplit) -> None:
    items = TrainingSet(real, MINI, 5)
    visits = [(epoch, index) for epoch in (0, 3) for index in (5, 2, 8, 0)]
    alone, helped = (
        [item for batch in DataLoader(items, 3, sampler=visits, num_workers=n, collate_fn=listed) for item in batch]
        for n in (0, 2)
    )
    assert len(alone) == len(helped) == 8
    assert all(same(a, b) for a, b in zip(alone, helped, strict=True))


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.integers(0, 1000), st.integers(0, 379))
def test_real_items_have_boxes_with_an_area_and_labels_of_classes(
    real: CocoSplit, seed: int, epoch: int, index: int
) -> None:
    pixels, boxes, labels = TrainingSet(real, MINI, seed)[epoch, index]
    assert pixels.shape == (3, 48, 48)
    assert len(boxes) == len(labels) >= 1
    assert bool(((boxes >= 0) & (boxes <= 1)).all())
    assert bool((boxes[:, 2:] > boxes[:, :2]).all())
    allowed = real.annotations(int(real.trainable[index])).labels.tolist()
    for label in labels.tolist():
        allowed.remove(label)


@settings(max_examples=60)
@given(st.integers(0, 1000), st.integers(0, 2))
def test_pixels_and_boxes_are_seen_in_the_same_view(split: CocoSplit, epoch: int, index: int) -> None:
    """The pixels in a box come from one object of its label, and nothing else of it is seen: to less than a pixel."""
    pixels, found, labels = TrainingSet(split, STILL, 3)[epoch, index]
    boxes, known = objects(split, int(split.trainable[index]))
    sources = [pixels[axis].double().mean(axis).numpy() / STEP + 0.5 for axis in (0, 1)]
    centres, near = (np.arange(48) + 0.5) / 48, 0.8

    def shows(box: np.ndarray, corners: np.ndarray) -> bool:
        for axis, source in enumerate(sources):
            depth = np.minimum(source - corners[axis], corners[axis + 2] - source)
            within = (centres >= box[axis]) & (centres <= box[axis + 2])
            if (depth[within] < -near).any() or (depth[~within] > near).any():
                return False
        return True

    for box, label in zip(found.numpy(), labels.tolist(), strict=True):
        assert any(label == own and shows(box, corners) for corners, own in zip(boxes, known, strict=True))


@settings(max_examples=60)
@given(st.integers(0, 2**31), st.integers(0, 379))
def test_corners_go_back_to_the_pixels_of_the_file(real: CocoSplit, seed: int, index: int) -> None:
    image = int(real.trainable[index])
    told = real.annotations(image)
    height, width = real.sizes[image].tolist()
    boxes, labels = objects(real, image)
    whole, numbers = placed(boxes, labels, View((0, 0, width, height), False, ()))
    x, y = whole[:, 0] * width, whole[:, 1] * height
    again = np.stack([x, y, whole[:, 2] * width - x, whole[:, 3] * height - y], 1)
    assert again == pytest.approx(told.boxes, abs=1e-4)
    assert numbers.tolist() == told.labels.tolist()
    view = random_view((width, height), boxes, MINI, random.Random(derive_seed("sample", seed, 0, index)))
    _, found, _ = TrainingSet(real, MINI, seed)[0, index]
    left, top, w, h = view.crop
    for a, b, c, d in found.double().tolist():
        ends = sorted(left + (1 - end if view.flipped else end) * w for end in (a, c))
        corners = np.array([ends[0], top + b * h, ends[1], top + d * h])
        cut = np.clip(boxes, [left, top] * 2, [left + w, top + h] * 2)
        assert np.abs(cut - corners).max(1).min() < 1e-4


def test_test_images_are_whole_stretched_and_numbered(real: CocoSplit) -> None:
    items = TestSet(real, 64)
    assert len(items) == len(real) == 400
    for number in (0, 19, 399):
        pixels, found = items[number]
        assert found == number
        assert (pixels.dtype, pixels.shape) == (torch.uint8, (3, 64, 64))
        by_pil = Image.fromarray(real.image(number)).resize((64, 64), Image.Resampling.BILINEAR)
        assert np.abs(pixels.permute(1, 2, 0).numpy().astype(int) - np.asarray(by_pil)).max() <= 1


def test_only_the_crop_is_decoded_and_nobody_can_tell(real: CocoSplit) -> None:
    still = replace(STILL, flip=0.0)
    for index in range(40):
        image = int(real.trainable[index])
        size = tuple(real.sizes[image].tolist()[::-1])
        view = random_view(size, objects(real, image)[0], still, random.Random(derive_seed("sample", 5, 0, index)))
        left, top, width, height = view.crop
        crop = torch.tensor(real.image(image)[top : top + height, left : left + width]).permute(2, 0, 1)
        expected = functional.resize(crop, [48, 48], antialias=True)
        found = TrainingSet(real, still, 5)[0, index][0]
        assert int((found.int() - expected.int()).abs().max()) <= 1


def change(root: Path, index: int, edit: Callable[[Path], object]) -> CocoSplit:
    edit(root / "train2017" / f"{index + 1}.png")
    return read_coco(root, "train")


def test_grey_images_have_three_colours(tmp_path: Path) -> None:
    grey = np.arange(SIZE[0] * SIZE[1], dtype=np.uint8).reshape(SIZE[::-1])
    found = change(written(tmp_path / "coco"), 0, lambda path: Image.fromarray(grey).save(path))
    pixels = TestSet(found, 20)[0][0]
    assert torch.equal(pixels[0], pixels[1])
    assert torch.equal(pixels[0], pixels[2])
    assert TrainingSet(found, MINI, 0)[0, 0][0].shape == (3, 48, 48)


def test_an_image_of_another_size_is_named_with_both(tmp_path: Path) -> None:
    other = np.zeros((41, 52, 3), np.uint8)
    found = change(written(tmp_path / "coco"), 0, lambda path: Image.fromarray(other).save(path))
    for items, item in ((TrainingSet(found, MINI, 0), (0, 0)), (TestSet(found, 20), 0)):
        with pytest.raises(DataError, match=r"train2017/1\.png: 52 x 41 pixels, the annotations say 52 x 40; replace"):
            items[item]


@pytest.mark.parametrize("content", [b"", b"nothing", b"\x89PNG\r\n\x1a\n"])
def test_a_damaged_image_is_named(content: bytes, tmp_path: Path) -> None:
    found = change(written(tmp_path / "coco"), 5, lambda path: path.write_bytes(content))
    for items, item in ((TrainingSet(found, MINI, 0), (0, 2)), (TestSet(found, 20), 5)):
        with pytest.raises(DataError, match=r"train2017/6\.png: cannot be read as an image"):
            items[item]
    found = change(written(tmp_path / "gone"), 1, lambda path: path)
    found.path(5).unlink()
    with pytest.raises(DataError, match=r"train2017/6\.png: cannot be read"):
        TestSet(found, 20)[5]
