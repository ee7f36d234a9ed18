"""Shards are the folder: order, labels, bytes, hash and training batches; torn, damaged and resumed ones."""

import os
import pickle
import shutil
import subprocess
import sys
import tarfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch

from pyconv.data import DataError, manifest, pack, read_split
from pyconv.data.check import check
from pyconv.data.imagenet import TestSet, TrainingSet
from pyconv.data.shards import INDEX
from pyconv.data.split import Split
from pyconv.recipe import ImageNetAugment
from tests.photos import WNIDS, layout, tree

SIZE = 5_000  # bytes: a few images a shard


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return layout(tmp_path / "folders")


def contents(split: Split) -> list[tuple[str, int, bytes]]:
    return [(split.place(index), split.label(index), split.read(index)) for index in range(len(split))]


def test_shards_are_the_folder(root: Path, tmp_path: Path) -> None:
    for name in ("train", "val"):
        sharded, plain = pack.shard(root, name, tmp_path / "shards", size=SIZE), read_split(root, name)
        assert len(list((tmp_path / "shards" / name).glob("*.tar"))) > 2
        assert contents(sharded) == contents(plain)
        assert sharded.classes == plain.classes
        assert manifest(tmp_path / "shards", name) == manifest(root, name)
        with pytest.raises(ValueError, match=r"use read\(\)"):
            sharded.path(0)


def test_the_hash_by_sizes_is_the_folders_too(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["pyconv.data.manifest"], "CONTENT_LIMIT", 1)
    pack.shard(root, "val", tmp_path / "shards", size=SIZE)
    assert manifest(tmp_path / "shards", "val") == manifest(root, "val")


def test_training_and_testing_see_the_same_tensors(root: Path, tmp_path: Path) -> None:
    splits = read_split(root, "train"), pack.shard(root, "train", tmp_path / "shards", size=SIZE)
    folder, packed = (TrainingSet(split, ImageNetAugment(crop=16), seed=2) for split in splits)
    for index in range(len(folder)):
        assert torch.equal(folder[1, index][0], packed[1, index][0])
        assert folder[1, index][1] == packed[1, index][1]
    plain, sharded = (TestSet(split, 16, 20) for split in splits)
    assert all(torch.equal(plain[index][0], sharded[index][0]) for index in range(len(plain)))


def test_every_tar_reads_them(root: Path, tmp_path: Path) -> None:
    folder = (tmp_path / "shards") / "train"
    (long := root / "train" / WNIDS[1] / f"{'ü' * 70}.JPEG").write_bytes(b"name over 100 bytes")
    pack.shard(root, "train", tmp_path / "shards", size=SIZE)
    for path in sorted(folder.glob("*.tar")):
        subprocess.run(["tar", "-xf", path, "-C", tmp_path], check=True)  # not Python's
        with tarfile.open(path) as archive:
            assert all(member.isreg() and member.mtime == 0 for member in archive)
    for wnid in WNIDS:
        assert tree(tmp_path / wnid) == tree(root / "train" / wnid)
    assert (tmp_path / WNIDS[1] / long.name).exists()


def test_bytes_do_not_depend_on_workers_and_time(root: Path, tmp_path: Path) -> None:
    pack.shard(root, "val", tmp_path / "one", size=SIZE)
    pack.shard(root, "val", tmp_path / "two", size=SIZE, workers=2)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_split_of_shards_goes_to_other_processes(method: str, root: Path, tmp_path: Path) -> None:
    split = pack.shard(root, "val", tmp_path / "shards", size=SIZE)
    split.read(0)  # a file is open already
    with ProcessPoolExecutor(2, get_context(method)) as pool:
        read = list(pool.map(split.read, range(len(split))))
    assert read == [content for _, _, content in contents(read_split(root, "val"))]
    assert contents(pickle.loads(pickle.dumps(split))) == contents(split)


def test_interrupted_after_any_shard_it_goes_on(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack.shard(root, "val", tmp_path / "whole", size=SIZE)
    expected, fill, left = tree(tmp_path / "whole"), pack.publish, [0]

    def failing(path: Path, write: object) -> object:
        if not left[0]:
            path.with_name(f".{path.name}.0.tmp").write_bytes(b"torn")  # as a killed process leaves it
            raise KeyboardInterrupt
        left[0] -= 1
        return fill(path, write)  # type: ignore[arg-type]

    monkeypatch.setattr(pack, "publish", failing)
    files = len(expected)
    for allowed in range(files):
        left[0] = allowed
        target = tmp_path / f"cut-{allowed}"
        with pytest.raises(KeyboardInterrupt):
            pack.shard(root, "val", target, size=SIZE)
        with pytest.raises(DataError, match=r"no such split|tar files without their|no class folder"):
            read_split(target, "val")
        left[0] = files - allowed + 1  # enough for what is missing and one torn shard, not for sound ones
        pack.shard(root, "val", target, size=SIZE)
        assert {k: v for k, v in tree(target).items() if not k.endswith(".tmp")} == expected


def test_a_damaged_shard_is_found_and_written_anew(root: Path, tmp_path: Path) -> None:
    pack.shard(root, "val", tmp_path / "shards", size=SIZE)
    expected = tree(tmp_path / "shards")
    victim = tmp_path / "shards" / "val" / "val-000001.tar"
    victim.write_bytes(victim.read_bytes()[:1000] + b"?" + victim.read_bytes()[1001:])
    found = check(tmp_path / "shards", "val", decode=0)
    assert [finding.kind for finding in found.findings] == ["error"]
    assert "val-000001.tar: damaged" in found.findings[0].text
    victim.unlink()
    pack.shard(root, "val", tmp_path / "shards", size=SIZE)
    shutil.rmtree(tmp_path / "shards" / ".pyconv", ignore_errors=True)
    assert tree(tmp_path / "shards") == expected


@pytest.mark.parametrize("keep", [0, 1023, 2600])
def test_a_torn_shard_is_refused_when_it_is_opened(keep: int, root: Path, tmp_path: Path) -> None:
    split = pack.shard(root, "val", tmp_path / "shards", size=SIZE)
    os.truncate(tmp_path / "shards" / "val" / "val-000000.tar", keep)
    with pytest.raises(DataError, match=rf"val-000000.tar: {keep} bytes, written \d+; delete it and run `pyconv"):
        read_split(tmp_path / "shards", "val")
    with pytest.raises(DataError, match=r"val/.*JPEG: cannot be read \(the shard val-000000.tar ends"):
        split.read(int(np.flatnonzero(split.shards.numbers == 0)[-1]))  # type: ignore[union-attr]  # opened before


def test_an_index_with_any_byte_changed_is_refused_and_written_anew(root: Path, tmp_path: Path) -> None:
    pack.shard(root, "val", tmp_path / "shards", size=SIZE)
    path = tmp_path / "shards" / "val" / INDEX
    content = path.read_bytes()
    for position in np.random.default_rng(0).integers(0, len(content), 200).tolist():
        path.write_bytes(content[:position] + bytes([content[position] ^ 4]) + content[position + 1 :])
        with pytest.raises(DataError, match=r"shards.index: (damaged|not an index)"):
            read_split(tmp_path / "shards", "val")
        path.write_bytes(content[:position])
        with pytest.raises(DataError, match=r"shards.index: (damaged|not an index)"):
            read_split(tmp_path / "shards", "val")
    pack.shard(root, "val", tmp_path / "shards", size=SIZE)
    assert path.read_bytes() == content


def test_what_is_not_ours_is_not_written_over(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"holds {WNIDS[0]}, no shards of this program"):
        pack.shard(root, "val", root)
    (tmp_path / "shards" / "val").mkdir(parents=True)
    (mine := tmp_path / "shards" / "val" / "val-000000.tar").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"holds val-000000.tar, no shards"):
        pack.shard(root, "val", tmp_path / "shards")
    assert mine.read_bytes() == b"mine"
    pack.shard(root, "train", tmp_path / "shards", size=SIZE)
    with pytest.raises(DataError, match="of other images or of another size"):
        pack.shard(root, "train", tmp_path / "shards", size=SIZE // 2)
    with pytest.raises(DataError, match="these are shards already"):
        pack.shard(tmp_path / "shards", "train", tmp_path / "again")
