"""A split of 1.28 million images in about 30 bytes each: which stand where, with which class number.

Class numbers and the ends of file names are arrays, the names one run of bytes: a forked worker does not copy them by
counting references, a spawned one gets a few buffers. No torch here.
"""

import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

OPEN_SHARDS = 128
"""So many shards are open at once in a process: far below the usual limit of 1,024 files."""


class DataError(ValueError):
    """A data set that cannot be used: names the file or folder and what would be right."""


@dataclass(frozen=True, eq=False)
class Names:
    """Strings as one run of bytes, in the file system's encoding: name i ends before `ends[i]` (uint32)."""

    text: bytes
    ends: np.ndarray

    @classmethod
    def of(cls, names: Iterable[str]) -> "Names":
        """Packed, in their order."""
        text, ends = bytearray(), array("I")
        for name in names:
            text += os.fsencode(name)
            ends.append(len(text))
        return cls(bytes(text), np.array(ends, np.uint32))

    @classmethod
    def join(cls, parts: Sequence["Names"]) -> "Names":
        """The names of all parts, one part after the other."""
        starts = np.cumsum([0, *(len(part.text) for part in parts)])
        ends = [part.ends + np.uint32(start) for part, start in zip(parts, starts, strict=False)]
        return cls(b"".join(part.text for part in parts), np.concatenate(ends))

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> str:
        start = int(self.ends[index - 1]) if index else 0
        return os.fsdecode(self.text[start : int(self.ends[index])])

    def __iter__(self) -> Iterator[str]:
        start = 0
        for end in self.ends.tolist():
            yield os.fsdecode(self.text[start:end])
            start = end


@dataclass(frozen=True, eq=False)
class Shards:
    """Where contents stand: sample i has `sizes[i]` bytes from `offsets[i]` on in `files[numbers[i]]`.

    `stamps`: the files' times of change in ns when they were opened, `digests`: the SHA-256 they were written with.
    """

    files: tuple[Path, ...]
    stamps: tuple[int, ...]
    digests: tuple[str, ...]
    numbers: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray

    def read(self, index: int) -> bytes:
        """The bytes of sample `index`: one read, at a place of its own, so that processes can share a file."""
        number, size = int(self.numbers[index]), int(self.sizes[index])
        shard = _opened(self.files[number], self.stamps[number])
        content = os.pread(shard.handle, size, int(self.offsets[index]))
        if len(content) != size:
            raise OSError(f"the shard {self.files[number].name} ends within it")
        return content


@dataclass(frozen=True, eq=False)
class Split:
    """The images of `root/name`, by class and file name; `labels` (int32) number the classes.

    `files`: the name of each in its class folder. `skipped`: files that are no images. `shards`: where the contents
    stand when they are not files of their own.
    """

    root: Path
    name: str
    classes: tuple[str, ...]
    labels: np.ndarray
    files: Names
    skipped: tuple[str, ...] = ()
    shards: Shards | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def label(self, index: int) -> int:
        """The class number of sample `index`."""
        return int(self.labels[index])

    def place(self, index: int) -> str:
        """`<split>/<class>/<image>`, below the root."""
        return f"{self.name}/{self.classes[self.labels[index]]}/{self.files[index]}"

    def path(self, index: int) -> Path:
        """The file of sample `index`, in a split that is not sharded."""
        if self.shards is not None:
            raise ValueError(f"{self.root / self.place(index)}: in a shard, no file of its own; use read()")
        return self.root / self.place(index)

    def read(self, index: int) -> bytes:
        """The file's bytes. Raises `DataError` naming it when they cannot be read."""
        try:
            return self.path(index).read_bytes() if self.shards is None else self.shards.read(index)
        except OSError as error:
            reason = error.strerror or str(error)
            raise DataError(f"{self.root / self.place(index)}: cannot be read ({reason}); is it complete?") from error

    def take(self, indices: Iterable[int]) -> "Split":
        """Only these samples, in this order: what a worker needs for its part."""
        chosen = np.fromiter(indices, np.int64)
        files = Names.of(self.files[index] for index in chosen.tolist())
        shards = self.shards and replace(
            self.shards,
            numbers=self.shards.numbers[chosen],
            offsets=self.shards.offsets[chosen],
            sizes=self.shards.sizes[chosen],
        )
        return replace(self, labels=self.labels[chosen], files=files, shards=shards)

    def by_class(self) -> Iterator[tuple[str, int, int]]:
        """(class, first sample, one past its last) in the order of the classes, as they are listed."""
        ends = np.searchsorted(self.labels, np.arange(len(self.classes)), side="right").tolist()
        yield from zip(self.classes, [0, *ends[:-1]], ends, strict=True)


class _Opened:
    """A file's handle, closed when nobody reads from it any more: other threads may while it leaves the cache."""

    def __init__(self, path: Path) -> None:
        self.handle = -1
        self.handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if self.handle >= 0:
            os.close(self.handle)


@lru_cache(OPEN_SHARDS)
def _opened(path: Path, stamp: int) -> _Opened:  # noqa: ARG001 - a file that replaces another is opened anew
    return _Opened(path)
