"""Every job that a target asks for, in an order that works, with the reason it would run or not. No torch, no SLURM."""

from dataclasses import dataclass
from typing import Literal

from experiments.spec import Experiment, Protocol, fingerprint

Kind = Literal["train", "test"]
Action = Literal["run", "running", "recorded", "blocked"]


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


def unit_key(experiment: Experiment, protocol: Protocol | None) -> str:
    """`<fingerprint>/train`, or `<fingerprint>/<protocol>` of a test; the seed is in the fingerprint."""
    return f"{fingerprint(experiment)}/{'train' if protocol is None else protocol.key}"
