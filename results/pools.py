"""Seeds that say together how far runs of one recipe scatter: those of every network trained and tested alike."""

from collections import defaultdict

from experiments.spec import Column, Experiment, Protocol, digest
from results.digests import digest_of
from results.evidence import Evidence
from results.noise import Spread, pooled


class Pools:
    """The spread (`results.noise`) of each recipe under each protocol, of all trainings in the evidence.

    Whatever table they stand in: ResNet-50's seeds count for Tables 2 and 3, and a verdict does not depend on the rest
    of its page.
    """

    def __init__(self, evidence: Evidence) -> None:
        self._seeds: dict[tuple[str, str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self._spreads: dict[tuple[str, str, str], Spread | None] = {}
        recipes: dict[str, str] = {}
        for record in evidence.records.values():
            recipe = recipes.setdefault(record.family, digest_of(record.experiment["recipe"]))
            protocol = digest_of(record.protocol)
            for name, metric in record.metrics.items():
                self._seeds[recipe, protocol, name][record.family].append(metric.value)

    def of(self, experiment: Experiment, protocol: Protocol, column: Column) -> Spread | None:
        """The spread of `column.metric` in the printed unit; None where no network has two seeds."""
        key = digest(experiment.recipe), digest(protocol), column.metric
        if key not in self._spreads:
            self._spreads[key] = pooled(self._seeds[key].values())
        found = self._spreads[key]
        return None if found is None else Spread(found.sd / column.scale, found.degrees)
