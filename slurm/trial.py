"""A test of weights from a file, such as the authors' own: nothing is trained, and the record says so.

It is the test of a job (`slurm.measure.test`), with another origin of the weights and another place for its record.
"""

from pathlib import Path

import torch
from torch import nn

from experiments.spec import Protocol
from pyconv import ranks
from pyconv.checkpoints import Released, load_released
from pyconv.models import build
from results.records import AlreadyRecorded, Record, released_path, write
from slurm.distributed import seat
from slurm.job import Job, predictions_folder, recorded
from slurm.measure import Origin, provenance_of, test

UNKNOWN = "The weights were read from a file and not trained here: how they were trained is not known."


def loaded(job: Job, file: Path) -> tuple[nn.Module, Released]:
    """The job's network with the weights of `file`. Raises ValueError (CheckpointError) naming what does not fit."""
    model = build(job.experiment.model)
    return model, load_released(model, file)


def tested(job: Job, file: Path, model: nn.Module, weights: Released) -> dict[Path, Record]:
    """The record of each of the job's protocols, by its path; what is recorded of this file is not tested again.

    Raises ValueError for data or a network that cannot be tested.
    """
    torch.set_num_threads(job.threads)
    assert weights.sha256 is not None, "they are a file's"
    place = seat()
    about = provenance_of(job, place)
    origin = _from_file(file, weights)
    model.to(ranks.device(job.device))
    records: dict[Path, Record] = {}
    for protocol in job.protocols:
        path = released_path(job.records, job.experiment, protocol, weights.sha256)
        record = recorded(path, protocol)
        if record is None:
            kept = released_path(job.runs, job.experiment, protocol, weights.sha256).parent
            record = test(job, place, protocol, origin, model, about, predictions_folder(kept, protocol))
            assert record is not None, "a single rank is rank 0"
            record = _kept(record, path, protocol)
        records[path] = record
    return records


def _from_file(file: Path, weights: Released) -> Origin:
    about = {"file": file.name, "sha256": weights.sha256, "layout": weights.layout}
    return Origin({"source": "released", **about, "epochs": None}, deviations=[UNKNOWN])


def _kept(record: Record, path: Path, protocol: Protocol) -> Record:
    """Write `record`, or give the one that another process has written in the meantime."""
    try:
        write(record, path)
    except AlreadyRecorded:
        return recorded(path, protocol) or record
    return record
