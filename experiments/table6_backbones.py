"""Table 6 (section 6): PyConvSegNet on six backbones of output stride 8, ADE20K validation, single and multi-scale.

Costs five trainings of 100 epochs, 7e17 to 1.5e18 multiply-adds each (3 x 114 to 242 GFLOPs x 2e6 crops), after the
backbones of Table 3; the first row is Table 5's. Expects multi-scale testing to add about 1.3 points of IoU; at equal
depth the two backbones lie within the noise (about 0.6 points) of each other.
"""

from experiments.columns import COUNTS, segmentation, suffixed
from experiments.protocols import MULTI_SCALE, SINGLE_SCALE
from experiments.recipes import ade20k
from experiments.spec import Column, Published, Row, Table
from pyconv.architectures import ResNet, pyconvresnet, pyconvsegnet, resnet


def _row(label: str, backbone: ResNet, *published: Published) -> Row:
    """One line: PyConvSegNet on `backbone` at output stride 8; its key is the backbone's name."""
    return Row(backbone.name, label, ade20k(pyconvsegnet(backbone)), published)


def _columns() -> tuple[Column, ...]:
    """Mean IoU and pixel accuracy, each at a single scale and at several, then the counts."""
    single, multi = segmentation(SINGLE_SCALE), segmentation(MULTI_SCALE)
    pairs = (
        (
            suffixed(ss, "ss", header="SS", group=f"{ss.header}(%)"),
            suffixed(ms, "ms", header="MS", group=f"{ms.header}(%)"),
        )
        for ss, ms in zip(single, multi, strict=True)
    )
    return (*(column for pair in pairs for column in pair), *COUNTS)


TABLE = Table(
    number=6,
    caption="PyConvSegNet with different backbones, ADE20K validation, output stride 8",
    row_header="Backbone",
    columns=_columns(),
    # backbone, mean IoU single and multi-scale, pixel Acc. single and multi-scale, params (M), GFLOPs
    rows=(
        _row("ResNet-50", resnet(50), 41.54, 42.88, 80.18, 80.97, 34.40, 116.84),
        _row("PyConvResNet-50", pyconvresnet(50), 42.08, 43.31, 80.31, 81.18, 33.69, 114.18),
        _row("ResNet-101", resnet(101), 42.88, 44.39, 80.75, 81.60, 53.39, 185.47),
        _row("PyConvResNet-101", pyconvresnet(101), 42.93, 44.58, 80.91, 81.77, 51.15, 177.29),
        _row("ResNet-152", resnet(152), 44.04, 45.28, 81.18, 81.89, 69.03, 242.00),
        _row("PyConvResNet-152", pyconvresnet(152), 44.36, 45.64, 81.54, 82.36, 65.48, 229.11),
    ),
)
