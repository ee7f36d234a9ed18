"""Real mp4 files of a second in Kinetics' layout, indexed: a bright square that moves right, left or down, one a class.

Single frames do not tell right from left. Sizes, lengths and the square's colours and places differ.
"""

from pathlib import Path

import numpy as np

from pyconv.architectures import ResNet, Stage
from pyconv.data.kinetics_index import write_index
from pyconv.pyramid import VIDEO_PYRAMIDS
from tests.video_files import encode

CLASSES = {"down": (2, 0), "left": (0, -2), "right": (0, 2)}  # pixels a frame, down and to the right
SIZES = ((40, 56), (48, 40), (40, 40))  # height, width
SQUARE = 12

_STAGES = (Stage(1, 8, 16, (1, 2, 2), VIDEO_PYRAMIDS[2]), Stage(1, 8, 16, (2, 2, 2), VIDEO_PYRAMIDS[1]))
TINY = ResNet("bottleneck", _STAGES, "all_shortcuts", num_classes=3, dims=3, dropout=0.5, name="tiny3d")
"""As PyConvResNet3D: a pyramid, max pools on the shortcuts, dropout; two blocks of 8 maps."""


def motion(label: str, frames: int, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """uint8 (frames, height, width, 3): the square comes in again where it went out."""
    height, width = size
    ground = rng.integers(60, 120, (height // 4, width // 4, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    colour, (top, left) = rng.integers(170, 256, 3), (int(n) for n in rng.integers(0, 40, 2))
    down, right = CLASSES[label]
    video = np.stack([ground] * frames)
    for t in range(frames):
        rows = (top + down * t + np.arange(SQUARE)) % height
        columns = (left + right * t + np.arange(SQUARE)) % width
        video[t][np.ix_(rows, columns)] = colour
    return video


def write_split(root: Path, split: str, lengths: dict[str, tuple[int, ...]], seed: int = 0) -> None:
    """Videos of these numbers of frames in each class, and the split's index."""
    rng = np.random.default_rng(seed)
    for label, counts in lengths.items():
        (root / split / label).mkdir(parents=True)
        for number, frames in enumerate(counts):
            video = motion(label, frames, SIZES[number % len(SIZES)], rng)
            encode(root / split / label / f"{number}.mp4", video)
    write_index(root, split, workers=0)
