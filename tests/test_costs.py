"""Estimates against arithmetic by hand, and the words about a batch against how it is really dealt."""

from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments import TABLES
from experiments.protocols import CROP224, CROP320, MULTI_SCALE, SINGLE_SCALE, VIEWS30
from experiments.recipes import imagenet
from experiments.spec import Experiment, Protocol
from pyconv.architectures import resnet
from pyconv.data.sampling import Batches
from pyconv.recipe import ImageNetAugment, Recipe
from slurm import costs
from slurm.plan import PlannedJob
from slurm.profile import Profile

RESNET50 = imagenet(resnet(50))
MACS = 4_089_184_256  # ResNet-50 at 224: convolutions and the classifier, known from elsewhere
PARAMS = 25_557_032
SECOND = 1e12  # multiply-adds of one GPU below
EIGHT = Profile(
    "eight",
    Path("eight.toml"),
    executor="slurm",
    submitit={"timeout_min": 1440, "gpus_per_node": 8, "tasks_per_node": 8},
    test={"gpus_per_node": 1, "tasks_per_node": 1},
    gpu_gmacs=1000,
    price_per_gpu_hour=2.5,
)


def job(experiment: Experiment = RESNET50, protocol: Protocol | None = None, **changes: Any) -> PlannedJob:
    kind: Any = "train" if protocol is None else "test"
    return replace(PlannedJob(kind, experiment, protocol, ("table2/baseline",), "run", ""), **changes)


def hours(macs: float, images: float) -> float:
    return macs * images / SECOND / 3600


def on(ranks: int, **changes: Any) -> Profile:
    """A node with as many GPUs as ranks."""
    words = {"timeout_min": 60, "gpus_per_node": ranks, "tasks_per_node": ranks}
    return replace(EIGHT, submitit=words, **changes)


def test_a_training_of_resnet50_by_hand() -> None:
    cost = costs.cost(job(), EIGHT)
    wanted = hours(3 * MACS, 1_281_167 * 90)  # forward once, backward twice
    assert cost.gpu_hours == pytest.approx(wanted)
    assert wanted == pytest.approx(393, abs=0.5)
    assert cost.hours == pytest.approx(wanted / 8)
    assert cost.requeues == ceil(wanted / 8 / 24) - 1 == 2
    assert cost.cost == pytest.approx(wanted * 2.5)
    assert cost.storage_gb == pytest.approx(PARAMS * 4 * 6 / 1e9)  # last, best, twice weights and momentum


def test_a_test_goes_forward_once_for_every_image_scale_mirror_and_view() -> None:
    once = hours(MACS, 50_000)
    assert costs.cost(job(protocol=CROP224), EIGHT).gpu_hours == pytest.approx(once)
    assert costs.cost(job(protocol=CROP320), EIGHT).gpu_hours == pytest.approx(once * (320 / 224) ** 2)
    segmenter = TABLES[5].rows[0].experiment  # type: ignore[union-attr]
    single, multi = (costs.cost(job(segmenter, p), EIGHT).gpu_hours for p in (SINGLE_SCALE, MULTI_SCALE))
    assert single is not None
    assert multi == pytest.approx(single * sum(scale**2 for scale in (0.5, 0.75, 1, 1.25, 1.5, 1.75)))
    video = TABLES[10].rows[0].experiment  # type: ignore[union-attr]
    one = costs.cost(job(video, replace(VIEWS30, views=(1, 1))), EIGHT).gpu_hours
    assert one is not None
    assert costs.cost(job(video, VIEWS30), EIGHT).gpu_hours == pytest.approx(30 * one)


def test_without_a_speed_nothing_is_guessed_and_without_a_price_nothing_is_charged() -> None:
    slow = costs.cost(job(), replace(EIGHT, gpu_gmacs=None))
    assert (slow.gpu_hours, slow.hours, slow.cost, slow.requeues) == (None, None, None, None)
    assert slow.storage_gb is not None
    assert costs.cost(job(), replace(EIGHT, price_per_gpu_hour=None)).cost is None


def test_every_network_of_the_paper_has_an_estimate() -> None:
    for table in TABLES.values():
        for row in getattr(table, "rows", ()):
            if row.experiment is not None:
                assert costs.cost(job(row.experiment), EIGHT).known, table.target(row)


def test_the_sum_is_of_what_runs_and_counts_the_unknown_with_their_limit() -> None:
    jobs = [job(), job(protocol=CROP224), job(action="recorded"), job(action="running")]
    total = costs.totals(jobs, EIGHT)
    assert total.jobs == 2
    assert total.gpu_hours == pytest.approx(hours(3 * MACS, 1_281_167 * 90) + hours(MACS, 50_000))
    unknown = costs.totals(jobs, replace(EIGHT, gpu_gmacs=None))
    assert (unknown.unknown, unknown.gpu_hours) == (2, 8 * 24 + 1 * 24)


def test_records_elsewhere_do_not_take_the_estimate_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    costs._recorded.cache_clear()
    costs._complexity.cache_clear()
    monkeypatch.setenv("PYCONV_RECORDS", str(tmp_path))
    try:
        assert costs.cost(job(), EIGHT).known
    finally:
        costs._recorded.cache_clear()
        costs._complexity.cache_clear()


@given(
    size=st.integers(1, 300),
    norm=st.integers(0, 64),
    ranks=st.integers(1, 20),
    limit=st.none() | st.integers(2, 64),
)
def test_what_is_said_of_a_batch_is_how_it_is_dealt(size: int, norm: int, ranks: int, limit: int | None) -> None:
    recipe = Recipe("imagenet", 1, size, 0.1, ImageNetAugment(), batch_norm_batch=norm)
    said = costs.batch(recipe, on(ranks, micro_batch=limit))
    dealt = [Batches(size, size, said.micro_batch, False, rank, ranks).step(range(size), 0) for rank in range(ranks)]
    assert {len(micros) for micros in dealt} == {said.rounds}
    assert said.micro_batches == sum(micro.share > 0 for micros in dealt for micro in micros)
    idle = sum(not any(micro.share for micro in micros) for micros in dealt)
    assert (f"{idle} of {ranks} ranks have nothing to do" in said.note) == (idle > 0)


@pytest.mark.parametrize(("ranks", "rounds"), [(1, 8), (2, 4), (4, 2), (8, 1)])
def test_the_papers_batch_on_other_numbers_of_gpus(ranks: int, rounds: int) -> None:
    said = costs.batch(RESNET50.recipe, on(ranks))
    assert (said.batch_size, said.lr, said.micro_batch, said.rounds) == (256, 0.1, 32, rounds)
    assert bool(said.note) == (ranks != 8)
    if ranks != 8:
        assert f"{ranks} GPU" in said.note
        assert f"{rounds} micro-batches of 32" in said.note
        assert "batch 256 and lr 0.1 stay" in said.note


def test_too_many_gpus_are_told_with_the_largest_useful_number() -> None:
    assert "more than 8 ranks are of no use" in costs.batch(RESNET50.recipe, on(16)).note


def test_memory_that_changes_batch_norm_is_told() -> None:
    note = costs.batch(RESNET50.recipe, on(8, micro_batch=16)).note
    assert "batch norm over 16 samples (micro_batch) instead of the recipe's 32" in note


@pytest.mark.parametrize(("ranks", "factor"), [(8, 1), (4, 1), (3, 9 / 8), (16, 2)])
def test_gpus_that_wait_are_paid_too(ranks: int, factor: float) -> None:
    """Eight micro-batches on three ranks take three rounds, in which nine could have been done."""
    full = costs.cost(job(), EIGHT)
    words = dict(EIGHT.submitit) | {"gpus_per_node": ranks, "tasks_per_node": ranks}
    other = costs.cost(job(), replace(EIGHT, submitit=words))
    assert other.gpu_hours == pytest.approx(full.gpu_hours * factor)  # type: ignore[operator]
