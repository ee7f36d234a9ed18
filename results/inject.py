"""Rendered tables between markers in files that people write: a README, a paper's notes, a wiki page.

    <!-- pyconv:table2 -->
    whatever stands here is replaced
    <!-- /pyconv:table2 -->

Each marker is alone on its line and a comment for a CommonMark parser: what stands in code or in a list item is text.
Not a byte outside the markers changes; line ends are those of the opening marker.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from experiments import tables as paper
from experiments.spec import ArchitectureTable, Table
from results.evidence import Evidence
from results.files import write_over
from results.gather import gather
from results.printers import markdown
from results.report import link_to

WHOLE = ("claims", "summary")  # what can only be said of all tables together

MARKER = re.compile(r"^ {0,3}<!--[ \t]*(/?)pyconv:([^\s>]+)[ \t]*-->[ \t]*$")
LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


class InjectError(ValueError):
    """A file cannot be filled: which one, which line, and what would be right."""


@dataclass(frozen=True)
class Block:
    """What stands between two markers: lines `first` to `last` (excluded), counted from 0."""

    name: str
    first: int
    last: int


@dataclass(frozen=True)
class Filled:
    """A file with its blocks filled: `after` equals `before` when it was fresh; `stale`: (line, name) of the others."""

    path: Path
    before: bytes
    after: bytes
    stale: tuple[tuple[int, str], ...]


def inject(
    files: Iterable[Path], tables: Sequence[Table | ArchitectureTable], evidence: Evidence, *, dry: bool = False
) -> list[Filled]:
    """Fill the markers of every file with what `tables` render to, links as seen from the file's own folder.

    `claims` and `summary` are filled when `tables` are all of the paper. Nothing is written when `dry` or when any of
    the files is refused (InjectError); a file that is fresh is not touched.
    """
    report = gather(tables, evidence)
    whole = list(tables) == list(paper())
    filled = []
    for path in files:
        here = replace(report, records_link=link_to(evidence.root.resolve(), path.resolve().parent))
        contents = {name: text for name, text in markdown.blocks(here).items() if whole or name not in WHOLE}
        filled.append(fill(path, contents, known()))
    for file in filled:
        if file.stale and not dry:
            write_over(file.path.resolve(), file.after)
    return filled


def known() -> tuple[str, ...]:
    """The names that a marker can have."""
    return (*(table.name for table in [*paper(), *paper(mini=True)]), *WHOLE)


def fill(path: Path, contents: Mapping[str, str], names: tuple[str, ...]) -> Filled:
    """`path` with the blocks named in `contents` replaced; nothing is written.

    `names`: every name that a marker may have; those without content are left as they are. Raises InjectError for a
    file that is not UTF-8, for markers that are unclosed, nested, crossed or misspelt, and when none is to be filled.
    """
    before = path.read_bytes()
    try:
        lines = LINE.findall(before.decode("utf-8"))
    except UnicodeDecodeError as error:
        said = f"{error.reason} at byte {error.start}"
        raise InjectError(f"{path}: not UTF-8 text ({said}); save it as UTF-8 first") from None
    found = list(blocks(lines, path))
    for block in found:
        _check_name(block, path, names)
    wanted = [block for block in found if block.name in contents]
    if not wanted:
        raise InjectError(_nothing(path, found, contents))
    stale = []
    for block in reversed(wanted):
        marker = lines[block.first - 1]
        fresh = _between(contents[block.name], marker[len(marker.rstrip("\r\n")) :])
        if "".join(lines[block.first : block.last]) != fresh:
            stale.append((block.first, block.name))
            lines[block.first : block.last] = [fresh]
    return Filled(path, before, "".join(lines).encode(), tuple(reversed(stale)))


def blocks(lines: list[str], path: Path) -> Iterator[Block]:
    """The blocks of a file in their order. Raises InjectError where markers do not come in pairs."""
    opened: tuple[int, str] | None = None
    for number, closing, name in _markers(lines):
        if not closing and opened is None:
            opened = (number, name)
        elif not closing:
            assert opened is not None
            raise InjectError(
                f"{path}:{number}: pyconv:{name} opens inside pyconv:{opened[1]} of line {opened[0]}; "
                f"close that first with <!-- /pyconv:{opened[1]} -->"
            )
        elif opened is None:
            raise InjectError(f"{path}:{number}: /pyconv:{name} closes nothing; put <!-- pyconv:{name} --> above it")
        elif opened[1] != name:
            raise InjectError(f"{path}:{number}: /pyconv:{name} closes pyconv:{opened[1]} of line {opened[0]}")
        else:
            yield Block(name, opened[0], number - 1)
            opened = None
    if opened is not None:
        raise InjectError(
            f"{path}:{opened[0]}: pyconv:{opened[1]} is never closed; put <!-- /pyconv:{opened[1]} --> on a line below"
        )


def _markers(lines: list[str]) -> Iterator[tuple[int, bool, str]]:
    """Number of the line (from 1), whether it closes, and the name, of every marker."""
    from markdown_it import MarkdownIt  # late: only files that are filled need a parser

    text = "".join(lines).removeprefix("\ufeff")
    for block in MarkdownIt("commonmark").disable("inline").parse(text):
        if block.type == "html_block" and block.level == 0 and block.map:
            for number in range(*block.map):
                if marker := MARKER.match(lines[number].removeprefix("\ufeff").rstrip("\r\n")):
                    yield number + 1, bool(marker[1]), marker[2]


def _between(content: str, newline: str) -> str:
    """The content with an empty line on both sides, so that it is no part of the comment above or below."""
    return newline + newline.join(content.rstrip("\n").split("\n")) + 2 * newline


def _check_name(block: Block, path: Path, names: tuple[str, ...]) -> None:
    if block.name not in names:
        near = get_close_matches(block.name, names, n=1)
        hint = f"nearest: {near[0]}" if near else f"valid: {', '.join(names)}"
        raise InjectError(f"{path}:{block.first}: no table is called {block.name!r}; {hint}")


def _nothing(path: Path, found: list[Block], contents: Mapping[str, str]) -> str:
    name = next(iter(contents))
    if found:
        there = ", ".join(dict.fromkeys(block.name for block in found))
        return f"{path}: its markers are {there}; rendered is {', '.join(contents)} (`all`: {' and '.join(WHOLE)} too)"
    return (
        f"{path}: no marker; put <!-- pyconv:{name} --> and <!-- /pyconv:{name} -->, each alone on a line, not "
        "in code and not in a list, where it shall stand"
    )
