"""Mini versions: the same networks and kinds of schedule, other fingerprints, nothing published."""

from dataclasses import replace

import pytest
import torch

from experiments import TABLES, paper, tables, trainings
from experiments import mini_detection as detection
from experiments import mini_segmentation as segmentation
from experiments import mini_video as video
from experiments.mini import (
    BATCH,
    CLASSES,
    CROP,
    DATA,
    EPOCHS,
    GAMMA,
    HELD_OUT,
    MINI_TABLES,
    PACKAGED,
    mini,
    mini_protocol,
    mini_table,
)
from experiments.protocols import COCO300, CROP224, CROP320, CROP617, MULTI_SCALE, SINGLE_SCALE, TEST_SERVER, VIEWS30
from experiments.recipes import ade20k, coco, imagenet, imagenet_augmented, kinetics
from experiments.spec import fingerprint
from pyconv import data
from pyconv.architectures import SegNet, pyconvresnet, pyconvresnet3d, pyconvsegnet, pyconvssd, resnet, segnet
from pyconv.data import digits, motions, scenes, signs

BIG = imagenet(pyconvresnet(50))
SMALL = mini(BIG)
AUGMENTED = mini(imagenet_augmented(pyconvresnet(50)))
SCENES = ade20k(segnet(pyconvresnet(50), "ppm", 16))
CLASSIFIED, PARSED = (2, 3, 4), (5, 6, 7)
ON = dict.fromkeys(CLASSIFIED, DATA) | dict.fromkeys(PARSED, segmentation.DATA) | {8: detection.DATA, 10: video.DATA}
SIGNS = coco(pyconvssd(50))
MOTIONS = kinetics(pyconvresnet3d(50))


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


@pytest.mark.parametrize("number", CLASSIFIED)
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
    # 30 of Tables 2 and 3, two augmented ones; eight heads, five more backbones, one of both splits; four detectors;
    # two networks of Table 10
    assert len(small) == 32 + 8 + 5 + 1 + 4 + 2
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
    assert {value for row in small.rows for value in row.published} <= {None, "-"}
    for row, printed in zip(small.rows, big.rows, strict=True):  # a dash says that there is nothing to measure
        dashes = [value == "-" for value in printed.published] if row.experiment else [False] * len(small.columns)
        assert [value == "-" for value in row.published] == dashes
    assert all(not row.reference for row in small.rows)
    protocols = {small.protocol(row, column) for row in small.rows for column in small.columns} - {None}
    assert {protocol.data for protocol in protocols} == {ON[number]}
    assert "say nothing about PyConv" in small.footnotes[-1]


def test_mini_counts_are_of_the_mini_input() -> None:
    small = mini_table(TABLES[4])
    assert small.column("flops_224").input_size == (3, CROP, CROP)
    side = mini_protocol(CROP320).crop
    assert small.column("flops_320").input_size == (3, side, side)
    assert {column.group for column in small.columns} == {f"test crop: {CROP}x{CROP}", f"test crop: {side}x{side}", ""}


@pytest.mark.parametrize("experiment", [SCENES, replace(SCENES, seed=3), ade20k(pyconvsegnet(resnet(152)))])
def test_scene_parsing_keeps_backbone_head_and_stride(experiment) -> None:
    small = mini(experiment)
    assert small.model == replace(experiment.model, num_classes=len(scenes.CLASSES))
    assert small.model.backbone.output_stride == experiment.model.backbone.output_stride
    assert (small.task, small.seed, small.recipe.data) == ("ade20k", experiment.seed, "scenes")
    assert small.init == mini(experiment.init)
    assert small.init.model.num_classes == CLASSES
    kept = ("schedule", "poly_power", "auxiliary_weight", "batch_norm_batch", "drop_last", "momentum", "weight_decay")
    for field in (*kept, "nesterov", "decay_norm_and_bias", "precision", "batch_size", "split"):
        assert getattr(small.recipe, field) == getattr(experiment.recipe, field), field
    for field in ("rotation", "rotation_prob", "blur_prob", "flip", "ignore_label"):
        assert getattr(small.recipe.augment, field) == getattr(experiment.recipe.augment, field), field


def test_crops_of_scenes_are_of_the_form_that_the_heads_were_written_for() -> None:
    """8k + 1 pixels: their ends are centres of pixels of stage 4's maps at either stride's multiple of 8."""
    assert segmentation.FULL_CROP % 8 == segmentation.CROP % 8 == 1
    assert mini(SCENES).recipe.augment.crop == segmentation.CROP


def test_a_longer_training_on_both_splits_stays_longer_on_both() -> None:
    longer = mini(ade20k(pyconvsegnet(resnet(50)), epochs=120, split="train+val"))
    usual = mini(ade20k(pyconvsegnet(resnet(50))))
    assert longer.recipe.epochs / usual.recipe.epochs == pytest.approx(1.2)
    assert longer.recipe.split == "train+val"
    assert longer.init == usual.init


def test_sliding_windows_scale_with_the_crop() -> None:
    for big in (SINGLE_SCALE, MULTI_SCALE, CROP617, TEST_SERVER):
        small = mini_protocol(big)
        assert small.crop / small.resize == pytest.approx(big.crop / big.resize, abs=0.5 / small.resize)
        assert small.resize / segmentation.CROP == pytest.approx(big.resize / 473, abs=0.5 / segmentation.CROP)
        assert (small.scales, small.flip, small.split, small.weights) == (big.scales, big.flip, big.split, big.weights)
        assert (small.key, small.data) == (f"mini-{big.key}", "scenes")
    assert mini_protocol(MULTI_SCALE).samples == scenes.SCENES["val"]
    assert mini_protocol(TEST_SERVER).samples is None


@pytest.mark.parametrize("number", PARSED)
def test_every_segmentation_network_takes_its_crops(number: int) -> None:
    """Training mode, on the meta device, each kind of network once: heads pool to 9x9 maps of 5x5 and of 3x3."""
    models = {row.experiment.model for row in mini_table(TABLES[number]).rows if row.experiment}
    for network in models:
        assert isinstance(network, SegNet)
        with torch.device("meta"):
            outputs = network.build()(torch.empty(segmentation.BATCH, 3, segmentation.CROP, segmentation.CROP))
        shape = (segmentation.BATCH, len(scenes.CLASSES), segmentation.CROP, segmentation.CROP)
        assert {name: logits.shape for name, logits in outputs.items()} == {"out": shape, "aux": shape}


def test_columns_of_scene_parsing_keep_their_groups_and_count_at_the_small_size() -> None:
    for number in PARSED:
        small, big = mini_table(TABLES[number]), TABLES[number]
        assert [column.group for column in small.columns] == [column.group for column in big.columns]
        assert small.groups == big.groups
        side = segmentation.CROP
        assert {c.input_size for c in small.columns if c.protocol is None} <= {(3, side, side)}
    assert [column.protocol.key for column in mini_table(TABLES[6]).columns if column.protocol] == [
        "mini-single-scale",
        "mini-multi-scale",
    ] * 2


def test_footnotes_of_table7_name_the_sizes_that_are_run() -> None:
    small = mini_table(TABLES[7])
    dagger, club = small.row("pyconvsegnet152-617"), small.row("pyconvsegnet152-trainval")
    assert dagger.footnote == "† Windows of 43x43 instead of 33x33, for inference only."
    assert dict(dagger.protocols)["miou"].crop == 43
    epochs, usual = club.experiment.recipe.epochs, small.row("pyconvsegnet152").experiment.recipe.epochs
    assert f"for {epochs} instead of {usual} epochs" in club.footnote
    assert all(not row.footnote for row in small.rows if row.experiment is None)


def test_the_specs_know_the_packaged_data_as_it_is() -> None:
    assert data.PACKAGED == PACKAGED
    assert scenes.SCENES == {"train": segmentation.TRAINED, "val": segmentation.HELD_OUT, "test": 20}
    assert len(scenes.CLASSES) == segmentation.CLASSES
    assert digits.CLASSES == CLASSES
    assert segmentation.TRAINED >= segmentation.BATCH
    assert signs.SCENES == {"train": detection.TRAINED, "val": detection.HELD_OUT}
    assert len(signs.CLASSES) + 1 == detection.CLASSES
    many = {split: number * video.CLASSES for split, number in motions.VIDEOS.items()}
    assert many == {"train": video.TRAINED, "val": video.HELD_OUT}
    assert len(motions.CLASSES) == video.CLASSES


def test_detection_keeps_network_and_recipe_in_parts_of_the_image_and_of_the_run() -> None:
    small = mini(SIGNS)
    assert small.model == replace(SIGNS.model, num_classes=detection.CLASSES, image_size=detection.SIDE)
    assert (small.task, small.recipe.data) == ("coco", "signs")
    assert small.init == mini(SIGNS.init)
    for field in ("schedule", "gamma", "warmup_epochs", "momentum", "nesterov", "weight_decay", "decay_norm_and_bias"):
        assert getattr(small.recipe, field) == getattr(SIGNS.recipe, field), field
    at = [milestone / small.recipe.epochs for milestone in small.recipe.milestones]
    assert at == pytest.approx([86 / 130, 108 / 130])
    for field in ("min_ious", "color_jitter"):
        assert getattr(small.recipe.augment, field) == getattr(SIGNS.recipe.augment, field), field
    protocol = mini_protocol(COCO300)
    assert protocol.crop == protocol.resize == small.recipe.augment.size == detection.SIDE
    assert (protocol.key, protocol.samples, protocol.split) == ("mini-coco300", signs.SCENES["val"], COCO300.split)


def test_videos_keep_network_and_recipe_in_parts_of_the_crop_and_of_the_run() -> None:
    small = mini(replace(MOTIONS, seed=2))
    assert small.model == replace(MOTIONS.model, num_classes=len(motions.CLASSES))
    assert (small.task, small.seed, small.recipe.data, small.init) == ("kinetics", 2, "motions", None)
    for field in ("schedule", "momentum", "nesterov", "weight_decay", "decay_norm_and_bias", "precision"):
        assert getattr(small.recipe, field) == getattr(MOTIONS.recipe, field), field
    at = [milestone / small.recipe.epochs for milestone in small.recipe.milestones]
    assert at == pytest.approx([30 / 90, 60 / 90, 80 / 90])
    augment, full = small.recipe.augment, MOTIONS.recipe.augment
    assert augment.frames == full.frames == video.FRAMES
    for ours, papers in zip(augment.short_side, full.short_side, strict=True):
        assert ours / augment.crop == pytest.approx(papers / full.crop, abs=0.5 / augment.crop)
    span = (augment.frames - 1) * augment.frame_stride + 1
    assert motions.FRAMES[0] - span + 1 >= 10  # starts of the shortest video's clips
    protocol = mini_protocol(VIEWS30)
    assert (protocol.key, protocol.samples, protocol.split) == ("mini-views30", video.HELD_OUT, VIEWS30.split)
    assert protocol.views == (video.CLIPS, VIEWS30.views[1])
    assert (protocol.crop, protocol.resize) == (augment.crop, augment.short_side[0])


@pytest.mark.parametrize("key", ["resnet3d50", "pyconvresnet3d50"])
def test_every_video_network_takes_its_clips(key: str) -> None:
    """Training mode, on the meta device: no stage shrinks to nothing at either size."""
    row = mini_table(TABLES[10]).row(key)
    assert row.experiment is not None
    with torch.device("meta"):
        model = row.experiment.model.build()
        for crop in (video.CROP, mini_protocol(VIEWS30).crop):
            clips = torch.empty(video.BATCH, 3, video.FRAMES, crop, crop)
            assert model(clips).shape == (video.BATCH, video.CLASSES)


@pytest.mark.parametrize("number", [1, 9])
def test_other_tables_have_none_yet_and_say_which_do(number: int) -> None:
    named = ", ".join(f"table{mini}" for mini in MINI_TABLES)
    with pytest.raises(ValueError, match=f"table{number} has no mini version: tables with one: {named}"):
        mini_table(TABLES[number])


@pytest.mark.parametrize("experiment", [SMALL, mini(SCENES), mini(SIGNS), mini(MOTIONS)], ids=lambda one: one.name)
def test_mini_runs_themselves_are_refused(experiment) -> None:
    with pytest.raises(ValueError, match=f"{experiment.name}: only what runs on the paper's own data sets has a mini"):
        mini(experiment)


@pytest.mark.parametrize("protocol", [CROP224, MULTI_SCALE, COCO300, VIEWS30], ids=lambda one: one.key)
def test_mini_protocols_are_refused(protocol) -> None:
    protocol = mini_protocol(protocol)
    with pytest.raises(ValueError, match=f"{protocol.key} tests {protocol.data}; only what runs on the paper's own"):
        mini_protocol(protocol)


def test_a_mini_table_has_no_mini_version() -> None:
    with pytest.raises(ValueError, match="mini-table2 has no mini version"):
        mini_table(mini_table(TABLES[2]))
