"""Table 4 (section 6): PyConvResNet with the standard recipe and with CutMix for 300 epochs, tested at 224 and at 320.

The test at 320 uses the network trained at 224. Costs the two augmented trainings, 4.5e18 and 8.4e18 multiply-adds
(3 x 3.88 and 7.31 GFLOPs x 3.84e8 images); the other two are Table 3's. Expects about 1.6 points less top-1 error by
the augmentation, and 0.9 to 1.2 points less by the larger test crop.
"""

from collections.abc import Callable

from experiments.columns import FLOPS, PARAMS, errors, suffixed
from experiments.protocols import CROP224, CROP320
from experiments.recipes import imagenet, imagenet_augmented
from experiments.spec import Experiment, Published, Row, Table
from pyconv.architectures import ResNet, pyconvresnet


def _row(label: str, depth: int, train: Callable[[ResNet], Experiment], *published: Published) -> Row:
    """One line: PyConvResNet of `depth` trained by the recipe `train`; its key is the label without spaces."""
    key = label.lower().replace("-", "").replace(" + ", "-")
    return Row(key, label, train(pyconvresnet(depth)), published)


TABLE = Table(
    number=4,
    caption="PyConvResNet on ImageNet with different training settings",
    columns=(
        *(suffixed(column, "224", group="test crop: 224x224") for column in (*errors(CROP224), FLOPS)),
        *(suffixed(column, "320", group="test crop: 320x320 †") for column in errors(CROP320)),
        suffixed(FLOPS, "320", group="test crop: 320x320 †", input_size=(3, 320, 320)),
        PARAMS,
    ),
    # network, depth, recipe; at 224: top-1, top-5, GFLOPs; at 320: top-1, top-5, GFLOPs; params (M)
    rows=(
        _row("PyConvResNet-50", 50, imagenet, 22.12, 6.20, 3.88, 21.10, 5.55, 7.91, 24.85),
        _row("PyConvResNet-50 + augment", 50, imagenet_augmented, 20.56, 5.31, 3.88, 19.41, 4.75, 7.91, 24.85),
        _row("PyConvResNet-101", 101, imagenet, 20.99, 5.53, 7.31, 20.03, 4.82, 14.92, 42.31),
        _row("PyConvResNet-101 + augment", 101, imagenet_augmented, 19.42, 4.87, 7.31, 18.51, 4.28, 14.92, 42.31),
    ),
    footnotes=("† The network trained on crops of 224x224 is only tested on crops of 320x320.",),
)
