"""Names of rows, as typed on the command line: `all`, `table2`, `table2/final`, `table3/resnet/50`, `table3/*/50`.

Strings live at this edge; behind it are tables and rows. Each part of a pattern may be a glob; parts that are
left out match everything below, so `table3/resnet` is all three depths.
"""

from difflib import get_close_matches
from fnmatch import fnmatchcase

from experiments import tables
from experiments.spec import ArchitectureTable, Row, Table

AnyTable = Table | ArchitectureTable
ALL = "all"


class TargetError(ValueError):
    """No table or row has this name; the message gives the nearest ones that exist, `nearest` lists them."""

    def __init__(self, message: str, nearest: tuple[str, ...]) -> None:
        super().__init__(message)
        self.nearest = nearest


def find(pattern: str, *, mini: bool = False) -> list[tuple[AnyTable, Row | None]]:
    """The (table, row) pairs that `pattern` names, in page order; row None for the architecture tables 1 and 9.

    `mini`: of the mini tables, which are named alike. Quoted rows are among them. Raises `TargetError`.
    """
    wanted = pattern.strip().lower().removeprefix("mini-" if mini else "").rstrip("/").split("/")
    if wanted == [ALL]:
        wanted = ["*"]
    found = [(table, row) for table, row, parts in _targets(mini) if _matches(parts, wanted)]
    if not found:
        raise _unknown(pattern, wanted, mini)
    return found


def names(*, mini: bool = False) -> list[str]:
    """Every valid target that is not a glob, in page order: for lists and for shell completion."""
    prefixes = (parts[:n] for _, _, parts in _targets(mini) for n in range(1, len(parts) + 1))
    return [ALL, *dict.fromkeys("/".join(prefix) for prefix in prefixes)]


def _targets(mini: bool) -> list[tuple[AnyTable, Row | None, tuple[str, ...]]]:
    found: list[tuple[AnyTable, Row | None, tuple[str, ...]]] = []
    for table in tables(mini=mini):
        name = f"table{table.number}"
        if isinstance(table, ArchitectureTable):
            found.append((table, None, (name,)))
        else:
            found.extend((table, row, tuple(p for p in (name, row.key, row.group) if p)) for row in table.rows)
    return found


def _matches(parts: tuple[str, ...], wanted: list[str]) -> bool:
    return len(wanted) <= len(parts) and all(map(fnmatchcase, parts, wanted))


def _unknown(pattern: str, wanted: list[str], mini: bool) -> TargetError:
    """Say which part is wrong, and the nearest names: tables if the table is unknown, else rows of it."""
    existing = names(mini=mini)
    inside = [name for name in existing if fnmatchcase(name.split("/")[0], wanted[0])]
    if not inside:
        what = "table with a mini version" if mini else "table"
        return _error(pattern, what, wanted[0], [name for name in existing if "/" not in name])
    depth = min(len(wanted) - 1, max(name.count("/") for name in inside))
    what = "row" if depth else f"row ({inside[0]} shows whole networks and has none)"
    return _error(pattern, what, "/".join(wanted), [name for name in inside if name.count("/") == depth])


def _error(pattern: str, what: str, given: str, candidates: list[str]) -> TargetError:
    nearest = tuple(get_close_matches(given, candidates, n=3, cutoff=0.5))
    hint = f"nearest: {', '.join(nearest)}" if nearest else f"valid: {', '.join(candidates)}"
    return TargetError(f"{pattern!r} names no {what}; {hint}", nearest)
