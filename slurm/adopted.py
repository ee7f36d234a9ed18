"""Weights from a file in the place of a training that others start from: a backbone that somebody else has trained.

They stand beside the seeds of the experiment, in `<runs>/<name>-<family>/adopted`, and are never tested as if they had
been trained here. What starts from them says so in its record. They go before a training's own weights: a person has
asked for them.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.spec import Experiment
from results.files import write_over
from slurm.job import run_folder
from slurm.weights import WeightsError, digest_of

__all__ = ["Adopted", "WeightsError", "adopt", "adopted", "folder_of", "weights"]

if TYPE_CHECKING:
    from torch import Tensor

    from pyconv.checkpoints import Released

ABOUT = "adopted.json"
WEIGHTS = "weights.pt"


@dataclass(frozen=True)
class Adopted:
    """`name`, `sha256`, `layout`: of the file a person gave. `kept`: SHA-256 of what was kept of it, in `folder`."""

    folder: Path
    name: str
    sha256: str
    layout: str
    kept: str

    @property
    def sentence(self) -> str:
        """What a record of a training that starts from them says."""
        return (
            f"starts from weights of the file {self.name} (SHA-256 {self.sha256[:12]}..., {self.layout}), "
            "not from a training by the backbone's experiment"
        )


def folder_of(runs: Path, experiment: Experiment) -> Path:
    """Where adopted weights of `experiment` are, whatever its seed."""
    return run_folder(runs, experiment).parent / "adopted"


def adopted(runs: Path, experiment: Experiment) -> Adopted | None:
    """What was adopted for `experiment`; None where nothing was, or not to its end. No torch."""
    folder = folder_of(runs, experiment)
    try:
        content: Any = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        return Adopted(folder, **content)
    except (OSError, ValueError, TypeError):
        return None


def adopt(runs: Path, experiment: Experiment, file: Path) -> tuple[Adopted, "Released"]:
    """Keep the weights in `file` as those that what starts from `experiment` starts from.

    Raises ValueError where the file is not of this network, WeightsError where another file was adopted before.
    """
    from pyconv.checkpoints import identity, load_released, save_weights
    from pyconv.models import build

    model = build(experiment.model)
    released = load_released(model, file)
    assert released.sha256 is not None, "they are a file's"
    before = adopted(runs, experiment)
    if before is not None and before.sha256 != released.sha256:
        raise WeightsError(
            f"{before.folder}: holds the weights of {before.name} (SHA-256 {before.sha256[:12]}...) already; what "
            "starts from them may have begun: delete the folder if nothing has, and adopt again"
        )
    folder = folder_of(runs, experiment)
    kept = save_weights(folder / WEIGHTS, model.state_dict(), identity("adopted", released.sha256))
    made = Adopted(folder, file.name, released.sha256, released.layout, kept)
    content = {key: value for key, value in asdict(made).items() if key != "folder"}
    write_over(folder / ABOUT, json.dumps(content, indent=1) + "\n")
    return made, released


def weights(of: Adopted) -> Mapping[str, "Tensor"]:
    """The adopted weights. Raises WeightsError where the file was changed since."""
    from pyconv.checkpoints import load_weights

    path = of.folder / WEIGHTS
    try:
        digest = digest_of(path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}); adopt {of.name} again") from error
    if digest != of.kept:
        raise WeightsError(f"{path}: damaged or changed since it was adopted; delete the folder and adopt again")
    return load_weights(path)
