"""What the ADE20K test server takes: one label map a test photograph in a zip file, and beside it whose they are.

    DIR/<stem>.png         8 bits, one channel, the photograph's size, class numbers from 1
    DIR/submission.zip     all of them, no folders: this is uploaded
    DIR/submission.json    network, weights, protocol, checksums; for `pyconv score --submission`, not for the server

The format is that of the benchmark's development kit (github.com/CSAILVision/sceneparsing, README, "Submission
format"): a zip file of the predicted masks, named as the photographs but for the ending png, numbered as its
annotations are, 1 to 150. The kit says nothing of folders inside the zip file.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from experiments.spec import Experiment, Protocol, digest_resolved, family, fingerprint, resolved
from pyconv.data.ade20k import Scenes, manifest, read_scenes
from results import provenance
from results.bundle_layout import Member
from results.bundle_zip import write_zip
from results.checks import RecordError, fields, is_kind, same
from results.external import SUBMISSION, WEIGHTS
from results.files import write_over, writing_over

if TYPE_CHECKING:
    from torch import nn

ZIP, MANIFEST = "submission.zip", "submission.json"
SCHEMA = 1
FIELDS = {
    "schema": "count",
    "name": "text",
    "fingerprint": "digest",
    "seed": "count",
    "experiment": "object",
    "protocol": "object",
    "weights": "object",
    "sent": "object",
    "data": "object",
    "code": "object",
    "files": "object",
}


class SubmissionError(ValueError):
    """A label map or a manifest is not as it should be: which file, and what would be right."""


@dataclass(frozen=True)
class Submission:
    """The manifest. `weights`, `sent`: as in `results.external.ExternalRecord`; `files`: SHA-256 of each label map."""

    schema: int
    name: str
    fingerprint: str
    seed: int
    experiment: dict[str, Any]
    protocol: dict[str, Any]
    weights: dict[str, Any]
    sent: dict[str, Any]
    data: dict[str, Any]
    code: dict[str, Any]
    files: dict[str, str]

    def is_of(self, experiment: Experiment, protocol: Protocol) -> bool:
        """Whether these are predictions of `experiment`, with whatever seed, by `protocol`."""
        whose = digest_resolved({**self.experiment, "seed": 0})
        return whose == family(experiment) and self.protocol == resolved(protocol)


def make(
    model: "nn.Module",
    experiment: Experiment,
    protocol: Protocol,
    weights: Mapping[str, Any],
    root: Path,
    folder: Path,
    *,
    workers: int = 0,
) -> Submission:
    """Predict every photograph of the split below `root` into `folder`, check the files, zip them and say whose.

    An earlier zip file and manifest in `folder` go first: what stands there afterwards belongs together. Raises
    SubmissionError, DataError, OSError.
    """
    scenes = read_scenes(root, protocol.split)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (MANIFEST, ZIP):
        (folder / name).unlink(missing_ok=True)
    _predict(model, protocol, root, folder, workers)
    members = [_checked(scenes, number, folder) for number in range(len(scenes))]
    made = Submission(
        schema=SCHEMA,
        name=experiment.name,
        fingerprint=fingerprint(experiment),
        seed=experiment.seed,
        experiment=resolved(experiment),
        protocol=resolved(protocol),
        weights=dict(weights),
        sent={"sha256": _zipped(members, folder / ZIP), "images": len(members)},
        data={"name": protocol.data, **manifest(root, protocol.split)},
        code=dict(provenance.code()),
        files={member.name: member.sha256 for member in members},
    )
    write_over(folder / MANIFEST, json.dumps(asdict(made), indent=1) + "\n")
    return made


def read_submission(path: Path) -> Submission:
    """The manifest `path`, checked; of a zip file beside it the checksum too. Raises SubmissionError."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise SubmissionError(f"{path}: not a manifest that `pyconv eval --predict-test` wrote")
        fields(values, FIELDS, f"{path}: ")
        fields(values["weights"], WEIGHTS, f"{path}: weights.")
        fields(values["sent"], SUBMISSION, f"{path}: sent.")
        same("fingerprint", values["fingerprint"], digest_resolved(values["experiment"]), path)
        same("seed", values["seed"], values["experiment"].get("seed"), path)
    except (OSError, ValueError) as error:
        said = error if isinstance(error, (RecordError, SubmissionError)) else f"{path}: not a manifest ({error})"
        raise SubmissionError(str(said)) from error
    if values["schema"] != SCHEMA or not is_kind(values["sent"]["sha256"], "sha256"):
        raise SubmissionError(f"{path}: not a manifest of schema {SCHEMA}")
    sent = path.with_name(ZIP)
    if sent.is_file() and _sha256(sent) != values["sent"]["sha256"]:
        raise SubmissionError(f"{sent}: another file than the manifest's; make both again with --predict-test")
    return Submission(**values)


def _predict(model: "nn.Module", protocol: Protocol, root: Path, folder: Path, workers: int) -> None:
    from pyconv.segmentation import predict  # torch, and `pyconv score` reads manifests without it

    predict(
        model,
        data_root=root,
        split=protocol.split,
        crop=protocol.crop,
        resize=protocol.resize,
        scales=protocol.scales,
        flip=protocol.flip,
        device=next(model.parameters()).device,
        workers=workers,
        predictions=folder,
    )


def _checked(scenes: Scenes, number: int, folder: Path) -> Member:
    """The label map of photograph `number`, as a server would read it."""
    path = folder / f"{scenes.stem(number)}.png"
    try:
        with Image.open(path) as image:
            mode, labels = image.mode, np.array(image)
    except OSError as error:
        raise SubmissionError(f"{path}: cannot be read ({error}); predict again") from error
    with Image.open(scenes.root / scenes.images[number]) as photograph:
        wanted = photograph.size[::-1]
    if mode not in ("L", "P") or labels.shape != wanted:
        raise SubmissionError(f"{path}: {mode} of {labels.shape}; 8 bits, one channel, {wanted} is right")
    if not 1 <= labels.min() <= labels.max() <= len(scenes.classes):
        raise SubmissionError(
            f"{path}: class numbers {labels.min()} to {labels.max()}; 1 to {len(scenes.classes)} is right"
        )
    return Member.of(path.name, path)


def _zipped(members: list[Member], path: Path) -> str:
    """Write the zip file, the same bytes for the same label maps; returns its SHA-256."""
    with writing_over(path) as file:
        write_zip(members, file)
    return _sha256(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
