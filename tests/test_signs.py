"""The packaged signs: what is written on what, the COCO file that tells of it, and that they stay the same."""

import io
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pyconv.data import DataError, coco, digits, signs
from pyconv.data.compositing import write
from pyconv.data.packaged import packaged


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    signs.prepare(folder)
    return folder / "signs"


@pytest.fixture(scope="module")
def drawn() -> dict[str, list[signs.Scene]]:
    return {split: list(signs.scenes(split)) for split in signs.SPLITS}


def told(root: Path, split: str) -> dict[str, list[dict]]:
    return json.loads((root / "annotations" / f"instances_{coco.FOLDERS[split]}.json").read_text())


def opened(root: Path, split: str) -> COCO:
    with redirect_stdout(io.StringIO()):
        return COCO(root / "annotations" / f"instances_{coco.FOLDERS[split]}.json")


def masks(scene: signs.Scene) -> Iterator[tuple[int, np.ndarray]]:
    for order, label in enumerate(scene.labels, start=1):
        yield label, scene.numbers == order


def places(window: np.ndarray, photograph: np.ndarray) -> np.ndarray:
    """Top and left of every place of `photograph` that has exactly these pixels."""
    height, width = window.shape[:2]
    tops, lefts = photograph.shape[0] - height + 1, photograph.shape[1] - width + 1
    fits = np.ones((tops, lefts), dtype=bool)
    for row, column in zip(*np.random.default_rng(0).integers(0, (height, width), (6, 2)).T, strict=True):
        fits &= (photograph[row : row + tops, column : column + lefts] == window[row, column]).all(-1)
    found = np.argwhere(fits)
    return found[[bool((photograph[t : t + height, x : x + width] == window).all()) for t, x in found]]


def test_parts_of_a_photograph_do_not_overlap_and_hold_the_largest_scene() -> None:
    for parts in signs.REGIONS.values():
        (l1, t1, r1, b1), (l2, t2, r2, b2) = parts["train"], parts["val"]
        assert min(r1, r2) <= max(l1, l2) or min(b1, b2) <= max(t1, t2)
        for left, top, right, bottom in parts.values():
            assert min(right - left, bottom - top) >= signs.LONG_SIDE


@pytest.mark.parametrize("split", signs.SPLITS)
def test_behind_the_digits_is_a_photograph_from_the_splits_own_part(
    split: str, drawn: dict[str, list[signs.Scene]]
) -> None:
    photographs = {}
    for file in signs.REGIONS:
        with Image.open(packaged("sklearn", "scikit-learn", "datasets", "images", file)) as image:
            photographs[file] = np.array(image.convert("RGB"))
    bare = [scene for scene in drawn[split] if not scene.labels]
    assert len(bare) == len(drawn[split]) // 20
    shown = Counter()
    for scene in bare:
        height, width = scene.numbers.shape
        found = [(file, top, left) for file, p in photographs.items() for top, left in places(scene.image, p)]
        assert found
        for file, top, left in found:
            first, above, last, below = signs.REGIONS[file][split]
            assert first <= left <= last - width
            assert above <= top <= below - height
            shown[file] += 1
    assert len(shown) == 2


def thickened(size: tuple[int, int]) -> np.ndarray:
    """All digits of the package as they are written, each stretched to `size`: (5000, width * height)."""
    images, _ = digits.digits()
    written = [Image.fromarray(image).filter(ImageFilter.MaxFilter(3)) for image in images]
    return np.stack([np.asarray(digit.crop(digit.getbbox()).resize(size)).ravel() / 255 for digit in written])


@pytest.mark.parametrize("split", signs.SPLITS)
def test_each_mask_is_that_of_a_real_digit_of_its_label_and_of_the_splits_own(
    split: str, drawn: dict[str, list[signs.Scene]]
) -> None:
    """Found again among all 5,000 by its shape alone; few look more like another one of another label or split."""
    _, labels = digits.digits()
    known, right, own = thickened((20, 20)), [], []
    rows = set(signs.rows_of(split, len(labels)))
    for scene in drawn[split][:60]:
        for label, mask in masks(scene):
            inked = Image.fromarray(mask.astype(np.uint8) * 255)
            shape = np.asarray(inked.crop(inked.getbbox()).resize((20, 20), Image.Resampling.BOX)).ravel() / 255
            nearest = int(((known - shape) ** 2).sum(1).argmin())
            right.append(labels[nearest] == label)
            own.append(nearest in rows)
    assert len(right) > 100
    assert np.mean(right) > 0.95
    assert np.mean(own) > 0.8  # of any digits a fifth would be among those of val


def test_no_digit_is_in_two_splits_or_in_the_wrong_one_of_the_digits() -> None:
    train, val = (set(signs.rows_of(split, 5000)) for split in signs.SPLITS)
    assert val == set(range(digits.HELD_OUT - 1, 5000, digits.HELD_OUT))
    assert train == set(range(5000)) - val


def test_sizes_orientations_and_how_many_digits(drawn: dict[str, list[signs.Scene]]) -> None:
    assert {split: len(scenes) for split, scenes in drawn.items()} == {"train": 400, "val": 120}
    shapes = [scene.numbers.shape for scenes in drawn.values() for scene in scenes]
    assert {max(shape) for shape in shapes} == {240}
    assert {min(shape) for shape in shapes} == set(range(180, 241))
    assert 0.4 < np.mean([height > width for height, width in shapes]) < 0.6
    for scenes in drawn.values():
        many = Counter(len(scene.labels) for scene in scenes)
        assert many[0] == len(scenes) / 20
        assert sum(many[n] for n in range(1, 9)) == len(scenes) * 19 / 20
        assert min(many[n] for n in (1, 2, 3, 4)) > len(scenes) / 12  # large ones leave no room for many more
    of_class = Counter(label for scene in drawn["val"] for label in scene.labels)
    assert min(of_class[label] for label in range(10)) >= 15
    assert min(mask.sum() for scenes in drawn.values() for scene in scenes for _, mask in masks(scene)) >= 200


@given(st.integers(), st.integers(180, 240))
def test_digits_lie_in_the_scene_and_hardly_over_each_other(seed: int, short: int) -> None:
    found = signs._places(Random(seed), short, 240)
    assert 1 <= len(found) <= 8
    covered = np.zeros((len(found), short, 240), bool)
    for mask, (top, left, side) in zip(covered, found, strict=True):
        assert 40 <= side <= 150
        mask[top : top + side, left : left + side] = True
        assert mask.sum() == side**2  # all of it is in the scene
    shared = covered.reshape(len(found), -1).astype(int) @ covered.reshape(len(found), -1).T
    for one, other in np.argwhere(np.triu(shared, 1)):
        assert shared[one, other] <= 0.04 * min(shared[one, one], shared[other, other])


def test_around_the_ink_the_photograph_is_dark_for_two_pixels_and_beyond_as_it_was() -> None:
    images, _ = digits.digits()
    ground, black, white = np.full((50, 60, 3), 200, np.uint8), np.zeros(3, np.uint32), np.full(3, 255, np.uint32)
    for row in range(0, 5000, 499):
        dark, light, numbers = ground.copy(), ground.copy(), np.zeros((50, 60), np.uint8)
        write(dark, numbers, images[row], 3, (3, 8, 40), black, outline=2)
        write(light, numbers, images[row], 3, (3, 8, 40), white, outline=2)
        assert set(np.unique(numbers)) == {0, 3}
        assert (light[numbers == 3] >= 128).all()  # more than half of the ink's white
        rows, columns = np.nonzero(numbers)
        assert max(np.ptp(rows), np.ptp(columns)) + 1 == pytest.approx(36, abs=2)  # 40 but for the outline
        near = np.zeros_like(numbers, bool)
        for down in range(-2, 3):
            for right in range(-2, 3):
                near[rows + down, columns + right] = True
        assert (dark[near] < 100).all()  # less than half of the photograph's 200 is left
        assert (dark[near][:, 0] < 10).mean() > 0.5
        outside = np.ones((50, 60), bool)
        outside[3:43, 8:48] = False
        assert (light[outside] == 200).all()


def test_colour_alone_does_not_give_the_digit(drawn: dict[str, list[signs.Scene]]) -> None:
    """A digit's class guessed from its mean colour, that of the nearest digit of the training split: chance, nearly."""
    known, held_out = (
        [(scene.image[mask].mean(0), label) for scene in drawn[split] for label, mask in masks(scene)]
        for split in signs.SPLITS
    )
    colours = np.array([colour for colour, _ in known])
    right = [known[int(np.abs(colours - colour).sum(1).argmin())][1] == label for colour, label in held_out]
    assert np.mean(right) < 0.2


@pytest.mark.parametrize("split", signs.SPLITS)
def test_the_reader_finds_the_boxes_of_the_ink(split: str, root: Path, drawn: dict[str, list[signs.Scene]]) -> None:
    read = coco.read_coco(root, split)
    assert [category.name for category in read.categories] == list(signs.CLASSES)
    assert len(read) == len(drawn[split])
    assert read.trainable.tolist() == [i for i, scene in enumerate(drawn[split]) if scene.labels]
    for index, scene in enumerate(drawn[split]):
        assert np.abs(read.image(index).astype(int) - scene.image).mean() < 4  # JPEG
        found = read.annotations(index)
        assert found.labels.tolist() == [label + 1 for label in scene.labels]
        assert not found.crowd.any()
        for box, area, (_, mask) in zip(found.boxes, found.areas, masks(scene), strict=True):
            pixels = [(x, y) for y, row in enumerate(mask.tolist()) for x, ink in enumerate(row) if ink]
            left, top = (min(pixel[axis] for pixel in pixels) for axis in (0, 1))
            right, bottom = (max(pixel[axis] for pixel in pixels) + 1 for axis in (0, 1))
            assert box.tolist() == [left, top, right - left, bottom - top]
            assert area == len(pixels)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools, of NumPy 2
@pytest.mark.parametrize("split", signs.SPLITS)
def test_pycocotools_finds_the_ink(split: str, root: Path, drawn: dict[str, list[signs.Scene]]) -> None:
    api = opened(root, split)
    assert sorted(api.getCatIds()) == list(range(1, 11))
    for number, scene in zip(sorted(api.getImgIds()), drawn[split], strict=True):
        annotations = api.loadAnns(api.getAnnIds(number))
        for (label, mask), annotation in zip(masks(scene), annotations, strict=True):
            assert annotation["category_id"] == label + 1
            assert np.array_equal(api.annToMask(annotation), mask)


def test_what_is_annotated_scores_100_percent_and_shifted_by_most_of_a_box_nothing(root: Path) -> None:
    truth = opened(root, "val")
    annotations = truth.loadAnns(truth.getAnnIds())
    for shift, expected in ((0, 1.0), (0.75, 0.0)):
        given_back = [
            {key: annotation[key] for key in ("image_id", "category_id")}
            | {"bbox": [x + shift * w, y + shift * h, w, h], "score": 0.9}
            for annotation in annotations
            for x, y, w, h in [annotation["bbox"]]
        ]
        with redirect_stdout(io.StringIO()):
            scores = COCOeval(truth, truth.loadRes(given_back), "bbox")
            scores.evaluate()
            scores.accumulate()
            scores.summarize()
        assert scores.stats[0] == pytest.approx(expected, abs=0.02)


def test_the_file_has_what_cocos_has(root: Path) -> None:
    numbers, files = [], []
    for split in signs.SPLITS:
        content = told(root, split)
        assert {"info", "licenses", "images", "annotations", "categories"} == set(content)
        assert content["categories"][0] == {"id": 1, "name": "digit 0", "supercategory": "digit"}
        licenses = {licence["id"] for licence in content["licenses"]}
        assert {image["license"] for image in content["images"]} == licenses
        assert [a["id"] for a in content["annotations"]] == list(range(1, len(content["annotations"]) + 1))
        numbers += [image["id"] for image in content["images"]]
        files += [image["file_name"] for image in content["images"]]
        folder = root / coco.FOLDERS[split]
        assert sorted(path.name for path in folder.iterdir()) == [image["file_name"] for image in content["images"]]
    assert numbers == list(range(1, 521))
    assert files == [f"{number:012}.jpg" for number in numbers]


def test_prepared_twice_is_left_alone_and_verified(root: Path, tmp_path: Path) -> None:
    before = json.loads((root / "manifest.json").read_text())
    times = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert signs.prepare(root.parent) == {"name": "signs", "splits": before}
    assert times == {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert signs.prepare(tmp_path)["splits"] == before  # anew: the same bytes


@pytest.mark.parametrize("place", ["train2017/000000000007.jpg", "annotations/instances_val2017.json"])
def test_a_changed_file_is_told(place: str, root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "signs")
    path = tmp_path / "signs" / place
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"bbox": [', b'"bbox": [1') if path.suffix == ".json" else content + b"x")
    with pytest.raises(DataError, match="not the ones that were written; delete the folder"):
        signs.prepare(tmp_path)


def test_a_package_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("pyconv.data.packaged.find_spec", lambda _: None)
    with pytest.raises(DataError, match=r"china\.jpg comes from the package scikit-learn.*pip install scikit-learn"):
        signs.prepare(tmp_path)
    assert list(tmp_path.iterdir()) == []
