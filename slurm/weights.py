"""What a finished training leaves beside its weights: `trained.json`, from which tests go on without training.

It is written after the weights, in one step: where it can be read, the training is finished.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from results.files import write_over

TRAINED = "trained.json"


class WeightsError(ValueError):
    """Weights that must not be tested: names the file, what is wrong, what would be right."""


@dataclass(frozen=True)
class Weights:
    """`file`: their name in the same folder; `bytes`, `sha256`: of that file.

    `history`: one dict an epoch. `timings`: seconds. `data`: name and manifests. `deviations`: sentences. `code`,
    `environment`, `job`: provenance of the training, as records carry it.
    """

    file: str
    sha256: str
    bytes: int
    history: list[dict[str, float]]
    timings: dict[str, float]
    data: dict[str, Any]
    deviations: list[str]
    code: dict[str, Any]
    environment: dict[str, Any]
    job: dict[str, Any]


def write(folder: Path, weights: Weights) -> None:
    """Say in `folder` that the training is finished. Raises OSError with nothing left behind."""
    write_over(folder / TRAINED, json.dumps(asdict(weights)))


def read(folder: Path) -> Weights | None:
    """What the training in `folder` left, None when it is not finished or what it left cannot be read."""
    try:
        content: Any = json.loads((folder / TRAINED).read_text())
        known = {field.name for field in fields(Weights)}
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
    path = folder / weights.file
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}); {again}") from error
    if digest != weights.sha256:
        raise WeightsError(
            f"{path}: its SHA-256 is {digest[:16]}..., {TRAINED} beside it says {str(weights.sha256)[:16]}...; "
            f"the file was damaged or changed: {again}"
        )
    return weights
