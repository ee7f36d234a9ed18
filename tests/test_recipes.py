"""The training set-ups against section 6, the appendix and arithmetic on them."""

from dataclasses import replace
from math import ceil

import pytest

from experiments import TABLES
from experiments.recipes import ade20k, coco, imagenet, imagenet_augmented, kinetics
from experiments.spec import Experiment, fingerprint
from pyconv.architectures import (
    SSD,
    iresnet,
    pyconvhgresnet,
    pyconvresnet,
    pyconvresnet3d,
    pyconvsegnet,
    pyconvssd,
    resnet,
    resnet3d,
    segnet,
    ssd,
)


def test_imagenet_is_section_6() -> None:
    recipe = imagenet(resnet(50)).recipe
    assert (recipe.epochs, recipe.batch_size, recipe.lr, recipe.milestones) == (90, 256, 0.1, (30, 60, 80))
    assert (recipe.momentum, recipe.weight_decay, recipe.gamma, recipe.schedule) == (0.9, 1e-4, 0.1, "step")
    assert recipe.augment.crop == 224
    assert recipe.augment.cutmix_prob == 0
    assert recipe.batch_norm_batch * 8 == recipe.batch_size  # one GPU's share on 8 GPUs


def test_augmented_recipe_is_section_6() -> None:
    recipe = imagenet_augmented(pyconvresnet(50)).recipe
    assert (recipe.epochs, recipe.batch_size, recipe.schedule, recipe.precision) == (300, 1024, "cosine", "amp")
    assert recipe.lr == pytest.approx(0.1 * 1024 / 256)
    assert (recipe.augment.cutmix_prob, recipe.augment.cutmix_beta) == (1, 1)


def test_ade20k_is_section_6_and_the_released_configuration() -> None:
    recipe = ade20k(pyconvsegnet(resnet(50))).recipe
    assert (recipe.epochs, recipe.batch_size, recipe.lr, recipe.schedule) == (100, 16, 0.01, "poly")
    assert (recipe.auxiliary_weight, recipe.head_lr_factor, recipe.poly_power) == (0.4, 10, 0.9)
    assert recipe.drop_last
    assert 20_210 // recipe.batch_size == 1263  # iterations an epoch
    assert recipe.batch_norm_batch == 0  # synchronised


def test_coco_is_appendix_a1() -> None:
    recipe = coco(ssd(50)).recipe
    assert (recipe.epochs, recipe.lr, recipe.weight_decay, recipe.milestones) == (130, 0.02, 5e-4, (86, 108))
    assert recipe.batch_size == 8 * 32
    assert recipe.epochs * ceil(118_287 / recipe.batch_size) == pytest.approx(60_000, rel=0.01)  # "60K iterations"
    # NVIDIA's schedule of 65 epochs with drops at 43 and 54, doubled
    assert (recipe.epochs, *recipe.milestones) == (2 * 65, 2 * 43, 2 * 54)
    assert recipe.warmup_epochs == 1
    assert not recipe.decay_norm_and_bias


def test_kinetics_is_appendix_a2() -> None:
    experiment = kinetics(pyconvresnet3d(50))
    recipe = experiment.recipe
    assert (recipe.epochs, recipe.batch_size, recipe.lr, recipe.milestones) == (90, 64, 0.1, (30, 60, 80))
    assert (recipe.augment.frames, recipe.augment.crop, recipe.augment.short_side) == (16, 224, (256, 320))
    assert experiment.init is None  # from scratch
    assert experiment.model.dropout == 0.5


@pytest.mark.parametrize("backbone", [resnet(50), resnet(152), pyconvresnet(101), iresnet(50), pyconvhgresnet(50)])
@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_segmentation_starts_from_the_undilated_network_of_table_3(backbone, output_stride: int) -> None:
    init = ade20k(segnet(backbone, "ppm", output_stride)).init
    assert init == imagenet(backbone)
    assert init.model.output_stride == 32


@pytest.mark.parametrize("depth", [50, 101, 152])
def test_detection_starts_from_the_full_network_of_table_3(depth: int) -> None:
    assert coco(ssd(depth)).init == imagenet(resnet(depth))
    assert coco(pyconvssd(depth)).init == imagenet(pyconvresnet(depth))


def test_every_pretrained_backbone_is_a_row_of_table_3() -> None:
    in_table3 = {fingerprint(row.experiment) for row in TABLES[3].rows}
    inits = {fingerprint(row.experiment.init) for n in (5, 6, 7, 8) for row in TABLES[n].rows if row.experiment}
    assert len(inits) == 6
    assert inits < in_table3


def test_an_unknown_detection_backbone_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"iresnet50: no known classification network .* \(known: resnet50, "):
        coco(SSD(iresnet(50).truncated(3), "conv"))


class TestExperimentRefusesPartsThatDoNotBelongTogether:
    good = imagenet(resnet(50))

    def test_task(self) -> None:
        message = r"Experiment\.task must be one of imagenet, ade20k, coco, kinetics; got 'cifar'"
        with pytest.raises(ValueError, match=message):
            Experiment("cifar", self.good.model, self.good.recipe)

    @pytest.mark.parametrize("model", [resnet3d(50), pyconvsegnet(resnet(50)), ssd(50)])
    def test_model(self, model) -> None:
        with pytest.raises(ValueError, match="imagenet trains a 2-D ResNet, got the "):
            imagenet(model)

    def test_video_model(self) -> None:
        with pytest.raises(ValueError, match="kinetics trains a 3-D ResNet, got the 2-D ResNet resnet50"):
            kinetics(resnet(50))

    def test_augment(self) -> None:
        with pytest.raises(ValueError, match="augment must be a ImageNetAugment, got a KineticsAugment"):
            replace(self.good, recipe=kinetics(resnet3d(50)).recipe)

    @pytest.mark.parametrize("seed", [-1, 0.5, "1"])
    def test_seed(self, seed) -> None:
        with pytest.raises(ValueError, match="seed must be an integer from 0 up"):
            replace(self.good, seed=seed)

    @pytest.mark.parametrize("wrong", [resnet(101), pyconvresnet(50), iresnet(50)])
    def test_init_of_another_backbone(self, wrong) -> None:
        right = ade20k(pyconvsegnet(resnet(50)))
        with pytest.raises(ValueError, match="whose weights do not fit the backbone resnet50"):
            replace(right, init=imagenet(wrong))
