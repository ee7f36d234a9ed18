"""Video recognition on the lab: a network learns from real video files and is tested by views."""

from dataclasses import replace
from pathlib import Path

import pytest
import tiny
from sites import make_site, until

from experiments.mini_video import CLASSES, DATA, FRAMES, HELD_OUT, STRIDE, TRAINED
from experiments.spec import Experiment, Protocol
from pyconv.architectures import ResNet, Stage
from pyconv.pyramid import VIDEO_PYRAMIDS
from pyconv.recipe import KineticsAugment, Recipe
from slurm import send
from slurm.plan import PlannedJob
from slurm.send import Wanted

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("healthy_lab")]

STRIDES = ((1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2))
STAGES = tuple(Stage(1, 8 << i, 16 << i, stride, VIDEO_PYRAMIDS[1]) for i, stride in enumerate(STRIDES))
NETWORK = ResNet("bottleneck", STAGES, "all_shortcuts", num_classes=CLASSES, dims=3, dropout=0.5, name="narrow-3d")
RECIPE = Recipe(
    DATA,
    epochs=1,
    batch_size=16,
    lr=0.01,
    augment=KineticsAugment(crop=24, frames=FRAMES, frame_stride=STRIDE, short_side=(24, 30), flip=0.0),
    batch_norm_batch=8,
)
VIEWS = Protocol("views", DATA, crop=24, resize=24, views=(2, 3), samples=HELD_OUT)


def test_videos_are_learnt_from_and_every_one_is_tested_once(tmp_path: Path) -> None:
    site = make_site(tmp_path, tmp_path)
    own = Experiment("kinetics", NETWORK, RECIPE)
    train = PlannedJob("train", own, None, ("row",), "run", "not trained", mini=True)
    test = PlannedJob("test", own, VIEWS, ("row",), "run", "not recorded", (train.key,), mini=True)
    send.send(site.order, lambda _: Wanted([train, test]))
    record = until(lambda: site.evidence.measurement(own, VIEWS))
    assert site.evidence.problems == ()
    assert (record.counted_samples, record.deviations) == (HELD_OUT, [])
    assert record.observed == {"input": [24, 24]}
    assert [entry["samples"] for entry in record.history] == [TRAINED]
    assert {split: told["samples"] for split, told in record.data["splits"].items()} == {
        "train": TRAINED,
        "val": HELD_OUT,
    }
    there = {DATA: site.order.runs / "data" / DATA}
    again = replace(tiny.job(tmp_path / "alone", tmp_path, experiment=own, protocols=(VIEWS,), part="all"), data=there)
    again()
    alone = again.record(VIEWS)
    assert alone is not None
    assert alone.data == record.data
    assert alone.checkpoint["sha256"] == record.checkpoint["sha256"]  # the same bits as without a cluster
    assert (alone.metrics, alone.outcomes) == (record.metrics, record.outcomes)
