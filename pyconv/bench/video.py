"""Clips of 16 frames out of videos of Kinetics' size: every frame decoded and 16 picked, against our reader.

Both use torchcodec with one thread, on the same files and the same random clips. The videos are a camera's way over
real photographs, without a cut, so that key frames stand only where the encoder must set them: 250 frames apart as
x264 does by default, and closer as `pyconv data prepare kinetics --short-side` sets them.
"""

import random
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import sin
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from pyconv.bench import photographs
from pyconv.bench.paired import Comparison, compare
from pyconv.data import video
from pyconv.data.clips import random_clip
from pyconv.data.reencode import Copy, Encoding, encode, program

AIM = 3.0
LONG, SHORT = 250, (12, 24)
"""Frames from one key frame to the next."""
SIZE, FRAMES, RATE = (340, 256), 300, 30
LENGTH, STRIDE = 16, 4


@dataclass(frozen=True)
class Clip:
    """`numbers` of the frames of a clip of the video at `path`."""

    path: Path
    numbers: tuple[int, ...]
    facts: video.Facts


@dataclass(frozen=True)
class Reading:
    """Files with key frames `every` so many frames, of `kilobytes` on average; `decoded` of a clip's `frames`: ours."""

    every: int
    kilobytes: float
    frames: int
    decoded: float
    comparison: Comparison

    @property
    def met(self) -> bool:
        """Whether the aim is reached, where few enough frames need decoding that it can be."""
        return self.every == LONG or self.comparison.ratio >= AIM

    def report(self) -> dict[str, object]:
        """As plain values."""
        return report(self.comparison, "clips") | {
            "key_frames_every": self.every,
            "kilobytes": self.kilobytes,
            "decoded": self.decoded,
        }

    def line(self) -> list[str]:
        """For a table."""
        return [*self.comparison.line(), f"{self.decoded:.0f} of {self.frames}", f"{self.kilobytes:.0f}"]


def report(comparison: Comparison, unit: str) -> dict[str, object]:
    """A comparison as plain values, of so many `unit` a second."""
    found = comparison.report()
    return {f"{unit}_per_second": found.pop("images_per_second")} | found


def bench(rounds: int = 7, videos: int = 2, clips: int = 8) -> list[Reading]:
    """Random clips of some videos, whose key frames are far apart and then closer."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            originals = [film(Path(folder) / f"{LONG}-{number}.mp4", number) for number in range(videos)]
            return [_read(every, _spaced(originals, every), clips, rounds) for every in (*SHORT, LONG)]
    finally:
        torch.set_num_threads(threads)


def text(readings: Sequence[Reading]) -> str:
    """The readings as a table for a terminal, and why the aim is not asked for where key frames are far apart."""
    header = ("", "decode all, clips/s", "ours, clips/s", "ratio", "range", "frames decoded", "kB a video")
    far = [reading for reading in readings if reading.every == LONG]
    lines = [
        f"key frames {LONG} apart: {reading.decoded:.0f} of {reading.frames} frames lie between the nearest key frame "
        f"and a clip's last, so decoding alone is at most {reading.frames / reading.decoded:.1f} times as fast; "
        f"`pyconv data prepare kinetics --short-side` sets them closer"
        for reading in far
    ]
    return "\n".join([_table(header, [reading.line() for reading in readings]), *lines])


def views_text(comparisons: Sequence[Comparison]) -> str:
    """The comparisons of 30-view testing as a table for a terminal."""
    header = ("", "one at a time, views/s", "together, views/s", "ratio", "range")
    return _table(header, [comparison.line() for comparison in comparisons])


def _table(header: Sequence[str], lines: Sequence[list[str]]) -> str:
    from tabulate import tabulate  # only where a table is shown

    return str(tabulate(lines, header, colalign=("left", *["right"] * (len(header) - 1)), disable_numparse=True))


def film(path: Path, seed: int) -> Path:
    """Write ten seconds of 340 x 256 pixels, H.264 with x264's defaults: a camera pans and zooms over a photograph."""
    size = f"{SIZE[0]}x{SIZE[1]}"
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", str(RATE), "-i", "-"]
    quality = ["-c:v", "libx264", "-g", str(LONG), "-pix_fmt", "yuv420p"]
    command = [program(), "-nostdin", "-loglevel", "error", "-y", *source, *quality, f"file:{path}"]
    pictures = b"".join(picture.tobytes() for picture in _pictures(seed))
    if subprocess.run(command, input=pictures, check=False).returncode:
        raise RuntimeError(f"{path}: ffmpeg cannot encode it; is it built with libx264?")
    return path


def _pictures(seed: int) -> Iterator[Image.Image]:
    """What the camera sees, frame by frame."""
    sources = photographs.sources()
    source, phase = sources[seed % len(sources)], random.Random(seed).uniform(0, 6)
    for time in range(FRAMES):
        share = 0.55 + 0.15 * sin(time / 60 + phase)
        width, height = source.width * share, source.height * share
        left = (source.width - width) * (0.5 + 0.5 * sin(time / 40 + 2 * phase))
        top = (source.height - height) * (0.5 + 0.5 * sin(time / 50 + 3 * phase))
        yield source.resize(SIZE, Image.Resampling.BILINEAR, box=(left, top, left + width, top + height))


def _spaced(originals: Sequence[Path], every: int) -> list[Path]:
    """The videos, re-encoded when their key frames should be closer."""
    if every == LONG:
        return [*originals]
    copies = [Copy(path, path.with_name(f"{every}-{path.name}")) for path in originals]
    for copy in copies:
        if reason := encode((copy, Encoding(min(SIZE), every), program())):
            raise RuntimeError(f"{copy.source}: {reason}")
    return [copy.target for copy in copies]


def _read(every: int, paths: Sequence[Path], clips: int, rounds: int) -> Reading:
    rng = random.Random(0)
    facts = {path: video.probe(path, decode=False) for path in paths}
    chosen = [
        Clip(path, random_clip(facts[path].frames, LENGTH, STRIDE, rng), facts[path])
        for path in (paths[number % len(paths)] for number in range(clips))
    ]
    sides = _reader(chosen, decode_all), _reader(chosen, ours)
    if not all(torch.equal(a, b) for a, b in zip(*(side() for side in sides), strict=True)):
        raise RuntimeError("the two ways give other frames")
    decoded = sum(clip.numbers[-1] - clip.numbers[0] // every * every + 1 for clip in chosen) / len(chosen)
    size = sum(path.stat().st_size for path in paths) / len(paths) / 1000
    found = compare(f"key frames every {every}", clips, *sides, rounds)
    return Reading(every, size, FRAMES, decoded, found)


def _reader(clips: Sequence[Clip], read: Callable[[Clip], Tensor]) -> Callable[[], list[Tensor]]:
    return lambda: [read(clip) for clip in clips]


def decode_all(clip: Clip) -> Tensor:
    """Every frame of the video, and those of the clip out of them."""
    library: Any = video.torchcodec_decoders()
    return library.VideoDecoder(str(clip.path), num_ffmpeg_threads=1).get_all_frames().data[list(clip.numbers)]


def ours(clip: Clip) -> Tensor:
    """The clip's frames alone, with what must be decoded before them."""
    return video.frames(clip.path, clip.numbers, clip.facts)
