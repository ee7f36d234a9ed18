"""The benchmark of the reader runs on real videos of the promised size, and both its sides give the same frames."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from pyconv.bench import video as bench
from pyconv.bench import views
from pyconv.bench.paired import Comparison
from pyconv.data.video import probe
from slurm.cli import cli


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "FRAMES", 70)
    monkeypatch.setattr(bench, "SIZE", (68, 52))
    monkeypatch.setattr(bench, "LENGTH", 4)
    monkeypatch.setattr(bench, "LONG", 40)
    monkeypatch.setattr(bench, "SHORT", (12,))
    monkeypatch.setattr(bench, "AIM", 0.0)  # times are not judged in a test


def test_readings_of_close_and_of_far_key_frames() -> None:
    close, far = bench.bench(rounds=1, videos=2, clips=4)
    assert (close.every, far.every) == (12, 40)
    assert close.decoded < far.decoded <= 70
    assert close.kilobytes > far.kilobytes
    table = bench.text([close, far])
    assert "key frames every 12" in table
    assert f"at most {70 / far.decoded:.1f} times as fast" in table


def test_the_video_is_as_promised(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    facts = probe(bench.film(tmp_path / "a.mp4", 0), decode=True)
    assert (facts.frames, facts.width, facts.height, facts.fps) == (70, 68, 52, pytest.approx(30))
    monkeypatch.undo()
    assert (bench.FRAMES, bench.SIZE, bench.LONG, bench.RATE) == (300, (340, 256), 250, 30)


def test_the_aim_is_asked_for_where_it_can_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for every, ratio, met in ((12, 2.9, False), (12, 3.0, True), (250, 1.7, True)):
        comparison = Comparison("x", 4, plain=(ratio,), ours=(1.0,))
        assert bench.Reading(every, 1.0, 300, 66.0, comparison).met == met


def test_the_sides_must_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "ours", lambda clip: torch.zeros_like(bench.decode_all(clip)))
    with pytest.raises(RuntimeError, match="other frames"):
        bench.bench(rounds=1, videos=1, clips=1)


def test_bench_video_prints_its_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    result = CliRunner().invoke(cli, ["bench", "video", "--rounds", "1", "--no-views", "--json"])
    assert result.exit_code == 0, result.output
    readings = json.loads(result.stdout)["reader"]
    assert [reading["key_frames_every"] for reading in readings] == [12, 40]
    assert all(reading["clips_per_second"]["ours"] > 0 for reading in readings)
    monkeypatch.setattr(bench, "AIM", 1e9)
    assert CliRunner().invoke(cli, ["bench", "video", "--rounds", "1", "--no-views"]).exit_code == 1


@pytest.mark.parametrize(
    ("ratio", "differing", "code"), [(1.3, 0.0, 0), (1.2, 0.0, 1), (1.3, 0.5, 1)], ids=["met", "too slow", "differs"]
)
def test_bench_video_prints_the_views_too(
    monkeypatch: pytest.MonkeyPatch, ratio: float, differing: float, code: int
) -> None:
    comparison = Comparison("thirty views", 30, plain=(ratio,), ours=(1.0,))
    monkeypatch.setattr(views, "bench", lambda: ([comparison], views.Agreement(30, differing)))
    monkeypatch.setattr(bench, "bench", lambda _: [])
    result = CliRunner().invoke(cli, ["bench", "video"])
    assert result.exit_code == code, result.output
    assert "together, views/s" in result.stdout
    assert "thirty views" in result.stdout
    found = json.loads(CliRunner().invoke(cli, ["bench", "video", "--json"]).stdout)
    assert found["views"][0]["views_per_second"]["ours"] == 30
    assert found["agreement"]["probability"] == differing
