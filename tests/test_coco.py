"""COCO's reader: the file's numbers, COCO's own reader as the other opinion, and every fault by its own words."""

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools.coco import COCO

from pyconv.data import DataError, coco, decoding
from pyconv.data.coco import CocoSplit, clipped, manifest, read_coco
from tests.coco_files import CATEGORIES, COUNT, file_name, image_id, instances, layout, place_of, rewrite
from tests.scene_files import photograph, png, size_of, write


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return layout(tmp_path / "coco")


def test_a_split_says_what_the_file_says(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Against pycocotools, image by image; only its order of images is another."""
    for name in ("train", "val"):
        ours, theirs = read_coco(root, name), COCO(str(root / place_of(name)))
        assert ours.ids.tolist() == sorted(theirs.getImgIds())
        labels = {key: place for place, key in enumerate(sorted(CATEGORIES), start=1)}
        assert [(one.id, one.name) for one in ours.categories] == sorted(CATEGORIES.items())
        for index, key in enumerate(ours.ids.tolist()):
            (image,), rows = theirs.loadImgs(key), theirs.loadAnns(theirs.getAnnIds(key))
            found = ours.annotations(index)
            assert ours.sizes[index].tolist() == [image["height"], image["width"]]
            assert ours.path(index) == root / f"{name}2017" / image["file_name"]
            assert found.ids.tolist() == [row["id"] for row in rows]
            assert found.boxes.tolist() == [row["bbox"] for row in rows]
            assert found.labels.tolist() == [labels[row["category_id"]] for row in rows]
            assert found.areas.tolist() == [row["area"] for row in rows]
            assert found.crowd.tolist() == [bool(row["iscrowd"]) for row in rows]
            assert found.boxes.shape == (len(rows), 4)
            assert ours.image(index).shape == (image["height"], image["width"], 3)
    capsys.readouterr()


@given(st.randoms(use_true_random=False))
def test_in_whatever_order_the_rows_stand(random: Any) -> None:
    """Against a loop: images and categories by their ids, the annotations of an image in the file's order."""
    content = instances("train")
    for kind in ("images", "annotations", "categories"):
        random.shuffle(content[kind])
    for row in content["annotations"]:
        row["image_id"] = random.choice(content["images"])["id"]
    with TemporaryDirectory() as folder:
        rewrite(write(Path(folder), {place_of("train"): b""}), "train", content)
        split, faults = coco.parsed(Path(folder), "train")
    assert faults == []
    order = sorted(row["id"] for row in content["categories"])
    for index, picture in enumerate(sorted(content["images"], key=lambda row: row["id"])):
        rows = [row for row in content["annotations"] if row["image_id"] == picture["id"]]
        found = split.annotations(index)
        assert (int(split.ids[index]), split.files[index]) == (picture["id"], picture["file_name"])
        assert found.ids.tolist() == [row["id"] for row in rows]
        assert found.boxes.tolist() == [row["bbox"] for row in rows]
        assert found.labels.tolist() == [order.index(row["category_id"]) + 1 for row in rows]
        assert (index in split.trainable) == any(not row["iscrowd"] for row in rows)


def test_types_are_those_that_others_build_on(root: Path) -> None:
    split = read_coco(root, "val")
    found = split.annotations(0)
    assert [array.dtype for array in vars(found).values()] == [np.int64, np.float64, np.int64, np.float64, np.bool_]
    assert (split.ids.dtype, split.sizes.dtype, split.trainable.dtype) == (np.int64, np.int64, np.int64)
    assert (len(split), split.name, split.root) == (COUNT["val"], "val", root)
    with pytest.raises(DataError, match=r"'minival' is no split of .*; valid: train, val"):
        read_coco(root, "minival")


def test_part_of_a_split_is_the_same_images(root: Path) -> None:
    split = read_coco(root, "train")
    part = split.take([4, 0, 2])
    for index, other in enumerate([4, 0, 2]):
        assert part.path(index) == split.path(other)
        assert part.ids[index] == split.ids[other]
        for ours, theirs in zip(
            vars(part.annotations(index)).values(), vars(split.annotations(other)).values(), strict=True
        ):
            assert np.array_equal(ours, theirs)
    assert len(split.take([]).every) == 0


def test_images_without_a_box_to_train_on_are_left_out(root: Path) -> None:
    """Of six images: one has no box, others only a crowd, a flat box, one outside, one that touches the edge."""
    content = instances("train")
    width, _ = size_of(4)
    odd = {1: [5, 5, 10, 0], 2: [-9, 3, 8.5, 9], 3: [1, 1, 9, 9], 4: [width, 0, 5, 5], 6: [width - 0.5, -3, 99, 4]}
    content["annotations"] = [
        {"id": n, "image_id": image_id(n), "category_id": 1, "bbox": b, "area": 1, "iscrowd": int(n == 3)}
        for n, b in odd.items()
    ]
    rewrite(root, "train", content)
    split = read_coco(root, "train")
    assert split.ids[split.trainable].tolist() == [image_id(6)]
    assert split.annotations(split.ids.tolist().index(image_id(2))).boxes.tolist() == [odd[2]]  # as it is


@given(
    st.lists(st.tuples(*[st.floats(-50, 150)] * 2, *[st.floats(0, 200)] * 2), max_size=20), *[st.integers(1, 120)] * 2
)
def test_clipped_boxes_are_inside_and_what_was_inside_stays(rows: list[Any], height: int, width: int) -> None:
    boxes = np.array(rows, np.float64).reshape(-1, 4)
    for (x, y, w, h), (left, top, right, bottom) in zip(rows, clipped(boxes, np.array([height, width])), strict=True):
        assert 0 <= left <= right <= width
        assert 0 <= top <= bottom <= height
        assert (left, right) == (min(max(x, 0), width), min(max(x + w, 0), width))
        assert (top, bottom) == (min(max(y, 0), height), min(max(y + h, 0), height))


NAME = "instances_train2017.json"


def test_missing_files_are_told_before_a_run_meets_them(root: Path) -> None:
    (root / "train2017" / file_name(3)).unlink()
    with pytest.raises(DataError, match=rf"train2017: 1 of 6 images in {NAME} are not there \(first: {file_name(3)}\)"):
        read_coco(root, "train")
    (root / "val2017").rename(root / "aside")
    with pytest.raises(DataError, match=r"val2017: no such folder; expected .*val2017/<file_name>"):
        read_coco(root, "val")
    (root / place_of("val")).unlink()
    with pytest.raises(DataError, match=r"instances_val2017.json: cannot be read \(No such file"):
        read_coco(root, "val")


@pytest.mark.parametrize("decoder", ["built", "PIL"])
def test_every_kind_of_image_becomes_rgb_as_stored(decoder: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if decoder == "PIL":
        monkeypatch.setattr(decoding, "DECODER", None)
    split, exif = read_coco(root, "val"), Image.Exif()
    exif[0x0112] = 6
    with Image.open(split.path(0)) as image:
        whole = image.copy()
    for mode, form in (("L", "JPEG"), ("CMYK", "JPEG"), ("RGB", "JPEG"), ("RGB", "PNG")):
        whole.convert(mode).save(split.path(0), form, exif=exif.tobytes())
        with Image.open(split.path(0)) as image:
            assert (split.image(0) == np.array(image.convert("RGB"))).all()


def test_images_that_cannot_be_used_are_named(root: Path) -> None:
    split = read_coco(root, "train")
    path, (height, width) = split.path(2), split.sizes[2].tolist()
    number = (1000 - int(split.ids[2])) // 7
    path.write_bytes(photograph(number)[:-60])
    with pytest.raises(DataError, match=rf"{path}: does not decode .*; replace the file"):
        split.image(2)
    path.write_bytes(png(np.zeros((width, height + 5), np.uint8)))
    told = rf"{path}: {height + 5} x {width} pixels, {NAME} says {width} x {height}; replace the file"
    with pytest.raises(DataError, match=told):
        split.image(2)
    path.unlink()
    with pytest.raises(DataError, match=rf"{path}: cannot be read \(No such file"):
        split.image(2)


def test_the_hash_follows_what_decides_a_measurement(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = manifest(root, "train")
    assert (first["samples"], first["classes"], first["hashed"]) == (6, 3, "annotations, name, size, content")
    assert manifest(layout(tmp_path / "copy"), "train") == first
    content = instances("train")
    content["info"], content["annotations"][0]["segmentation"] = {"other": 1}, []
    (root / place_of("train")).write_text(json.dumps(content, indent=1))
    assert manifest(root, "train") == first
    for kind, values in (("annotations", {"area": 9}), ("annotations", {"iscrowd": 1}), ("categories", {"name": "x"})):
        changed = instances("train")
        changed[kind][0].update(values)
        rewrite(root, "train", changed)
        assert manifest(root, "train")["sha256"] != first["sha256"]
    rewrite(root, "train", content)
    path = root / "train2017" / file_name(1)
    whole = path.read_bytes()
    path.write_bytes(whole[::-1])
    assert manifest(root, "train")["sha256"] != first["sha256"]
    monkeypatch.setattr(coco, "CONTENT_LIMIT", 5)
    large = manifest(root, "train")
    path.write_bytes(whole)
    assert manifest(root, "train") == large  # of a large set only sizes
    assert large["hashed"] == "annotations, name, size"


def look(split: CocoSplit) -> tuple[int, list[int]]:
    return int(split.image(1).sum()), split.annotations(1).ids.tolist()


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_read_what_the_parent_reads(start: str, root: Path) -> None:
    split = read_coco(root, "val")
    with ProcessPoolExecutor(1, multiprocessing.get_context(start)) as pool:
        assert pool.submit(look, split).result() == look(split)
