"""Reports: every format of the same cells, the same bytes for the same records on any machine."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

from experiments.spec import ArchitectureTable, Table
from results.evidence import Evidence
from results.files import write_over
from results.gather import Report, gather
from results.running import Live

Page = str | bytes
# Format -> its printer, imported when it is asked for: the pages of a report by their file names.
FORMATS: dict[str, str] = {
    "md": "results.printers.markdown:pages",
    "latex": "results.printers.latex:pages",
    "json": "results.printers.twins:json_pages",
    "html": "results.printers.page:pages",
}
# For other programs: written when they are asked for, not with every report.
EXPORTS: dict[str, str] = {
    "csv": "results.printers.twins:csv_pages",
    "parquet": "results.printers.twins:parquet_pages",
    "model-index": "results.printers.model_index:pages",
    "metafile": "results.printers.metafile:pages",
    "junit": "results.printers.junit_view:pages",
}
WRITING = 8  # pages at once: a disk syncs several as fast as one
BESIDE_OTHERS = ("preamble.tex", "macros.tex", "tables.tex")  # pages that say nothing without the folder they are in
REFRESH = "pyconv report all --format md,latex,json --output results/tables"


def render(
    tables: Iterable[Table | ArchitectureTable],
    evidence: Evidence,
    formats: Sequence[str] = tuple(FORMATS),
    records_link: str = "",
    live: Live | None = None,
) -> dict[str, Page]:
    """Every page by its file name; text, or bytes where the format is binary. ValueError for an unknown format.

    `records_link`: what stands before a record's place in links to it; "" for pages without such links.
    `live`: what is under way, for the formats that show it.
    """
    if unknown := [name for name in formats if name not in FORMATS | EXPORTS]:
        raise ValueError(f"format {unknown[0]!r} is none of {', '.join(FORMATS | EXPORTS)}")
    report = gather(tables, evidence, records_link, live)
    pages: dict[str, Page] = {}
    for name in formats:
        pages |= _printer(name)(report)
    return pages


def write_reports(
    tables: Iterable[Table | ArchitectureTable],
    evidence: Evidence,
    out_dir: Path,
    formats: Sequence[str] = tuple(FORMATS),
    live: Live | None = None,
) -> list[Path]:
    """Write the pages of `render` into `out_dir`; returns their paths."""
    return write_pages(render(tables, evidence, formats, link_to(evidence.root, out_dir), live), out_dir)


def write_pages(pages: Mapping[str, Page], out_dir: Path) -> list[Path]:
    """Write `pages` into `out_dir`, each at once or not at all; returns their paths."""
    paths = [out_dir / name for name in pages]
    with ThreadPoolExecutor(WRITING) as pool:
        list(pool.map(write_over, paths, pages.values()))  # raises what the first one raised
    return paths


def link_to(records: Path, out_dir: Path) -> str:
    """The relative link from a page in `out_dir` to the folder `records`: "../records/"."""
    return Path(os.path.relpath(records.absolute(), out_dir.absolute())).as_posix() + "/"


def stale(
    tables: Iterable[Table | ArchitectureTable],
    evidence: Evidence,
    out_dir: Path,
    formats: Sequence[str] = ("md", "latex", "json"),
) -> list[str]:
    """How the pages in `out_dir` differ from a fresh rendering, a sentence each; `REFRESH` is the command for it."""
    fresh = render(tables, evidence, formats, link_to(evidence.root, out_dir))
    found = {path.name: path for path in out_dir.glob("*") if path.suffix in (".md", ".tex", ".json")}
    differences = [f"{name} is missing" for name in fresh if name not in found]
    differences += [f"{name} is not rendered from anything" for name in sorted(found) if name not in fresh]
    for name, page in fresh.items():
        new = page.encode() if isinstance(page, str) else page
        if name in found and (old := found[name].read_bytes()) != new:
            lines = zip([*old.splitlines(), b""], [*new.splitlines(), b""], strict=False)
            number = next((n for n, (a, b) in enumerate(lines, start=1) if a != b), 1)
            differences.append(f"{name} differs from line {number} on")
    return differences


def _printer(name: str) -> Callable[[Report], dict[str, Page]]:
    module, _, function = (FORMATS | EXPORTS)[name].partition(":")
    printer: Callable[[Report], dict[str, Page]] = getattr(import_module(module), function)
    return printer
