"""`limits.gpus` over everything that can run at the same time: how many jobs of each array, and which arrays wait.

Arrays share the limit in waves. Each in its turn may run as many jobs at once as fit into what those before it in its
wave leave; one of which not a single job fits begins the next wave, and starts when all before it have ended, however
(afterany). So only one wave runs, and however its jobs overlap, sum over its arrays of (jobs at once) x (GPUs of a
job) <= limit. Waiting for the last wave alone would not do: one that is cancelled ends before what it waits for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from slurm.arrays import AT_ONCE, ArrayPlan


def within(layout: Sequence[ArrayPlan], limit: int | None, held: Mapping[str, int]) -> list[ArrayPlan]:
    """`layout` with the throttles and the waits that keep it, and what is live already, at `limit` GPUs together.

    `held`: SLURM's id of a live array -> the most GPUs that it can hold. They are the first wave, with what fits
    beside them. A job that asks for no GPU waits for none. `limit` None: nothing is changed.
    """
    if limit is None:
        return list(layout)
    room = limit - sum(held.values())
    so_far: list[int] = []  # arrays that hold GPUs
    after: tuple[int, ...] = ()  # those of earlier waves
    after_live: tuple[str, ...] = ()
    shared: list[ArrayPlan] = []
    for number, array in enumerate(layout):
        if array.gpus:
            if room < array.gpus:
                room, after, after_live = limit, tuple(so_far), tuple(held)
            width = min(len(array.members), room // array.gpus, array.keywords.get(AT_ONCE, limit))
            room -= width * array.gpus
            so_far.append(number)
            array = replace(array, keywords={**array.keywords, AT_ONCE: width}, after=after, after_live=after_live)
        shared.append(array)
    return shared
