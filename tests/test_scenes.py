"""The packaged scenes: what is drawn and what is labelled, which splits share what, and that they stay the same."""

import json
import shutil
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pyconv import data
from pyconv.data import DataError, ade20k, digits, scenes
from pyconv.data.compositing import write
from pyconv.data.layouts import check_splits
from pyconv.data.packaged import packaged

SKY, LEAVES = 1, 2


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    data.prepare("scenes", folder)
    return folder / "scenes"


@pytest.fixture(scope="module")
def drawn() -> dict[str, list[scenes.Scene]]:
    return {split: list(scenes.scenes(split)) for split in scenes.SPLITS}


def photographs() -> Iterator[tuple[int, np.ndarray]]:
    for label, (_, file) in enumerate(scenes.STUFF.items(), start=1):
        with Image.open(packaged("sklearn", "scikit-learn", "datasets", "images", file)) as image:
            yield label, np.array(image.convert("RGB"))


def positions(window: np.ndarray, known: np.ndarray, photograph: np.ndarray) -> np.ndarray:
    """Top and left of every place of `photograph` that has the pixels of `window` wherever they are `known`."""
    rows, columns = np.nonzero(known)
    chosen = np.linspace(0, len(rows) - 1, 12).astype(int)  # enough to be unique, and checked in full below
    height, width = window.shape[:2]
    tops, lefts = photograph.shape[0] - height + 1, photograph.shape[1] - width + 1
    fits = np.ones((tops, lefts), dtype=bool)
    for row, column in zip(rows[chosen], columns[chosen], strict=True):
        part = photograph[row : row + tops, column : column + lefts]
        fits &= (part == window[row, column]).all(-1)
    found = np.argwhere(fits)
    whole = [(photograph[t : t + height, x : x + width] == window)[known].all() for t, x in found]
    return found[whole]


@pytest.mark.parametrize("split", scenes.SPLITS)
def test_what_is_labelled_sky_or_leaves_is_that_photograph_untouched_and_from_the_splits_own_part(
    split: str, drawn: dict[str, list[scenes.Scene]]
) -> None:
    for label, photograph in photographs():
        left, top, right, bottom = list(scenes.REGIONS.values())[label - 1][split]
        for scene in drawn[split][:10]:
            known = scene.labels == label
            if known.sum() < 100:
                continue
            places = positions(scene.image, known, photograph)
            rows, columns = np.nonzero(known)
            assert any(
                (row + rows >= top).all()
                and (row + rows < bottom).all()
                and (column + columns >= left).all()
                and (column + columns < right).all()
                for row, column in places
            )


def test_the_parts_of_a_photograph_do_not_overlap() -> None:
    for parts in scenes.REGIONS.values():
        assert set(parts) == set(scenes.SPLITS)
        for (l1, t1, r1, b1), (l2, t2, r2, b2) in combinations(parts.values(), 2):
            assert min(r1, r2) <= max(l1, l2) or min(b1, b2) <= max(t1, t2)


def test_no_digit_is_in_two_splits_or_in_the_wrong_one_of_the_digits() -> None:
    _, labels = digits.digits()
    rows = {split: set(scenes.rows_of(split, labels)) for split in scenes.SPLITS}
    for one, other in combinations(rows.values(), 2):
        assert not one & other
    held_out = set(range(digits.HELD_OUT - 1, len(labels), digits.HELD_OUT))
    assert rows["train"] == set(range(len(labels))) - held_out
    assert rows["val"] | rows["test"] == held_out


def test_between_a_digit_and_what_is_behind_it_lies_a_dark_border_that_is_nobodys(
    drawn: dict[str, list[scenes.Scene]],
) -> None:
    border, written = [], []
    for scene in drawn["train"][:60]:
        height, width = scene.labels.shape
        around = np.pad(scene.labels, 1)
        ink = scene.labels > LEAVES
        assert ink.any()
        for down, right in ((0, 1), (2, 1), (1, 0), (1, 2)):
            neighbour = around[down : down + height, right : right + width]
            assert not (ink & np.isin(neighbour, (SKY, LEAVES))).any()
        border.append(scene.image[scene.labels == 0].mean())
        written.append(scene.image[ink].mean())
    assert np.mean(border) < np.mean(written) - 60


def test_the_mask_of_a_digit_is_where_its_ink_covers_more_than_half() -> None:
    """Recomputed from a picture of ink alone: white ink on black, nothing else."""
    images, labels = digits.digits()
    for row in range(0, 5000, 611):
        scene = scenes.Scene(np.zeros((40, 40, 3), np.uint8), np.full((40, 40), SKY, np.uint8))
        number, white = int(labels[row]) + 3, np.array([255, 255, 255], np.uint32)
        write(scene.image, scene.labels, images[row], number, (4, 5, 30), white, outline=1)
        ink = scene.image[..., 0]
        assert (scene.image == ink[..., None]).all()
        assert ((scene.labels == labels[row] + 3) == (ink >= 128)).all()
        assert (scene.labels[ink > 0] != SKY).all()
        outside = np.ones((40, 40), bool)
        outside[4:34, 5:35] = False
        assert (scene.labels[outside] == SKY).all()
        rows, columns = np.nonzero(ink)
        assert max(np.ptp(rows), np.ptp(columns)) + 1 == pytest.approx(28, abs=1)  # 30 but for the outline
        assert rows.min() >= 4
        assert columns.min() >= 5


def test_sizes_shapes_and_orientations(drawn: dict[str, list[scenes.Scene]]) -> None:
    shapes = [scene.labels.shape for split in drawn.values() for scene in split]
    assert {max(shape) for shape in shapes} == set(range(36, 49))
    assert min(min(shape) / max(shape) for shape in shapes) >= 0.7 - 0.5 / 36
    upright = sum(height > width for height, width in shapes) / len(shapes)
    assert 0.35 < upright < 0.65
    assert len(set(shapes)) > 100


def test_what_stands_on_the_disk_is_what_was_drawn(root: Path, drawn: dict[str, list[scenes.Scene]]) -> None:
    for split in ("train", "val", "test"):
        read = ade20k.read_scenes(root, split)
        assert len(read) == scenes.SCENES[split] == len(drawn[split])
        assert read.classes == scenes.CLASSES
        for index, scene in enumerate(drawn[split]):
            if split != "test":
                wanted = np.where(scene.labels == 0, ade20k.IGNORE, scene.labels - 1)
                assert (read.labels(index) == wanted).all()
            difference = np.abs(read.image(index).astype(int) - scene.image)
            assert difference.mean() < 4  # JPEG
    assert not (root / "annotations" / "testing").exists()
    assert len(ade20k.read_scenes(root, "train+val")) == 420


def test_every_class_occurs_in_both_splits_often_enough(drawn: dict[str, list[scenes.Scene]]) -> None:
    for split, least in (("train", 30), ("val", 8)):
        shown = [sum(bool((scene.labels == label).any()) for scene in drawn[split]) for label in range(13)]
        assert min(shown) >= least
        both = sum({SKY, LEAVES} <= set(np.unique(scene.labels)) for scene in drawn[split])
        assert len(drawn[split]) / 2 < both < len(drawn[split])
    assert {label for scene in drawn["train"] for label in np.unique(scene.labels)} == set(range(13))


def test_the_class_list_says_how_much_there_is(root: Path, drawn: dict[str, list[scenes.Scene]]) -> None:
    head, *lines = (root / "objectInfo150.txt").read_text().splitlines()
    assert head.split("\t") == ["Idx", "Ratio", "Train", "Val", "Stuff", "Name"]
    rows = [line.split("\t") for line in lines]
    assert [int(row[0]) for row in rows] == list(range(1, 13))
    assert [row[5] for row in rows] == list(scenes.CLASSES)
    assert [row[4] for row in rows] == ["1"] * 2 + ["0"] * 10
    for place, split in ((2, "train"), (3, "val")):
        for row in rows:
            assert int(row[place]) == sum(bool((s.labels == int(row[0])).any()) for s in drawn[split])
    unlabelled = 1 - sum(float(row[1]) for row in rows)
    assert 0.05 < unlabelled < 0.3  # ignore is exercised


def test_colour_alone_does_not_give_the_digit(drawn: dict[str, list[scenes.Scene]]) -> None:
    """A digit's class guessed from its mean colour, that of the nearest digit of the training split: chance, nearly."""
    known, held_out = (
        [
            (scene.image[scene.labels == label].mean(0), label)
            for scene in drawn[split]
            for label in np.unique(scene.labels)
            if label > LEAVES
        ]
        for split in ("train", "val")
    )
    colours = np.array([colour for colour, _ in known])
    right = [known[int(np.abs(colours - colour).sum(1).argmin())][1] == label for colour, label in held_out]
    assert np.mean(right) < 0.25


def test_prepared_twice_is_left_alone_and_verified(root: Path, tmp_path: Path) -> None:
    before = json.loads((root / "manifest.json").read_text())
    times = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    made = data.prepare("scenes", root.parent)
    assert made == {"name": "scenes", "splits": before}
    assert times == {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert data.prepare("scenes", tmp_path)["splits"] == before  # anew: the same bytes


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("images/validation/scene_val_0007.jpg", "100 images of val,"),
        ("annotations/training/scene_train_0001.png", "320 images of train,"),
    ],
)
def test_a_changed_file_is_told(place: str, message: str, root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "scenes")
    with (tmp_path / "scenes" / place).open("ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match=f"{message}.*not the ones that were written; delete the folder"):
        data.prepare("scenes", tmp_path)


def test_another_class_list_is_told(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "scenes")
    path = tmp_path / "scenes" / "objectInfo150.txt"
    path.write_text(path.read_text().replace("sky", "sea"))
    with pytest.raises(DataError, match="not the classes that were written"):
        data.prepare("scenes", tmp_path)


def test_the_check_of_the_data_set_finds_nothing_wrong(root: Path) -> None:
    _, findings = check_splits("scenes", root, ("train", "val", "test"), decode="all", workers=1)
    assert [finding for finding in findings if finding.kind != "note"] == []


def test_a_package_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("pyconv.data.packaged.find_spec", lambda _: None)
    with pytest.raises(DataError, match=r"china\.jpg comes from the package scikit-learn.*pip install scikit-learn"):
        data.prepare("scenes", tmp_path)
    assert list(tmp_path.iterdir()) == []
