"""The benchmark of segmentation runs, small, and both of its sides label alike. No times are judged."""

import json

import pytest
from click.testing import CliRunner

from pyconv import PYRAMIDS, ResNet, segnet
from pyconv.architectures import Stage
from pyconv.bench import segmentation
from pyconv.bench.segmentation import Agreement
from pyconv.segmentation.windows import Sliding
from slurm.cli import cli


def test_both_ways_of_testing_agree_but_for_ties(monkeypatch: pytest.MonkeyPatch) -> None:
    stages = tuple(Stage(1, 4, 8 << i, 2 if i else 1, PYRAMIDS[1]) for i in range(4))
    monkeypatch.setattr(segmentation, "NETWORK", segnet(ResNet("bottleneck", stages, "stem"), "conv3x3"))
    monkeypatch.setattr(segmentation, "AIM", 0.0)
    monkeypatch.setattr(segmentation, "SIZE", (83, 62))
    monkeypatch.setattr(segmentation, "TEST", Sliding(33, 44, (0.75, 1.25)))
    result = CliRunner().invoke(cli, ["bench", "segmentation", "--rounds", "1", "--json"])
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)
    assert found["name"] == "multi-scale test of 2 photographs"
    labels = found["labels"]
    assert labels["pixels"] == 2 * 83 * 62
    assert labels["classes"] > 1
    assert labels["differing"] < 0.01 * labels["pixels"]
    assert labels["margin"] < segmentation.TIE


def test_a_label_that_is_no_tie_is_told() -> None:
    agreement = Agreement(pixels=100, differing=1, margin=0.02, classes=5)
    assert not agreement.met
    assert "1 of 100 pixels differ (5 classes predicted)" in agreement.line()
    assert Agreement(pixels=100, differing=0, margin=0.0, classes=5).met
