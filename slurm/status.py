"""Where every unit stands. The record decides; a live job's own word comes next; SLURM's is a hint."""

import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from experiments.spec import Experiment, Row, Table, family
from results.evidence import Evidence
from slurm import failures, traces
from slurm.job import trained, unit_folder
from slurm.live import Known
from slurm.queue import ENDED, Answer, Seen, account
from slurm.selection import protocols, seeded
from slurm.submissions import Place
from slurm.units import LIVE, RowState, State, Unit, UnitState

FRESH = 180.0  # seconds after which a job that tells nothing is not taken for running where SLURM is silent


class Board:
    """The states of units, each determined once: rows share trainings, and blocked units ask for their parents'."""

    def __init__(self, evidence: Evidence, runs: Path, known: Known) -> None:
        self.evidence, self.runs, self.known = evidence, runs, known
        self._states: dict[str, UnitState] = {}
        self._known_seeds = _seeds(evidence, known)
        self._accounts: Answer | None = None

    def rows(self, lines: Iterable[tuple[Table, Row]], seeds: Iterable[int] | None) -> list[RowState]:
        """Every row that has something to measure, for each seed (None: those that were submitted or recorded)."""
        chosen = None if seeds is None else tuple(seeds)
        states = []
        for table, row in lines:
            needed = protocols(table, row)
            if row.experiment is None or not needed:
                continue
            for seed in chosen or self._seeds(row.experiment):
                experiment = seeded(row.experiment, seed)
                units = [Unit(experiment, None), *(Unit(experiment, protocol) for protocol in needed)]
                states.append(RowState(table.target(row), seed, tuple(self.state(unit) for unit in units)))
        return states

    def state(self, unit: Unit) -> UnitState:
        """Where `unit` stands."""
        if unit.key not in self._states:
            self._states[unit.key] = self._with_traces(self._determine(unit))
        return self._states[unit.key]

    def _determine(self, unit: Unit) -> UnitState:
        record = None if unit.protocol is None else self.evidence.measurement(unit.experiment, unit.protocol)
        if record is not None:
            return UnitState(unit, "recorded", metric={key: metric.value for key, metric in record.metrics.items()})
        if unit.protocol is None and trained(self.runs, unit.experiment):
            return UnitState(unit, "trained")
        place = self.known.last(unit.key)
        if place is None:
            return self._unsubmitted(unit)
        if place.job_id is None:
            return self._unanswered(unit, place)
        seen = self.known.seen(place)
        base = UnitState(
            unit,
            "unknown",
            job_id=place.job_id,
            nodes=seen.nodes if seen else "",
            attempts=len(self.known.places[unit.key]),
            place=place,
        )
        if seen is not None and seen.live and not seen.doomed:
            return self._live(base, seen)
        if self.known.answer.silence:
            return self._silent(base)
        return self._ended(base, place, seen or self._last_word(place))

    @property
    def silence(self) -> str:
        """Why SLURM's accounting said nothing of jobs that squeue has forgotten; "" when it did or was not needed."""
        return self._accounts.silence if self._accounts is not None else ""

    def _unsubmitted(self, unit: Unit) -> UnitState:
        """Of `pyconv run`: what it told last, or the error that ended it since."""
        told, failed = traces.told(self._folder(unit)), self._failed_here(unit)
        if failed is not None and (told is None or failed.time >= told.time):
            end = failures.ended(None, failed, "", failed.job)
            words = f"{end.kind}: {end.words}"
            return UnitState(unit, "failed", words, end.kind, job_id=failed.job or None, nodes=end.nodes)
        if told is None:
            return UnitState(unit, "missing", "never submitted")
        if time.time() - told.time < FRESH:
            return UnitState(unit, "running", "started by hand", job_id=told.job or None)
        return UnitState(unit, "missing", "never submitted; started by hand, and interrupted")

    def _failed_here(self, unit: Unit) -> traces.Failed | None:
        """A run by hand trains and tests in one: an error after the training is its tests'."""
        whole = unit.protocol is not None and trained(self.runs, unit.experiment)
        return traces.failed(unit_folder(self.runs, unit.experiment, None) if whole else self._folder(unit))

    def _unanswered(self, unit: Unit, place: Place) -> UnitState:
        if time.time() - place.submission.time < FRESH:
            return UnitState(unit, "submitting", f"by {place.submission.by}", place=place)
        return UnitState(unit, "missing", "its submission was interrupted before sbatch answered", place=place)

    def _live(self, base: UnitState, seen: Seen) -> UnitState:
        if seen.state == "PENDING":
            if seen.reason == "Dependency" and (failed := self._failed_parent(base.unit)):
                return replace(base, state="blocked", why=failed, failure="blocked")  # SLURM will notice in a moment
            if seen.reason == "Dependency":
                for_room = base.place is not None and base.place.array.for_room
                return replace(base, state="waiting", why=_waits_for(self._parents(base.unit), for_room=for_room))
            return replace(base, state="queued", why=seen.reason)
        words = {"RUNNING": "", "NODE_FAIL": "its node failed; SLURM may requeue it"}
        return replace(base, state="running", why=words.get(seen.state, seen.state.lower()))

    def _silent(self, base: UnitState) -> UnitState:
        """SLURM says nothing: the job's own word, if it is fresh."""
        told = traces.told(self._folder(base.unit))
        if told is not None and told.job == base.job_id and time.time() - told.time < FRESH:
            return replace(base, state="running", why=f"its last word is {time.time() - told.time:.0f} s old")
        return replace(base, why=self.known.answer.silence)

    def _ended(self, base: UnitState, place: Place, seen: Seen | None) -> UnitState:
        """It left the queue. Accounting lags: what it still calls running or pending is no word about the end."""
        failed, log, parent = traces.failed(place.member.folder), place.log("err"), self._failed_parent(base.unit)
        late = seen if seen is not None and seen.source == "sacct" and seen.state not in ENDED else None
        end = failures.ended(None if late else seen, failed, failures.log_end(log), place.job_id, parent)
        if late and end.kind == "unknown":
            return replace(base, why=f"it left the queue; accounting lags and still calls it {late.state}")
        states: dict[str, State] = {"cancelled": "cancelled", "blocked": "blocked"}
        words = end.words if end.kind in states else f"{end.kind}: {end.words}"
        return replace(
            base, state=states.get(end.kind, "failed"), why=words, failure=end.kind, nodes=end.nodes or base.nodes
        )

    def _with_traces(self, state: UnitState) -> UnitState:
        """Epoch, metric and restarts as the job itself told them."""
        folder = self._folder(state.unit)
        told, lives = traces.told(folder), traces.lives(folder)
        restarts = max(0, len(lives) - 1)
        if told is None:
            return replace(state, restarts=restarts)
        current = state.state == "running" and time.time() - told.time < FRESH
        return replace(
            state,
            done=told.done,
            epoch=told.epoch,
            epochs=told.epochs,
            metric=told.metric or state.metric,
            eta=told.remaining() if current else None,
            restarts=restarts,
            nodes=state.nodes or (",".join(lives[-1].nodes) if lives else ""),
        )

    def _parents(self, unit: Unit) -> list[UnitState]:
        """The states of the trainings that `unit` starts from."""
        start = unit.experiment if unit.protocol is not None else unit.experiment.init
        return [] if start is None else [self.state(Unit(start, None))]

    def _failed_parent(self, unit: Unit) -> str:
        """Words about a training that `unit` starts from and that did not succeed; "" while it may."""
        for parent in self._parents(unit):
            if parent.state not in (*LIVE, "trained"):
                return f"not run: the training of {parent.unit.experiment.name} {parent.state} ({parent.why})"
        return ""

    def _last_word(self, place: Place) -> Seen | None:
        """Of a job that squeue has no line of: accounting's, once it knows of the end, or squeue's of its array."""
        accounted = self._accounted(place.job_id or "")
        if accounted is not None and accounted.state in ENDED:
            return accounted
        return self.known.whole(place) or accounted

    def _accounted(self, job_id: str) -> Seen | None:
        """What accounting keeps of a job that squeue has forgotten; asked once for all such jobs."""
        if self._accounts is None:
            latest = (self.known.last(key) for key in self.known.places)
            gone = (place.job_id for place in latest if place and place.job_id and self.known.seen(place) is None)
            self._accounts = account(job_id for job_id in gone if job_id)
        return self._accounts.jobs.get(job_id)

    def _folder(self, unit: Unit) -> Path:
        return unit_folder(self.runs, unit.experiment, unit.protocol)

    def _seeds(self, experiment: Experiment) -> list[int]:
        """The experiment's own seed and every other one that was submitted or recorded of it."""
        return sorted({experiment.seed} | self._known_seeds.get(family(experiment), set()))


def _seeds(evidence: Evidence, known: Known) -> dict[str, set[int]]:
    """The seeds that were submitted or recorded, by family."""
    found: dict[str, set[int]] = {}
    for place in (place for places in known.places.values() for place in places):
        found.setdefault(place.member.family, set()).add(place.member.seed)
    for record in evidence.records.values():
        found.setdefault(record.family, set()).add(record.seed)
    return found


def _waits_for(parents: Iterable[UnitState], *, for_room: bool) -> str:
    """`for the training of X (17_3, running)`; once all are trained, for what else."""
    waits = [f"{p.unit.experiment.name} ({p.job_id or 'no job'}, {p.state})" for p in parents if p.state != "trained"]
    if waits:
        return f"for the training of {', '.join(waits)}"
    if for_room:
        return "for the end of jobs before it: with them there would be more GPUs in use than limits.gpus"
    return "for SLURM to notice that its training is done"
