"""Items of the clip sets are the frames, views and labels that they should be, and functions of their names alone."""

import random
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from pyconv.data import clip_sets, video
from pyconv.data.clip_sets import TestSet, TrainingSet
from pyconv.data.clip_transforms import crops, random_view, seen
from pyconv.data.clips import random_clip, uniform_clips
from pyconv.data.kinetics import VideoSplit, read_kinetics
from pyconv.data.kinetics_index import write_index
from pyconv.data.sampling import derive_seed
from pyconv.data.split import DataError
from pyconv.recipe import KineticsAugment
from tests.video_files import decode, encode, scene

AUGMENT = KineticsAugment(crop=24, frames=4, frame_stride=3, short_side=(28, 40))
LENGTHS = {"a/0.mp4": 30, "a/1.webm": 7, "b/2.avi": 11, "b/3.mp4": 24}
"""The second is looped, the third has two starts."""


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> VideoSplit:
    root = tmp_path_factory.mktemp("kinetics")
    for number, (name, length) in enumerate(LENGTHS.items()):
        (root / "train" / name).parent.mkdir(parents=True, exist_ok=True)
        height, width = (40, 60) if number % 2 else (60, 40)
        encode(root / "train" / name, scene(length, height, width, seed=number))
    write_index(root, "train", workers=0)
    return read_kinetics(root, "train")


def whole(split: VideoSplit, index: int) -> torch.Tensor:
    """Every frame of a video, as the ffmpeg command line decodes them: uint8 (T, 3, H, W)."""
    facts = split.facts(index)
    return torch.from_numpy(decode(split.path(index), facts.height, facts.width).copy()).permute(0, 3, 1, 2)


def test_a_training_item_is_a_random_view_of_a_random_clip(split: VideoSplit) -> None:
    found = TrainingSet(split, AUGMENT, seed=5)
    assert len(found) == 4
    for epoch in range(3):
        for index in range(4):
            pixels, label = found[epoch, index]
            frames, rng = whole(split, index), random.Random(derive_seed("sample", 5, epoch, index))
            numbers = random_clip(len(frames), 4, 3, rng)
            view = random_view((frames.shape[3], frames.shape[2]), AUGMENT, rng)
            assert label == index // 2
            assert pixels.shape == (3, 4, 24, 24)
            assert torch.equal(pixels, seen(frames[list(numbers)], view))


def test_items_differ_by_epoch_seed_and_index_and_by_nothing_else(split: VideoSplit) -> None:
    items = {(s, e, i): TrainingSet(split, AUGMENT, s)[e, i][0] for s in (0, 1) for e in (0, 1) for i in (0, 3)}
    for a, first in items.items():
        assert torch.equal(first, TrainingSet(split, AUGMENT, a[0])[a[1], a[2]][0])
        assert not any(torch.equal(first, second) for b, second in items.items() if a != b)


def test_workers_give_the_same_items(split: VideoSplit) -> None:
    found, visits = TrainingSet(split, AUGMENT, 1), [(epoch, index) for epoch in (0, 1) for index in (3, 0, 2, 1)]
    loader = DataLoader(found, batch_size=2, sampler=visits, num_workers=2)
    pixels = torch.cat([batch for batch, _ in loader])
    assert torch.equal(pixels, torch.stack([found[visit][0] for visit in visits]))


def test_the_views_of_a_video_are_its_clips_by_its_crops(split: VideoSplit) -> None:
    found = TestSet(split, 4, 3, resize=28, crop=24, views=(10, 3))
    assert len(found) == 4
    counts = []
    for index in range(4):
        views, label, number = found[index]
        frames = whole(split, index)
        clips = uniform_clips(len(frames), 4, 3, 10)
        expected = torch.cat([crops(frames[list(clip)], 28, 24, 3) for clip in clips])  # one clip at a time
        assert (label, number) == (index // 2, index)
        assert torch.equal(views, expected)
        counts.append(len(views))
    assert counts == [30, 3, 6, 30]


def test_one_view_is_the_middle_of_the_middle(split: VideoSplit) -> None:
    views, _, _ = TestSet(split, 4, 3, resize=28, crop=24, views=(1, 1))[0]
    assert torch.equal(views, crops(whole(split, 0)[10:20:3], 28, 24, 1))  # starts 0 to 20


def test_large_frames_are_cut_a_few_at_a_time(split: VideoSplit, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    original = video.frames

    def watched(path: Path, numbers: list[int], facts: video.Facts) -> torch.Tensor:
        asked.append(len(numbers))
        return original(path, numbers, facts)

    monkeypatch.setattr(video, "frames", watched)
    found = TestSet(split, 4, 3, resize=28, crop=24)
    together = found[0][0]
    frames, asked[:] = asked[0], []
    monkeypatch.setattr(clip_sets, "AT_ONCE", 3 * 40 * 60 * 8 + 1)
    assert torch.equal(found[0][0], together)
    assert (sum(asked), max(asked)) == (frames, 8)
    monkeypatch.setattr(clip_sets, "AT_ONCE", 1)
    assert torch.equal(found[0][0], together)


def test_a_video_that_changed_is_named(split: VideoSplit) -> None:
    path = split.path(3)
    content = path.read_bytes()
    try:
        path.write_bytes(b"")
        for item in (lambda: TrainingSet(split, AUGMENT, 0)[0, 3], lambda: TestSet(split, 4, 3, 28, 24)[3]):
            with pytest.raises(DataError, match=r"3\.mp4: not what the index says"):
                item()
    finally:
        path.write_bytes(content)
