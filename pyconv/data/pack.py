"""A split's files packed into ordinary tar shards, in their order: what a network disk reads in large pieces.

Interrupted at any byte and called again it goes on: a shard is kept when its note (`.parts/`, written after it) fits
the files that it is made of, and its size and SHA-256 are still those that were written.
"""

import hashlib
import json
import multiprocessing
import tarfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pyconv.data.files import alone, visible
from pyconv.data.listing import Told, file_facts, read_split, untold
from pyconv.data.shards import INDEX, index_key, open_shards, write_index
from pyconv.data.split import DataError, Shards, Split
from pyconv.files import publish

SHARD_SIZE = 10**9
"""Bytes: ImageNet's training images make 140 shards."""
MOST_SHARDS = 65_535
_BLOCK = tarfile.BLOCKSIZE
_PARTS = ".parts"


@dataclass(frozen=True)
class Part:
    """A shard to be written at `path`: these samples, sized `sizes`. `key`: of their names, sizes and times."""

    path: Path
    samples: Split
    sizes: tuple[int, ...]
    key: str

    @property
    def note(self) -> Path:
        """What is known of the shard once it is complete."""
        return self.path.parent / _PARTS / f"{self.path.stem}.json"


def shard(
    root: Path, name: str, output: Path, *, size: int = SHARD_SIZE, workers: int = 1, told: Told = untold
) -> Split:
    """Write the shards and the index of `root/name` to `output/name`; the split that reads them.

    `size`: bytes of a shard, about. Raises `DataError` for a folder that holds something else, and for files that
    cannot be read or change meanwhile.
    """
    output = Path(output)
    split, folder = read_split(root, name), output / name
    if split.shards is not None:
        raise DataError(f"{root / name}: these are shards already; give the folder of single images with --root")
    facts = file_facts(split, told)
    parts = _planned(split, facts, folder, size)
    key = hashlib.sha256("".join(part.key for part in parts).encode()).hexdigest()
    _refuse_other(folder, key)
    (folder / _PARTS).mkdir(parents=True, exist_ok=True)
    with alone(folder):
        for left in folder.glob(".*.tmp"):
            left.unlink()
        if (stands := _opened(output, name, key)) is not None:
            return stands
        packed = _sharded(split, facts[:, 0], parts, _written(parts, workers, told))
        publish(folder / INDEX, lambda file: write_index(file, packed, key))
    return open_shards(output, name)


def _planned(split: Split, facts: np.ndarray, folder: Path, size: int) -> list[Part]:
    """The samples cut, in their order, into shards of at most `size` bytes or one sample."""
    blocks = _BLOCK * (1 + -(-facts[:, 0] // _BLOCK))
    cuts, filled = [0], 0
    for index, length in enumerate(blocks.tolist()):
        if filled and filled + length > size:
            cuts.append(index)
            filled = 0
        filled += length
    if len(cuts) > MOST_SHARDS:
        raise DataError(f"{folder}: {len(cuts)} shards of {size} bytes are too many; give a --size above this one")
    bounds = zip(cuts, [*cuts[1:], len(split)], strict=True)
    return [_part(split, facts, folder / f"{split.name}-{n:06}.tar", *bound) for n, bound in enumerate(bounds)]


def _part(split: Split, facts: np.ndarray, path: Path, start: int, stop: int) -> Part:
    samples = split.take(range(start, stop))
    total = hashlib.sha256(facts[start:stop].astype("<i8").tobytes() + samples.files.text)
    total.update(json.dumps([split.classes[label] for label in np.unique(samples.labels)]).encode())
    total.update(samples.labels.tobytes() + samples.files.ends.tobytes())
    return Part(path, samples, tuple(facts[start:stop, 0].tolist()), total.hexdigest())


def _refuse_other(folder: Path, key: str) -> None:
    """What stands in the folder must be these shards or a part of them."""
    if not folder.is_dir() or not (found := visible(folder)):
        return
    if not (folder / _PARTS).is_dir():
        raise DataError(f"{folder}: holds {found[0].name}, no shards of this program; give an empty folder as --output")
    if _known_key(folder) not in (None, key):
        raise DataError(
            f"{folder}: shards of other images or of another size stand here; give another --output, or delete them"
        )


def _known_key(folder: Path) -> str | None:
    """What the index was made from; a damaged one says nothing and is written anew."""
    try:
        return index_key(folder)
    except DataError:
        return None


def _opened(output: Path, name: str, key: str) -> Split | None:
    """The split of complete shards."""
    try:
        return open_shards(output, name) if index_key(output / name) == key else None
    except DataError:
        return None


def _written(parts: list[Part], workers: int, told: Told) -> list[dict[str, Any]]:
    """The notes of all shards, in their order."""
    notes: list[dict[str, Any]] = [{}] * len(parts)
    for done, (number, note) in enumerate(_notes(parts, workers), start=1):
        notes[number] = note
        told(done, len(parts), parts[number].path.name)
    return notes


def _notes(parts: list[Part], workers: int) -> Iterator[tuple[int, dict[str, Any]]]:
    if workers <= 1:
        yield from ((number, _write(part)) for number, part in enumerate(parts))
        return
    with ProcessPoolExecutor(min(workers, len(parts)), multiprocessing.get_context("spawn")) as pool:
        waiting = {pool.submit(_write, part): number for number, part in enumerate(parts)}
        try:
            yield from ((waiting[ready], ready.result()) for ready in as_completed(waiting))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _write(part: Part) -> dict[str, Any]:
    """One shard, unless it stands there; its note."""
    if known := _sound(part):
        return known
    digest, offsets = publish(part.path, lambda file: _fill(file, part))
    note = {"key": part.key, "size": part.path.stat().st_size, "sha256": digest, "offsets": offsets}
    publish(part.note, lambda file: file.write(json.dumps(note).encode()))
    return note


def _sound(part: Part) -> dict[str, Any] | None:
    try:
        note = json.loads(part.note.read_bytes())
        if note["key"] != part.key or note["size"] != part.path.stat().st_size:
            return None
        with part.path.open("rb") as file:
            return note if hashlib.file_digest(file, "sha256").hexdigest() == note["sha256"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _fill(file: BinaryIO, part: Part) -> tuple[str, list[int]]:
    """The tar's bytes, a function of names and contents alone; their SHA-256, and where each content begins."""
    total, offsets, position = hashlib.sha256(), [], 0
    for index, size in enumerate(part.sizes):
        place, content = part.samples.place(index), part.samples.read(index)
        if len(content) != size:
            raise DataError(
                f"{part.samples.root / place}: changed while it was packed; run it again when nobody writes"
            )
        member = tarfile.TarInfo(place.partition("/")[2])
        member.size = size
        header = member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        offsets.append(position + len(header))
        whole = header + content + bytes(-size % _BLOCK)
        position += len(whole)
        total.update(whole)
        file.write(whole)
    total.update(bytes(2 * _BLOCK))
    file.write(bytes(2 * _BLOCK))
    return total.hexdigest(), offsets


def _sharded(split: Split, sizes: np.ndarray, parts: list[Part], notes: list[dict[str, Any]]) -> Split:
    shards = Shards(
        files=tuple(part.path for part in parts),
        stamps=tuple(0 for _ in parts),
        digests=tuple(note["sha256"] for note in notes),
        numbers=np.repeat(np.arange(len(parts), dtype=np.uint16), [len(part.sizes) for part in parts]),
        offsets=np.concatenate([note["offsets"] for note in notes]).astype(np.int64),
        sizes=sizes.astype(np.uint32),
    )
    return Split(split.root, split.name, split.classes, split.labels, split.files, shards=shards)
