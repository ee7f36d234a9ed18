"""Files of tensors: published all at once or not at all, read without running any code that is in them."""

import io
import pickle
import struct
import warnings
from pathlib import Path
from typing import Any

import torch

from pyconv import files

_UNREADABLE = (
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    pickle.UnpicklingError,
    struct.error,
)
"""What torch.load raises for bytes that are no checkpoint, or one that would run code."""


class CheckpointError(ValueError):
    """A checkpoint that must not be used: names the file, what is wrong, what would be right."""


class DamagedError(CheckpointError):
    """A file that is gone, torn or no checkpoint of plain tensors and values."""


def packed(payload: object) -> bytes:
    """What `torch.save` would write."""
    buffer = io.BytesIO()
    torch.save(payload, buffer)
    return buffer.getvalue()


def unpacked(content: bytes, path: Path, device: torch.device | str = "cpu") -> Any:
    """The tensors and plain values in `content` of the file `path`; DamagedError for anything else."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # foreign pickles are refused below, with a reason
            return torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    except _UNREADABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DamagedError(f"{path}: damaged or not a checkpoint of plain tensors and values ({reason})") from error


def publish(content: bytes, path: Path) -> None:
    """All of `content` at `path`, or nothing; OSError says that the checkpoint before it stands."""
    try:
        files.publish(path, lambda file: file.write(content))
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}; the checkpoint before it stands", str(path)) from error
