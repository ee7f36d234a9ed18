"""Small real videos, encoded by the ffmpeg command line, and the same command line as a decoder of its own."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

CODECS = {
    ".avi": ("-c:v", "mpeg4", "-qscale:v", "2"),
    ".webm": ("-c:v", "libvpx-vp9", "-crf", "20", "-b:v", "0", "-cpu-used", "8"),
}
H264 = ("-c:v", "libx264", "-crf", "12", "-preset", "veryfast", "-sc_threshold", "0")
QUIET = ("ffmpeg", "-nostdin", "-loglevel", "error", "-y")


def encode(
    path: Path, frames: np.ndarray, fps: float = 25, keyframes_every: int = 12, extra: Sequence[str] = ()
) -> Path:
    """Write frames uint8 (T, H, W, 3) to `path`; the ending chooses the codec, H.264 with B-frames unless told.

    Sides must be even but with `extra=("-pix_fmt", "yuv444p")`. `extra`: options of the output, which win.
    """
    _, height, width, _ = frames.shape
    source = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps), "-i", "-")
    codec = (*CODECS.get(path.suffix, H264), "-pix_fmt", "yuv420p", "-g", str(keyframes_every), "-threads", "1")
    exact = ("-bitexact", "-fflags", "+bitexact")
    command = [*QUIET, *source, *codec, *exact, *extra, f"file:{path}"]
    subprocess.run(command, input=np.ascontiguousarray(frames).tobytes(), check=True, timeout=120)
    return path


def remux(source: Path, path: Path, before: Sequence[str] = (), extra: Sequence[str] = ()) -> Path:
    """The same packets in another container: `before`, `extra` are options of the input and of the output."""
    command = [*QUIET, *before, "-i", f"file:{source}", "-c", "copy", *extra, f"file:{path}"]
    subprocess.run(command, check=True, timeout=120)
    return path


def scene(count: int, height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
    """A smooth picture that drifts, with a bright square elsewhere in every frame: uint8 (count, height, width, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    phases = rng.uniform(0, 6.28, 3)
    frames = np.empty((count, height, width, 3), np.uint8)
    for t in range(count):
        waves = [np.sin(x / 9 + y / (7 + c) + t / 5 + phases[c]) for c in range(3)]
        frames[t] = np.stack(waves, -1) * 60 + 110
        top, left = (t * 5) % (height - 8), (t * 11) % (width - 8)
        frames[t, top : top + 8, left : left + 8] = (40 * (t % 6) + 30, 250 - 35 * (t % 7), 25 * (t % 9) + 30)
    return frames


def decode(path: Path, height: int, width: int) -> np.ndarray:
    """Every frame that the ffmpeg command line gives, turned upright, none repeated or dropped: uint8 (T, H, W, 3)."""
    command = [*QUIET, "-i", f"file:{path}", "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "rawvideo"]
    accurate = ("-sws_flags", "bilinear", "-pix_fmt", "rgb24", "-")
    done = subprocess.run([*command, *accurate], check=True, stdout=subprocess.PIPE, timeout=120)
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3)


def counted(path: Path) -> int:
    """Frames of the first video stream that ffprobe decodes."""
    asked = ("-count_frames", "-select_streams", "v:0", "-show_entries", "stream=nb_read_frames", "-of", "json")
    done = subprocess.run(["ffprobe", "-v", "error", *asked, f"file:{path}"], check=True, stdout=subprocess.PIPE)
    return int(json.loads(done.stdout)["streams"][0]["nb_read_frames"])
