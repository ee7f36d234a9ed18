"""What a bundle holds, under which names, and its manifest.

    bundle.json              target, and the program that made it
    specs.json               every row: resolved spec, fingerprint, protocols, published numbers   (results.specs)
    environments.json        software and machines of the records                                  (results.origins)
    data-manifests.json      data sets of the records: sizes and checksums                         (results.origins)
    records/**.json          the records, byte for byte
    records/published.toml   printed numbers that were entered by hand, where there are such   (results.by_hand)
    report/*                 the pages rendered from them
    ro-crate-metadata.json   all of this for programs that know RO-Crate                           (results.crate)
    manifest-sha256.txt      the SHA-256 of every other member, as `sha256sum -c` reads it

The bundle's digest is the SHA-256 of its manifest, and so of every name and byte in it.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from results import by_hand

SCHEMA = 1
ABOUT, SPECS, ENVIRONMENTS, DATA = "bundle.json", "specs.json", "environments.json", "data-manifests.json"
CRATE, MANIFEST = "ro-crate-metadata.json", "manifest-sha256.txt"
FILES = (ABOUT, SPECS, ENVIRONMENTS, DATA, CRATE, MANIFEST)
RECORDS, REPORT = "records/", "report/"
BY_HAND = f"{RECORDS}{by_hand.FILE}"
RECORDS_LINK = f"../{RECORDS}"  # from a page of the report

MAX_MEMBERS = 200_000
MAX_MEMBER_BYTES = 1 << 30
MAX_BYTES = 8 << 30
# Letters that every file system and every zip program keeps as they are; no part is hidden, "." or "..".
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_LONGEST = 240
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")
_CHUNK = 1 << 20


class BundleError(ValueError):
    """Not a bundle, or not as it was made; `problems`: what is wrong, a sentence each."""

    def __init__(self, path: Path, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(f"{path}: " + "\n  ".join(self.problems))


@dataclass(frozen=True)
class Member:
    """A file of a bundle: `name`, its `size` in bytes and SHA-256, and where the bytes are."""

    name: str
    size: int
    sha256: str
    source: bytes | Path

    @classmethod
    def of(cls, name: str, source: str | bytes | Path) -> "Member":
        """The member `name` with the bytes of `source`: text, bytes, or the file at a path."""
        content = source.encode() if isinstance(source, str) else source
        hashed, size = hashlib.sha256(), 0
        for chunk in _chunks(content):
            hashed.update(chunk)
            size += len(chunk)
        return cls(name, size, hashed.hexdigest(), content)

    def chunks(self) -> Iterator[bytes]:
        """The bytes, in pieces. Raises BundleError at the end when they are not those that were hashed."""
        hashed = hashlib.sha256()
        for chunk in _chunks(self.source):
            hashed.update(chunk)
            yield chunk
        if hashed.hexdigest() != self.sha256:
            raise BundleError(Path(self.name), ["the file was changed while the bundle was being written: try again"])


def _chunks(source: bytes | Path) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
        return
    with source.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def json_text(value: Any) -> str:
    """JSON with one value a line: the same bytes for the same value."""
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def name_problems(names: Iterable[str]) -> list[str]:
    """What is wrong with the names of members: of no bundle, unsafe to unpack, or twice on some file system."""
    names = list(names)
    problems = [problem for name in dict.fromkeys(names) if (problem := _name_problem(name))]
    counted = Counter(names)
    problems += [f"{shown(name)}: {times} members of this name" for name, times in counted.items() if times > 1]
    folded = Counter(name.casefold() for name in counted)
    problems += [f"{shown(n)}: the same as another where case is ignored" for n in counted if folded[n.casefold()] > 1]
    folders = {folder for name in counted for folder in accumulate(name.split("/")[:-1], "{}/{}".format)}
    return problems + [f"{shown(name)}: a file and a folder" for name in counted if name in folders]


def _name_problem(name: str) -> str | None:
    if not _is_name(name):
        return f"{shown(name)}: no name of a member (relative, of letters, digits, '.', '_', '-', no part hidden)"
    if name in (*FILES, BY_HAND) or name.startswith(REPORT) or (name.startswith(RECORDS) and name.endswith(".json")):
        return None
    return f"{shown(name)}: no part of a bundle"


def shown(name: str) -> str:
    """A name as text for a terminal, whatever is in it."""
    return name if _is_name(name) else ascii(name[:80])


def _is_name(name: str) -> bool:
    return len(name) <= _LONGEST and _NAME.fullmatch(name) is not None


def manifest(members: Iterable[Member]) -> str:
    """A line `<SHA-256>  <name>` a member, by name."""
    return _manifest({member.name: member.sha256 for member in members})


def read_manifest(content: bytes) -> dict[str, str]:
    """Name -> SHA-256. Raises ValueError for anything that `manifest` would not have written."""
    text = content.decode("ascii", errors="replace")
    found = {match[2]: match[1] for line in text.splitlines() if (match := _LINE.fullmatch(line))}
    if _manifest(found).encode() != content:
        raise ValueError(f"{MANIFEST}: not as it was written (a line '<sha256>  <name>' a member, sorted, each once)")
    return found


def _manifest(checksums: Mapping[str, str]) -> str:
    return "".join(f"{checksum}  {name}\n" for name, checksum in sorted(checksums.items()))
