"""The benchmark of detection runs, small, and both of its sides detect and learn alike. No times are judged."""

import json

import pytest
import torch
from click.testing import CliRunner

from pyconv.bench import detection
from pyconv.bench.detection import Agreement, make
from pyconv.models import default_boxes
from slurm.cli import cli


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("TRAINED", 4), ("TESTED", 2), ("AIMS", (0.0, 0.0))):
        monkeypatch.setattr(detection, name, value)


@pytest.mark.usefixtures("small")
def test_both_ways_detect_and_learn_alike() -> None:
    threads = torch.get_num_threads()
    result = CliRunner().invoke(cli, ["bench", "detection", "--rounds", "1", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [one["name"] for one in found["comparisons"]] == [
        "post-processing of 2 images",
        "matching, loss, gradients of 4 images",
    ]
    assert found["agreement"]["detections"] > 50
    assert found["agreement"]["differing"] == 0
    assert max(found["agreement"][name] for name in ("loss", "gradient")) < detection.ROUNDING
    assert torch.get_num_threads() == threads


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("missed", [{"AIMS": (0.0, 1e9)}, {"ROUNDING": -1.0}])
def test_a_missed_aim_and_another_result_are_told(missed: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in missed.items():
        monkeypatch.setattr(detection, name, value)
    result = CliRunner().invoke(cli, ["bench", "detection", "--rounds", "1"])
    assert result.exit_code == 1, result.output
    assert "detections differ; losses and gradients differ by at most" in result.output


def test_a_detection_or_a_gradient_that_differs_is_told() -> None:
    assert Agreement(100, 0, 1e-7, 1e-7).met
    assert not Agreement(100, 1, 0.0, 0.0).met
    assert not Agreement(100, 0, 0.0, 1e-3).met
    assert not Agreement(100, 0, float("nan"), 0.0).met


def test_what_is_made_is_what_the_docstring_says() -> None:
    made = make(64, default_boxes())
    numbers = (made.targets.labels > 0).sum(1).float()
    assert 1 <= int(numbers.min()) <= int(numbers.max()) <= 20
    assert float(numbers.mean()) == pytest.approx(6, abs=1)
    passing = made.scores.softmax(2)[..., 1:] > 0.05
    assert float(passing.sum((1, 2)).float().mean()) == pytest.approx(380, rel=0.1)
    assert float(passing.any(1).sum(1).float().mean()) == pytest.approx(37, rel=0.1)
