"""Table 7 (section 6): PyConvSegNet-152 beside the state of the art on ADE20K, one model, multi-scale testing.

Lines without an experiment are quoted from their papers, shown and never run. The testing columns come from the ADE20K
server only, which keeps the labels; its score is the mean of the other two. Costs one training of 120 epochs on 22,210
images (1.8e18 multiply-adds) after PyConvResNet-152 of Table 3; the other is Table 6's. Expects the printed validation
numbers within about 0.6 points.
"""

from dataclasses import replace
from typing import Any

from experiments.columns import segmentation
from experiments.protocols import CROP617, MULTI_SCALE, TEST_SERVER
from experiments.recipes import ade20k
from experiments.spec import Column, Experiment, Published, Row, Table
from pyconv.architectures import pyconvresnet, pyconvsegnet


def _columns() -> tuple[Column, ...]:
    """The validation split, and what the test server answers."""
    miou, pixel_acc = (replace(column, group="Validation set") for column in segmentation(MULTI_SCALE))
    testing: dict[str, Any] = {"group": "Testing set", "protocol": TEST_SERVER, "external": True}
    return (
        replace(miou, header="mIoU"),
        replace(pixel_acc, header="pAcc."),
        replace(miou, key="test_miou", header="mIoU", **testing),
        replace(pixel_acc, key="test_pixel_acc", header="pAcc.", **testing),
        replace(miou, key="test_score", header="Score", metric="score", **testing),
    )


def _row(key: str, label: str, experiment: Experiment | None, *published: Published, **more: Any) -> Row:
    """One line; `experiment` None: quoted from another paper."""
    return Row(key, label, experiment, published, **more)


_NETWORK = pyconvsegnet(pyconvresnet(152))
QUOTED = None  # another paper's numbers: no experiment of ours
STANDARD = ade20k(_NETWORK)
TRAIN_VAL = ade20k(_NETWORK, epochs=120, split="train+val")
DAGGER: dict[str, Any] = {
    "protocols": (("miou", CROP617), ("pixel_acc", CROP617)),
    "footnote": "† Windows of 617x617 instead of 473x473, for inference only.",
}
CLUB = {"footnote": "♣ Trained for 120 instead of 100 epochs, on the training and the validation split."}
UNREADABLE = {"footnote": "The testing cells of PSPNet-152 are not readable in our copy of the paper."}

TABLE = Table(
    number=7,
    caption="State-of-the-art comparison on ADE20K, single model",
    row_header="Method",
    columns=_columns(),
    # key, method, experiment, validation mIoU, pAcc., testing mIoU, pAcc., Score
    rows=(
        _row("fcn", "FCN [38]", QUOTED, 29.39, 71.32, "-", "-", 44.80),
        _row("dilatednet", "DilatedNet [39]", QUOTED, 32.31, 73.55, "-", "-", 45.67),
        _row("segnet", "SegNet [40]", QUOTED, 21.64, 71.00, "-", "-", 40.79),
        _row("refinenet", "RefineNet [41]", QUOTED, 40.70, "-", "-", "-", "-"),
        _row("upernet", "UperNet [42]", QUOTED, 41.22, 79.98, "-", "-", "-"),
        _row("psanet", "PSANet [43]", QUOTED, 43.77, 81.51, "-", "-", "-"),
        _row("ke-gan", "KE-GAN [44]", QUOTED, 37.10, 80.50, "-", "-", "-"),
        _row("cfnet", "CFNet [45]", QUOTED, 44.89, "-", "-", "-", "-"),
        _row("ciss-net", "CiSS-Net [46]", QUOTED, 42.56, 80.77, "-", "-", "-"),
        _row("encnet", "EncNet [47]", QUOTED, 44.65, 81.69, "-", "-", 55.67),
        _row("pspnet152", "PSPNet-152 [23]", QUOTED, 43.51, 81.38, None, None, None, **UNREADABLE),
        _row("pspnet269", "PSPNet-269 [23]", QUOTED, 44.94, 81.69, "-", "-", 55.38),
        _row("pyconvsegnet152", "PyConvSegNet-152", STANDARD, 45.64, 82.36, 37.75, 73.61, 55.68),
        _row("pyconvsegnet152-617", "PyConvSegNet-152 †", STANDARD, 45.99, 82.49, "-", "-", "-", **DAGGER),
        _row("pyconvsegnet152-trainval", "PyConvSegNet-152 ♣", TRAIN_VAL, "-", "-", 39.13, 73.91, 56.52, **CLUB),
    ),
)
