"""Every job that a target asks for, in an order that works, with the reason it would run or not. No torch, no SLURM."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from experiments.spec import Experiment, Protocol, Row, Table, fingerprint
from results.evidence import Evidence
from slurm.adopted import adopted
from slurm.job import trained
from slurm.selection import Skip, protocols, seeded, tasks_here

Kind = Literal["train", "test"]
Action = Literal["run", "running", "recorded", "unneeded", "blocked"]
NOT_RUN = {
    "quoted": "quoted from other papers, never run",
    "external": "trained here, measured by the data set's own test server only",
}
SHOWN = 4  # rows that a reason names


@dataclass(frozen=True)
class PlannedJob:
    """A training, or one test protocol of a trained network.

    `rows`: the selected rows that wait for it (for a backbone, those of the networks that start from it).
    `needs`: keys of the jobs that have to succeed first. `job_id`: of the live one, where `action` is "running".
    """

    kind: Kind
    experiment: Experiment
    protocol: Protocol | None
    rows: tuple[str, ...]
    action: Action
    reason: str
    needs: tuple[str, ...] = ()
    job_id: str | None = None
    mini: bool = False

    @property
    def key(self) -> str:
        """The unit of work: there is never more than one live job for one key."""
        return unit_key(self.experiment, self.protocol)


@dataclass(frozen=True)
class Plan:
    """`jobs`: each after those it needs. `skipped`: rows of which nothing, or nothing more, can be measured here."""

    jobs: tuple[PlannedJob, ...]
    skipped: tuple[Skip, ...] = ()


def unit_key(experiment: Experiment, protocol: Protocol | None) -> str:
    """`<fingerprint>/train`, or `<fingerprint>/<protocol>` of a test; the seed is in the fingerprint."""
    return f"{fingerprint(experiment)}/{'train' if protocol is None else protocol.key}"


def plan(
    lines: Sequence[tuple[Table, Row]],
    evidence: Evidence,
    runs: Path,
    *,
    seeds: Iterable[int] = (),
    live: Mapping[str, str] | None = None,
    mini: bool = False,
) -> Plan:
    """What `lines` ask for, with each of `seeds` (none: the experiments' own).

    `runs`: where finished trainings stand. `live`: key -> SLURM's id of what waits or runs now.
    """
    wanted = _wanted(lines, tuple(seeds) or (None,))
    decided = _Decisions(wanted, evidence, runs, live or {}, mini)
    return Plan(tuple(decided.jobs()), tuple(_skipped(lines)))


@dataclass
class _Training:
    """A training with everything that the selection wants of it."""

    experiment: Experiment
    rows: list[str] = field(default_factory=list)
    backbone_of: list[str] = field(default_factory=list)
    tests: dict[str, tuple[Protocol, list[str]]] = field(default_factory=dict)
    children: list[str] = field(default_factory=list)

    @property
    def key(self) -> str:
        return unit_key(self.experiment, None)


def _wanted(lines: Sequence[tuple[Table, Row]], seeds: Sequence[int | None]) -> dict[str, _Training]:
    """Every training by key, each after the one it starts from; rows that share one are put together."""
    found: dict[str, _Training] = {}
    for seed in seeds:
        for table, row in lines:
            if row.experiment is None:
                continue
            target = table.target(row)
            training = _chain(found, seeded(row.experiment, seed), target)
            _once(training.rows, target)
            for protocol in protocols(table, row):
                _once(training.tests.setdefault(protocol.key, (protocol, []))[1], target)
    return found


def _chain(found: dict[str, _Training], experiment: Experiment, target: str) -> _Training:
    """The training of `experiment`, put into `found` after those it starts from."""
    if experiment.init is not None:
        parent = _chain(found, experiment.init, target)
        _once(parent.backbone_of, target)
        _once(parent.children, unit_key(experiment, None))
    return found.setdefault(unit_key(experiment, None), _Training(experiment))


def _once(items: list[str], item: str) -> None:
    if item not in items:
        items.append(item)


class _Decisions:
    """What happens to each training, children before parents: a backbone is needed while one of them will run."""

    def __init__(
        self,
        trainings: Mapping[str, _Training],
        evidence: Evidence,
        runs: Path,
        live: Mapping[str, str],
        mini: bool,
    ) -> None:
        self.trainings, self.evidence, self.runs, self.live, self.mini = trainings, evidence, runs, live, mini
        self.here = tasks_here()
        self.missing = {key: self._missing(training) for key, training in trainings.items()}
        self.action: dict[str, tuple[Action, str]] = {}
        for key in reversed(list(trainings)):
            self.action[key] = self._decide(trainings[key])
        for key, training in trainings.items():  # parents first: what starts from a blocked one is blocked
            parent = self._parent(training)
            if self.action[key][0] == "run" and parent and self.action[parent][0] == "blocked":
                self.action[key] = ("blocked", f"starts from a training that is blocked: {self.action[parent][1]}")

    def jobs(self) -> Iterator[PlannedJob]:
        """Each training, then its tests."""
        for key, training in self.trainings.items():
            yield self._training(key, training)
            for protocol, rows in training.tests.values():
                yield self._test(key, training, protocol, rows)

    def _missing(self, training: _Training) -> set[str]:
        return {
            name
            for name, (protocol, _) in training.tests.items()
            if self.evidence.measurement(training.experiment, protocol) is None
        }

    def _decide(self, training: _Training) -> tuple[Action, str]:
        key = training.key
        if trained(self.runs, training.experiment):
            return "recorded", "trained: its weights stand"
        given = adopted(self.runs, training.experiment)
        if given is not None and not training.rows:
            return "recorded", f"what starts from it starts from adopted weights: {given.name}"
        if key in self.live:
            return "running", f"queued or running as job {self.live[key]}"
        needed_by = [] if given else [child for child in training.children if self.action[child][0] == "run"]
        if training.rows and training.tests and not self.missing[key] and not needed_by:
            return "recorded", "every test of it is recorded"
        if not training.rows and not needed_by:
            return "unneeded", "nothing that starts from it is to be run"
        if training.experiment.task not in self.here:
            return "blocked", f"no training code for {training.experiment.task} yet (there is: {', '.join(self.here)})"
        return "run", _why(training)

    def _training(self, key: str, training: _Training) -> PlannedJob:
        action, reason = self.action[key]
        needs = self._open(self._parent(training)) if action in ("run", "running") else ()
        rows = tuple(dict.fromkeys([*training.rows, *training.backbone_of]))
        made = PlannedJob("train", training.experiment, None, rows, action, reason, needs, mini=self.mini)
        return replace(made, job_id=self.live[key]) if action == "running" else made

    def _test(self, parent: str, training: _Training, protocol: Protocol, rows: list[str]) -> PlannedJob:
        made = PlannedJob("test", training.experiment, protocol, tuple(rows), "run", "", mini=self.mini)
        if protocol.key not in self.missing[parent]:
            return replace(made, action="recorded", reason="recorded")
        if made.key in self.live:
            job_id = self.live[made.key]
            return replace(made, action="running", reason=f"queued or running as job {job_id}", job_id=job_id)
        if self.action[parent][0] == "blocked":
            return replace(made, action="blocked", reason=self.action[parent][1])
        shared = f", one test for {_named(rows)}" if len(rows) > 1 else ""
        return replace(made, reason=f"not recorded{shared}", needs=self._open(parent))

    def _parent(self, training: _Training) -> str | None:
        """The training that has to come first."""
        init = training.experiment.init
        return None if init is None or adopted(self.runs, init) is not None else unit_key(init, None)

    def _open(self, key: str | None) -> tuple[str, ...]:
        """The training, while it has still to succeed."""
        return (key,) if key is not None and self.action[key][0] in ("run", "running") else ()


def _why(training: _Training) -> str:
    """Why a training runs, and for whom."""
    words = ["not trained"]
    if len(training.rows) > 1:
        words.append(f"one training for {_named(training.rows)}")
    if others := [row for row in training.backbone_of if row not in training.rows]:
        words.append(f"backbone of {_named(others)}")
    return ", ".join(words)


def _named(rows: Sequence[str]) -> str:
    more = f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
    return ", ".join(rows[:SHOWN]) + more


def _skipped(lines: Iterable[tuple[Table, Row]]) -> Iterator[Skip]:
    for table, row in lines:
        if row.experiment is None:
            yield Skip(table.target(row), NOT_RUN["quoted"])
        elif not protocols(table, row):
            yield Skip(table.target(row), NOT_RUN["external"])
