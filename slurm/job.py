"""What runs on the machine: train one experiment, test it by each protocol, write each record once.

A `Job` is a value that submitit pickles, calls, and on a time limit or a preemption signal asks for its `checkpoint`.
The evidence is the record on disk; what a job returns or how it exits is a hint.
"""

import json
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from experiments.spec import Experiment, Protocol, family, fingerprint, resolved
from results import provenance
from results.records import AlreadyRecorded, Metric, Record, RecordError, read, record_path, write
from slurm.interrupts import alone, between_steps

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission
    from torch import Tensor, nn

    from pyconv.progress import StepReport
    from pyconv.train import Trained

PROGRESS = "progress.json"
PROGRESS_EVERY = 1.0  # seconds between two writes of it


@dataclass(frozen=True)
class Job:
    """`experiment` trained below `runs` and tested by `protocols`, its records written below `records`.

    `data`: name -> folder. `threads`, `workers`, `micro_batch`, `device`: how it is executed, not what it computes.
    """

    experiment: Experiment
    protocols: tuple[Protocol, ...]
    records: Path
    runs: Path
    data: Mapping[str, Path] = field(default_factory=dict)
    threads: int = 1
    workers: int = 0
    micro_batch: int | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    mini: bool = False

    @property
    def folder(self) -> Path:
        """Checkpoints, progress and logs of this run: `<runs>/<name>-<family>/seed-<s>`."""
        return run_folder(self.runs, self.experiment)

    def missing(self) -> tuple[Protocol, ...]:
        """The protocols without a valid, complete record."""
        return tuple(p for p in self.protocols if self.record(p) is None)

    def record(self, protocol: Protocol) -> Record | None:
        """The valid, complete record that stands on disk, if one does."""
        path = record_path(self.records, self.experiment, protocol)
        if not path.exists():
            return None
        try:
            record = read(path)
        except RecordError:
            return None
        right = isinstance(record, Record) and record.complete and record.protocol == resolved(protocol)
        return record if right and isinstance(record, Record) else None

    def __call__(self) -> list[str]:
        """Train (going on from the last checkpoint), test, record; returns where the records stand."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with alone(self.folder / "lock"):  # two lives of one run would tread on each other's checkpoints
            if missing := self.missing():
                _measure(self, missing)
            else:
                print("everything is recorded already", flush=True)
        return [str(record_path(self.records, self.experiment, p)) for p in self.protocols]

    def checkpoint(self) -> "DelayedSubmission":
        """What submitit requeues: the same value, because the training's own checkpoint says where to go on."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def run_folder(runs: Path, experiment: Experiment) -> Path:
    """Named as the records are, so that a run and its evidence are found by the same words."""
    return record_path(runs, experiment, Protocol("weights", experiment.recipe.data)).parent


def progress_of(job: Job) -> tuple[float, str]:
    """How much of the training is done (0 to 1) and `epoch 3/10, top-1 error 4.1`; for people, not evidence."""
    try:
        told = json.loads((job.folder / PROGRESS).read_text())
        return float(told["done"]), str(told["text"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0, "starting"


def _measure(job: Job, missing: tuple[Protocol, ...]) -> None:
    """Train once, then test and record protocol by protocol. Provenance comes first: the code that began the run."""
    import torch  # here and not at the top: the command line makes jobs, and starts in a tenth of a second

    from pyconv.checkpoints import load_weights
    from pyconv.models import build
    from pyconv.ranks import device

    code = provenance.code()
    torch.set_num_threads(job.threads)
    roots = _data_roots(job)
    trained = _train(job, roots[job.experiment.recipe.data])
    model = build(job.experiment.model)
    model.load_state_dict(load_weights(trained.checkpoint))
    place = device(job.device)
    about = {"code": code, "environment": provenance.environment(place.type, job.threads), "job": _this_job()}
    for protocol in missing:
        record = _test(job, protocol, trained, model.to(place), roots[protocol.data], about)
        path = record_path(job.records, job.experiment, protocol)
        try:
            print(f"recorded {write(record, path)}", flush=True)
        except AlreadyRecorded:  # another life of this run was first
            print(f"{path} stood already: the first record is kept", flush=True)


def _train(job: Job, data_root: Path) -> "Trained":
    from pyconv.train import Execution, Interrupted, train

    experiment = job.experiment
    tell = _Teller(job.folder / PROGRESS, experiment.recipe.epochs)
    with between_steps() as stop:
        try:
            return train(
                experiment.model,
                experiment.recipe,
                seed=experiment.seed,
                data_root=data_root,
                run_dir=job.folder,
                init_state=_initial_weights(job),
                execution=Execution(job.device, job.threads, job.workers, job.micro_batch),
                on_epoch=tell.epoch,
                on_step=tell.step,
                should_stop=stop.asked,
            )
        except Interrupted as interrupted:
            print(interrupted, flush=True)
            stop.go_on()  # ends this process: submitit requeues after its signal, Ctrl-C is a KeyboardInterrupt
            raise


def _initial_weights(job: Job) -> "dict[str, Tensor] | None":
    """The weights of `init`, trained below the same `runs`; CheckpointError naming the file when they are not."""
    from pyconv.checkpoints import load_weights
    from pyconv.train import WEIGHTS

    init = job.experiment.init
    return None if init is None else load_weights(run_folder(job.runs, init) / WEIGHTS)


def _test(
    job: Job, protocol: Protocol, trained: "Trained", model: "nn.Module", data_root: Path, about: Mapping[str, Any]
) -> Record:
    """The record of one test of the trained `model`."""
    from pyconv import complexity
    from pyconv.data import manifest

    experiment, started = job.experiment, time.perf_counter()
    evaluation = import_module(f"pyconv.tasks.{experiment.task}").evaluate(
        model,
        data_root=data_root,
        split=protocol.split,
        crop=protocol.crop,
        resize=protocol.resize,
        device=next(model.parameters()).device,
        workers=job.workers,
    )
    seconds = time.perf_counter() - started
    splits = dict(trained.data["splits"])
    if protocol.data != experiment.recipe.data or protocol.split not in splits:
        splits[protocol.split] = manifest(data_root, protocol.split)
    size = (*experiment.model.input_size[:-2], protocol.crop, protocol.crop)
    return Record(
        name=experiment.name,
        fingerprint=fingerprint(experiment),
        family=family(experiment),
        seed=experiment.seed,
        experiment=resolved(experiment),
        protocol=resolved(protocol),
        metrics={key: Metric(value, "%", n, se) for key, (value, n, se) in evaluation.metrics.items()},
        expected_samples=evaluation.expected if protocol.samples is None else protocol.samples,
        counted_samples=evaluation.samples,
        complexity=asdict(complexity.count(experiment.model, size)),
        checkpoint={"sha256": trained.sha256, "epochs": experiment.recipe.epochs},
        data={"name": protocol.data, "splits": splits},
        timings={**trained.timings, "test": seconds},
        history=trained.history,
        deviations=list(trained.deviations),
        mini=job.mini,
        **about,
    )


def _data_roots(job: Job) -> dict[str, Path]:
    """Folder of each data set the job reads; what a package ships is prepared where it is not given."""
    from pyconv.data import PACKAGED, prepare

    roots = dict(job.data)
    for name in {job.experiment.recipe.data, *(protocol.data for protocol in job.protocols)}:
        if name not in roots and name in PACKAGED:
            prepare(name, job.runs / "data")
            roots[name] = job.runs / "data" / name
        elif name not in roots:
            raise ValueError(f"no folder is known for {name}: give --data {name}=DIR")
    return roots


def _this_job() -> dict[str, Any]:
    """Who runs this: submitit's executor and id, or nobody."""
    import submitit

    try:
        environment = submitit.JobEnvironment()
    except RuntimeError:
        return {"id": None, "executor": None, "hostname": socket.gethostname()}
    return {"id": environment.job_id, "executor": environment.cluster, "hostname": environment.hostname}


class _Teller:
    """Says how far the training is: a line an epoch on stdout, and a small file for whoever watches."""

    def __init__(self, path: Path, epochs: int) -> None:
        self._path, self._epochs, self._written, self._last = path, epochs, 0.0, ""

    def step(self, report: "StepReport") -> None:
        if time.monotonic() - self._written >= PROGRESS_EVERY:
            done = (report.epoch - 1 + report.step / report.steps) / self._epochs
            self._tell(done, f"epoch {report.epoch}/{self._epochs}{self._last}")

    def epoch(self, entry: Mapping[str, float]) -> None:
        numbers = ", ".join(f"{key} {value:.4g}" for key, value in entry.items() if key != "epoch")
        print(f"epoch {entry['epoch']:.0f}/{self._epochs}: {numbers}", flush=True)
        if "top1_err" in entry:
            self._last = f" {entry['top1_err']:.1f}% err"
        self._tell(entry["epoch"] / self._epochs, f"epoch {entry['epoch']:.0f}/{self._epochs}{self._last}")

    def _tell(self, done: float, text: str) -> None:
        self._written = time.monotonic()
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text(json.dumps({"done": done, "text": text}))
        temporary.replace(self._path)
