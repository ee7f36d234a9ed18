"""Videos made small once instead of at every visit: H.264 of a given short side by the ffmpeg program, several at once.

Upright, without sound, frame for frame: none is dropped or repeated where the frame rate varies. The short side is
never enlarged, and both become even, as 4:2:0 colours need. A file is written beside its place and gets its name when
it is whole and has as many frames as its source.
"""

import errno
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pyconv.data import isolated
from pyconv.data.isolated import PATIENCE, Lost
from pyconv.data.kinetics_index import LOST, pace
from pyconv.data.listing import Told, untold
from pyconv.data.split import DataError
from pyconv.data.video import VideoError, probe

CRF = 20
"""x264's quality, lower is better: its default of 23 is for a first encoding, here what is lost comes on top of what
the source has lost. 18 passes for indistinguishable and costs about a quarter more bytes than 20."""
_FULL = (errno.ENOSPC, errno.EDQUOT)
_BOUND = 0.9  # of the patience with the process: the program ends before it


@dataclass(frozen=True)
class Encoding:
    """`short_side`: in pixels at most, even. `keyframes_every`: frames from one key frame to the next at most."""

    short_side: int = 320
    keyframes_every: int = 24
    crf: int = CRF

    def __post_init__(self) -> None:
        if self.short_side < 2 or self.short_side % 2:
            raise ValueError(f"the short side must be an even number of pixels, got {self.short_side}")
        if self.keyframes_every < 1:
            raise ValueError(f"key frames must be at least 1 frame apart, got {self.keyframes_every}")


@dataclass(frozen=True)
class Copy:
    """A video to be re-encoded, and where to."""

    source: Path
    target: Path


def program() -> str:
    """The ffmpeg program. Raises `DataError` where there is none, or none that can do what is asked of it here."""
    found = shutil.which("ffmpeg")
    if found is None:
        raise DataError("videos are re-encoded by the program ffmpeg, which is not on the PATH: apt-get install ffmpeg")
    trial = ["-f", "lavfi", "-i", "color=size=64x64:duration=0.1", "-c:v", "libx264", "-fps_mode", "passthrough"]
    if reason := _run([found, "-nostdin", "-loglevel", "error", *trial, "-f", "null", "-"]):
        raise DataError(f"{found}: cannot re-encode videos ({reason}); ffmpeg 5.1 or later with libx264 is needed")
    return found


def reencode(
    copies: Sequence[Copy], encoding: Encoding, *, workers: int = 1, told: Told = untold, what: str = "videos"
) -> list[tuple[Path, str]]:
    """Make every target that does not stand yet; (source, why) of those that could not be made.

    `workers`: processes, each with one ffmpeg of one thread; 0: this process. `what`: for `told`.
    """
    found = program()
    todo = [copy for copy in copies if not copy.target.exists()]
    for folder in {copy.target.parent for copy in todo}:
        folder.mkdir(parents=True, exist_ok=True)
    failed, start = [], time.monotonic()
    tasks = [(copy, encoding, found) for copy in todo]
    for done, (number, outcome) in enumerate(isolated.each(encode, tasks, workers), start=1):
        reason = LOST[outcome] if isinstance(outcome, Lost) else outcome
        if reason:
            failed.append((todo[number].source, reason))
        told(done, len(todo), f"{what}, {pace(done, len(todo), time.monotonic() - start)}")
    return sorted(failed)


def encode(task: tuple[Copy, Encoding, str]) -> str:
    """Make one target; why it could not be made, nothing when it could. Task: copy, encoding, the ffmpeg program.

    Raises `DataError` on a full disk: no other video could be made either.
    """
    copy, encoding, found = task
    beside = copy.target.with_name(f".{copy.target.name}-encoding")
    try:
        expected = probe(copy.source, decode=False)
        if reason := _run(command(found, copy.source, beside, encoding)):
            return f"ffmpeg: {reason}"
        made = probe(beside, decode=False)
        if made.frames != expected.frames:
            return f"cut off ({made.frames} of {expected.frames} frames decode)"
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.rename(copy.target)
    except VideoError as error:
        return error.word if error.path == copy.source else f"ffmpeg wrote no video ({error.word})"
    except subprocess.TimeoutExpired:
        return LOST[Lost.SLOW]
    except OSError as error:
        if error.errno in _FULL:
            raise DataError(f"{copy.target}: {error.strerror}; make room and run it again, it goes on") from error
        return error.strerror or str(error)
    finally:
        beside.unlink(missing_ok=True)
    return ""


def _run(call: list[str]) -> str:
    """Why ffmpeg failed, nothing when it did not. Raises `OSError` on a full disk."""
    patience = _BOUND * PATIENCE
    done = subprocess.run(call, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=patience, check=False)
    if not done.returncode:
        return ""
    said = done.stderr.decode(errors="replace").strip()
    for code in _FULL:
        if os.strerror(code) in said:
            raise OSError(code, os.strerror(code))
    return said.rpartition("\n")[2].strip() or "failed without a word"


def command(found: str, source: Path, target: Path, encoding: Encoding) -> list[str]:
    """The call of ffmpeg: one thread, for as many run as there are processors."""
    side = encoding.short_side
    short = "trunc(min({0}\\,{1})/2)*2"
    wide, high = short.format(side, "iw"), short.format(side, "ih")
    scale = f"scale=w=if(gt(iw\\,ih)\\,-2\\,{wide}):h=if(gt(iw\\,ih)\\,{high}\\,-2):flags=bicubic"
    quality = ["-c:v", "libx264", "-crf", str(encoding.crf), "-pix_fmt", "yuv420p", "-g", str(encoding.keyframes_every)]
    timing = ["-fps_mode", "passthrough", "-enc_time_base", "-1"]
    streams = ["-map", "0:v:0", "-an", "-sn", "-dn", "-map_metadata", "-1"]
    quiet = [found, "-nostdin", "-loglevel", "error", "-y", "-threads", "1"]
    output = [*streams, "-vf", scale, *quality, *timing, "-threads", "1", "-movflags", "+faststart", "-f", "mp4"]
    return [*quiet, "-i", f"file:{source}", *output, f"file:{target}"]
