"""Scene parsing on the lab: a backbone on digits, a network on scenes that starts from it, and its test."""

from dataclasses import replace
from pathlib import Path

import pytest
import tiny
from sites import make_site, until

from experiments.mini_segmentation import CLASSES, HELD_OUT
from experiments.spec import Experiment, Protocol
from pyconv.architectures import PYRAMIDS, ResNet, SegNet, Stage
from pyconv.recipe import Ade20kAugment, Recipe
from results.classes import segmentation_metrics
from slurm import send, traces
from slurm.job import predictions_folder, run_folder
from slurm.plan import PlannedJob
from slurm.send import Wanted

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("healthy_lab")]

STAGES = tuple(Stage(1, 8 << i, 16 << i, stride, PYRAMIDS[1]) for i, stride in enumerate((1, 2, 2, 2)))
BACKBONE = ResNet("bottleneck", STAGES, "stem", num_classes=10, name="narrow")
RECIPE = Recipe(
    "scenes",
    epochs=1,
    batch_size=16,
    lr=0.01,
    augment=Ade20kAugment(crop=33, blur_kernel=3),
    schedule="poly",
    auxiliary_weight=0.4,
    batch_norm_batch=0,
    drop_last=True,
)
SLIDING = Protocol("sliding", "scenes", crop=33, resize=36, flip=True, samples=HELD_OUT)


def test_a_network_starts_from_its_backbone_and_its_test_keeps_what_it_predicts(tmp_path: Path) -> None:
    site = make_site(tmp_path, tiny.digits(tmp_path / "data"))
    backbone = tiny.experiment(1, model=BACKBONE)
    network = SegNet(BACKBONE.with_output_stride(16), "conv3x3", num_classes=CLASSES, name="narrow-seg")
    own = Experiment("ade20k", network, RECIPE, init=backbone)
    first = PlannedJob("train", backbone, None, ("row",), "run", "not trained", mini=True)
    train = PlannedJob("train", own, None, ("row",), "run", "not trained", (first.key,), mini=True)
    test = PlannedJob("test", own, SLIDING, ("row",), "run", "not recorded", (train.key,), mini=True)
    send.send(site.order, lambda _: Wanted([first, train, test]))
    record = until(lambda: site.evidence.measurement(own, SLIDING))
    assert site.evidence.problems == ()
    assert record.counted_samples == HELD_OUT
    assert record.metrics["miou"].value == pytest.approx(segmentation_metrics(record.per_class)["miou"])
    assert record.deviations == []
    kept = predictions_folder(run_folder(site.order.runs, own), SLIDING)
    assert len(list(kept.glob("*.png"))) == HELD_OUT
    finished = (run_folder(site.order.runs, backbone) / "trained.json").stat().st_mtime
    assert finished <= traces.lives(site.traces(own))[0].time
    again = tiny.job(tmp_path / "alone", tmp_path / "data" / "digits", experiment=backbone, protocols=(), part="train")
    again()
    replace(again, experiment=own, protocols=(SLIDING,), part="all")()
    alone = replace(again, experiment=own, protocols=(SLIDING,), part="all").record(SLIDING)
    assert alone is not None
    assert alone.checkpoint["sha256"] == record.checkpoint["sha256"]  # the same bits as without a cluster
    assert alone.per_class == record.per_class
