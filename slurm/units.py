"""A unit of work, a training or one test of it, where it stands, and the row of a table that waits for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from experiments.spec import Experiment, Protocol
from slurm import failures
from slurm.plan import unit_key
from slurm.submissions import Place

State = Literal[
    "recorded",
    "trained",
    "running",
    "queued",
    "waiting",
    "submitting",
    "failed",
    "cancelled",
    "blocked",
    "missing",
    "unknown",
]
LIVE = ("running", "queued", "waiting", "submitting")


@dataclass(frozen=True)
class Unit:
    """A training (`protocol` None) or one test of it."""

    experiment: Experiment
    protocol: Protocol | None

    @property
    def key(self) -> str:
        """As in plans and submissions."""
        return unit_key(self.experiment, self.protocol)

    @property
    def kind(self) -> Literal["train", "test"]:
        """What is done."""
        return "train" if self.protocol is None else "test"


@dataclass(frozen=True)
class UnitState:
    """`why`: in words. `failure`: class, of a failed one. `eta`: seconds. `restarts`: starts beyond the first.

    `attempts`: how often it was submitted. `place`: where last.
    """

    unit: Unit
    state: State
    why: str = ""
    failure: failures.Class | None = None
    done: float = 0.0
    epoch: int = 0
    epochs: int = 0
    metric: Mapping[str, float] = field(default_factory=dict)
    eta: float | None = None
    job_id: str | None = None
    nodes: str = ""
    restarts: int = 0
    attempts: int = 0
    place: Place | None = None

    @property
    def keywords(self) -> Mapping[str, Any]:
        """submitit's keywords of its last submission."""
        return self.place.array.keywords if self.place else {}


@dataclass(frozen=True)
class RowState:
    """A row of a table with one seed: the state of the first of its units that is not done decides."""

    target: str
    seed: int
    units: tuple[UnitState, ...]

    @property
    def deciding(self) -> UnitState:
        """The unit that the row waits for; the last test once everything stands."""
        undone = [unit for unit in self.units if unit.state not in ("recorded", "trained")]
        tests = [unit for unit in self.units if unit.unit.kind == "test"]
        if tests and all(unit.state == "recorded" for unit in tests):
            return tests[-1]
        return undone[0] if undone else self.units[-1]
