"""Records of several machines into one folder: what is new is copied to the byte, nothing that stands is touched.

Of one measurement (`results.records.identity`) a folder holds one record. Each file of the sources comes out as one of

    copied          it was not there yet; its bytes are now
    already there   the folder has this record, or the same integers of the same network
    conflict        the folder has another record of this measurement: told with what differs, left alone
    invalid         no evidence, or not a file of its source: told, never copied

So does the file of printed numbers that a reader entered (`results.by_hand`), as a whole: of two that say different
things a person has to make one.

Sources are taken in their order, so of two that contradict each other the first one's record is kept and the second is
told. A merge that was interrupted left whole records only; the same command again does the rest.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from results import by_hand
from results.evidence import Evidence
from results.files import AlreadyRecorded, safe_name, write_once
from results.origins import commit, contradictions, one_line, other_answer
from results.records import (
    AnyRecord,
    CountRecord,
    ExternalRecord,
    Record,
    RecordError,
    candidates,
    encode,
    evidence_in,
    identity,
    write_text,
)

What = Literal["copied", "already there", "conflict", "invalid"]
WHATS: tuple[What, ...] = ("copied", "already there", "conflict", "invalid")


class MergeError(ValueError):
    """These folders cannot be merged: which, why, and what would be right."""


@dataclass(frozen=True)
class Step:
    """What became of the file `place` of `source`; `into`: where its measurement's record stands in the target."""

    what: What
    source: str
    place: str
    into: str = ""
    told: str = ""


@dataclass(frozen=True)
class Merge:
    """`problems`: files of the target that are no evidence; they were not touched."""

    steps: tuple[Step, ...]
    problems: tuple[str, ...]
    dry_run: bool

    @property
    def ok(self) -> bool:
        """Everything in the sources stands in the target."""
        return all(step.what in ("copied", "already there") for step in self.steps)

    @property
    def summary(self) -> dict[What, int]:
        """Files by what became of them."""
        return {what: sum(step.what == what for step in self.steps) for what in WHATS}

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`."""
        steps = [asdict(step) for step in self.steps]
        return {"dry_run": self.dry_run, "files": steps, "problems": list(self.problems), "summary": self.summary}


def merge(sources: Sequence[Path], into: Path, *, dry_run: bool = False) -> Merge:
    """Copy the valid records of `sources` into the folder `into`, which is made if needed; `dry_run`: tell it only.

    Raises MergeError for folders that cannot be merged, OSError when the disk refuses: only whole records are in `into`
    then, and the next merge copies the rest.
    """
    for source in sources:
        _check_folders(source, into)
    target = _Target(into, dry_run)
    steps = tuple(step for source in sources for step in _steps(source, target))
    return Merge(steps, target.problems, dry_run)


class _Target:
    """The folder that is merged into: what stands there, and what has been copied since.

    `_places`: measurement -> its place. `_files`: place -> the file with its record, in a dry run that of the source.
    `_folders`: family -> the folder of its seeds, whatever its label.
    """

    def __init__(self, root: Path, dry_run: bool) -> None:
        standing = Evidence.load(root)
        self._places = {identity(record): place for place, record in standing.all()}
        self._files = {place: root / place for place in self._places.values()}
        self._folders: dict[str, str] = {}
        for folder in sorted(root.glob("*-*/")):
            self._folders.setdefault(folder.name.rpartition("-")[2], folder.name)
        self._by_hand = standing.by_hand if os.path.lexists(root / by_hand.FILE) else None
        self._root, self._dry_run = root, dry_run
        self.problems = standing.problems

    def take(self, record: AnyRecord, text: str, path: Path) -> tuple[What, str, str]:
        """Copy the record of the file `path` if its measurement is new; what became of it, where, what to tell."""
        measured = identity(record)
        place = self._places.get(measured) or self._place(record, path)
        told = ""
        if place not in self._files:
            if os.path.lexists(self._root / place):
                told = "an invalid file stood in its place and is moved aside"
            try:
                if not self._dry_run:
                    write_text(text, self._root / place)
            except AlreadyRecorded:  # by another process, after the folder was read
                self._files[place] = self._root / place
            else:
                self._places[measured], self._files[place] = place, path if self._dry_run else self._root / place
                return "copied", place, told
        what, told = _against(self._files[place], record, text)
        return what, place, told

    def take_by_hand(self, text: str, source: Path) -> tuple[What, str]:
        """Copy the printed numbers that were entered in `source`, its file's `text`, where none are; what to tell."""
        offered, faults = by_hand.read_by_hand(source)
        if faults:
            return "invalid", one_line(faults[0].removeprefix(f"{by_hand.FILE}: "))
        if self._by_hand is None:
            try:
                if not self._dry_run:
                    write_once(self._root / by_hand.FILE, text, lambda _: None)
            except AlreadyRecorded:
                return "conflict", "another process has written one meanwhile: merge again"
            self._by_hand = offered
            return "copied", ""
        cells = sorted({*offered, *self._by_hand})
        differing = [cell for cell in cells if offered.get(cell) != self._by_hand.get(cell)]
        if not differing:
            return "already there", ""
        cells_told = "1 cell differs" if len(differing) == 1 else f"{len(differing)} cells differ"
        return "conflict", f"{cells_told}, {differing[0]} among them: make one file of both"

    def _place(self, record: AnyRecord, path: Path) -> str:
        """Where the record belongs: under its label, made a plain name, unless the family has a folder."""
        ending = "-".join(("", *identity(record))) if isinstance(record, CountRecord) else f"-{record.family}"
        if isinstance(record, CountRecord):
            return f"counts/{safe_name(path.stem.removesuffix(ending))}{ending}.json"
        label = safe_name(path.parts[-3].removesuffix(ending))
        return f"{self._folders.setdefault(record.family, label + ending)}/{path.parts[-2]}/{path.name}"


def _steps(source: Path, target: _Target) -> Iterator[Step]:
    name = one_line(str(source))
    for path in candidates(source):
        place = one_line(path.relative_to(source).as_posix())
        try:
            text = _text(path, source)
            record = evidence_in(text, path)
        except RecordError as error:
            yield Step("invalid", name, place, told=one_line(str(error).removeprefix(f"{path}: ")))
        else:
            what, into, told = target.take(record, text, path)
            yield Step(what, name, place, into, told)
    if os.path.lexists(path := source / by_hand.FILE):
        try:
            what, told = target.take_by_hand(_text(path, source), source)
        except RecordError as error:
            what, told = "invalid", one_line(str(error).removeprefix(f"{path}: "))
        yield Step(what, name, by_hand.FILE, by_hand.FILE if what != "invalid" else "", told)
    for folder, told in _unread(source):
        yield Step("invalid", name, one_line(folder.relative_to(source).as_posix()), told=told)


def _against(file: Path, offered: AnyRecord, text: str) -> tuple[What, str]:
    """What the record `offered`, read from `text`, is beside the one in `file`, which stands for its measurement."""
    try:
        if (kept := _decoded(file)) == text:
            return "already there", ""
        standing = evidence_in(kept, file)
    except RecordError as error:
        return "conflict", f"what stands there is no evidence any more: {one_line(str(error))}"
    if encode(standing) == encode(offered):
        return "already there", ""
    if identity(standing) != identity(offered):
        return "conflict", "another test of the same name stands there: give the protocols keys of their own"
    if isinstance(standing, CountRecord) and isinstance(offered, CountRecord):
        same = (standing.params, standing.flops, standing.stages) == (offered.params, offered.flops, offered.stages)
        told = f"counted at commit {commit(standing.code)} here, {commit(offered.code)} there"
        return ("already there", f"the same counts, {told}") if same else ("conflict", f"other counts, {told}")
    if isinstance(standing, ExternalRecord) and isinstance(offered, ExternalRecord):
        return "conflict", other_answer(standing, offered)
    assert isinstance(standing, Record), "one measurement is of one kind"
    assert isinstance(offered, Record), "one measurement is of one kind"
    return "conflict", "; ".join(contradictions(standing, offered))


def _text(path: Path, source: Path) -> str:
    """The file's text to the byte; RecordError for what is not text, not a file, or not inside `source`."""
    if path.suffix == ".invalid":
        raise RecordError(f"{path}: was found torn or invalid and moved aside; look at it and delete it")
    if not path.resolve().is_relative_to(source.resolve()):
        raise RecordError(f"{path}: a link that leads out of the folder: copy the file it means into the folder")
    if not path.is_file():
        raise RecordError(f"{path}: not a file")
    return _decoded(path)


def _decoded(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise RecordError(f"{path}: not UTF-8 text (byte {error.start}): torn or not a record") from None
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from error


def _unread(source: Path) -> list[tuple[Path, str]]:
    """The folders in `source` whose files were not looked at, and why."""
    found: list[tuple[Path, str]] = []

    def refused(error: OSError) -> None:
        found.append((Path(error.filename), f"the folder cannot be read: {error.strerror}"))

    for above, names, _ in os.walk(source, onerror=refused):
        for link in (Path(above, name) for name in sorted(names)):
            if link.is_symlink() and not link.resolve().is_relative_to(source.resolve()):
                found.append((link, "a link to a folder is not followed: give the folder itself as a source"))
    return sorted(found)


def _check_folders(source: Path, into: Path) -> None:
    if not source.is_dir():
        raise MergeError(f"{source} is {'not a folder' if source.exists() else 'not there'}; a records folder is right")
    if into.exists() and not into.is_dir():
        raise MergeError(f"{into} is not a folder; records are merged into a folder")
    ours, theirs = source.resolve(), into.resolve()
    if ours == theirs:
        raise MergeError(f"{source} is the folder to merge into: give the other folders as sources")
    if theirs.is_relative_to(ours) or ours.is_relative_to(theirs):
        raise MergeError(
            f"{source} and {into} lie one inside the other: records would be read twice; use folders apart"
        )
