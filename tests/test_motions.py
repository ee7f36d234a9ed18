"""The packaged motions: what moves and how, that only time's arrow tells a pair apart, and that they stay the same."""

import json
import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from video_files import decode

from pyconv.data import DataError, digits, kinetics, motions
from pyconv.data.compositing import photograph
from pyconv.data.motions import PAIRS, VIDEOS, Video

FEW = {"train": 2, "val": 1}
RIGHT = {"camera panning left": 1, "camera panning right": -1, "digit moving right": 1, "digit moving left": -1}
"""Which way what is seen moves, along the columns."""
DOWN = {"digit moving down": 1, "digit moving up": -1}


@pytest.fixture(scope="module")
def drawn() -> dict[str, list[Video]]:
    return {split: list(motions.videos(split)) for split in motions.SPLITS}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first videos of each class, as files."""
    folder = tmp_path_factory.mktemp("data")
    prepared(folder)
    return folder / "motions"


def prepared(folder: Path) -> dict[str, object]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(motions, "VIDEOS", FEW)
        return motions.prepare(folder)


def grey(video: Video) -> np.ndarray:
    return video.frames.astype(float).mean(-1)


def shift(first: np.ndarray, second: np.ndarray, axis: int, most: int = 8) -> int:
    """By how many pixels `second` is moved along `axis` against `first`, where they fit best."""
    one, other = (np.moveaxis(frame, axis, 0) for frame in (first, second))
    n = len(one)
    misfits = {
        by: np.abs(other[max(by, 0) : n + min(by, 0)] - one[max(-by, 0) : n - max(by, 0)]).mean()
        for by in range(-most, most + 1)
    }
    return min(misfits, key=misfits.__getitem__)


def ink(video: Video) -> np.ndarray:
    """Row and column of the middle of what differs from the still picture behind it, frame by frame: (T, 2)."""
    frames = video.frames.astype(float)
    differs = np.abs(frames - np.median(frames, 0)).sum(-1)
    rows, columns = np.indices(differs.shape[1:])
    weights = differs.reshape(len(differs), -1)
    places = np.stack([rows.ravel(), columns.ravel()], 1)
    return weights @ places / weights.sum(1, keepdims=True)


def test_sizes_lengths_and_how_many(drawn: dict[str, list[Video]]) -> None:
    for split, videos in drawn.items():
        assert Counter(video.name for video in videos) == dict.fromkeys(motions.CLASSES, VIDEOS[split])
        sizes = Counter(video.frames.shape[1:3] for video in videos)
        assert set(sizes) == {motions.SIDES, motions.SIDES[::-1]}
        assert {video.frames.dtype for video in videos} == {np.dtype(np.uint8)}
        lengths = {len(video.frames) for video in videos}
        assert min(lengths) >= motions.FRAMES[0]
        assert max(lengths) <= motions.FRAMES[1]
    assert len(motions.CLASSES) == len(set(motions.CLASSES)) == 2 * len(PAIRS)
    assert list(motions.CLASSES) == sorted(motions.CLASSES)  # as they are numbered


def test_the_camera_pans_and_the_digit_moves_where_the_name_says(drawn: dict[str, list[Video]]) -> None:
    for video in drawn["val"]:
        if video.name.startswith("camera panning"):
            frames = grey(video)
            found = [shift(frames[t], frames[t + 4], axis=1) for t in range(0, len(frames) - 4, 8)]
            assert 2 <= np.median(found) * RIGHT[video.name] <= 7, video.name  # 4 frames of 1.0 to 1.4 pixels
        elif video.name.startswith("digit"):
            places = ink(video)[[2, -3]]
            down, right = places[1] - places[0]
            along, across = (right, down) if video.name in RIGHT else (down, right)
            assert along * (RIGHT | DOWN)[video.name] > 10, video.name
            assert abs(across) < 5, video.name


def test_the_camera_zooms_where_the_name_says(drawn: dict[str, list[Video]]) -> None:
    """The middle of the wider view, enlarged, is the narrower one; the other way round it is not."""
    for video in drawn["val"]:
        if not video.name.startswith("camera zooming"):
            continue
        pictures = [Image.fromarray(frame) for frame in video.frames[[10, 20]]]
        first, last = (video.frames[number].astype(float) for number in (10, 20))
        height, width = first.shape[:2]
        kept = 1.022**-10  # between 1.02 and 1.024 a frame
        box = (width * (1 - kept) / 2, height * (1 - kept) / 2, width * (1 + kept) / 2, height * (1 + kept) / 2)
        near = [np.asarray(p.resize((width, height), Image.Resampling.BILINEAR, box=box), float) for p in pictures]
        inwards, outwards = np.abs(near[0] - last).mean(), np.abs(near[1] - first).mean()
        assert (inwards < outwards) == video.name.endswith("in")


def test_a_pair_differs_by_the_order_of_its_frames_alone(drawn: dict[str, list[Video]]) -> None:
    for videos in drawn.values():
        for number, (forth, back) in enumerate(zip(videos[::2], videos[1::2], strict=True)):
            assert (forth.name, back.name) == PAIRS[number % len(PAIRS)]
            assert np.array_equal(forth.frames, back.frames[::-1])


def test_the_videos_of_a_number_show_one_digit_before_one_picture(drawn: dict[str, list[Video]]) -> None:
    """Where the digit never is, the pixels are the same whichever way it goes."""
    for videos in drawn.values():
        for first in range(0, len(videos), len(motions.CLASSES)):
            left, up = (videos[first + place] for place in (4, 6))
            assert (left.name, up.name) == ("digit moving left", "digit moving up")
            still = np.median(left.frames, 0)
            corner = [np.ones(still.shape[:2], bool) for _ in range(2)]
            for seen, video in zip(corner, (left, up), strict=True):
                seen &= (video.frames == video.frames[0]).all((0, 3))  # where the digit never is
            both = corner[0] & corner[1]
            assert both.sum() > 100
            assert np.array_equal(left.frames[0][both], up.frames[0][both])


def test_parts_of_a_photograph_do_not_overlap() -> None:
    for parts in motions.REGIONS.values():
        (l1, t1, r1, b1), (l2, t2, r2, b2) = parts["train"], parts["val"]
        assert min(r1, r2) <= max(l1, l2) or min(b1, b2) <= max(t1, t2)


def test_behind_a_digit_stands_a_part_of_a_photograph_of_the_splits_own(drawn: dict[str, list[Video]]) -> None:
    """The picture without the digit, the median over time where it passes quickly, is found in the split's parts."""
    for split, videos in drawn.items():
        parts = [photograph(file, regions[split]).astype(int) for file, regions in motions.REGIONS.items()]
        some = [video for video in videos if video.name.startswith("digit")][:12]
        for video in some:
            still = np.median(video.frames, 0).astype(int)
            assert any(_holds(part, still) for part in parts), video.name


def _holds(part: np.ndarray, still: np.ndarray) -> bool:
    """Whether `part` has these pixels somewhere, but for those that the digit never leaves."""
    height, width = still.shape[:2]
    tops, lefts = part.shape[0] - height + 1, part.shape[1] - width + 1
    right = np.zeros((tops, lefts), int)
    asked = np.random.default_rng(0).integers(0, (height, width), (24, 2))
    for row, column in asked:
        right += (part[row : row + tops, column : column + lefts] == still[row, column]).all(-1)
    return int(right.max()) >= 16


def test_train_and_val_share_no_digit() -> None:
    train, val = (set(motions.rows_of(split, 5000)) for split in motions.SPLITS)
    assert not train & val
    assert len(val) == 5000 // digits.HELD_OUT
    for split in motions.SPLITS:  # a digit a number
        assert VIDEOS[split] <= len(motions.rows_of(split, 5000))


def test_the_reader_finds_what_was_drawn(root: Path, drawn: dict[str, list[Video]]) -> None:
    for split, few in FEW.items():
        read = kinetics.read_kinetics(root, split)
        assert read.classes == motions.CLASSES
        assert len(read) == few * len(motions.CLASSES)
        assert read.skipped == ()
        counts: Counter[str] = Counter()
        for video in drawn[split][: few * len(motions.CLASSES)]:
            counts[video.name] += 1
            place = f"{split}/{video.name}/{counts[video.name]:04}.mp4"
            (index,) = [number for number in range(len(read)) if read.place(number) == place]
            count, height, width, _ = video.frames.shape
            facts = read.facts(index)
            assert (facts.frames, facts.height, facts.width, facts.fps) == (count, height, width, motions.FPS)
            assert (facts.rotation, facts.vfr) == (0, False)
            found = decode(root / place, height, width).astype(float)
            assert np.abs(found.mean(-1) - video.frames.mean(-1)).mean() < 6  # colour has half the resolution


def test_brightness_is_stored_without_loss(root: Path, drawn: dict[str, list[Video]]) -> None:
    """BT.601 in its limited range: Y = 16 + 65.481 R + 128.553 G + 24.966 B, with R, G, B in 0 to 1."""
    video = drawn["train"][0]
    path = root / "train" / video.name / "0001.mp4"
    plane = ["ffmpeg", "-nostdin", "-loglevel", "error", "-i", f"file:{path}", "-f", "rawvideo", "-pix_fmt", "gray"]
    extracted = ["-vf", "extractplanes=y", "-"]
    done = subprocess.run([*plane, *extracted], check=True, stdout=subprocess.PIPE)
    count, height, width, _ = video.frames.shape
    found = np.frombuffer(done.stdout, np.uint8).reshape(count, height, width)
    expected = 16 + video.frames / 255 @ np.array([65.481, 128.553, 24.966])
    assert np.abs(found - expected).max() <= 1


def test_prepared_twice_is_left_alone_and_the_same_bytes_anew(root: Path, tmp_path: Path) -> None:
    before = json.loads((root / "manifest.json").read_text())
    times = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert prepared(root.parent) == {"name": "motions", "splits": before}
    assert times == {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert prepared(tmp_path)["splits"] == before


@pytest.mark.parametrize("size", ["another", "the same"])
def test_a_changed_video_is_told(size: str, root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "motions")
    path = tmp_path / "motions" / "val" / "digit moving up" / "0001.mp4"
    content, before = path.read_bytes(), path.stat()
    path.write_bytes(content + b"x" if size == "another" else content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(DataError, match=r"motions: not what was written .*0001\.mp4.*delete the folder"):
        prepared(tmp_path)


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(DataError, match="ffmpeg, which is not on the PATH: install it"):
        prepared(tmp_path)
    assert list(tmp_path.iterdir()) == []
    broken = tmp_path / "bin" / "ffmpeg"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho 'Unknown encoder libx264' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{broken.parent}:/bin:/usr/bin")
    with pytest.raises(DataError, match=r"cannot encode videos \(Unknown encoder libx264\)"):
        prepared(tmp_path / "data")
    monkeypatch.setattr("pyconv.data.packaged.find_spec", lambda _: None)
    with pytest.raises(DataError, match=r"china\.jpg comes from the package scikit-learn.*pip install scikit-learn"):
        prepared(tmp_path / "data")
