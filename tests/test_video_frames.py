"""Frame i of the reader is frame i of what the ffmpeg command line decodes, to the last bit, whatever is asked for."""

import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyconv.data import video
from pyconv.data.video import Facts, frames, probe
from tests.video_files import QUIET, decode, encode, remux, scene

COUNT = 48
WHOLE = scene(COUNT)
X264 = "-x264-params"
ENCODINGS: dict[str, tuple[int, tuple[str, ...]]] = {
    "few key frames.mp4": (250, ("-bf", "3")),
    "many b-frames.mp4": (40, ("-bf", "8", X264, "b-adapt=2:b-pyramid=normal")),
    "open groups.mp4": (12, (X264, "open-gop=1:bframes=5")),
    "hevc.mp4": (12, ("-c:v", "libx265", "-x265-params", "log-level=error:open-gop=1")),
    "vp9.webm": (250, ("-auto-alt-ref", "1", "-lag-in-frames", "16")),
    "vp9 often.webm": (12, ()),
    "matroska.mkv": (12, ()),
    "fragments.mp4": (12, ("-movflags", "frag_keyframe+empty_moov")),
    "late.mp4": (12, ("-output_ts_offset", "3")),
    "full colours.mp4": (12, ("-pix_fmt", "yuv444p")),
}
COUNTED: dict[str, tuple[int, tuple[str, ...]]] = {
    "mpeg4.avi": (12, ("-bf", "2")),
    "h264.avi": (12, ()),
    "stream.ts": (12, ()),
    "program.mpg": (12, ("-c:v", "mpeg2video")),
    "refreshed.mp4": (12, (X264, "intra-refresh=1")),
}
"""Files whose key frames are no places to start from: there the decoder counts from the start."""


def asked(count: int) -> list[list[int]]:
    """All, some alone, a clip, and any in any order, some of them twice."""
    rng = random.Random(0)
    mixed = [[rng.randrange(count) for _ in range(6)] for _ in range(5)]
    return [[*range(count)], *([number] for number in range(1, count, 5)), [*range(count // 2, count, 4)], *mixed]


def check(path: Path, facts: Facts | None = None) -> Facts:
    facts = facts or probe(path, decode=True)
    expected = torch.from_numpy(decode(path, facts.height, facts.width).copy()).permute(0, 3, 1, 2)
    assert len(expected) == facts.frames
    for numbers in asked(facts.frames):
        found = frames(path, numbers, facts)
        assert found.dtype == torch.uint8
        assert torch.equal(found, expected[numbers]), numbers
    return facts


@pytest.fixture
def no_counting(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("decoded from the start")

    monkeypatch.setattr(video, "_from_the_start", refuse)


@pytest.mark.usefixtures("no_counting")
@pytest.mark.parametrize("name", ENCODINGS)
def test_sought_frames(tmp_path: Path, name: str) -> None:
    every, extra = ENCODINGS[name]
    assert check(encode(tmp_path / name, WHOLE, keyframes_every=every, extra=extra)).frames == COUNT


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", COUNTED)
def test_counted_frames(tmp_path: Path, name: str) -> None:
    every, extra = COUNTED[name]
    assert check(encode(tmp_path / name, WHOLE, keyframes_every=every, extra=extra)).frames == COUNT


@pytest.mark.usefixtures("no_counting")
@pytest.mark.parametrize("start", ["0.3", "1.0"])
def test_frames_before_a_cut_that_an_edit_list_hides_are_not_counted(tmp_path: Path, start: str) -> None:
    whole = encode(tmp_path / "whole.mp4", WHOLE, keyframes_every=40)
    part = remux(whole, tmp_path / "part.mp4", before=("-ss", start))
    assert check(part).frames < COUNT


@pytest.mark.usefixtures("no_counting")
@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_turned_frames_are_upright(tmp_path: Path, rotation: int) -> None:
    whole = encode(tmp_path / "whole.mp4", WHOLE)
    path = remux(whole, tmp_path / "turned.mp4", extra=("-metadata:s:v:0", f"rotate={rotation}"))
    facts = check(path)
    stored = frames(whole, [7], probe(whole, decode=False))
    turned = torch.rot90(stored, rotation // 90, (2, 3))  # counter-clockwise, as the container says
    off = (frames(path, [7], facts).int() - turned.int()).abs()
    assert off.float().mean() < 3  # chroma is turned before it is enlarged


@pytest.mark.usefixtures("no_counting")
def test_frames_of_a_variable_rate_are_numbered_not_timed(tmp_path: Path) -> None:
    whole, path = encode(tmp_path / "whole.mp4", WHOLE), tmp_path / "uneven.mp4"
    chosen = r"select=not(mod(n\,3))+not(mod(n\,5))"
    subprocess.run([*QUIET, "-i", whole, "-vf", chosen, "-fps_mode", "vfr", "-g", "7", path], check=True)
    assert check(path).vfr


def test_frames_of_the_same_time_are_told_apart(tmp_path: Path) -> None:
    whole, path = encode(tmp_path / "whole.mp4", WHOLE, extra=("-bf", "0")), tmp_path / "pairs.mkv"
    subprocess.run([*QUIET, "-i", whole, "-c", "copy", "-bsf:v", "setts=ts=floor(N/2)*1024", path], check=True)
    assert check(path).frames == COUNT


@given(st.lists(st.integers(0, COUNT - 1), min_size=1, max_size=12))
@settings(max_examples=30, deadline=None)
def test_any_numbers_give_those_frames(film: tuple[Path, Facts, torch.Tensor], numbers: list[int]) -> None:
    path, facts, expected = film
    assert torch.equal(frames(path, numbers, facts), expected[numbers])


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Facts, torch.Tensor]:
    path = encode(tmp_path_factory.mktemp("film") / "a.mp4", WHOLE, extra=("-movflags", "+faststart"))
    expected = torch.from_numpy(decode(path, 48, 64).copy()).permute(0, 3, 1, 2)
    return path, probe(path, decode=True), expected


def packets(path: Path) -> list[tuple[int, int]]:
    """Where each packet stands, and its size, in the file's order."""
    shown = ("-show_entries", "packet=pos,size", "-of", "csv=p=0")
    told = subprocess.run(["ffprobe", "-v", "error", *shown, path], check=True, stdout=subprocess.PIPE, text=True)
    return [(int(pos), int(size)) for size, pos in (line.split(",")[:2] for line in told.stdout.split())]


def test_only_what_lies_between_the_key_frame_and_the_last_frame_is_decoded(
    film: tuple[Path, Facts, torch.Tensor], tmp_path: Path
) -> None:
    path, facts, expected = film
    content, places = bytearray(path.read_bytes()), packets(path)
    for position, size in [*places[:24], *places[42:]]:  # key frames are 12 apart, decoders look a few frames ahead
        content[position : position + size] = bytes(size)
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(content)
    numbers = [*range(24, 37, 4)]
    assert torch.equal(frames(damaged, numbers, facts), expected[numbers])
    with pytest.raises(video.DataError, match="prepare this data set again"):
        frames(damaged, [12], facts)


def test_memory_and_open_files_do_not_grow(film: tuple[Path, Facts, torch.Tensor], tmp_path: Path) -> None:
    path, facts, _ = film
    other = encode(tmp_path / "b.avi", WHOLE)
    counted = probe(other, decode=True)

    def read(times: int) -> None:
        for number in range(times):
            frames(path, [number % COUNT, (7 * number) % COUNT], facts)
            frames(other, [number % 20], counted)

    read(40)
    before = usage()
    read(160)
    files, pages = (b - a for a, b in zip(before, usage(), strict=True))
    assert files == 0
    assert pages * os.sysconf("SC_PAGE_SIZE") < 160 * 20_000  # a decoder that stays open holds some 100 kB


def usage() -> tuple[int, int]:
    """Open files, and pages of memory in use."""
    return len([*Path("/proc/self/fd").iterdir()]), int(Path("/proc/self/statm").read_text().split()[1])


def test_decoded_memory_is_the_frames_alone(film: tuple[Path, Facts, torch.Tensor]) -> None:
    path, facts, _ = film
    found = frames(path, [3, 40, 3], facts)
    assert found.untyped_storage().nbytes() == 3 * 3 * 48 * 64


def test_scene_pictures_differ() -> None:
    pictures: Callable[[int], bytes] = lambda number: np.ascontiguousarray(WHOLE[number]).tobytes()  # noqa: E731
    assert len({pictures(number) for number in range(COUNT)}) == COUNT
