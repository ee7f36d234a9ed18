"""`Recipe.lr_at` against the paper's schedules, step by step, by hand arithmetic; refusals of wrong recipes."""

from dataclasses import replace
from itertools import pairwise
from math import cos, pi

import pytest

from pyconv.recipe import ImageNetAugment, Recipe

IMAGENET = Recipe("imagenet", epochs=90, batch_size=256, lr=0.1, augment=ImageNetAugment(), milestones=(30, 60, 80))


def test_every_step_of_the_90_epochs() -> None:
    steps = 5005  # ceil(1,281,167 / 256)
    by_hand = [0.1] * 30 + [0.01] * 30 + [0.001] * 20 + [0.0001] * 10
    for epoch, lr in enumerate(by_hand):
        for step in (0, 1, steps // 2, steps - 1):
            assert IMAGENET.lr_at(epoch * steps + step, steps) == pytest.approx(lr, rel=1e-12)


def test_drops_fall_on_the_first_step_of_epochs_30_60_80_and_nowhere_else() -> None:
    steps = 7
    rates = [IMAGENET.lr_at(step, steps) for step in range(90 * steps)]
    drops = [step for step in range(1, len(rates)) if rates[step] != rates[step - 1]]
    assert drops == [30 * steps, 60 * steps, 80 * steps]


def test_milestones_may_be_fractions_of_an_epoch() -> None:
    recipe = replace(IMAGENET, epochs=3, milestones=(0.5, 2.25))
    rates = [recipe.lr_at(step, 4) for step in range(12)]
    assert rates == pytest.approx([0.1] * 2 + [0.01] * 7 + [0.001] * 3)


def test_cosine_is_constant_within_an_epoch_and_halves_at_half_time() -> None:
    recipe = replace(IMAGENET, epochs=300, lr=0.4, schedule="cosine", milestones=())
    steps = 1252  # ceil(1,281,167 / 1024)
    for epoch in (0, 1, 75, 150, 299):
        by_hand = 0.2 * (1 + cos(pi * epoch / 300))
        assert {recipe.lr_at(epoch * steps + step, steps) for step in (0, 17, steps - 1)} == {by_hand}
    assert recipe.lr_at(0, steps) == 0.4
    assert recipe.lr_at(150 * steps, steps) == pytest.approx(0.2)
    assert 0 < recipe.lr_at(300 * steps - 1, steps) < 0.4 * 3e-5  # (1 - cos(pi / 300)) / 2 = 2.7e-5


def test_poly_goes_down_every_iteration_to_zero() -> None:
    recipe = replace(IMAGENET, epochs=100, batch_size=16, lr=0.01, schedule="poly", milestones=())
    steps = 1263  # 20,210 images // 16
    assert recipe.lr_at(0, steps) == 0.01
    assert recipe.lr_at(50 * steps, steps) == pytest.approx(0.01 * 0.5**0.9)
    assert recipe.lr_at(99 * steps, steps) == pytest.approx(0.01 * 0.01**0.9)
    assert recipe.lr_at(100 * steps - 1, steps) == pytest.approx(0.01 * (1 / 126_300) ** 0.9)
    assert recipe.lr_at(100 * steps, steps) == 0
    rates = [recipe.lr_at(step, 5) for step in range(500)]
    assert all(later < earlier for earlier, later in pairwise(rates))


def test_warm_up_climbs_in_equal_steps_and_joins_the_schedule() -> None:
    recipe = replace(IMAGENET, epochs=130, lr=0.02, milestones=(86, 108), warmup_epochs=1)
    rates = [recipe.lr_at(step, 10) for step in range(20)]
    assert rates[:10] == pytest.approx([0.002 * (step + 1) for step in range(10)])
    assert rates[10:] == [0.02] * 10
    assert recipe.lr_at(86 * 10 - 1, 10) == 0.02
    assert recipe.lr_at(86 * 10, 10) == pytest.approx(0.002)
    assert recipe.lr_at(108 * 10, 10) == pytest.approx(0.0002)


def test_warm_up_goes_with_a_falling_schedule_too() -> None:
    recipe = replace(IMAGENET, epochs=4, lr=0.4, schedule="poly", milestones=(), poly_power=1.0, warmup_epochs=0.5)
    # 10 steps an epoch, so 5 steps of warm-up: step 1 has 2/5 of 0.4 * (1 - 1/40)
    assert recipe.lr_at(1, 10) == pytest.approx(0.4 * 39 / 40 * 2 / 5)
    assert recipe.lr_at(4, 10) == pytest.approx(0.4 * 36 / 40)


@pytest.mark.parametrize("step", [-1, 90 * 5 + 1])
def test_a_step_outside_the_run_is_refused(step: int) -> None:
    with pytest.raises(ValueError, match=r"outside this run of 90 x 5 = 450 steps"):
        IMAGENET.lr_at(step, 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs must be a positive integer, got 0"),
        ({"epochs": 90.0}, "epochs must be a positive integer, got 90.0"),
        ({"batch_size": -1}, "batch_size must be a positive integer"),
        ({"lr": 0}, "lr must be positive, got 0"),
        ({"lr": float("nan")}, "lr must be positive, got nan"),
        ({"schedule": "linear"}, "schedule must be one of step, cosine, poly; got 'linear'"),
        ({"precision": "fp16"}, "precision must be one of fp32, amp; got 'fp16'"),
        ({"augment": "cutmix"}, "augment must be one of ImageNetAugment, Ade20kAugment, CocoAugment, KineticsAugment"),
        ({"milestones": (60, 30)}, "milestones must ascend"),
        ({"milestones": (30, 90)}, "milestones must lie within the 90 epochs"),
        ({"milestones": (0, 60)}, "milestones must lie within the 90 epochs"),
        ({"schedule": "cosine"}, "milestones are of the step schedule"),
    ],
)
def test_wrong_recipes_are_refused_with_what_would_be_right(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(IMAGENET, **change)
