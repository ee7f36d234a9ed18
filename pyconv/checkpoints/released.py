"""The weights that the authors published: `load_released` into our networks, `export_released` from them.

A file is a state dict in the authors' names, bare or under `state_dict` beside other values, with or without the prefix
`module.` of DataParallel, in torch's format or in safetensors'. A network gets all of it or nothing.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from pyconv.architectures import SSD, Network, ResNet, SegNet
from pyconv.checkpoints.files import CheckpointError, packed, publish, unpacked
from pyconv.checkpoints.misfits import check_fit, converted
from pyconv.checkpoints.names import COUNTER, COVERED, layout, released_names
from pyconv.checkpoints.training import FORMAT

WRAPPER = "state_dict"
PREFIX = "module."
SUFFIXES = (".pt", ".pth", ".safetensors")
Source = Literal["released", "own"]


@dataclass(frozen=True)
class Released:
    """What was read: `tensors` of them, in a `layout` ("classification", "segmentation with the head ppm", ...).

    `source`: "released" for the authors' names, "own" for a file of `save_weights`. `ignored`: what else the file
    holds. `uncounted`: batch norms without a counter in the file, which is 0 then. `sha256`: of the file, if it is one.
    """

    source: Source
    layout: str
    tensors: int
    ignored: tuple[str, ...] = ()
    uncounted: int = 0
    sha256: str | None = None


@dataclass(frozen=True)
class _Content:
    """A state dict and `where` it was found, without the prefix and what stood beside it."""

    where: str
    state: Mapping[str, Tensor]
    source: Source = "released"
    ignored: tuple[str, ...] = field(default=())
    sha256: str | None = None


def load_released(model: nn.Module, weights: Path | str | Mapping[str, Tensor]) -> Released:
    """Give `model`, built by `pyconv`, the weights of a released file or state dict; says what was read.

    A file of `save_weights` is taken too. Numbers are converted to the model's type. Raises CheckpointError for a file
    that cannot be read or would run code, for names and shapes that do not fit (all of them, in the file's words), for
    tensors that are not finite floating point: the model is then as it was. ValueError for a network that the authors'
    layout is not known of.
    """
    network = _network(model)
    own = model.state_dict()
    content = _read(Path(weights)) if isinstance(weights, (str, Path)) else _content(weights, "the state dict")
    names = {name: name for name in own} if content.source == "own" else released_names(network, own)
    check_fit(content.where, network, names, own, content.state)
    fitting = converted(content.where, names, own, content.state)
    model.load_state_dict(fitting)
    return Released(
        content.source,
        "this program's" if content.source == "own" else layout(content.state),
        len(content.state),
        content.ignored,
        sum(name.endswith(COUNTER) and names[name] not in content.state for name in own),
        content.sha256,
    )


def export_released(model: nn.Module) -> dict[str, Tensor]:
    """The weights of `model` in the authors' names, copied to the CPU; of a ResNet it is torchvision's state dict.

    Raises `ValueError` for a network that the authors' layout is not known of.
    """
    own = model.state_dict()
    names = released_names(_network(model), own)
    return {names[name]: tensor.detach().cpu().contiguous().clone() for name, tensor in own.items()}


def save_released(path: Path, model: nn.Module) -> str:
    """Write `export_released(model)` at `path`, all at once; the file's SHA-256. `.pt`, `.pth` or `.safetensors`."""
    if path.suffix not in SUFFIXES:
        raise ValueError(
            f"{path}: weights are written as {', '.join(SUFFIXES)}, not {path.suffix or 'without an end'!r}"
        )
    tensors = export_released(model)
    if path.suffix == ".safetensors":
        about = {"format": "pt", "network": _network(model).name, "layout": layout(tensors)}
        content = _safetensors(path).save(tensors, about)
    else:
        content = packed(tensors)
    path.parent.mkdir(parents=True, exist_ok=True)
    publish(content, path)
    return hashlib.sha256(content).hexdigest()


def _network(model: nn.Module) -> Network:
    network = getattr(model, "network", None)
    if not isinstance(network, (ResNet, SegNet, SSD)):
        raise ValueError(f"{type(model).__name__}: not a network of this package; known are {COVERED}")
    return network


def _read(path: Path) -> _Content:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}; give the file of the weights") from error
    if path.suffix == ".safetensors":
        library = _safetensors(path)
        try:
            payload: Any = library.load(content)
        except Exception as error:  # of the library's own type, or what a torn header raises on its way
            raise CheckpointError(f"{path}: damaged or not safetensors ({error})") from error
    else:
        payload = unpacked(content, path)
    return _content(payload, str(path), hashlib.sha256(content).hexdigest())


def _content(payload: object, where: str, sha256: str | None = None) -> _Content:
    if not isinstance(payload, Mapping):
        raise CheckpointError(f"{where}: holds a {type(payload).__name__}; a state dict (name: tensor) is right")
    own = payload.get("format") == FORMAT and "weights" in payload
    key = "weights" if own else WRAPPER if WRAPPER in payload else None
    ignored = tuple(str(name) for name in payload if name != key) if key else ()
    state = payload if key is None else payload[key]
    if not isinstance(state, Mapping) or not state:
        raise CheckpointError(f"{where}: {key or 'the file'} holds no tensors; a state dict (name: tensor) is right")
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            kind = type(tensor).__name__
            raise CheckpointError(f"{where}: {name!r} is a {kind}, not a tensor; a state dict or {WRAPPER}= is right")
    if not own and all(name.startswith(PREFIX) for name in state):
        state = {name.removeprefix(PREFIX): tensor for name, tensor in state.items()}
    return _Content(where, state, "own" if own else "released", ignored, sha256)


def _safetensors(path: Path) -> Any:
    try:
        from safetensors import torch as library  # optional: no network of the paper needs it
    except ImportError as error:
        raise CheckpointError(f"{path}: safetensors is not installed here: pip install safetensors") from error
    return library
