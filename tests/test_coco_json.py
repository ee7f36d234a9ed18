"""COCO's annotation file: every fault in its own words, with file and row; the whole release in seconds."""

import gc
import json
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyconv.data import DataError, coco, coco_json
from pyconv.data.coco import manifest, read_coco
from tests.coco_files import COUNT, file_name, image_id, instances, layout, place_of, rewrite
from tests.scene_files import write


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return layout(tmp_path / "coco")


NAME = "instances_train2017.json"
Spoil = Callable[[dict[str, Any]], Any]


def setting(kind: str, **values: Any) -> Spoil:
    """Change the second row of a list."""
    return lambda content: content[kind][1].update(values)


def without(kind: str, key: str) -> Spoil:
    return lambda content: content[kind][1].pop(key)


def as_first(kind: str, key: str) -> Spoil:
    return lambda content: content[kind][1].update({key: content[kind][0][key]})


ROW, PICTURE = "annotation 2", f"image {image_id(2)}"
FAULTS: dict[str, tuple[Spoil, str]] = {
    "no images": (lambda content: content.pop("images"), 'no list "images"; an instances file of COCO is right'),
    "no list": (lambda content: content.update(annotations={}), 'no list "annotations"; an instances file'),
    "empty": (lambda content: content["images"].clear(), '"images" is empty'),
    "no bbox": (without("annotations", "bbox"), f'{ROW} has no "bbox"'),
    "no crowd": (without("annotations", "iscrowd"), f'{ROW} has no "iscrowd"'),
    "no id": (without("annotations", "id"), 'annotation at place 1 has no "id"'),
    "no width": (without("images", "width"), f'{PICTURE} has no "width"'),
    "no row": (lambda content: content["images"].append(7), 'image at place 6 has no "id"'),
    "id twice": (as_first("annotations", "id"), "1 annotations have an id that is there already (annotation 1)"),
    "image twice": (as_first("images", "id"), f"1 images have an id that is there already (image {image_id(1)})"),
    "category twice": (as_first("categories", "id"), "1 categories have an id that is there already (category 44)"),
    "name twice": (as_first("categories", "name"), "have a name that is there already (category 1: 'bottle')"),
    "file twice": (as_first("images", "file_name"), f"that is there already ({PICTURE}: '{file_name(1)}')"),
    "text id": (setting("annotations", id="2"), "annotation '2' \"id\" is '2'; a whole number is right"),
    "float id": (setting("annotations", image_id=2.0), f'{ROW} "image_id" is 2.0; a whole number is right'),
    "huge id": (setting("annotations", category_id=2**63), f'{ROW} "category_id" is {2**63}'),
    "id 0": (setting("annotations", id=0), "have an id below 1: COCO's evaluation takes 0 for no match (annotation 0)"),
    "image": (setting("annotations", image_id=5), f"are of an image that is not listed ({ROW}: 5)"),
    "category": (setting("annotations", category_id=12), f"are of a category that is not listed ({ROW}: 12)"),
    "NaN": (setting("annotations", bbox=[1, float("nan"), 3, 4]), f"NaN or infinity ({ROW}: [1.0, nan, 3.0, 4.0])"),
    "infinite": (setting("annotations", bbox=[1, 2, float("inf"), 4]), f"NaN or infinity ({ROW}: [1.0, 2.0, inf"),
    "beyond": (setting("annotations", bbox=[1, 2, 10**400, 4]), f"NaN or infinity ({ROW}: [1.0, 2.0, inf"),
    "negative": (
        setting("annotations", bbox=[1, 2, 3, -4]),
        f"of negative width or height ({ROW}: [1.0, 2.0, 3.0, -4.0])",
    ),
    "three": (
        setting("annotations", bbox=[1, 2, 3]),
        f'{ROW} "bbox" is [1, 2, 3]; four numbers are right: x, y, width',
    ),
    "text": (setting("annotations", bbox=[1, 2, 3, "4"]), f"{ROW} \"bbox\" is [1, 2, 3, '4']; four numbers are right"),
    "null": (setting("annotations", bbox=None), f'{ROW} "bbox" is None; a list is right'),
    "flag": (setting("annotations", bbox=[1, 2, 3, True]), f'{ROW} "bbox" is [1, 2, 3, True]; four numbers'),
    "area": (setting("annotations", area=float("nan")), f"an area that is negative, NaN or infinite ({ROW}: nan)"),
    "area below 0": (setting("annotations", area=-1), f"an area that is negative, NaN or infinite ({ROW}: -1.0)"),
    "crowd 2": (setting("annotations", iscrowd=2), f'have an "iscrowd" that is neither 0 nor 1 ({ROW}: 2)'),
    "no size": (setting("images", width=0), f"height and width of 1 pixel or more are right ({PICTURE}: [30"),
    "up": (
        setting("images", file_name="../val2017/a.jpg"),
        f"no plain name of a file in the folder of images ({PICTURE}",
    ),
    "absolute": (setting("images", file_name="/etc/passwd"), "no plain name of a file in the folder of images"),
    "folder": (setting("images", file_name="a/b.jpg"), "no plain name of a file in the folder of images"),
    "no name": (setting("images", file_name=""), "no plain name of a file in the folder of images"),
    "zero byte": (setting("images", file_name="a\0.jpg"), "no plain name of a file in the folder of images"),
    "half a letter": (setting("images", file_name="\ud800.jpg"), "no plain name of a file in the folder of images"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_told_with_the_file_and_the_number(fault: str, root: Path) -> None:
    content, (spoil, told) = instances("train"), FAULTS[fault]
    if fault == "no size":
        content["images"][1]["height"] = 30
    spoil(content)
    rewrite(root, "train", content)
    with pytest.raises(DataError) as raised:
        read_coco(root, "train")
    assert str(raised.value).startswith(f"{root}/annotations/{NAME}: ")
    assert told in str(raised.value)


def test_many_faults_are_counted_and_told_together(root: Path) -> None:
    content = instances("train")
    for row in content["annotations"]:
        row["category_id"] = 12
    content["images"][0]["width"] = -1
    rewrite(root, "train", content)
    with pytest.raises(DataError) as raised:
        read_coco(root, "train")
    count = len(content["annotations"])
    assert f"1 images have no size; height and width of 1 pixel or more are right (image {image_id(1)}" in str(
        raised.value
    )
    assert f"{count} annotations are of a category that is not listed (annotation 1: 12, annotation 2" in str(
        raised.value
    )
    assert f" and {count - coco_json.NAMED} more)" in str(raised.value)
    split, faults = coco.parsed(root, "train")
    assert (len(faults), len(split), len(split.every)) == (2, COUNT["train"] - 1, 0)


def test_a_file_cut_off_anywhere_is_refused_with_the_byte(root: Path) -> None:
    path = root / place_of("val")
    whole = json.dumps(instances("val"), ensure_ascii=False).replace("person", "pérson").encode()
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match=rf"{path}: cut off after byte {size:,}; copy or download it again"):
            read_coco(root, "val")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"é": [1, x2]}'.encode(), r"no JSON at byte 11, 'x2\]}' \(Expecting value\)"),
        (b'{"images": "\xff"}', "no UTF-8 at byte 12"),
        (b"[" * 100_000 + b"}", "no JSON|lists within lists"),
        (b"[]", r'no list "images"'),
        (b"<html></html>}", "no JSON at byte 0, '<html></html>}'"),
    ],
)
def test_what_is_no_json_is_refused_with_the_byte(content: bytes, told: str, root: Path) -> None:
    (root / place_of("val")).write_bytes(content)
    with pytest.raises(DataError, match=told):
        read_coco(root, "val")


def test_segmentations_of_every_form_are_passed_over_and_nothing_else(root: Path) -> None:
    """The reader cuts polygons out before it parses; a text that looks like one is a text."""
    content = instances("train")
    forms: list[Any] = [[[1, 2.5, -3e-5, 4]], [], [[1, 2], [3, 4]], {"counts": 'a[]"b', "size": [1, 2]}, [[]], None]
    for row, form in zip(content["annotations"], forms, strict=False):
        row["segmentation"] = form
    content["info"]["note"] = 'x"segmentation": [[1, 2]], "id": 5 } and "segmentation": [3] }'
    content["categories"][0]["name"] = '"segmentation": [1], \\"segmentation": [2]}'
    ours = []
    for indent in (None, 2):
        (root / place_of("train")).write_text(
            json.dumps(content, indent=indent, separators=None if indent else (",", ":"))
        )
        split = read_coco(root, "train")
        ours.append(manifest(root, "train"))
        assert split.categories[1].name == content["categories"][0]["name"]
        assert sorted(split.every.ids.tolist()) == sorted(row["id"] for row in content["annotations"])
        assert sorted(split.every.areas.tolist()) == sorted(row["area"] for row in content["annotations"])
    assert ours[0] == ours[1]
    assert gc.isenabled()


@pytest.mark.slow
def test_the_whole_release_is_read_in_seconds_into_small_arrays(tmp_path: Path) -> None:
    """118,287 images, 860,001 annotations with short polygons."""
    images = [f'{{"id":{n},"file_name":"{n:012}.jpg","height":480,"width":640}}' for n in range(1, 118_288)]
    form = (
        '{{"segmentation":[[{0}]],"area":5.5,"iscrowd":0,"image_id":{1},"bbox":[1.5,2,30,40],"category_id":1,"id":{2}}}'
    )
    polygon = ",".join(f"{number}.25" for number in range(40))
    annotations = [form.format(polygon, row % 117_266 + 1, row) for row in range(1, 860_002)]
    content = ",".join(images).join(('{"images":[', '],"categories":[{"id":1,"name":"person"}],"annotations":['))
    write(tmp_path, {place_of("train"): (content + ",".join(annotations) + "]}").encode()})
    start = time.perf_counter()
    split, faults = coco.parsed(tmp_path, "train")
    assert time.perf_counter() - start < 30
    assert (faults, len(split), len(split.every), len(split.trainable)) == ([], 118_287, 860_001, 117_266)
    assert len(pickle.dumps(split)) < 80_000_000
