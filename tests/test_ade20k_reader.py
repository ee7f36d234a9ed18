"""The reader of ADE20K's layout: PIL's pixels, exact numbers, and a clear word for each kind of broken file."""

import io
import multiprocessing
import pickle
import random
import struct
import zlib
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pyconv.data import DataError, ade20k, ade20k_classes, decoding
from pyconv.data.ade20k import IGNORE, Scenes, class_names, manifest, read_scenes
from pyconv.data.split import Names
from tests.scene_files import NAMES, class_list, contents, photograph, png, size_of, values, write

FIRST = "annotations/validation/ADE_val_00000001.png"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path / "ade", contents())


def test_a_split_is_its_photographs_and_their_label_maps(root: Path) -> None:
    scenes = read_scenes(root, "val")
    assert (len(scenes), scenes.classes, scenes.stem(0)) == (3, NAMES, "ADE_val_00000001")
    for index in range(3):
        image, labels, true = scenes.image(index), scenes.labels(index), values(101 + index)
        assert image.dtype == labels.dtype == np.uint8
        assert image.shape == (*true.shape, 3) == (*size_of(101 + index)[::-1], 3)
        with Image.open(root / scenes.images[index]) as by_pil:
            assert (image == np.array(by_pil)).all()
        assert (labels[true == 0] == IGNORE).all()
        assert (labels[true > 0] == true[true > 0] - 1).all()


def test_splits_are_unions_and_the_test_split_has_no_label_maps(root: Path) -> None:
    parts = [read_scenes(root, split) for split in ("train", "val")]
    both, test = read_scenes(root, "train+val"), read_scenes(root, "test")
    assert [*both.images] == [*parts[0].images, *parts[1].images]
    assert [*both.annotations] == [*parts[0].annotations, *parts[1].annotations]
    assert (len(test), len(test.annotations), test.stem(1)) == (2, 0, "ADE_test_00000002")
    assert test.image(1).shape[2] == 3
    with pytest.raises(DataError, match=r"'validation' is no split of .*; valid: train, val, train.val, test"):
        read_scenes(root, "validation")


def test_part_of_a_split(root: Path) -> None:
    scenes = read_scenes(root, "train")
    part = scenes.take([3, 1])
    assert [*part.images] == [scenes.images[3], scenes.images[1]]
    assert (part.labels(0) == scenes.labels(3)).all()
    assert len(read_scenes(root, "test").take([1]).annotations) == 0


@pytest.mark.parametrize("orientation", [3, 6])
def test_the_orientation_of_exif_is_not_applied(orientation: int, root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = read_scenes(root, "val").image(0)
    (root / "images/validation/ADE_val_00000001.jpg").write_bytes(photograph(101, exif=exif.tobytes()))
    assert (read_scenes(root, "val").image(0) == upright).all()


@pytest.mark.parametrize("decoder", ["built", "PIL"])
def test_every_kind_of_photograph_becomes_rgb(decoder: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if decoder == "PIL":
        monkeypatch.setattr(decoding, "DECODER", None)
    path = root / "images/validation/ADE_val_00000001.jpg"
    whole = Image.open(io.BytesIO(photograph(101)))
    for mode, form in (("L", "JPEG"), ("CMYK", "JPEG"), ("P", "PNG"), ("RGBA", "PNG"), ("RGB", "JPEG")):
        whole.convert(mode).save(path, form)
        with Image.open(path) as image:
            assert (read_scenes(root, "val").image(0) == np.array(image.convert("RGB"))).all()


@pytest.mark.parametrize("bits", [8, 4])
def test_a_palette_of_any_depth_is_read_as_its_indices(bits: int, root: Path) -> None:
    numbers = Image.fromarray(values(101))
    indexed = Image.frombytes("P", numbers.size, numbers.tobytes())
    indexed.putpalette([channel for colour in range(16) for channel in (255 - colour, 7, colour)])
    indexed.save(root / FIRST, bits=bits)
    assert (read_scenes(root, "val").labels(0) == values(101) - np.uint8(1)).all()


def grey_of_four_bits(numbers: np.ndarray) -> bytes:
    """What PIL stretches to 0-255 on reading: written by hand."""
    height, width = numbers.shape
    even = np.pad(numbers, ((0, 0), (0, width % 2)))
    rows = b"".join(b"\0" + (row[::2] << 4 | row[1::2]).astype(np.uint8).tobytes() for row in even)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 4, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def jpeg(numbers: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(numbers).save(file, "JPEG")
    return file.getvalue()


GOOD = values(101)
BROKEN = {
    "16-bit": (png(GOOD.astype(np.uint16)), "has 16 bits a pixel; a label map has one channel of 8 bits"),
    "4-bit": (grey_of_four_bits(GOOD), "has 4 bits a pixel"),
    "1-bit": (png(GOOD > 2), "has 1 bits a pixel"),
    "RGB": (png(GOOD, "RGB"), "is RGB; a label map has one channel of 8 bits"),
    "LA": (png(GOOD, "LA"), "is greyscale with transparency"),
    "jpeg": (jpeg(GOOD), "is a JPEG, which does not keep numbers"),
    "text": (b"<html>not found</html>", "is no PNG"),
    "empty": (b"", "is empty"),
    "header": (png(GOOD)[:20], "is cut off"),
    "torn": (png(GOOD)[:-30], "is cut off"),
    "end": (png(GOOD)[:-12], "is cut off"),
    "class": (png(GOOD + np.uint8(1)), "label 5; 0 to 4 is right"),
    "151": (png(np.where(GOOD == 1, 151, GOOD).astype(np.uint8)), "label 151; 0 to 4 is right"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_label_map_is_named_with_what_is_wrong(kind: str, root: Path) -> None:
    content, told = BROKEN[kind]
    (root / FIRST).write_bytes(content)
    with pytest.raises(DataError) as raised:
        read_scenes(root, "val").labels(0)
    assert str(raised.value).startswith(str(root / FIRST))
    assert told in str(raised.value)


def test_no_changed_bit_of_a_label_map_changes_the_labels(root: Path) -> None:
    rng, content, true = random.Random(0), (root / FIRST).read_bytes(), read_scenes(root, "val").labels(0)
    for _ in range(200):
        changed = bytearray(content)
        changed[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        (root / FIRST).write_bytes(changed)
        with pytest.raises(DataError):
            read_scenes(root, "val").labels(0)
    (root / FIRST).write_bytes(content)
    assert (read_scenes(root, "val").labels(0) == true).all()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"GIF89a", "is no image"),
        (photograph(101)[:-40], "does not decode (image file is truncated"),
        (photograph(101)[:60], "does not decode"),
    ],
)
def test_a_broken_photograph_is_named_with_what_is_wrong(content: bytes, told: str, root: Path) -> None:
    path = root / "images/validation/ADE_val_00000001.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError) as raised:
        read_scenes(root, "val").image(0)
    assert str(raised.value).startswith(f"{path}: {told}")
    path.unlink()
    scenes = Scenes(root, "test", NAMES, Names.of(["images/validation/ADE_val_00000001.jpg"]), Names.of([]))
    with pytest.raises(DataError, match=r"ADE_val_00000001.jpg: cannot be read \(No such file"):
        scenes.image(0)


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("images/validation/ADE_val_00000002.jpg", "1 label maps have no photograph .first: .*ADE_val_00000002.png"),
        ("annotations/validation/ADE_val_00000003.png", "1 photographs have no label map .first: .*ADE_val_00000003"),
        ("annotations/validation", "annotations/validation: no such folder; expected .*/<name>.png"),
        ("images/validation", "images/validation: no such folder; expected .*/<name>.jpg"),
    ],
)
def test_what_is_missing_is_named(place: str, told: str, root: Path) -> None:
    (root / place).rename(root / "aside")
    with pytest.raises(DataError, match=told):
        read_scenes(root, "val")


def test_a_second_file_of_one_name_is_refused(root: Path) -> None:
    (root / "images/validation/ADE_val_00000001.JPG").write_bytes(photograph(1))
    with pytest.raises(DataError, match=r"1 files are there a second time \(first: .*ADE_val_00000001.jpg"):
        read_scenes(root, "val")


def test_class_names_come_from_the_list_else_from_the_benchmark(root: Path) -> None:
    assert class_names(root) == NAMES
    (root / ade20k.CLASS_LIST).write_text(class_list(ade20k_classes.names()).replace("22\t", "22 \t"))
    assert class_names(root) == ade20k_classes.names()
    (root / ade20k.CLASS_LIST).unlink()
    assert class_names(root) == ade20k_classes.names()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("Idx\tName\n1\twall\n3\tsky\n", "'3.tsky' where class 2 should stand; 2, ..., name, separated by tabs"),
        ("1\twall\n2\tsky\n", "where class 1 should stand"),
        ("Idx\tName\n1 wall\n", "where class 1 should stand"),
        ("Idx\tName\n1\twall\n2\t \n", "where class 2 should stand"),
        ("Idx\tName\n1\twall\n2\twall\n", "2 classes, 1 names; 1 to 255 different ones are right"),
        ("Idx\tName\n", "0 classes"),
        ("", "0 classes"),
        ("Idx\tName\n" + "".join(f"{n}\tn{n}\n" for n in range(1, 257)), "256 classes"),
    ],
)
def test_a_broken_class_list_is_told(content: str, told: str, root: Path) -> None:
    (root / ade20k.CLASS_LIST).write_text(content)
    with pytest.raises(DataError, match=told):
        class_names(root)


def test_manifest_moves_with_the_data_and_changes_with_it(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = manifest(root, "val")
    assert (first["samples"], first["classes"], first["hashed"]) == (3, 4, "path, size, content")
    assert manifest(write(tmp_path / "copy", contents()), "val") == first
    content = (root / FIRST).read_bytes()
    (root / FIRST).write_bytes(png(np.full((30, 142), 1, np.uint8)))
    assert manifest(root, "val")["sha256"] != first["sha256"]
    monkeypatch.setattr(ade20k, "CONTENT_LIMIT", 5)
    large = manifest(root, "val")
    assert large["hashed"] == "path, size"
    (root / FIRST).write_bytes(content[::-1])
    assert manifest(root, "val")["sha256"] != large["sha256"]
    (root / FIRST).write_bytes(content)
    same = manifest(root, "val")
    (root / FIRST).write_bytes(content[::-1])
    assert manifest(root, "val") == same  # of a large set only sizes


def look(scenes: Scenes) -> tuple[int, int]:
    return int(scenes.image(1).sum()), int(scenes.labels(1).sum())


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_read_what_the_parent_reads(start: str, root: Path) -> None:
    scenes = read_scenes(root, "val")
    with ProcessPoolExecutor(1, multiprocessing.get_context(start)) as pool:
        assert pool.submit(look, scenes).result() == look(scenes)


def test_the_whole_release_is_a_few_buffers_to_a_worker() -> None:
    places = [f"images/training/ADE_train_{number:08}.jpg" for number in range(22_210)]
    scenes = Scenes(Path("/x"), "train", NAMES, Names.of(places), Names.of(places))
    packed = pickle.dumps(scenes)
    assert len(packed) < 2 * 22_210 * (len(places[0]) + 4) + 2_000
    again = pickle.loads(packed)
    assert again.stem(22_209) == "ADE_train_00022209"
