"""What `pyconv report --runs DIR` adds: what `pyconv status` and `pyconv logs` know at that moment, as plain values."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from experiments.spec import Row, Table, fingerprint
from results.evidence import Evidence
from results.running import Live, Running
from slurm.commands.logs import written
from slurm.commands.status import line
from slurm.failures import log_end
from slurm.live import look
from slurm.status import Board, RowState, UnitState

LINES = 40  # of the end of each log
SHOWN = 1000  # characters of a line
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


def live(lines: Sequence[tuple[Table, Row]], evidence: Evidence, runs: Path) -> Live:
    """The rows among `lines` that were started and are not recorded, and the ends of all logs below `runs`."""
    known = look(runs)
    states = Board(evidence, runs, known).rows(lines, None)
    shown = [row for row in states if row.deciding.state not in ("recorded", "missing")]
    units = {unit.unit.key: unit for row in states for unit in row.units}
    tails: dict[str, str] = {}
    for unit in units.values():
        place = unit.place or known.last(unit.unit.key)  # of what is done `status` needs none
        if tail := _tail(replace(unit, place=place, job_id=place.job_id if place else None), runs):
            name = fingerprint(unit.unit.experiment)
            tails[name] = f"{tails[name]}\n{tail}" if name in tails else tail
    return Live(tuple(map(_running, shown)), tails)


def _running(row: RowState) -> Running:
    unit = row.deciding
    target, seed, state, _, metric, eta, job, nodes, restarts = line(row)
    training = unit.unit.kind == "train"
    return Running(
        target,
        int(seed),
        fingerprint(unit.unit.experiment),
        state,
        unit.why,
        unit.epoch if training else 0,
        unit.epochs if training else 0,
        metric,
        eta,
        job,
        nodes,
        int(restarts),
    )


def _tail(unit: UnitState, runs: Path) -> str:
    """The last lines of both streams, as a terminal would show them: without colours, a rewritten line once."""
    found = written(unit, runs, 0)
    parts = []
    for name, path in (("stdout", found.out), ("stderr", found.err)) if found else ():
        text = _ESCAPES.sub("", log_end(path)).rstrip()
        told = [one.rstrip("\r").rpartition("\r")[2][:SHOWN] for one in text.split("\n")][-LINES:]
        parts.append(f"-- {found.name if found else ''}, {name}\n" + "\n".join(told) if text else "")
    return "\n".join(part for part in parts if part)
