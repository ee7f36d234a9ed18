"""The work of a job: train one experiment, test it by each protocol, write each record once.

Every rank of a job runs this; rank 0 alone writes.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from experiments.spec import Experiment, Protocol, family, fingerprint, resolved
from pyconv import complexity, ranks
from pyconv.checkpoints import load_weights
from pyconv.data import PACKAGED, prepare
from pyconv.models import build
from pyconv.recipe import KineticsAugment
from pyconv.tasks.values import Evaluation
from pyconv.train import WEIGHTS, Execution, Interrupted, Trained, train
from results import provenance
from results.outcomes import pack
from results.records import AlreadyRecorded, Metric, Record, record_path, write
from slurm import adopted, weights
from slurm.distributed import Seat
from slurm.interrupts import Interrupts
from slurm.job import Job, predictions_folder
from slurm.telling import Teller
from slurm.weights import Weights, WeightsError


@dataclass(frozen=True)
class Origin:
    """Where weights under test come from, in the words of their record: the fields of the same names.

    `splits`: manifests of the data that they were trained on, as far as it is known.
    """

    checkpoint: dict[str, Any]
    splits: dict[str, Any] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    deviations: list[str] = field(default_factory=list)


def work(job: Job, seat: Seat, interrupts: Interrupts) -> None:
    """What is left of the job's part. Provenance comes first: the code that began the run."""
    torch.set_num_threads(job.threads)
    first = seat.rank == 0
    about = provenance_of(job, seat) if first else {}
    # Rank 0's word: another life may be writing while the ranks look.
    missing = ranks.from_first(job.missing() if first and job.part != "train" else ())
    if not missing and job.part != "train":
        return
    standing = ranks.from_first(_standing(job) if first else None)
    made = standing or _train(job, seat, about, interrupts)
    if missing:
        _test_all(job, seat, missing, made, about)


def _standing(job: Job) -> Weights | None:
    """The weights of an earlier life, if they are sound. A test has no others: it raises WeightsError."""
    try:
        return weights.sound(job.folder)
    except WeightsError:
        if job.part == "test":
            raise
        return None


def _train(job: Job, seat: Seat, about: Mapping[str, Any], interrupts: Interrupts) -> Weights:
    experiment = job.experiment
    tell = Teller(job.unit_folder, seat.job, experiment.recipe.epochs)
    initial = _initial(job)
    try:
        trained = train(
            experiment.model,
            experiment.recipe,
            seed=experiment.seed,
            data_root=_data_root(job, experiment.recipe.data),
            run_dir=job.folder,
            init_state=None if initial is None else initial.state,
            execution=Execution(
                job.device,
                job.threads,
                job.workers,
                job.micro_batch,
                checkpoint_every=job.checkpoint_every,
                validate_every=job.validate_every,
            ),
            on_epoch=tell.epoch,
            on_step=tell.step,
            should_stop=interrupts.asked,
            held=interrupts.held,
        )
    except Interrupted as interrupted:
        print(interrupted, flush=True)
        interrupts.obey()
        raise
    if initial is not None:
        trained.deviations.extend(initial.deviations)
    made = ranks.from_first(_keep(job, trained, about) if seat.rank == 0 else None)
    assert made is not None, "rank 0 has written it"
    return made


def _keep(job: Job, trained: Trained, about: Mapping[str, Any]) -> Weights:
    """Say that the training is finished."""
    path = trained.checkpoint
    shared = {name: getattr(trained, name) for name in ("sha256", "history", "timings", "data", "deviations")}
    made = Weights(path.name, bytes=path.stat().st_size, best=_best(trained), **shared, **about)
    weights.write(job.folder, made)
    return made


def _best(trained: Trained) -> dict[str, Any]:
    if trained.best is None or trained.best_epoch is None:
        return {}
    digest = weights.digest_of(trained.best)
    return {"file": trained.best.name, "sha256": digest, "epoch": trained.best_epoch}


@dataclass(frozen=True)
class _Initial:
    """`state`: the weights that a training starts from. `deviations`: sentences on where they are from."""

    state: Mapping[str, Tensor]
    deviations: tuple[str, ...] = ()


def _initial(job: Job) -> _Initial | None:
    """The weights of `init`, adopted or trained below the same `runs`; CheckpointError naming a file that is not."""
    init = job.experiment.init
    if init is None:
        return None
    if (given := adopted.adopted(job.runs, init)) is not None:
        return _Initial(adopted.weights(given), (given.sentence,))
    return _Initial(load_weights(replace(job, experiment=init).folder / WEIGHTS))


def _test_all(job: Job, seat: Seat, missing: tuple[Protocol, ...], made: Weights, about: Mapping[str, Any]) -> None:
    """Test and record protocol by protocol; of two lives the first one's record is kept."""
    model = build(job.experiment.model)
    model.to(ranks.device(job.device))
    tell = Teller(job.unit_folder, seat.job) if job.part == "test" and seat.rank == 0 else None
    for number, protocol in enumerate(missing):
        if tell is not None:
            tell.say(number / len(missing), f"testing {protocol.key}")
        file, digest, epoch = weights.tested(job.folder, made, protocol.weights)
        model.load_state_dict(load_weights(file))
        origin = _trained_here(made, digest, epoch)
        record = test(job, seat, protocol, origin, model, about, predictions_folder(job.folder, protocol))
        if record is not None:
            _write(record, record_path(job.records, job.experiment, protocol))
    if tell is not None:
        tell.say(1.0, "tested")


def _trained_here(made: Weights, sha256: str, epochs: int) -> Origin:
    """What a record says of the weights that `epochs` epochs of a training of this program left."""
    training = {"code": made.code, "environment": made.environment, "job": made.job}
    checkpoint = {"source": "trained", "sha256": sha256, "epochs": epochs, "training": training}
    return Origin(checkpoint, dict(made.data["splits"]), made.timings, made.history, list(made.deviations))


def _write(record: Record, path: Path) -> None:
    try:
        print(f"recorded {write(record, path)}", flush=True)
    except AlreadyRecorded:  # another life of this run was first
        print(f"{path} stood already: the first record is kept", flush=True)


def test(
    job: Job,
    seat: Seat,
    protocol: Protocol,
    origin: Origin,
    model: nn.Module,
    about: Mapping[str, Any],
    predictions: Path,
) -> Record | None:
    """The record of one test of `model`, whose weights come from `origin`, on rank 0.

    `predictions`: the folder for what the network predicts, of tasks that can keep it.
    """
    started = time.perf_counter()
    task = _task(job)
    root = _data_root(job, protocol.data)
    asked = {name: _asked(job, protocol, name) for name in task.TESTED_BY}
    if task.PREDICTS:
        asked["predictions"] = predictions
    evaluation = task.evaluate(
        model,
        data_root=root,
        split=protocol.split,
        device=next(model.parameters()).device,
        workers=job.workers,
        **asked,
    )
    if seat.rank:
        return None
    seconds = time.perf_counter() - started
    return _record(job, protocol, origin, evaluation, root, seconds, about)


def _asked(job: Job, protocol: Protocol, name: str) -> Any:
    """What the protocol says; what it leaves to the training, as how clips are cut, of the recipe's augmentation."""
    return getattr(protocol if hasattr(protocol, name) else job.experiment.recipe.augment, name)


def _task(job: Job) -> ModuleType:
    return import_module(f"pyconv.tasks.{job.experiment.task}")


def _record(
    job: Job,
    protocol: Protocol,
    origin: Origin,
    evaluation: Evaluation,
    root: Path,
    seconds: float,
    about: Mapping[str, Any],
) -> Record:
    experiment = job.experiment
    splits = dict(origin.splits)
    if protocol.data != experiment.recipe.data or protocol.split not in splits:
        splits[protocol.split] = _task(job).manifest(root, protocol.split)
    return Record(
        name=experiment.name,
        fingerprint=fingerprint(experiment),
        family=family(experiment),
        seed=experiment.seed,
        experiment=resolved(experiment),
        protocol=resolved(protocol),
        metrics={key: Metric(value, "%", n, se) for key, (value, n, se) in evaluation.metrics.items()},
        outcomes={key: pack(bits.tolist()) for key, bits in evaluation.correct.items()},
        per_class=dict(evaluation.per_class),
        observed={"input": list(evaluation.input)},
        expected_samples=evaluation.expected if protocol.samples is None else protocol.samples,
        counted_samples=evaluation.samples,
        complexity=asdict(complexity.count(experiment.model, _input_size(experiment, protocol))),
        checkpoint=origin.checkpoint,
        data={"name": protocol.data, "splits": splits},
        timings={**origin.timings, "test": seconds},
        history=origin.history,
        deviations=origin.deviations,
        mini=job.mini,
        **about,
    )


def _input_size(experiment: Experiment, protocol: Protocol) -> tuple[int, ...]:
    """(C, H, W), or of a clip (C, T, H, W), that enters the network."""
    augment = experiment.recipe.augment
    frames = (augment.frames,) if isinstance(augment, KineticsAugment) else ()
    return (3, *frames, protocol.crop, protocol.crop)


def provenance_of(job: Job, seat: Seat) -> dict[str, Any]:
    """Provenance of what this process makes: code, environment, job."""
    return {
        "code": dict(provenance.code() if job.code is None else job.code),
        "environment": provenance.environment(ranks.device(job.device).type, job.threads),
        "job": seat.provenance(),
    }


def _data_root(job: Job, name: str) -> Path:
    """Folder of the data set; what a package ships is prepared where it is not given."""
    if name in job.data:
        return job.data[name]
    if name not in PACKAGED:
        raise ValueError(f"no folder is known for {name}: give --data {name}=DIR")
    prepare(name, job.runs / "data")
    return job.runs / "data" / name
