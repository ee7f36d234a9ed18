"""Kinetics made ready: every video looked at and indexed where it stands, or first re-encoded into another folder.

Nothing of the user's is changed; interrupted at any byte and called again it goes on. Re-encoded videos stand in class
folders, `root/<split>/<class>/<name>.mp4`, whatever the layout of the source.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from pyconv.data.files import alone
from pyconv.data.kinetics_index import Broken, Index, shown, summary, write_index
from pyconv.data.kinetics_listing import NO_FILE, Listing, described, listed, stands
from pyconv.data.listing import Told, untold
from pyconv.data.reencode import Copy, Encoding, program, reencode
from pyconv.data.split import DataError
from pyconv.files import publish

SPLITS = ("train", "val")
_ENCODING = ".encoding.json"
_NAMED = 10  # videos that could not be re-encoded


@dataclass(frozen=True)
class Reencoded:
    """Where videos are taken from, and how they are made small."""

    source: Path
    encoding: Encoding


def prepare(
    root: Path,
    reencoded: Reencoded | None = None,
    *,
    workers: int = 1,
    broken: Broken = "skip",
    told: Told = untold,
) -> dict[str, str]:
    """Index the splits in `root`, `reencoded` there first; for each that was there, what was done, in a sentence.

    `broken`: videos that cannot be used are skipped, or refused. Raises `DataError` where there is no split, before
    anything is written.
    """
    source = root if reencoded is None else reencoded.source
    splits = [split for split in SPLITS if stands(source, split)]
    if not splits:
        state = "holds no split" if source.is_dir() else "does not exist"
        raise DataError(f"{source}: {state}; expected {' and '.join(described(split) for split in SPLITS)}")
    failed: dict[str, list[tuple[Path, str]]] = {}
    if reencoded is not None:
        listings = [listed(source, split) for split in splits]
        failed = _reencoded(root, listings, reencoded.encoding, workers, broken, told)
    done = {split: write_index(root, split, workers=workers, broken=broken, told=told) for split in splits}
    return {split: _sentence(index, failed.get(split, [])) for split, index in done.items()}


def copies(listing: Listing, root: Path) -> list[Copy]:
    """Where each video of a split goes: its class's folder, its own name, told apart where two are the same."""
    found, taken = [], set()
    for index, place in enumerate(listing.places):
        label = listing.classes[listing.labels[index]]
        if label.startswith(".") or "/" in label:
            raise DataError(f"{listing.root}: the class {label!r} can be no folder; name it otherwise in the list")
        name = PurePosixPath(place).stem
        if (label, name) in taken or name.startswith("."):
            name = f"{name.lstrip('.')}-{hashlib.sha256(place.encode(errors='surrogateescape')).hexdigest()[:8]}"
        taken.add((label, name))
        if listing.sizes[index] != NO_FILE:
            found.append(Copy(listing.root / place, root / listing.name / label / f"{name}.mp4"))
    return found


def _reencoded(
    root: Path, listings: Sequence[Listing], encoding: Encoding, workers: int, broken: Broken, told: Told
) -> dict[str, list[tuple[Path, str]]]:
    """By split, the videos that could not be made small, each with the reason."""
    program()
    _see_that_they_differ(root, listings)
    plans = {listing.name: copies(listing, root) for listing in listings}
    root.mkdir(parents=True, exist_ok=True)
    failed = {}
    with alone(root):
        _agree(root, encoding)
        for split, plan in plans.items():
            failed[split] = reencode(plan, encoding, workers=workers, told=told, what=f"{split}, re-encoding")
            if len(failed[split]) == len(plan):
                raise DataError(f"{root}: none of {split} could be re-encoded; {_failures(failed[split])}")
            if failed[split] and broken == "refuse":
                raise DataError(f"{root}: {_failures(failed[split])}; replace them, or --broken skip leaves them out")
    return failed


def _see_that_they_differ(root: Path, listings: Sequence[Listing]) -> None:
    for listing in listings:
        if root.resolve() == listing.root.resolve():
            raise DataError(f"{root}: the videos stand here themselves; give another folder for the small ones")


def _agree(root: Path, encoding: Encoding) -> None:
    """Refuse to go on in a folder that was begun with another encoding, or that holds other videos."""
    file, content = root / _ENCODING, json.dumps(asdict(encoding)) + "\n"
    if not file.exists():
        if begun := [split for split in SPLITS if stands(root, split)]:
            raise DataError(f"{root}: holds {begun[0]} already, not re-encoded by this program; give another folder")
        publish(file, lambda target: target.write(content.encode()))
    elif file.read_text() != content:
        raise DataError(f"{root}: was begun with {file.read_text().strip()}; give the same, or another folder")


def _sentence(index: Index, failed: Sequence[tuple[Path, str]]) -> str:
    skipped = len(index.entries) - index.usable
    without = f", {skipped:,} skipped: {summary(index.entries)}" if skipped else ""
    unmade = f"; {_failures(failed)}" if failed else ""
    return f"{index.usable:,} videos{without}; {index.path} is up to date{unmade}"


def _failures(failed: Sequence[tuple[Path, str]]) -> str:
    named = ", ".join(f"{shown(str(source))} ({reason})" for source, reason in failed[:_NAMED])
    more = f" and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
    return f"{len(failed):,} could not be re-encoded: {named}{more}"
