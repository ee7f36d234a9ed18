"""What a job costs, estimated before anything runs: GPU-hours, wall time, storage, money; and how its batch is dealt.

    GPU-hours of a training = 3 * forward multiply-adds * images * epochs / (gmacs * 1e9 * 3600)
    GPU-hours of a test     =     forward multiply-adds * images * views  / (gmacs * 1e9 * 3600)

The backward pass costs twice the forward pass. `gmacs`: what one GPU of the profile sustains in training. Reading data,
validation, queueing and start-up are left out: this says what order of magnitude is asked for, not when it ends.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from pathlib import Path

import results
from experiments import mini, mini_detection, mini_segmentation, mini_video
from experiments.spec import Experiment, Protocol
from pyconv.architectures import Network
from pyconv.recipe import Recipe, micro_batch_size
from results.evidence import Evidence
from slurm.plan import PlannedJob
from slurm.profile import Profile

COUNTS = Path(results.__file__).parent / "records" / "counts"
PAPER_GPUS = 8
# Images or videos of an epoch: ILSVRC 2012, ADE20K's release, COCO train2017 with boxes, Kinetics-400 (the paper's).
TRAINED = {
    "imagenet": 1_281_167,
    "ade20k": 20_210,
    "coco": 117_266,
    "kinetics": 246_000,
    mini.DATA: 1_280,
    mini_segmentation.DATA: mini_segmentation.TRAINED,
    mini_detection.DATA: mini_detection.TRAINED,
    mini_video.DATA: mini_video.TRAINED,
}
TESTED = {
    "imagenet": 50_000,
    "ade20k": 2_000,
    "coco": 5_000,
    "kinetics": 19_800,
    mini.DATA: mini.HELD_OUT,
    mini_segmentation.DATA: mini_segmentation.HELD_OUT,
    mini_detection.DATA: mini_detection.HELD_OUT,
    mini_video.DATA: mini_video.HELD_OUT,
}
FORWARD_AND_BACKWARD = 3
BYTES = 4  # of a parameter
KEPT_CHECKPOINTS = 2


@dataclass(frozen=True)
class Cost:
    """Of one job. None: not known. `gpu_hours` of all its GPUs; `hours`: wall time; `storage_gb`: below `runs`."""

    gpus: int
    nodes: int
    gpu_hours: float | None
    hours: float | None
    storage_gb: float | None
    cost: float | None
    requeues: int | None

    @property
    def known(self) -> bool:
        """Whether time could be estimated."""
        return self.gpu_hours is not None


@dataclass(frozen=True)
class Totals:
    """Of several jobs; `unknown` of them are counted with one time limit each."""

    jobs: int
    gpu_hours: float
    unknown: int
    storage_gb: float
    cost: float | None


@dataclass(frozen=True)
class Batch:
    """How a batch is dealt: `rounds` micro-batches of `micro_batch` images on each of `ranks`, one after another.

    `note`: said loudly where this is not how the paper did it, or wasteful; "" otherwise.
    """

    batch_size: int
    lr: float
    ranks: int
    micro_batch: int
    micro_batches: int
    rounds: int
    note: str

    @property
    def busy(self) -> float:
        """The part of the ranks' time in which they have a micro-batch; the others wait for the step's end."""
        return self.micro_batches / (self.ranks * self.rounds)


def cost(job: PlannedJob, profile: Profile) -> Cost:
    """What `job` costs on `profile`."""
    gpus, words = profile.gpus_of(job.kind), profile.keywords(job.kind)
    complexity = _complexity(job.experiment.model)
    work = None if complexity is None else _multiply_adds(job, complexity[1])
    gpu_hours = None if work is None or not profile.gpu_gmacs else work / (profile.gpu_gmacs * 1e9 * 3600)
    if gpu_hours is not None and job.kind == "train":
        gpu_hours /= batch(job.experiment.recipe, profile).busy
    hours = None if gpu_hours is None else gpu_hours / max(1, gpus)
    price = None if gpu_hours is None or profile.price_per_gpu_hour is None else gpu_hours * profile.price_per_gpu_hour
    requeues = None if hours is None else max(0, ceil(hours * 60 / words["timeout_min"]) - 1)
    storage = _storage(job, complexity[0]) if complexity is not None else None
    return Cost(gpus, int(words["nodes"]), gpu_hours, hours, storage, price, requeues)


def totals(jobs: Iterable[PlannedJob], profile: Profile) -> Totals:
    """Of those of `jobs` that run. Without an estimate a job is counted with one time limit on all of its GPUs."""
    costs = [(job, cost(job, profile)) for job in jobs if job.action == "run"]
    hours = sum(
        one.gpu_hours if one.gpu_hours is not None else one.gpus * profile.keywords(job.kind)["timeout_min"] / 60
        for job, one in costs
    )
    price = None if profile.price_per_gpu_hour is None else hours * profile.price_per_gpu_hour
    storage = sum(one.storage_gb or 0 for _, one in costs)
    return Totals(len(costs), hours, sum(not one.known for _, one in costs), storage, price)


def batch(recipe: Recipe, profile: Profile) -> Batch:
    """How `recipe`'s batch is dealt to the ranks of a training on `profile`."""
    ranks, gpus = profile.ranks_of("train"), profile.gpus_of("train")
    size, departures = micro_batch_size(recipe, ranks, profile.micro_batch)
    cut = ceil(recipe.batch_size / size)
    if cut > 1 and recipe.batch_size - (cut - 1) * size == 1:  # a single image joins the micro-batch before it
        cut -= 1
    rounds = ceil(cut / ranks)
    notes = []
    if (gpus or ranks) != PAPER_GPUS and recipe.data not in mini.PACKAGED:
        devices = f"{gpus or ranks} {'GPU' if gpus else 'CPU rank'}{'s' if (gpus or ranks) > 1 else ''}"
        parts = f"{rounds} micro-batch{'es' if rounds > 1 else ''} of {size} on each rank and step"
        kept = f"batch {recipe.batch_size} and lr {recipe.lr:g} stay"
        notes.append(f"{devices} instead of the paper's {PAPER_GPUS}: {parts}; {kept}")
    if ranks > cut:
        notes.append(f"{ranks - cut} of {ranks} ranks have nothing to do: more than {cut} ranks are of no use")
    elif cut % ranks:
        notes.append(
            f"{cut} micro-batches do not divide by {ranks} ranks: {rounds * ranks - cut} places a step are idle"
        )
    if gpus and ranks != gpus:
        notes.append(f"{ranks} ranks on {gpus} GPUs: one rank a GPU is usual (tasks_per_node = gpus_per_node)")
    return Batch(recipe.batch_size, recipe.lr, ranks, size, cut, rounds, "; ".join([*notes, *departures]))


def _multiply_adds(job: PlannedJob, forward: int) -> float | None:
    recipe = job.experiment.recipe
    if job.protocol is None:
        images = TRAINED.get(recipe.data)
        return None if images is None else float(FORWARD_AND_BACKWARD * forward * images * recipe.epochs)
    images = job.protocol.samples or TESTED.get(job.protocol.data)
    return None if images is None else forward * images * _views(job.experiment, job.protocol)


def _views(experiment: Experiment, protocol: Protocol) -> float:
    """Forward passes of the training's size that the test of one image takes."""
    area = (protocol.crop / experiment.model.input_size[-1]) ** 2
    clips, crops = protocol.views
    return area * sum(scale**2 for scale in protocol.scales) * (2 if protocol.flip else 1) * clips * crops


def _storage(job: PlannedJob, params: int) -> float:
    """1e9 bytes: weights of the last and the best epoch, two checkpoints of weights and momentum; a test: nothing."""
    copies = 2 + KEPT_CHECKPOINTS * 2 if job.kind == "train" else 0
    return copies * params * BYTES / 1e9


@lru_cache
def _recorded() -> Evidence:
    """The counts of this package: those of the networks stay true wherever a person keeps measurements."""
    return Evidence.load(COUNTS)


@lru_cache(maxsize=1024)
def _complexity(network: Network) -> tuple[int, int] | None:
    """(parameters, forward multiply-adds) as counted and recorded; None for a network that nobody has counted."""
    found = _recorded().count(network)
    return None if found is None else (found.params, found.flops["macs"])
