"""The task: batches and loss by hand, validation, refusals, and a job whose record holds all that its test saw."""

from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

import evidence
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from experiments import protocols, tables
from experiments.recipes import kinetics as of_the_paper
from experiments.spec import Experiment, Protocol, Table, resolved
from pyconv import complexity
from pyconv.architectures import pyconvresnet3d, resnet
from pyconv.checkpoints import load_weights
from pyconv.data import DataError
from pyconv.data.imagenet import MEAN, STD
from pyconv.data.kinetics_index import write_index
from pyconv.data.sampling import Moment
from pyconv.recipe import ImageNetAugment, KineticsAugment, Recipe
from pyconv.tasks import kinetics, task_of
from results import cells
from results.compliance import check
from results.evidence import Evidence
from results.printers.panels import POINTS
from results.records import Metric
from slurm import measure
from slurm.job import Job
from tests.video_sets import TINY, write_split

AUGMENT = KineticsAugment(crop=24, frames=8, frame_stride=2, short_side=(28, 36), flip=0.0)
RECIPE = Recipe("squares", epochs=2, batch_size=4, lr=0.02, augment=AUGMENT, batch_norm_batch=4)
PROTOCOL = Protocol("views6", "squares", crop=28, resize=30, views=(2, 3))
HERE = torch.device("cpu")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six videos to train; five held out, of which two cannot be used."""
    folder = tmp_path_factory.mktemp("squares")
    write_split(folder, "train", dict.fromkeys(("down", "left", "right"), (30, 12)))
    write_split(folder, "val", {"down": (20,), "left": (30,), "right": (12,)}, seed=1)
    (folder / "val" / "down" / "empty.mp4").write_bytes(b"")
    (folder / "val" / "left" / "text.mp4").write_text("no video")
    write_index(folder, "val", workers=0)
    return folder


@pytest.fixture(scope="module")
def done(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("done")
    experiment = Experiment("kinetics", TINY, RECIPE)
    data = {"squares": root}
    job = Job(experiment, (PROTOCOL,), folder / "records", folder / "runs", data, device="cpu", mini=True)
    job()
    return job


def test_a_batch_is_clips_and_labels_colours_last_in_memory(root: Path) -> None:
    samples = kinetics.training_set(TINY, RECIPE, root, seed=3)
    assert len(samples) == 6
    items = [samples[0, index] for index in (0, 4)]
    clips, labels = kinetics.collate(items)
    assert (clips.shape, clips.dtype) == ((2, 3, 8, 24, 24), torch.uint8)
    assert clips.is_contiguous(memory_format=torch.channels_last_3d)
    assert all(torch.equal(clip, item[0]) for clip, item in zip(clips, items, strict=True))
    assert labels.tolist() == [0, 2]


def test_the_loss_is_cross_entropy_of_normalised_clips() -> None:
    class Means(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            self.seen = x
            return x.mean((2, 3, 4)).bfloat16()

    clips = torch.randint(0, 256, (5, 3, 4, 6, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels, model, before = torch.tensor([0, 1, 2, 2, 1]), Means(), clips.clone()
    found = kinetics.loss(model, (clips, labels), RECIPE, Moment(0, 0, 0))
    colours = (clips.double().numpy() / 255 - np.array(MEAN).reshape(3, 1, 1, 1)) / np.array(STD).reshape(3, 1, 1, 1)
    assert np.allclose(model.seen.numpy(), colours, atol=1e-5)
    assert model.seen.is_contiguous(memory_format=torch.channels_last_3d)
    assert torch.equal(clips, before)
    logits = colours.mean((2, 3, 4))
    costs = [np.log(np.exp(row).sum()) - row[label] for row, label in zip(logits, labels.tolist(), strict=True)]
    assert float(found.mean) == pytest.approx(np.mean(costs), abs=0.01)  # of logits in bfloat16
    assert found.mean.dtype == torch.float32
    assert int(found.correct) == (logits.argmax(1) == labels.numpy()).sum()
    assert kinetics.training_metrics(0.25) == {"train_top1_err": 75.0}


def test_what_training_and_validation_say_is_what_curves_draw(root: Path) -> None:
    validated = kinetics.validate(TINY.build(seed=0), RECIPE, root, device=HERE)
    assert set(validated) == {"top1_err", "top5_err"}
    drawn = POINTS[kinetics.SELECTED_BY.metric]
    assert drawn == {"train": next(iter(kinetics.training_metrics(1.0))), "validation": "top1_err"}
    assert kinetics.SELECTED_BY.better == "lower"


def test_validation_is_the_middle_of_each_video(root: Path) -> None:
    model = TINY.build(seed=4)
    asked: dict[str, Any] = {"crop": 24, "resize": 28, "frames": 8, "frame_stride": 2, "views": (1, 1)}
    evaluation = kinetics.evaluate(model, data_root=root, **asked)
    assert kinetics.validate(model, RECIPE, root, device=HERE)["top1_err"] == evaluation.metrics["top1_err"][0]
    assert evaluation.samples == 3


def test_a_record_holds_what_training_and_test_saw(done: Job) -> None:
    record = done.record(PROTOCOL)
    assert record is not None
    assert record.name == "kinetics-tiny3d-squares"
    assert (record.counted_samples, record.expected_samples, record.metrics["top1_err"].n) == (3, 3, 3)
    assert record.protocol == resolved(PROTOCOL)
    assert record.observed == {"input": [28, 28]}
    assert record.complexity["flops"] == complexity.count(TINY, (3, 8, 28, 28)).flops
    assert set(record.outcomes) == {"top1_err", "top5_err"}
    assert [entry["input"] for entry in record.history] == [[24, 24]] * 2
    assert all({"train_top1_err", "top1_err", "top5_err"} <= set(entry) for entry in record.history)
    assert record.data["splits"]["val"]["skipped"] == {"empty": 1, "unreadable": 1}
    assert check(record).text == "kept"


def test_a_recorded_error_is_that_of_the_views_of_the_protocol(done: Job, root: Path) -> None:
    """With the clips of the training: 8 frames, every second one."""
    model = TINY.build()
    model.load_state_dict(load_weights(done.folder / "weights.pt"))
    again = kinetics.evaluate(model, data_root=root, crop=28, resize=30, views=(2, 3), frames=8, frame_stride=2)
    record = done.record(PROTOCOL)
    assert record is not None
    assert {name: (m.value, m.n, m.se) for name, m in record.metrics.items()} == again.metrics


def test_the_papers_test_is_ten_clips_and_three_crops_of_its_clips() -> None:
    experiment = of_the_paper(pyconvresnet3d(50))
    job = Job(experiment, (protocols.VIEWS30,), Path("records"), Path("runs"))
    asked = {name: measure._asked(job, protocols.VIEWS30, name) for name in kinetics.TESTED_BY}
    assert asked == {"crop": 256, "resize": 256, "views": (10, 3), "frames": 16, "frame_stride": 4}
    assert measure._input_size(experiment, protocols.VIEWS30) == (3, 16, 256, 256)
    assert task_of(experiment.recipe) is kinetics


def test_a_footnote_says_how_many_videos_a_copy_holds(tmp_path: Path) -> None:
    (table,) = [one for one in tables() if isinstance(one, Table) and one.number == 10]
    experiment, videos = table.row("resnet3d50").experiment, 19_761
    assert experiment is not None
    metrics = {
        name: Metric(value, "%", videos, sqrt(value * (100 - value) / videos))
        for name, value in (("top1_err", 37.01), ("top5_err", 15.41))
    }
    for seed, skipped in enumerate(({}, {"cut off": 30, "no frames": 1_005})):
        split = {"samples": videos, "classes": 400, "sha256": evidence.SHA, "skipped": skipped}
        about = {"data": {"name": "kinetics", "splits": {"val": split}}, "counted_samples": videos}
        evidence.save(tmp_path, replace(experiment, seed=seed), protocols.VIEWS30, metrics=metrics, **about)
    found = {cell.target: cell.footnotes for cell in cells.build([table], Evidence.load(tmp_path))}
    assert {*found["table10/resnet3d50/top1_err"]} >= {
        "On 19,761 videos, standard error 0.34 points.",
        "On 19,761 videos, standard error 0.34 points; 1,035 more were left out: 30 cut off, 1,005 no frames.",
    }
    assert not any("videos, standard" in text for text in found["table10/pyconvresnet3d50/top1_err"])  # not measured


def test_what_does_not_fit_is_refused(root: Path, tmp_path: Path) -> None:
    def refused(match: str, network: Any = TINY, kind: type[Exception] = ValueError, **changes: Any) -> None:
        with pytest.raises(kind, match=match):
            kinetics.training_set(network, replace(RECIPE, **changes), root, seed=0)

    refused("resnet50: Kinetics' task takes a ResNet of dims=3", resnet(50))
    refused("augment must be a KineticsAugment, got ImageNetAugment", augment=ImageNetAugment())
    refused("frame_stride must be at least 1, got 8 and 0", augment=replace(AUGMENT, frame_stride=0))
    refused(r"a crop of 24 needs a short_side .*, got \(20, 36\)", augment=replace(AUGMENT, short_side=(20, 36)))
    refused("3 classes for a network of 400 .*|.* num_classes=3", replace(TINY, num_classes=400), DataError)
    refused("trainval", kind=DataError, split="trainval")
    write_split(tmp_path, "train", {"down": (12,), "left": (12,)})
    write_split(tmp_path, "val", {"down": (12,), "right": (12,)})
    with pytest.raises(DataError, match="train: class left is not in val; both splits need the same classes"):
        kinetics.training_set(replace(TINY, num_classes=2), RECIPE, tmp_path, seed=0)
    (tmp_path / "index" / "val.jsonl").unlink()
    with pytest.raises(DataError, match="pyconv data prepare"):
        kinetics.training_set(replace(TINY, num_classes=2), RECIPE, tmp_path, seed=0)
