"""The whole recipe of every row of Tables 2, 3 and 4: all epochs, on four tiny photographs, by the local executor.

Schedules, augmentations and optimisers are the rows' own, and so are the networks, but for their depth, two blocks a
stage at most, and the width of those without a pyramid: a quarter of it, because their groups allow it. Images are of
32 pixels, a batch holds four.
"""

from dataclasses import replace
from importlib.resources import files
from math import cos, pi
from pathlib import Path

import pytest
from PIL import Image

from experiments import TABLES
from experiments.spec import Experiment, Protocol, Table, fingerprint
from pyconv.architectures import ResNet
from pyconv.recipe import ImageNetAugment
from results import compliance
from slurm import profile as profiles
from slurm import submit
from slurm.job import Job

SIDE, NONLOCAL_SIDE = 32, 64  # pixels; non-local blocks need maps of 2x2
BATCH = 4
DEEPEST = 2  # blocks of a stage: one that changes the size of its maps, and one that does not
NARROWEST = 32  # maps: a quarter of ResNeXt's narrowest stage, which are its groups


def photographs(root: Path) -> Path:
    """Two classes, rectangles of two photographs: two of each to train, one to test."""
    for name in ("china", "flower"):
        with (files("sklearn.datasets") / "images" / f"{name}.jpg").open("rb") as file:
            image = Image.open(file).convert("RGB")
        for number, split in enumerate(("train", "train", "val")):
            path = root / split / name / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.crop((160 * number, 100, 160 * number + 160, 220)).resize((48, 36)).save(path)
    return root


def tiny(experiment: Experiment) -> Experiment:
    assert isinstance(experiment.model, ResNet)
    augment = experiment.recipe.augment
    assert isinstance(augment, ImageNetAugment)
    side = NONLOCAL_SIDE if experiment.model.context == "nonlocal" else SIDE
    recipe = replace(experiment.recipe, batch_size=BATCH, batch_norm_batch=BATCH, augment=replace(augment, crop=side))
    return replace(experiment, model=replace(narrow(shallow(experiment.model)), num_classes=2), recipe=recipe)


def shallow(network: ResNet) -> ResNet:
    return replace(network, stages=tuple(replace(s, blocks=min(s.blocks, DEEPEST)) for s in network.stages))


def narrow(network: ResNet) -> ResNet:
    """A quarter of the width where no stage has a pyramid, whose groups would not divide it."""
    if any(len(stage.pyramid.kernels) > 1 or stage.pyramid.groups[0] > NARROWEST for stage in network.stages):
        return network
    stages = (replace(s, width=s.width // 4, out_channels=s.out_channels // 4) for s in network.stages)
    return replace(network, stages=tuple(stages))


def paper_lr(experiment: Experiment, epoch: int) -> float:
    """Section 6, epochs from 1: 0.1 divided by 10 after 30, 60 and 80 of 90; cosine from 0.4 over 300."""
    if experiment.recipe.epochs == 300:
        return 0.4 * (1 + cos(pi * (epoch - 1) / 300)) / 2
    return 0.1 * 0.1 ** sum(epoch > drop for drop in (30, 60, 80))


def experiments_of_the_tables() -> dict[str, tuple[str, Experiment]]:
    """Fingerprint -> (first target, experiment) of every row of Tables 2, 3 and 4 that is run."""
    found: dict[str, tuple[str, Experiment]] = {}
    for table in TABLES.values():
        if isinstance(table, Table) and table.number in (2, 3, 4):
            for row in table.rows:
                if row.experiment is not None and row.printed:
                    found.setdefault(fingerprint(row.experiment), (table.target(row), row.experiment))
    return found


def job_of(small: Experiment, images: Path, folder: Path) -> Job:
    side = small.recipe.augment.crop
    return Job(
        small,
        (Protocol(f"crop{side}", "imagenet", crop=side, resize=side, samples=2),),
        records=folder / "records",
        runs=folder / "runs",
        data={"imagenet": images},
        device="cpu",
        checkpoint_every=1000,
        validate_every=0,
    )


@pytest.mark.slow
def test_every_row_runs_its_whole_recipe_with_the_papers_learning_rates(tmp_path: Path) -> None:
    root = photographs(tmp_path / "images")
    rows = experiments_of_the_tables()
    assert len(rows) == 32  # 30 distinct ones of Tables 2 and 3, two augmented ones of Table 4
    smalls = [tiny(experiment) for _, experiment in rows.values()]
    jobs = {fingerprint(small): job_of(small, root, tmp_path) for small in smalls}  # of rows that differ in depth, one
    outcomes = submit.run(jobs, profiles.load("local"))
    assert {outcome.name: outcome.error for outcome in outcomes if not outcome.ok} == {}
    for target, experiment in rows.values():
        job = jobs[fingerprint(tiny(experiment))]
        record = job.record(job.protocols[0])
        assert record is not None, target
        assert compliance.check(record).text == "kept", target
        epochs = experiment.recipe.epochs
        assert [entry["epoch"] for entry in record.history] == list(range(1, epochs + 1)), target
        for entry in record.history:
            assert entry["lrs"] == [[pytest.approx(paper_lr(experiment, entry["epoch"]), rel=1e-12), 1]], target
            assert (entry["batch"], entry["samples"]) == ([BATCH, BATCH], 4), target
