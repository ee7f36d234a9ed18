"""Checkpoints that survive: atomic, verified, two kept; a damaged one is recognised and the one before is used.

A file is named `step-<optimiser steps>-<16 hex digits of its SHA-256>.pt`, so that one rename publishes content and
check sum together. It holds `{"format", "identity", "state"}` and is read with `weights_only=True`: no code in it runs.
"""

import hashlib
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pyconv.checkpoints.files import CheckpointError, DamagedError, packed, publish, unpacked

FORMAT = 1
KEPT = 2
STALE_SECONDS = 3600
_STAGE = re.compile(r"stage(\d+)\.")
"""Temporary files this old were left by a process that was killed while it wrote."""

State = dict[str, Any]
_log = logging.getLogger(__name__)


def identity(*values: object) -> str:
    """A key for what a checkpoint belongs to: dataclasses by their compared fields, so labels do not count."""
    return hashlib.sha256(repr([_plain(value) for value in values]).encode()).hexdigest()[:16]


def weights_digest(weights: dict[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes of a state dict."""
    total = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def save(folder: Path, step: int, state: State, key: str) -> Path:
    """Write a checkpoint after `step` optimiser steps for the run `key`; keeps the newest two."""
    folder.mkdir(parents=True, exist_ok=True)
    content = packed({"format": FORMAT, "identity": key, "state": state})
    path = folder / f"step-{step:09}-{hashlib.sha256(content).hexdigest()[:16]}.pt"
    publish(content, path)
    for other in _newest_first(folder):
        if other != path and _step(other) == step:
            other.unlink(missing_ok=True)
    for old in _newest_first(folder)[KEPT:]:
        old.unlink(missing_ok=True)
    for left in folder.glob(".*.tmp"):
        if time.time() - left.stat().st_mtime > STALE_SECONDS:
            left.unlink(missing_ok=True)
    return path


def latest(folder: Path, key: str, device: torch.device | str = "cpu") -> tuple[Path, State] | None:
    """The newest sound checkpoint of the run `key`, or None.

    A damaged one is logged and passed over. Raises `CheckpointError` for one of another run.
    """
    for path in _newest_first(folder):
        try:
            return path, load(path, key, device)
        except DamagedError as damage:
            _log.warning("%s; the one before it is used", damage)
    return None


def load(path: Path, key: str, device: torch.device | str = "cpu") -> State:
    """The state in `path`; `CheckpointError` when it is damaged, of another format or of another run."""
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DamagedError(f"{path}: gone") from error
    digest = hashlib.sha256(content).hexdigest()
    if not path.stem.endswith(digest[:16]):
        raise DamagedError(f"{path}: damaged, its SHA-256 is {digest[:16]}... and not the one in its name")
    return _own(content, path, key, device)["state"]


def save_weights(path: Path, weights: dict[str, Tensor], key: str) -> str:
    """Write a trained network's weights; their file's SHA-256. Equal weights give equal files."""
    kept = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in sorted(weights.items())}
    content = packed({"format": FORMAT, "identity": key, "weights": kept})
    path.parent.mkdir(parents=True, exist_ok=True)
    publish(content, path)
    return hashlib.sha256(content).hexdigest()


def load_weights(path: Path, key: str | None = None) -> dict[str, Tensor]:
    """The state dict that `save_weights` wrote; `key` given: only of that run."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; train the network first")
    return _own(path.read_bytes(), path, key, "cpu")["weights"]


def start_from(model: nn.Module, weights: Mapping[str, Tensor]) -> str:
    """Give `model` the weights of a trained network; their digest.

    A model with a `backbone` gets them there, without the classifier and the stages that its backbone ends before.
    Raises `ValueError` naming what does not fit.
    """
    backbone = getattr(model, "backbone", None)
    target = backbone if isinstance(backbone, nn.Module) else model
    own = target.state_dict()
    missing = [name for name in own if name not in weights]
    shapes = [name for name in own if name in weights and weights[name].shape != own[name].shape]
    unexpected = [name for name in weights if name not in own and not (target is backbone and _is_behind(name, own))]
    if missing or shapes or unexpected:
        raise ValueError(
            f"init_state does not fit the network: missing {missing[:3]}, unexpected {unexpected[:3]}, "
            f"of another shape {shapes[:3]} ({len(missing)}, {len(unexpected)}, {len(shapes)} in all)"
        )
    fitting = {name: weights[name] for name in own}
    target.load_state_dict(fitting)
    return weights_digest(fitting)


def _is_behind(name: str, own: Mapping[str, Tensor]) -> bool:
    """Whether a weight of a classification network belongs to what follows a backbone with the weights `own`."""
    stages = [int(found[1]) for key in own if (found := _STAGE.match(key))]
    stage = _STAGE.match(name)
    return name.startswith("fc.") or (stage is not None and int(stage[1]) > max(stages, default=0))


def _own(content: bytes, path: Path, key: str | None, device: torch.device | str) -> State:
    payload = unpacked(content, path, device)
    if not isinstance(payload, dict) or payload.get("format") != FORMAT:
        found = payload.get("format") if isinstance(payload, dict) else type(payload).__name__
        raise CheckpointError(f"{path}: not a checkpoint of this program (format {found!r}, expected {FORMAT})")
    if key is not None and payload["identity"] != key:
        raise CheckpointError(
            f"{path}: belongs to another run ({payload['identity']}, this one is {key}): another network, recipe, "
            f"seed or initial weights; use another run_dir or delete this one"
        )
    return payload


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"step-{'[0-9]' * 9}-*.pt"), key=lambda path: (_step(path), path.name), reverse=True)


def _step(path: Path) -> int:
    return int(path.stem.split("-")[1])


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return [type(value).__name__, *((f.name, _plain(getattr(value, f.name))) for f in fields(value) if f.compare)]
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return float(value) if isinstance(value, int) else value  # 30, 30.0 and True are equal, so they are one key
