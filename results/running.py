"""What is under way while a report is made: hints of the moment, never evidence, and only where they were asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Running:
    """A row of a table with one seed that is not recorded yet, in the words of `pyconv status`.

    `fingerprint`: of its experiment. `metric`, `eta`: as texts, "" where nothing is known.
    """

    target: str
    seed: int
    fingerprint: str
    state: str
    why: str = ""
    epoch: int = 0
    epochs: int = 0
    metric: str = ""
    eta: str = ""
    job: str = ""
    nodes: str = ""
    restarts: int = 0


@dataclass(frozen=True)
class Live:
    """`log_tails`: the end of what an experiment's last job wrote, by fingerprint; of recorded ones too."""

    running: tuple[Running, ...] = ()
    log_tails: Mapping[str, str] = field(default_factory=dict)
