"""The minutes-on-two-cores version of an experiment: the same network and recipe on real, packaged, small images.

Classification runs on 5,000 handwritten digits, scene parsing (`experiments.mini_segmentation`) on digits before sky
and leaves, detection (`experiments.mini_detection`) on digits on photographs, both from the mini version of their
backbone; video recognition (`experiments.mini_video`) on moving digits and cameras. Networks keep their depth, kernels
and groups, the code path is the paper's; images, epochs and batches are smaller. A step schedule drops at the same
fractions of the run, a cosine stays a cosine, CutMix stays CutMix, the learning rates of the two recipes stay
proportional to their batches. The numbers check the pipeline and say nothing about PyConv: they stand in tables of
their own, under fingerprints of their own. The constants below were chosen by the error on the very digits that are
held out, so that error is optimistic, and seeds differ by up to six points.
"""

from dataclasses import replace

from experiments import mini_detection as detection
from experiments import mini_segmentation as segmentation
from experiments import mini_video as video
from experiments.protocols import VIEWS30
from experiments.spec import ArchitectureTable, Column, Experiment, Protocol, Published, Row, Table, Task
from pyconv.architectures import ResNet
from pyconv.recipe import ImageNetAugment, Recipe

DATA = "digits"  # 28x28, ten classes
SPLIT = "train-small"  # 1,280 of the 4,000 to train; 1,000 are held out
CLASSES = 10
HELD_OUT = 1_000
FULL_CROP, CROP = 224, 28  # pixels; every other crop in proportion
NONLOCAL_CROP = 64  # a non-local block needs maps of 2x2, and stage 4 has 1/32 of the pixels
FULL_EPOCHS, EPOCHS = 90, 2  # the augmented recipe's 300 in proportion
FULL_BATCH, BATCH = 256, 32  # images; the augmented recipe's 1024 in proportion
# 80 steps are not 450,000: at the linear rule's 0.0125 and without warm-up the loss first explodes, in the classifier
# above all, and after a drop to a tenth in the first third little more would be learnt.
FULL_LR, LR = 0.1, 0.0035
WARMUP = 0.25  # epochs
HEAD_LR = 0.2  # times LR, of the classifier
GAMMA = 0.5  # a step schedule's drop
AREA = (1.0, 1.0)  # of the random crop, so the whole digit: 8% of one is no digit
FLIP = 0.0  # a mirrored digit is another sign

PACKAGED = (DATA, segmentation.DATA, detection.DATA, video.DATA)
"""The data sets of mini runs; scene parsing and detection need the first one too, for their backbones."""
MINI_TABLES = (2, 3, 4, 5, 6, 7, 8, 10)
_LIMITS = "only what runs on the paper's own data sets has a mini version"
_NOTHING = "they check the pipeline and say nothing about PyConv or the paper's numbers."
CAVEATS = {
    "imagenet": f"Small runs on 28x28 digits: {_NOTHING}",
    "ade20k": f"Small runs on scenes of up to 48 pixels, digits before sky and leaves: {_NOTHING}",
    "coco": f"Small runs on digits on photographs, stretched to {detection.SIDE}x{detection.SIDE}: {_NOTHING}",
    "kinetics": f"Small runs on videos of 56x48 pixels, digits or the camera moving: {_NOTHING}",
}


def mini(experiment: Experiment) -> Experiment:
    """`experiment` small enough for two CPU cores. Raises `ValueError` for data without a mini version."""
    if experiment.recipe.data == "ade20k":
        return segmentation.mini_segmentation(experiment, experiment.init and mini(experiment.init))
    if experiment.recipe.data == "coco":
        return detection.mini_detection(experiment, experiment.init and mini(experiment.init))
    if experiment.recipe.data == "kinetics":
        return video.mini_video(experiment)
    if experiment.recipe.data != "imagenet" or not isinstance(experiment.model, ResNet):
        raise ValueError(f"{experiment.name}: {_LIMITS}: {_available()}")
    model = replace(experiment.model, num_classes=CLASSES)
    return replace(experiment, model=model, recipe=_recipe(experiment.recipe, _crop(model)))


def mini_protocol(protocol: Protocol, crop: int = CROP) -> Protocol:
    """`protocol` on packaged images that are held out; `crop`: a classifier's in training, tested on whole digits."""
    if protocol.data == "ade20k":
        return segmentation.mini_sliding(protocol)
    if protocol.data == "coco":
        return detection.mini_stretched(protocol)
    if protocol.data == "kinetics":
        return video.mini_views(protocol)
    if protocol.data != "imagenet":
        raise ValueError(f"protocol {protocol.key} tests {protocol.data}; {_LIMITS}")
    return replace(
        protocol,
        key=f"mini-{protocol.key}",
        data=DATA,
        crop=_pixels(protocol.crop, crop),
        resize=_pixels(protocol.crop, crop),
        samples=HELD_OUT,
    )


def mini_table(table: Table | ArchitectureTable) -> Table:
    """`table` with the mini version of every experiment and nothing published: no number of the paper stands in it."""
    if not isinstance(table, Table) or table.number not in MINI_TABLES or table.mini:
        raise ValueError(f"{table.name} has no mini version: {_available()}")
    task = next(row.experiment.task for row in table.rows if row.experiment)
    return replace(
        table,
        caption=f"Mini version of Table {table.number}: {table.caption}",
        columns=tuple(_column(column, task) for column in table.columns),
        rows=tuple(_row(table, row) for row in table.rows),
        footnotes=(CAVEATS[task],),
        mini=True,
    )


def _available() -> str:
    return "tables with one: " + ", ".join(f"table{number}" for number in MINI_TABLES)


def _crop(model: ResNet) -> int:
    """Side of the images that stand for the paper's 224 pixels."""
    return NONLOCAL_CROP if model.context == "nonlocal" else CROP


def _pixels(size: int, crop: int = CROP) -> int:
    return round(size * crop / FULL_CROP)


def _recipe(recipe: Recipe, crop: int) -> Recipe:
    assert isinstance(recipe.augment, ImageNetAugment)  # Experiment checks it for the task imagenet
    epochs = round(recipe.epochs * EPOCHS / FULL_EPOCHS)
    batch_size = recipe.batch_size * BATCH // FULL_BATCH
    return replace(
        recipe,
        data=DATA,
        split=SPLIT,
        epochs=epochs,
        batch_size=batch_size,
        lr=recipe.lr * LR / FULL_LR,
        milestones=tuple(milestone * epochs / recipe.epochs for milestone in recipe.milestones),
        gamma=GAMMA,
        warmup_epochs=WARMUP,
        head_lr_factor=HEAD_LR,
        batch_norm_batch=min(recipe.batch_norm_batch, batch_size),
        augment=replace(recipe.augment, crop=_pixels(recipe.augment.crop, crop), scale=AREA, flip=FLIP),
    )


def _column(column: Column, task: Task) -> Column:
    if column.protocol is not None:
        protocol = mini_protocol(column.protocol)
        return replace(column, protocol=protocol, group=_group(column, protocol.crop))
    if task == "ade20k":
        return replace(column, input_size=(3, segmentation.CROP, segmentation.CROP))
    if task == "coco":
        return column  # the networks' own size
    if task == "kinetics":
        side = video.mini_views(VIEWS30).crop  # a run counts what it is tested with
        return replace(column, input_size=(3, video.FRAMES, side, side))
    side = _pixels(column.input_size[-1] if column.input_size else FULL_CROP)
    return replace(column, input_size=(3, side, side), group=_group(column, side))


def _group(column: Column, side: int) -> str:
    """Table 4's column groups name the size of the test crop."""
    return f"test crop: {side}x{side}" if column.group.startswith("test crop") else column.group


def _row(table: Table, row: Row) -> Row:
    if row.experiment is None:
        return replace(row, published=(None,) * len(row.published), footnote="")
    blank = replace(row, published=tuple(map(_unprinted, row.published)), experiment=mini(row.experiment), reference=())
    if row.experiment.task == "ade20k":
        protocols = tuple((key, mini_protocol(protocol)) for key, protocol in row.protocols)
        return replace(blank, protocols=protocols, footnote=segmentation.in_small(row.footnote))
    if row.experiment.task in ("coco", "kinetics"):
        return replace(blank, footnote="")
    return _classified(table, row, blank)


def _unprinted(published: Published) -> Published:
    """A number of the paper has no place in a mini table; a dash says that there is nothing to measure."""
    return "-" if published == "-" else None


def _classified(table: Table, row: Row, small: Row) -> Row:
    """Where a network needs larger images, its protocols and a footnote that says so."""
    assert small.experiment is not None
    assert isinstance(small.experiment.model, ResNet)  # mini takes no other
    crop = _crop(small.experiment.model)
    if crop == CROP:
        return small
    tested = {column.key: table.protocol(row, column) for column in table.columns}
    protocols = tuple((key, mini_protocol(protocol, crop)) for key, protocol in tested.items() if protocol)
    return replace(small, protocols=protocols, footnote=f"On images of {crop}x{crop}: its blocks need maps of 2x2.")
