"""What is known of submitted units: where each was last submitted, and what SLURM says about it, in one question."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from slurm import submissions
from slurm.queue import Answer, Seen, ask
from slurm.submissions import Place


@dataclass(frozen=True)
class Known:
    """`places`: of each unit (by key), the oldest first. `answer`: squeue's. `problems`: unreadable ones."""

    places: Mapping[str, list[Place]]
    answer: Answer
    problems: tuple[str, ...] = ()

    def last(self, key: str) -> Place | None:
        """Where the unit was submitted last."""
        return self.places[key][-1] if key in self.places else None

    def seen(self, place: Place) -> Seen | None:
        """What squeue shows of it."""
        return self.answer.jobs.get(place.job_id or "")

    def whole(self, place: Place) -> Seen | None:
        """What squeue shows of its array as one: elements that were cancelled together are a line without numbers."""
        return self.answer.jobs.get(place.array.job_id or "")

    def live(self) -> dict[str, str]:
        """Unit -> SLURM's id, of those that wait or run, or may be about to be requeued."""
        found = {}
        for key, places in self.places.items():
            for place in places:
                seen = self.seen(place)
                if seen is not None and seen.live and not seen.doomed:
                    found[key] = seen.id
        return found

    def held(self) -> dict[str, int]:
        """SLURM's id of each array with live jobs -> the most GPUs that these hold at once."""
        seen = [(place.array, self.seen(place)) for places in self.places.values() for place in places]
        live = Counter(array.job_id for array, job in seen if job is not None and job.live and not job.doomed)
        arrays = {array.job_id: array for array, _ in seen}
        return {job_id: arrays[job_id].most_gpus(number) for job_id, number in live.items() if job_id is not None}


def look(runs: Path) -> Known:
    """Read what was submitted below `runs` and ask squeue about all of it at once."""
    sent, problems = submissions.load(runs)
    answer = ask(array.name for submission in sent for array in submission.arrays)
    sent = submissions.adopt(sent, answer.ids())
    return Known(submissions.places(sent), answer, tuple(problems))


def live_units(runs: Path) -> Mapping[str, str]:
    """Unit -> SLURM's id of what waits or runs; nothing where SLURM does not answer."""
    return look(runs).live()
