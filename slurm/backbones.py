"""Trainings that have to come first here, because what was asked for starts from their weights (`init`)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.spec import Experiment, fingerprint
from slurm.adopted import adopted
from slurm.job import trained
from slurm.selection import Work


def backbones(todo: Sequence[Work], runs: Path) -> list[Work]:
    """The trainings that `todo` starts from and that neither stand below `runs` nor are in it, each after its own."""
    found: dict[str, Work] = {}
    own = {fingerprint(work.experiment) for work in todo}
    for work in todo:
        for init in _missing(work.experiment, runs):
            key = fingerprint(init)
            if key not in own:
                before = found.get(key, Work(init, (), ()))
                found[key] = Work(init, (), tuple(dict.fromkeys([*before.targets, *work.targets])))
    return list(found.values())


def needs(named: Mapping[str, Work], runs: Path) -> dict[str, str]:
    """Which of the named trainings has to end before which other begins: the later one's name -> the earlier one's."""
    names = {fingerprint(work.experiment): name for name, work in named.items()}
    parents = {name: parent(work.experiment, runs) for name, work in named.items()}
    return {name: names[fingerprint(init)] for name, init in parents.items() if init is not None}


def parent(experiment: Experiment, runs: Path) -> Experiment | None:
    """The training that has to end before that of `experiment` begins; None where its weights are there."""
    init = experiment.init
    if init is None or trained(runs, init) or adopted(runs, init) is not None:
        return None
    return init


def _missing(experiment: Experiment, runs: Path) -> list[Experiment]:
    """The chain of trainings that are not there, the first one first."""
    init = parent(experiment, runs)
    return [] if init is None else [*_missing(init, runs), init]
