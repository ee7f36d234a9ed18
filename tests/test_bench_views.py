"""The benchmark of views runs, small, and both of its ways see the same. No times are judged."""

from pathlib import Path

import pytest
import torch

from pyconv.bench import views
from pyconv.bench.views import Agreement
from tests.video_files import encode, scene
from tests.video_sets import TINY


def test_both_ways_give_the_same_probabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    def film(path: Path, seed: int) -> Path:
        return encode(path, scene(100, seed=seed))

    for name, value in (("film", film), ("pyconvresnet3d", lambda _: TINY), ("VIEWS", (2, 3))):
        monkeypatch.setattr(views, name, value)
    threads = torch.get_num_threads()
    comparisons, agreement = views.bench(rounds=1)
    assert [one.name for one in comparisons] == ["views in the network", "views of a video, from its file"]
    assert all(one.work == 6 and one.ratio > 0 for one in comparisons)
    assert agreement.met, agreement
    assert agreement.line().startswith("6 views; ")
    assert torch.get_num_threads() == threads


def test_other_probabilities_and_other_views_are_told() -> None:
    assert Agreement(30, 1e-6).met
    assert not Agreement(30, 1e-3).met
    assert not Agreement(30, float("nan")).met
    assert not Agreement(28, 1e-6).met
