"""The benchmarks run, on real photographs of the promised size, and their arithmetic is right. No times are judged."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from pyconv.bench import feeding, photographs, steps
from pyconv.bench.paired import Comparison, compare, text
from slurm.cli import cli


def test_photographs_have_imagenets_sides_and_weight(tmp_path: Path) -> None:
    mean = photographs.write(tmp_path, 24)
    files = sorted(tmp_path.glob("*/*/*.jpg"))
    assert len(files) == 48
    assert mean == sum(file.stat().st_size for file in files) / 48
    assert 70_000 < mean < 130_000  # ILSVRC-2012: 110 kB
    for file in files:
        with Image.open(file) as image:
            assert image.size in photographs.SIDES
    again = photographs.write(tmp_path / "again", 24)
    assert again == mean


def test_both_sides_feed_the_same_number_of_normalised_images(tmp_path: Path) -> None:
    photographs.write(tmp_path, 40)
    for loader in (feeding.authors_training(tmp_path, 0), feeding.our_training(tmp_path, 0)):
        shapes = [tuple(images.shape) for images, _ in loader]
        assert shapes == [(32, 3, 224, 224), (8, 3, 224, 224)]
    for loader in (feeding.authors_test(tmp_path), feeding.our_test(tmp_path)):
        assert sum(len(batch[0]) for batch in loader) == 40


def test_a_ratio_is_the_median_of_the_pairs() -> None:
    comparison = Comparison("x", 30, plain=(4.0, 9.0, 2.0), ours=(2.0, 3.0, 2.0))
    assert comparison.ratios == (2.0, 3.0, 1.0)
    assert comparison.ratio == 2.0
    assert comparison.line() == ["x", "7.5", "15.0", "2.00", "1.00-3.00"]
    assert "2.00" in text([comparison])


def test_the_sides_take_turns_and_the_first_round_is_not_counted() -> None:
    calls: list[str] = []
    comparison = compare("x", 1, lambda: calls.append("plain"), lambda: calls.append("ours"), rounds=2)
    assert calls == ["plain", "ours"] * 3
    assert len(comparison.ratios) == 2


def test_bench_data_prints_its_comparisons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "AIM", 0.0)  # times are not judged in a test
    result = CliRunner().invoke(cli, ["bench", "data", "--images", "32", "--rounds", "1", "--json"])
    assert result.exit_code == 0, result.output
    names = [comparison["name"] for comparison in json.loads(result.stdout)]
    assert names == ["training images, on one core", "training images, by one worker", "test images, on one core"]


def test_bench_imagenet_trains_and_tests_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (feeding, steps):
        monkeypatch.setattr(module, "BATCH", 2)
        monkeypatch.setattr(module, "AIM", 0.0)
    result = CliRunner().invoke(cli, ["bench", "imagenet", "--rounds", "1", "--json"])
    assert result.exit_code == 0, result.output
    names = [comparison["name"] for comparison in json.loads(result.stdout)]
    assert names == ["training step, 2 images", "test pass, 4 images"]
