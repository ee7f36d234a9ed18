"""Mini versions: the same networks and kinds of schedule, other fingerprints, nothing published."""

from dataclasses import replace

import pytest
import torch

from experiments import TABLES, paper, tables, trainings
from experiments.mini import (
    BATCH,
    CLASSES,
    CROP,
    DATA,
    EPOCHS,
    GAMMA,
    HELD_OUT,
    MINI_TABLES,
    mini,
    mini_protocol,
    mini_table,
)
from experiments.protocols import COCO300, CROP224, CROP320, MULTI_SCALE, VIEWS30
from experiments.recipes import ade20k, coco, imagenet, imagenet_augmented, kinetics
from experiments.spec import fingerprint
from pyconv.architectures import pyconvresnet, pyconvresnet3d, pyconvsegnet, resnet, ssd

BIG = imagenet(pyconvresnet(50))
SMALL = mini(BIG)
AUGMENTED = mini(imagenet_augmented(pyconvresnet(50)))


def test_the_network_is_the_same_but_for_its_classes() -> None:
    assert SMALL.model == replace(BIG.model, num_classes=CLASSES)
    assert SMALL.model.depth == 50
    assert SMALL.task == "imagenet"
    assert SMALL.name == f"imagenet-pyconvresnet50-{DATA}"


def test_a_step_stays_a_step_at_the_same_fractions_of_the_run() -> None:
    recipe = SMALL.recipe
    assert (recipe.schedule, recipe.epochs, recipe.batch_size) == ("step", EPOCHS, BATCH)
    assert [milestone / recipe.epochs for milestone in recipe.milestones] == pytest.approx([30 / 90, 60 / 90, 80 / 90])
    steps = 90  # an epoch of 90 steps, so that thirds and ninths of it are whole
    constant = replace(recipe, warmup_epochs=0.0)
    rates = [constant.lr_at(step, steps) for step in range(recipe.epochs * steps)]
    drops = [step for step in range(1, len(rates)) if rates[step] < rates[step - 1]]
    assert drops == pytest.approx([EPOCHS * 30, EPOCHS * 60, EPOCHS * 80], abs=1)
    assert rates[-1] == pytest.approx(max(rates) * GAMMA**3)


def test_a_cosine_stays_a_cosine_and_cutmix_stays() -> None:
    recipe = AUGMENTED.recipe
    assert (recipe.schedule, recipe.precision, recipe.augment.cutmix_prob) == ("cosine", "amp", 1)
    assert recipe.epochs == round(EPOCHS * 300 / 90)
    assert recipe.batch_size == 4 * SMALL.recipe.batch_size


@pytest.mark.parametrize("number", MINI_TABLES)
def test_every_network_takes_its_mini_images(number: int) -> None:
    """Training mode, on the meta device: no stage shrinks to nothing, no block refuses its maps."""
    table = mini_table(TABLES[number])
    for row in table.rows:
        assert row.experiment is not None
        tested = [table.protocol(row, column) for column in table.columns]
        crops = {row.experiment.recipe.augment.crop, *(protocol.crop for protocol in tested if protocol)}
        with torch.device("meta"):
            model = row.experiment.model.build()
            for crop in sorted(crops):
                assert model(torch.empty(BATCH, 3, crop, crop)).shape == (BATCH, CLASSES), table.target(row)


def test_the_learning_rate_stays_proportional_to_the_batch() -> None:
    assert AUGMENTED.recipe.lr / SMALL.recipe.lr == pytest.approx(AUGMENTED.recipe.batch_size / SMALL.recipe.batch_size)


def test_what_the_paper_set_stays_set() -> None:
    for field in ("momentum", "weight_decay", "nesterov", "decay_norm_and_bias", "precision"):
        assert getattr(SMALL.recipe, field) == getattr(BIG.recipe, field)
    assert mini(replace(BIG, seed=7)).seed == 7


def test_no_mini_run_has_a_fingerprint_of_the_paper() -> None:
    everything = set(trainings())
    chosen = [table for table in paper() if table.number in MINI_TABLES]
    small = {fingerprint(mini(experiment)) for experiment in trainings(chosen).values()}
    assert len(small) == 32  # 30 of Tables 2 and 3, two augmented ones
    assert not small & everything
    assert not set(trainings(tables(mini=True))) & everything
    assert set(trainings(map(mini_table, chosen))) == small


def test_protocols_scale_with_the_crop() -> None:
    at224, at320 = mini_protocol(CROP224), mini_protocol(CROP320)
    assert (at224.data, at224.crop, at224.samples) == (DATA, CROP, HELD_OUT)
    for small, big in ((at224, CROP224), (at320, CROP320)):
        assert small.crop / CROP == pytest.approx(big.crop / 224, abs=1 / CROP)
        assert small.resize >= small.crop
        assert small.key == f"mini-{big.key}"


@pytest.mark.parametrize("number", MINI_TABLES)
def test_a_mini_table_shows_nothing_published(number: int) -> None:
    small, big = mini_table(TABLES[number]), TABLES[number]
    assert small.mini
    assert small.name == f"mini-table{number}"
    assert [row.key for row in small.rows] == [row.key for row in big.rows]
    assert [column.key for column in small.columns] == [column.key for column in big.columns]
    assert {value for row in small.rows for value in row.published} == {None}
    assert all(not row.reference for row in small.rows)
    assert all(column.protocol is None or column.protocol.data == DATA for column in small.columns)
    assert "say nothing about PyConv" in small.footnotes[-1]


def test_mini_counts_are_of_the_mini_input() -> None:
    small = mini_table(TABLES[4])
    assert small.column("flops_224").input_size == (3, CROP, CROP)
    side = mini_protocol(CROP320).crop
    assert small.column("flops_320").input_size == (3, side, side)
    assert {column.group for column in small.columns} == {f"test crop: {CROP}x{CROP}", f"test crop: {side}x{side}", ""}


@pytest.mark.parametrize("number", [1, 5, 6, 7, 8, 9, 10])
def test_other_tables_have_none_yet_and_say_which_do(number: int) -> None:
    with pytest.raises(ValueError, match=f"table{number} has no mini version: tables with one: table2, table3, table4"):
        mini_table(TABLES[number])


@pytest.mark.parametrize(
    "experiment", [ade20k(pyconvsegnet(resnet(50))), coco(ssd(50)), kinetics(pyconvresnet3d(50)), SMALL]
)
def test_other_tasks_and_mini_runs_themselves_are_refused(experiment) -> None:
    with pytest.raises(ValueError, match="only classification has a mini version yet: tables with one: table2"):
        mini(experiment)


@pytest.mark.parametrize("protocol", [MULTI_SCALE, COCO300, VIEWS30, mini_protocol(CROP224)])
def test_other_protocols_are_refused(protocol) -> None:
    with pytest.raises(ValueError, match="only classification has a mini version yet"):
        mini_protocol(protocol)


def test_a_mini_table_has_no_mini_version() -> None:
    with pytest.raises(ValueError, match="mini-table2 has no mini version"):
        mini_table(mini_table(TABLES[2]))
