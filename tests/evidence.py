"""Records made up for tests: real specs, invented measurements."""

import base64
from collections.abc import Sequence
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np

from experiments.recipes import imagenet
from experiments.spec import Experiment, Protocol, digest, family, fingerprint, resolved
from pyconv.architectures import Network, resnet
from results.records import CountRecord, Metric, Record, count_path, record_path, write

CODE = {"commit": "0" * 40, "dirty": False, "diff_sha256": None}
SHA = "a" * 64
CROP = Protocol("crop224", "imagenet", samples=50_000)
EXPERIMENT = imagenet(resnet(50))


def measurement(experiment: Experiment = EXPERIMENT, protocol: Protocol = CROP, **changes: Any) -> Record:
    """A valid record; `errors` sets top-1 and top-5, `right` the images that are right (instead of `errors`)."""
    if (right := changes.pop("right", None)) is not None:
        changes = {**scored(**right), **changes}
    top1, top5 = changes.pop("errors", (23.88, 7.06))
    samples = protocol.samples or 50_000
    record = Record(
        name=experiment.name,
        fingerprint=fingerprint(experiment),
        family=family(experiment),
        seed=experiment.seed,
        experiment=resolved(experiment),
        protocol=resolved(protocol),
        metrics={"top1_err": Metric(top1, "%", samples, None), "top5_err": Metric(top5, "%", samples, None)},
        outcomes={},
        per_class={},
        observed={},
        expected_samples=protocol.samples,
        counted_samples=samples,
        complexity={"params": 25_557_032, "flops": {"thop-2019": 4_143_000_000}},
        checkpoint={"sha256": SHA, "epochs": experiment.recipe.epochs},
        data={"name": "imagenet", "splits": {"val": {"samples": samples, "classes": 1000, "sha256": SHA}}},
        code=CODE,
        environment={"python": "3.11.7", "torch": "2.14.1", "device": "cpu", "threads": 1},
        job={"id": "1", "executor": "local", "hostname": "node1"},
        timings={"train": 12.5, "test": 1.5},
        history=[{"epoch": number, "train_loss": 6.5} for number in range(1, experiment.recipe.epochs + 1)],
        deviations=[],
        mini=False,
    )
    return replace(record, **changes)


def scored(**right: Sequence[bool]) -> dict[str, Any]:
    """Metrics and outcomes of a test of which `right` says, metric by metric, which images were right."""
    metrics = {}
    for key, bits in right.items():
        p = sum(not bit for bit in bits) / len(bits)
        metrics[key] = Metric(100 * p, "%", len(bits), 100 * sqrt(p * (1 - p) / len(bits)))
    packed = {key: np.packbits(np.array(bits, bool)).tobytes() for key, bits in right.items()}
    outcomes = {key: base64.b64encode(content).decode() for key, content in packed.items()}
    return {"metrics": metrics, "outcomes": outcomes, "observed": {"input": [224, 224]}}


def counted(
    network: Network, params: int, thop: int, size: tuple[int, ...] | None = None, **changes: Any
) -> CountRecord:
    """A valid count; `macs` and `fvcore` are made up."""
    record = CountRecord(
        name=network.name,
        network=resolved(network),
        network_digest=digest(network),
        input_size=list(size or network.input_size),
        params=params,
        flops={"thop-2019": thop, "macs": thop - 10, "fvcore": thop - 5},
        stages=[],
        code=CODE,
        environment={"python": "3.11.7"},
    )
    return replace(record, **changes)


def save(root: Path, experiment: Experiment = EXPERIMENT, protocol: Protocol = CROP, **changes: Any) -> Path:
    """Write `measurement(...)` where it belongs under `root`."""
    return write(measurement(experiment, protocol, **changes), record_path(root, experiment, protocol))


def save_count(root: Path, network: Network, params: int, thop: int, size: tuple[int, ...] | None = None) -> Path:
    """Write `counted(...)` where it belongs under `root`."""
    return write(counted(network, params, thop, size), count_path(root, network, size or network.input_size))
