"""The training set-ups of section 6 and of the appendix, one function a task.

Sources of what the docstrings state: [P] the paper; [S] a public source: the authors' released ImageNet script, their
segmentation configuration on the semseg code base, NVIDIA's SSD300 example; [I] inferred because nothing states it.
"""

from dataclasses import replace

from experiments.spec import Experiment
from pyconv.architectures import BOTTLENECK_DEPTHS, SSD, ResNet, SegNet, pyconvresnet, resnet
from pyconv.recipe import Ade20kAugment, CocoAugment, ImageNetAugment, KineticsAugment, Recipe

GPUS = 8  # [P] all trainings ran on 8 V100; batch norm saw one GPU's share of the batch [S]


def imagenet(model: ResNet) -> Experiment:
    """Section 6, image classification: 90 epochs at 256 images, lr 0.1 divided by 10 three times.

    [P] SGD, momentum 0.9, weight decay 1e-4; crop 224. "At the 30-th, 60-th and 80-th epochs" is read as after 30, 60
    and 80 whole epochs: the text on Figure 7 calls the first 30 epochs the ones before the first reduction. (With
    torch >= 1.1 the released script drops one epoch earlier, because it steps its scheduler at the start [S].)
    [S] decay on all parameters, no Nesterov, no colour jitter, FP32, batch norm per GPU: 32 images.
    """
    batch_size = 256
    recipe = Recipe(
        data="imagenet",
        epochs=90,
        batch_size=batch_size,
        lr=_scaled_lr(batch_size),
        augment=ImageNetAugment(crop=224),
        milestones=(30, 60, 80),
        batch_norm_batch=batch_size // GPUS,
    )
    return Experiment("imagenet", model, recipe)


def imagenet_augmented(model: ResNet) -> Experiment:
    """Table 4, "+ augment": CutMix, 300 epochs, cosine schedule, 1024 images, mixed precision [P].

    [I] lr 0.4 by the linear rule the paper's sources use; CutMix in every batch with Beta(1, 1), its authors' setting
    for ImageNet, because the paper states neither; no warm-up, none is stated.
    """
    batch_size = 1024
    recipe = Recipe(
        data="imagenet",
        epochs=300,
        batch_size=batch_size,
        lr=_scaled_lr(batch_size),
        augment=ImageNetAugment(crop=224, cutmix_prob=1.0, cutmix_beta=1.0),
        schedule="cosine",
        batch_norm_batch=batch_size // GPUS,
        precision="amp",
    )
    return Experiment("imagenet", model, recipe)


def ade20k(model: SegNet, *, epochs: int = 100, split: str = "train") -> Experiment:
    """Section 6, scene parsing: 100 epochs at 16 crops of 473, from the backbone trained by `imagenet`.

    [P] auxiliary loss 0.4, settings as in PSPNet. [S] lr 0.01, poly 0.9 per iteration, ten times for head, classifier
    and auxiliary branch; weight decay 1e-4; batch norm synchronised over the GPUs; the last incomplete batch dropped.
    Table 7's last row: 120 epochs on `split="train+val"` [P].
    """
    recipe = Recipe(
        data="ade20k",
        epochs=epochs,
        batch_size=16,
        lr=0.01,
        augment=Ade20kAugment(crop=473),
        split=split,
        schedule="poly",
        poly_power=0.9,
        head_lr_factor=10,
        auxiliary_weight=0.4,
        batch_norm_batch=0,
        drop_last=True,
    )
    return Experiment("ade20k", model, recipe, init=imagenet(_undilated(model.backbone)))


def coco(model: SSD) -> Experiment:
    """Appendix A.1, detection: 130 epochs at 8 x 32 images of 300 x 300, from the full backbone trained by `imagenet`.

    [P] momentum 0.9, weight decay 5e-4, lr 0.02, linear warm-up in the first epoch; 60K iterations in total. "Reduced
    before 86-th and 108-th epoch" is read as after 86 and 108 whole epochs: NVIDIA's SSD300 example, whose schedule
    this is at twice the length, writes "before 43 and 54 epochs" for milestones counted from 0 [S]. No weight decay
    on batch norms and biases [S, there].
    """
    recipe = Recipe(
        data="coco",
        epochs=130,
        batch_size=GPUS * 32,
        lr=0.02,
        augment=CocoAugment(size=300),
        milestones=(86, 108),
        warmup_epochs=1,
        weight_decay=5e-4,
        decay_norm_and_bias=False,
        batch_norm_batch=32,
    )
    return Experiment("coco", model, recipe, init=imagenet(_full(model.backbone)))


def kinetics(model: ResNet) -> Experiment:
    """Appendix A.2, video: `imagenet`'s schedule from scratch on clips of 16 frames, 64 clips over 8 GPUs [P].

    [P] lr 0.1 (as printed: the linear rule would give 0.025), 90 epochs, drops at 30, 60, 80 read as in `imagenet`;
    short side from [256, 320], crop 224. The dropout of 0.5 belongs to the network. [I] every fourth frame.
    """
    batch_size = 64
    recipe = Recipe(
        data="kinetics",
        epochs=90,
        batch_size=batch_size,
        lr=0.1,
        augment=KineticsAugment(crop=224, frames=16, frame_stride=4),
        milestones=(30, 60, 80),
        batch_norm_batch=batch_size // GPUS,
    )
    return Experiment("kinetics", model, recipe)


def _scaled_lr(batch_size: int) -> float:
    """The linear rule of Goyal et al. (arXiv 1706.02677), which the paper follows: 0.1 for 256 images."""
    return 0.1 * batch_size / 256


def _undilated(backbone: ResNet) -> ResNet:
    """The classification network of which `backbone` is a dilated version: same weights, output stride 32."""
    stages = tuple(replace(s, stride=2, dilation=1) if s.dilation > 1 else s for s in backbone.stages)
    return replace(backbone, stages=stages)


def _full(backbone: ResNet) -> ResNet:
    """The network of Table 3 from which SSD's `backbone` was cut; its fourth stage cannot be read off the backbone."""
    networks = [describe(depth) for describe in (resnet, pyconvresnet) for depth in BOTTLENECK_DEPTHS]
    for network in networks:
        if network.truncated(len(backbone.stages)) == backbone:
            return network
    valid = ", ".join(network.name for network in networks)
    raise ValueError(
        f"{backbone.name}: no known classification network has these first stages (known: {valid}); "
        f"give Experiment its init yourself"
    )
