"""What a finished training leaves beside its weights: `trained.json`, from which tests go on without training.

It is written after the weights, in one step: where it can be read, the training is finished.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from results.files import write_over

TRAINED = "trained.json"


class WeightsError(ValueError):
    """Weights that must not be tested: names the file, what is wrong, what would be right."""


@dataclass(frozen=True)
class Weights:
    """`file`: their name in the same folder; `bytes`, `sha256`: of that file.

    `history`: one dict an epoch. `timings`: seconds. `data`: name and manifests. `deviations`: sentences. `code`,
    `environment`, `job`: provenance of the training, as records carry it. `best`: name, SHA-256 and epoch (from 1) of
    the weights of the epoch with the lowest validation error, empty where nothing was validated.
    """

    file: str
    sha256: str
    bytes: int
    history: list[dict[str, Any]]
    timings: dict[str, float]
    data: dict[str, Any]
    deviations: list[str]
    code: dict[str, Any]
    environment: dict[str, Any]
    job: dict[str, Any]
    best: dict[str, Any] = field(default_factory=dict)


def write(folder: Path, weights: Weights) -> None:
    """Say in `folder` that the training is finished. Raises OSError with nothing left behind."""
    write_over(folder / TRAINED, json.dumps(asdict(weights)))


def read(folder: Path) -> Weights | None:
    """What the training in `folder` left, None when it is not finished or what it left cannot be read."""
    try:
        content: Any = json.loads((folder / TRAINED).read_text())
        known = {known.name for known in fields(Weights)}
        return Weights(**{key: value for key, value in content.items() if key in known})
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def standing(folder: Path) -> bool:
    """Whether a finished training stands in `folder`, by the size of its file: cheap, for plans and status."""
    weights = read(folder)
    try:
        return weights is not None and (folder / weights.file).stat().st_size == weights.bytes
    except (OSError, TypeError):
        return False


def sound(folder: Path) -> Weights:
    """What stands in `folder`, its SHA-256 checked. Raises WeightsError."""
    again = "train the network first (a training whose weights stand is not run again)"
    weights = read(folder)
    if weights is None:
        raise WeightsError(f"{folder / TRAINED}: not there or not readable; {again}")
    _check(folder / weights.file, weights.sha256, again)
    return weights


def tested(folder: Path, weights: Weights, kind: Literal["last", "best"]) -> tuple[Path, str, int]:
    """File, SHA-256 and epoch (from 1) of the last or the best epoch's weights in `folder`. Raises WeightsError.

    That the last ones are sound is asked of `sound`; that the best ones are, here.
    """
    if kind == "last":
        return folder / weights.file, weights.sha256, len(weights.history)
    if not weights.best:
        raise WeightsError(
            f"{folder / TRAINED}: no epoch was validated, so none is the best; test the last one's weights"
        )
    path, digest = folder / str(weights.best["file"]), str(weights.best["sha256"])
    _check(path, digest, "test the last epoch's weights, or train again")
    return path, digest, int(weights.best["epoch"])


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(path: Path, expected: str, remedy: str) -> None:
    try:
        digest = digest_of(path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}); {remedy}") from error
    if digest != expected:
        raise WeightsError(
            f"{path}: its SHA-256 is {digest[:16]}..., {TRAINED} beside it says {str(expected)[:16]}...; "
            f"the file was damaged or changed: {remedy}"
        )
