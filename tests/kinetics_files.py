"""Kinetics' layouts with stand-ins for videos: files whose content says what a look at them is to find."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from pyconv.data.video import Facts, VideoError

FACTS = Facts(250, 256, 340, 25.0, 10.0)


def content(facts: Facts | str = FACTS, salt: object = "") -> bytes:
    """Of a stand-in that holds `facts`, or whose word is given. `salt`: makes it another file."""
    return json.dumps({"facts": asdict(facts) if isinstance(facts, Facts) else facts, "salt": str(salt)}).encode()


def tree(root: Path, files: Mapping[str, bytes]) -> Path:
    """`root` with these files."""
    for place, held in files.items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_bytes(held)
    return root


def class_folders(root: Path, split: str = "val", per_class: int = 3) -> Path:
    """Two classes of stand-ins."""
    names = [f"{split}/{label}/{number}.mp4" for label in ("abseiling", "yoga") for number in range(per_class)]
    return tree(root, {name: content(salt=name) for name in names})


class Probe:
    """`pyconv.data.video.probe` for stand-ins; `asked`: the names of the files, in order."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, path: Path, *, decode: bool) -> Facts:  # noqa: ARG002 - as the real one
        self.asked.append(path.name)
        held = json.loads(path.read_bytes())["facts"]
        if isinstance(held, str):
            raise VideoError(path, held, "a stand-in")  # type: ignore[arg-type]
        return Facts(**held)
