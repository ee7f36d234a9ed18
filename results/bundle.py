"""Bundles: the evidence of tables, their specs and the report rendered from it, in one file that can be checked.

The same records, specs and program give the same bytes: no clock, no host, no compressor is in them. What a bundle
holds: `results.bundle_layout`; how it is opened again: `results.bundle_check`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

import experiments
from experiments.spec import ArchitectureTable, Table, digest, family
from results import bundle_layout as layout
from results import by_hand
from results.bundle_layout import BundleError, Member, json_text
from results.bundle_zip import write_zip
from results.crate import Title, crate_text
from results.evidence import Evidence
from results.files import writing_over
from results.inventory import data_manifests, environments, placed
from results.provenance import code, commit_day
from results.report import render
from results.specs import specs

DESCRIPTION = (
    "Records, specs, environments and data manifests of a reproduction of the paper's tables, and the report rendered "
    f"from them. {layout.MANIFEST} has the SHA-256 of every other file."
)


@dataclass(frozen=True)
class About:
    """What a bundle is of (`target`, as typed; of the `mini` tables), under which license, published on which day."""

    target: str
    mini: bool = False
    license: str = ""
    published: str = ""

    def __post_init__(self) -> None:
        if self.published and not _is_day(self.published):
            raise ValueError(f"published is {self.published!r}; a day like 2026-11-30 is right")

    @property
    def title(self) -> Title:
        """What the bundle says of itself; its day is that of the program's commit unless one was given."""
        name = f"Reproduction of Pyramidal Convolution: {'mini versions of ' if self.mini else ''}{self.target}"
        day = self.published or commit_day() or ""
        whose = "" if self.published or not day else " The date is that of the program's commit: a bundle has no clock."
        return Title(name, DESCRIPTION + whose, self.license, day)


@dataclass(frozen=True)
class Made:
    """A bundle that was written: its digest, and how many `records` and `pages` are in it."""

    digest: str
    records: int
    pages: int
    bytes: int


def make(tables: Sequence[Table | ArchitectureTable], evidence: Evidence, about: About, path: Path) -> Made:
    """Write the bundle of `tables` to `path`, at once or not at all.

    Raises BundleError for records whose names are not portable, `results.crate.NoLibrary`, OSError.
    """
    members = contents(tables, evidence, about)
    if problems := layout.name_problems(member.name for member in members):
        raise BundleError(path, problems)
    with writing_over(path) as file:
        write_zip(members, file)
        size = file.tell()
    digest_ = next(member.sha256 for member in members if member.name == layout.MANIFEST)
    return Made(digest_, _count(members, layout.RECORDS), _count(members, layout.REPORT), size)


def contents(tables: Sequence[Table | ArchitectureTable], evidence: Evidence, about: About) -> list[Member]:
    """Every member of the bundle, the manifest last."""
    kept = used(tables, evidence)
    rendered_by = program()
    members = [Member.of(f"{layout.RECORDS}{place}", evidence.root / place) for place, _ in placed(kept)]
    if kept.by_hand:
        members.append(Member.of(layout.BY_HAND, evidence.root / by_hand.FILE))
    pages = render(tables, kept, records_link=layout.RECORDS_LINK)
    members += [Member.of(f"{layout.REPORT}{name}", page) for name, page in pages.items() if isinstance(page, str)]
    made_of = {"schema": layout.SCHEMA, "target": about.target, "mini": about.mini, "rendered_by": rendered_by}
    for name, value in (
        (layout.ABOUT, made_of),
        (layout.SPECS, specs(tables)),
        (layout.ENVIRONMENTS, environments(kept)),
        (layout.DATA, data_manifests(kept)),
    ):
        members.append(Member.of(name, json_text(value)))
    crate = crate_text(about.title, rendered_by, members, kept)
    members.append(Member.of(layout.CRATE, crate))
    return [*members, Member.of(layout.MANIFEST, layout.manifest(members))]


def used(tables: Iterable[Table | ArchitectureTable], evidence: Evidence) -> Evidence:
    """The part of `evidence` that reports on `tables` rest on: every seed and protocol of their experiments and of
    those that these start from, and every count of their networks. Files that are no evidence are not in it.
    """
    tables = tuple(tables)
    names = {table.name for table in tables}
    runs = list(experiments.trainings(tables).values())
    families = {family(run) for run in runs}
    networks = {digest(run.model) for run in runs}
    return replace(
        evidence,
        records={place: record for place, record in evidence.records.items() if record.family in families},
        released={place: record for place, record in evidence.released.items() if record.family in families},
        counts={place: count for place, count in evidence.counts.items() if count.network_digest in networks},
        external={place: record for place, record in evidence.external.items() if record.family in families},
        by_hand={target: one for target, one in evidence.by_hand.items() if target.split("/")[0] in names},
        problems=(),
    )


def program() -> dict[str, Any]:
    """This program: its version and, in a checkout, its commit and what differs from that."""
    try:
        version: str | None = metadata.version("pyconv")
    except metadata.PackageNotFoundError:
        version = None
    return {"version": version, **code()}


def _count(members: Iterable[Member], folder: str) -> int:
    return sum(member.name.startswith(folder) for member in members)


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
