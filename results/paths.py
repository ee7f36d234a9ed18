"""Where the files of evidence belong under their folder, and which files there must be evidence."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from experiments.spec import Experiment, Protocol, digest, family
from pyconv.architectures import Network
from results.files import safe_name


def default_root() -> Path:
    """`results/records` of this checkout, or the folder that PYCONV_RECORDS names."""
    return Path(os.environ.get("PYCONV_RECORDS") or Path(__file__).parent / "records")


def record_path(root: Path, experiment: Experiment, protocol: Protocol) -> Path:
    """Where the record of `experiment` under `protocol` belongs; a folder of its family is used whatever the label."""
    if not re.fullmatch(r"[A-Za-z0-9._-]+", protocol.key) or protocol.key.startswith("."):
        raise ValueError(f"protocol key {protocol.key!r} is a file name: use letters, digits, '.', '_' and '-'")
    folder = root / f"{safe_name(experiment.name)}-{family(experiment)}"
    if not folder.exists():
        folder = next(iter(sorted(root.glob(f"*-{family(experiment)}"))), folder)
    return folder / f"seed-{experiment.seed}" / f"{protocol.key}.json"


def released_path(root: Path, experiment: Experiment, protocol: Protocol, sha256: str) -> Path:
    """Where the record of weights from a file belongs: beside the seeds of `experiment`, never among them."""
    trained = record_path(root, experiment, protocol)
    return trained.parents[1] / f"released-{sha256[:8]}" / trained.name


def count_path(root: Path, network: Network, input_size: tuple[int, ...]) -> Path:
    """Where the counts of `network` at `input_size` ((C, H, W) or (C, T, H, W)) belong, whatever the label was."""
    ending = f"-{digest(network)}-{size_text(input_size)}.json"
    path = root / "counts" / f"{safe_name(network.name)}{ending}"
    return path if path.exists() else next(iter(sorted(path.parent.glob(f"*{ending}"))), path)


def candidates(root: Path) -> list[Path]:
    """The files under `root` that must be records: `.json`, and what `write` moved aside (`.invalid`) to be told."""
    return [root / place for place in places(root)]


def places(root: Path) -> list[str]:
    """`candidates` as texts, their paths under `root`."""
    top = f"{root}/"
    found = [
        f"{folder}/{name}"[len(top) :] if folder != top else name
        for folder, folders, files in os.walk(top)
        for name in (*folders, *files)
        if (name.endswith(".invalid") and ".json" in name) or (name.endswith(".json") and not name.startswith("."))
    ]
    return sorted(found, key=lambda place: place.split("/"))


def size_text(input_size: Sequence[int]) -> str:
    """(3, 224, 224) -> "224x224"; clips "16x224x224": the colour channels are always three and left out."""
    return "x".join(map(str, input_size[1:]))
