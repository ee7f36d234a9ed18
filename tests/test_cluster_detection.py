"""Detection on the lab: a backbone on digits, a detector on signs that starts from it, and its test."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
from sites import make_site, until

from experiments.mini_detection import BATCH, CLASSES, DATA, HELD_OUT, SIDE
from experiments.spec import Experiment, Protocol
from pyconv.architectures import PYRAMIDS, SSD, ResNet, Stage
from pyconv.data import coco, signs
from pyconv.detection.testing import RESULTS
from pyconv.recipe import CocoAugment, Recipe
from slurm import send, traces
from slurm.job import predictions_folder, run_folder
from slurm.plan import PlannedJob
from slurm.send import Wanted

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("healthy_lab")]

STAGES = tuple(Stage(1, 8 << i, 16 << i, stride, PYRAMIDS[1]) for i, stride in enumerate((1, 2, 2, 2)))
BACKBONE = ResNet("bottleneck", STAGES, "stem", num_classes=10, name="narrow")
NETWORK = SSD(BACKBONE.truncated(3), "pyconv", num_classes=CLASSES, image_size=SIDE, name="narrow-ssd")
RECIPE = Recipe(
    DATA,
    epochs=1,
    batch_size=BATCH,
    lr=0.004,
    augment=CocoAugment(size=SIDE, flip=0.0),
    warmup_epochs=1,
    decay_norm_and_bias=False,
    batch_norm_batch=BATCH,
)
STRETCHED = Protocol("stretched", DATA, crop=SIDE, resize=SIDE, samples=HELD_OUT)


def test_a_detector_starts_from_its_backbone_and_its_test_keeps_what_it_detects(tmp_path: Path) -> None:
    site = make_site(tmp_path, tiny.digits(tmp_path / "data"))
    backbone = tiny.experiment(1, model=BACKBONE)
    own = Experiment("coco", NETWORK, RECIPE, init=backbone)
    first = PlannedJob("train", backbone, None, ("row",), "run", "not trained", mini=True)
    train = PlannedJob("train", own, None, ("row",), "run", "not trained", (first.key,), mini=True)
    test = PlannedJob("test", own, STRETCHED, ("row",), "run", "not recorded", (train.key,), mini=True)
    send.send(site.order, lambda _: Wanted([first, train, test]))
    record = until(lambda: site.evidence.measurement(own, STRETCHED))
    assert site.evidence.problems == ()
    assert (record.counted_samples, record.deviations) == (HELD_OUT, [])
    assert {"ap", "ap50", "ar100"} <= record.metrics.keys()
    trainable = len(coco.read_coco(site.order.runs / "data" / DATA, "train").trainable)
    assert record.data["splits"]["train"]["trainable"] == trainable < signs.SCENES["train"]
    assert [entry["samples"] for entry in record.history] == [trainable]
    finished = (run_folder(site.order.runs, backbone) / "trained.json").stat().st_mtime
    assert finished <= traces.lives(site.traces(own))[0].time
    again = tiny.job(tmp_path / "alone", tmp_path / "data" / "digits", experiment=backbone, protocols=(), part="train")
    again()
    alone = replace(again, experiment=own, protocols=(STRETCHED,), part="all")
    alone()
    other = alone.record(STRETCHED)
    assert other is not None
    assert other.checkpoint["sha256"] == record.checkpoint["sha256"]  # the same bits as without a cluster
    assert other.metrics == record.metrics
    kept = (predictions_folder(run_folder(runs, own), STRETCHED) / RESULTS for runs in (site.order.runs, alone.runs))
    here, there = (json.loads(path.read_text()) for path in kept)
    assert here == there
