"""Frames of video files by number: frame i is the i-th that a full decode gives, upright as a player shows it.

Only the frames from the nearest key frame on are decoded, by torchcodec on FFmpeg's libraries. Nothing else imports
torchcodec, and nothing here imports torch before a file is looked at.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, get_args

from pyconv.data.containers import missing_bytes, tells_when_shown
from pyconv.data.split import DataError

if TYPE_CHECKING:
    from torch import Tensor

Word = Literal["unreadable", "audio only", "no frames", "cut off", "corrupt"]
WORDS: tuple[Word, ...] = get_args(Word)
"""Why a file cannot be used: no video file; sound alone; a video without a frame; fewer bytes or frames than it
declares; frames that do not decode."""
PICTURES = ("mjpeg", "png", "bmp", "gif", "webp", "tiff", "jpeg2000", "jpegls")
"""Codecs whose single frame is a still picture or an album's cover, no video."""
UNEVEN = 0.25
"""A frame that is shown longer or shorter than usual by more than this share makes the frame rate variable."""


@dataclass(frozen=True)
class Facts:
    """Of a usable video: `height`, `width` upright; `rotation` 0, 90, 180 or 270 counter-clockwise, already applied.

    `vfr`: its frames are not shown equally long. They are counted, not timed, all the same.
    """

    frames: int
    height: int
    width: int
    fps: float
    seconds: float
    rotation: int = 0
    vfr: bool = False


class VideoError(DataError):
    """A file that cannot be used, and in one `word` of `WORDS` why."""

    def __init__(self, path: Path, word: Word, reason: str) -> None:
        super().__init__(f"{path}: {word} ({reason}); replace or delete the file")
        self.path, self.word, self.reason = path, word, reason

    def __reduce__(self) -> tuple[type["VideoError"], tuple[Path, Word, str]]:
        return VideoError, (self.path, self.word, self.reason)  # it crosses from worker processes


def probe(path: Path, *, decode: bool) -> Facts:
    """What a video file holds, from its headers and packets; with `decode`, every frame is decoded once as well.

    Raises `VideoError` when it cannot be used. Damage that the decoder conceals, as players do, is no error.
    """
    path = Path(path)
    _see_that_it_is_whole(path)
    has_sound = _has_sound(path)
    with _demuxing(path) as demuxer:
        told = demuxer.streams[0].metadata
        index = _scanned(path, demuxer.streams[0], has_sound)
        if decode:
            _decode_all(path, demuxer, index)
    times = index.pts_seconds
    gaps, lasting = times.diff(), float(times[-1] - times[0])
    seconds = index.end_stream_seconds_from_content - index.begin_stream_seconds_from_content
    fps = len(gaps) / lasting if lasting > 0 else float(told.average_fps_from_header or 0)
    uneven = len(gaps) > 1 and bool(((gaps - gaps.median()).abs() > UNEVEN * gaps.median()).any())
    return Facts(len(index), told.height, told.width, fps, seconds, round(told.rotation or 0) % 360, uneven)


def frames(path: Path, numbers: Sequence[int], facts: Facts) -> "Tensor":
    """The frames of these numbers, in this order: uint8 (T, 3, H, W), upright. One thread.

    `numbers` may repeat, need not ascend, and lie within `facts.frames`. The file is closed when this returns. Raises
    `DataError` naming the file when it no longer is what `facts` say.
    """
    if not numbers or not 0 <= min(numbers) <= max(numbers) < facts.frames:
        raise ValueError(f"{path}: frames must lie within 0 to {facts.frames - 1}, got {[*numbers]}")
    try:
        found = _sought(Path(path), [*numbers], facts) if facts.frames > 1 and tells_when_shown(Path(path)) else None
        return _from_the_start(Path(path), numbers, facts) if found is None else found
    except VideoError as error:
        raise _changed(path, error.word) from error
    except (OSError, RuntimeError, IndexError) as error:
        raise _changed(path, _first_line(error)) from error


def _sought(path: Path, numbers: list[int], facts: Facts) -> "Tensor | None":
    """The frames by a seek to the nearest key frame; None where the file's key frames are no places to start from.

    So it is when a frame does not come, or another in its place: seen from the times at which they are shown.
    """
    decoder = torchcodec_decoders().VideoDecoder(_source(path), num_ffmpeg_threads=1)
    told = decoder.metadata
    _compare(path, facts, len(decoder), told.height, told.width)
    try:
        batch = decoder.get_frames_at(numbers)
    except RuntimeError:  # damage comes again in the decode from the start, and is told there
        return None
    expected = _times(path, facts, told)
    right = (batch.pts_seconds - expected[numbers]).abs() < expected.diff().min() / 2  # false where two are the same
    return batch.data if bool(right.all()) else None


def _times(path: Path, facts: Facts, told: Any) -> "Tensor":
    """When each frame is shown, in seconds: as the packets tell where the frame rate varies, else by arithmetic."""
    import torch

    if facts.vfr:
        with _demuxing(path) as demuxer:
            return demuxer.streams[0].scan().pts_seconds
    return told.begin_stream_seconds + torch.arange(facts.frames, dtype=torch.float64) / facts.fps


def _from_the_start(path: Path, numbers: Sequence[int], facts: Facts) -> "Tensor":
    """The frames by counting what comes out of the decoder, which needs no times to be told."""
    import torch

    convert = torchcodec_decoders().ColorConverter().convert
    wanted, last = set(numbers), max(numbers)
    found = {}
    with _demuxing(path) as demuxer:
        index = demuxer.streams[0].scan()
        for count, frame in zip(range(last + 1), _decoded(demuxer), strict=False):
            if count in wanted:
                found[count] = convert(frame).data
    height, width = found[last].shape[-2:] if last in found else (0, 0)
    _compare(path, facts, len(index), height, width)
    return torch.stack([found[number] for number in numbers])


def _decoded(demuxer: Any) -> Iterator[Any]:
    """The frames of a demuxer's only stream, not yet converted, one in memory at a time."""
    decoder = demuxer.streams[0].make_decoder(num_ffmpeg_threads=1)
    for packet in demuxer:
        yield from decoder.decode(packet)
    yield from decoder.drain()


def _compare(path: Path, facts: Facts, count: int, height: int | None, width: int | None) -> None:
    if (count, height, width) != (facts.frames, facts.height, facts.width):
        raise _changed(path, f"{count} frames of {width} x {height}")


def _changed(path: Path, found: str) -> DataError:
    return DataError(f"{path}: not what the index says any more ({found}); prepare this data set again")


@cache
def torchcodec_decoders() -> ModuleType:
    """torchcodec's decoders. Raises `DataError` when they or FFmpeg's libraries are not installed."""
    remedy = "install both, e.g. pip install torchcodec and apt-get install ffmpeg"
    try:
        import torchcodec
        from torchcodec import decoders
    except (ImportError, OSError, RuntimeError) as error:
        raise DataError(
            f"videos are decoded by torchcodec, which is missing ({_first_line(error)}); {remedy}"
        ) from error
    if torchcodec.ffmpeg_major_version is None:
        raise DataError(f"videos are decoded by torchcodec with FFmpeg's shared libraries, which it misses; {remedy}")
    return decoders


def _see_that_it_is_whole(path: Path) -> None:
    try:
        size, missing = path.stat().st_size, missing_bytes(path)
    except OSError as error:
        raise VideoError(path, "unreadable", error.strerror or str(error)) from error
    if not size:
        raise VideoError(path, "unreadable", "is empty")
    if missing:
        raise VideoError(path, "cut off", f"{missing:,} of {size + missing:,} bytes are missing at its end")


def _has_sound(path: Path) -> bool:
    """Whether a file with a video stream has sound as well."""
    try:
        streams = torchcodec_decoders().get_container_metadata(_source(path)).streams
    except RuntimeError as error:
        raise VideoError(path, "unreadable", "of no known format, or without its index") from error
    kinds = [stream.media_type for stream in streams]
    if "video" not in kinds:
        raise VideoError(path, *(("audio only", "no picture") if "audio" in kinds else ("no frames", "no stream")))
    return "audio" in kinds


@contextmanager
def _demuxing(path: Path) -> Iterator[Any]:
    """A demuxer at the start of a file's best video stream; it is closed behind it."""
    library, source = torchcodec_decoders(), _source(path)
    try:
        demuxer = library.Demuxer(source)
    except (RuntimeError, ValueError) as error:
        raise VideoError(path, "unreadable", "no decoder for its video") from error
    try:
        yield demuxer
    finally:
        demuxer.streams = ()  # it and its streams hold each other: without this the file stays open for a while


def _scanned(path: Path, stream: Any, has_sound: bool) -> Any:
    """torchcodec's index of the frames, in the order in which they are shown; at least one, of a size."""
    picture = stream.metadata.codec in PICTURES
    still = VideoError(path, *(("audio only", "and a cover") if has_sound else ("unreadable", "a still picture")))
    try:
        index = stream.scan()
    except RuntimeError as error:
        raise still if picture else VideoError(path, "corrupt", "its packets cannot be read") from error
    if picture and len(index) <= 1:
        raise still
    if not len(index):
        raise VideoError(path, "no frames", "a video stream without a packet")
    if not stream.metadata.width or not stream.metadata.height:
        raise VideoError(path, "corrupt", "its frames have no size")
    return index


def _decode_all(path: Path, demuxer: Any, index: Any) -> None:
    """Decode every frame once, and see that as many come as there should, of one size, in the order of their times."""
    times, sizes = [], set()
    try:
        for frame in _decoded(demuxer):
            times.append(frame.pts_seconds)
            sizes.add((frame.width, frame.height) if frame.rotation % 180 == 0 else (frame.height, frame.width))
    except RuntimeError as error:
        raise VideoError(path, "corrupt", f"frame {len(times)} of {len(index)} does not decode") from error
    if len(times) != len(index):
        raise VideoError(path, "corrupt", f"{len(times)} of {len(index)} frames decode")
    told = demuxer.streams[0].metadata
    if sizes != {(told.width, told.height)}:
        raise VideoError(path, "corrupt", f"its frames are not all of {told.width} x {told.height} pixels")
    if tells_when_shown(path) and times != index.pts_seconds.tolist():
        raise VideoError(path, "corrupt", "its frames are not in the order of their times")


def _source(path: Path) -> str:
    """The path as FFmpeg takes it for a file, whatever stands before a colon."""
    name = str(path.absolute())
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise VideoError(path, "unreadable", "its name is not UTF-8") from error
    return name


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
