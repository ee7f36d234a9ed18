"""A split that carries 1.28 million images, and manifests that are kept: sizes by arithmetic, trust by tampering."""

import hashlib
import json
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyconv.data import DataError, kept, manifest, read_split
from pyconv.data.check import check
from pyconv.data.split import Names, Split
from tests.photos import WNIDS, layout

MANIFEST = sys.modules["pyconv.data.manifest"]


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root whose splits count as too large to hash content; caches go below tmp_path."""
    monkeypatch.setattr(MANIFEST, "CONTENT_LIMIT", 3)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return layout(tmp_path / "data")


@given(st.lists(st.lists(st.text(st.characters(blacklist_categories=["Cs"])))))
def test_names_are_a_list_of_strings(parts: list[list[str]]) -> None:
    flat = [name for part in parts for name in part]
    packed = Names.join([Names.of(part) for part in parts]) if parts else Names.of([])
    assert list(packed) == flat
    assert len(packed) == len(flat)
    assert [packed[index] for index in range(len(packed))] == flat


def test_names_that_are_no_utf8_survive() -> None:
    name = os.fsdecode(b"\xff\xfe.jpg")
    assert list(Names.of([name])) == [name]


def test_imagenet_takes_less_than_sixty_bytes_an_image() -> None:
    images = 1_281_167
    classes = tuple(f"n{number:08}" for number in range(1000))
    labels = np.repeat(np.arange(1000, dtype=np.int32), 1282)[:images]
    names = Names.of(f"n{label:08}_{index}.JPEG" for index, label in enumerate(labels.tolist()))
    split = Split(Path("/data"), "train", classes, labels, names)
    held = sys.getsizeof(names.text) + names.ends.nbytes + labels.nbytes
    # 4 bytes the label, 4 the end, n01234567_1234567.JPEG 22 at most.
    assert held < 31 * images
    packed = pickle.dumps(split)
    assert len(packed) < 31 * images
    last = pickle.loads(packed)
    assert last.place(images - 1) == f"train/n00000999/n00000999_{images - 1}.JPEG"
    assert last.label(images - 1) == 999


def test_a_split_reads_and_is_cut(tmp_path: Path) -> None:
    split = read_split(layout(tmp_path), "val")
    part = split.take([7, 2])
    assert [part.place(0), part.place(1)] == [split.place(7), split.place(2)]
    assert part.read(0) == split.path(7).read_bytes()
    assert list(split.by_class()) == [(WNIDS[0], 0, 4), (WNIDS[1], 4, 8), (WNIDS[2], 8, 12)]
    split.path(7).unlink()
    with pytest.raises(DataError, match=rf"val/{WNIDS[1]}/{WNIDS[1]}_3.JPEG: cannot be read \(No such file"):
        split.read(7)


def test_the_hash_is_over_sorted_lines(tmp_path: Path) -> None:
    lines = []
    for place, content in {"a/x.png": b"1", "a-b/y.png": b"22", "b/z.png": b""}.items():
        (tmp_path / "val" / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "val" / place).write_bytes(content)
        lines.append((f"val/{place}", f"{place}\t{len(content)}\t{hashlib.sha256(content).hexdigest()}\n"))
    expected = hashlib.sha256("".join(line for _, line in sorted(lines)).encode()).hexdigest()
    assert manifest(tmp_path, "val")["sha256"] == expected


def test_flat_validation_images_name_the_command_that_helps(tmp_path: Path) -> None:
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "ILSVRC2012_val_00000001.JPEG").write_bytes(b"")
    with pytest.raises(DataError, match=f"`pyconv data prepare imagenet --root {tmp_path} --labels FILE`"):
        read_split(tmp_path, "val")


def test_a_kept_manifest_is_read_without_asking_for_sizes(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = check(large, "train").manifest
    assert json.loads((large / ".pyconv" / "manifest-train.json").read_text())["manifest"] == found

    def asked(*_: Any) -> None:
        raise AssertionError("files were asked for their size")

    monkeypatch.setattr(MANIFEST, "file_facts", asked)
    assert manifest(large, "train") == found


@pytest.mark.parametrize("change", ["add", "remove", "rename", "move", "class"])
def test_a_changed_folder_is_looked_at_again(change: str, large: Path) -> None:
    before = check(large, "train").manifest
    folder = large / "train" / WNIDS[0]
    first = folder / f"{WNIDS[0]}_0.JPEG"
    if change == "add":
        (folder / "more.JPEG").write_bytes(first.read_bytes())
    elif change == "remove":
        first.unlink()
    elif change == "rename":
        first.rename(folder / "other.JPEG")
    elif change == "move":
        first.rename(large / "train" / WNIDS[1] / "other.JPEG")
    else:
        folder.rename(folder.with_name("n99999999"))
    assert manifest(large, "train") == MANIFEST.compute(read_split(large, "train"))
    assert manifest(large, "train") != before


def test_a_kept_manifest_with_any_bit_changed_is_not_trusted(large: Path) -> None:
    found = check(large, "train").manifest
    path, split = large / ".pyconv" / "manifest-train.json", read_split(large, "train")
    content = path.read_bytes()
    for position in range(0, len(content), 3):
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        assert kept.recall(split) in (None, found)
        path.write_bytes(content[:position])
        assert kept.recall(split) is None
    forged = json.loads(content)
    forged["manifest"]["sha256"] = "0" * 64
    for other in (json.dumps(forged), "[]", "{}", "null", "7"):
        path.write_text(other)
        assert manifest(large, "train") == found


def test_a_small_set_is_always_looked_at(tmp_path: Path) -> None:
    root = layout(tmp_path)
    before = check(root, "val").manifest
    victim = root / "val" / WNIDS[0] / f"{WNIDS[0]}_0.JPEG"
    victim.write_bytes(victim.read_bytes() + b"x")  # in place: no folder's time changes
    assert manifest(root, "val") != before


def test_where_the_root_cannot_be_written_the_cache_is(large: Path, tmp_path: Path) -> None:
    (large / ".pyconv").write_text("in the way")
    found = check(large, "train")
    assert found.kept is not None
    assert tmp_path / "cache" in found.kept.parents
    assert kept.recall(read_split(large, "train")) == found.manifest


def test_what_is_found_wrong_is_no_longer_trusted(large: Path) -> None:
    check(large, "train")
    os.truncate(large / "train" / WNIDS[0] / f"{WNIDS[0]}_0.JPEG", 0)
    wrong = check(large, "train")
    assert wrong.kept is None
    assert kept.recall(read_split(large, "train")) is None
