"""Weights on disk: checkpoints of a training, weights of a trained network, the authors' released files."""

from pyconv.checkpoints.files import CheckpointError
from pyconv.checkpoints.released import Released, export_released, load_released, save_released
from pyconv.checkpoints.training import (
    FORMAT,
    KEPT,
    STALE_SECONDS,
    identity,
    latest,
    load,
    load_weights,
    save,
    save_weights,
    start_from,
    weights_digest,
)

__all__ = [
    "FORMAT",
    "KEPT",
    "STALE_SECONDS",
    "CheckpointError",
    "Released",
    "export_released",
    "identity",
    "latest",
    "load",
    "load_released",
    "load_weights",
    "save",
    "save_released",
    "save_weights",
    "start_from",
    "weights_digest",
]
