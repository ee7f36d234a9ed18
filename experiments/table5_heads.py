"""Table 5 (section 6): four heads on a ResNet-50 backbone of output stride 8 or 16, ADE20K validation, single scale.

Parameters and GFLOPs include the auxiliary branch and are counted at 473x473. Costs eight trainings of 100 epochs
on 20,210 images, 2e17 (stride 16) to 1e18 (stride 8) multiply-adds each, after ResNet-50 of Table 3. Expects PyConvPH
first at both strides, the baseline last; 0.1 to 0.3 points of IoU lie within the noise (about 0.6).
"""

from experiments.columns import COUNTS, segmentation
from experiments.protocols import SINGLE_SCALE
from experiments.recipes import ade20k
from experiments.spec import Published, Row, Table
from pyconv.architectures import Head, resnet, segnet


def _row(key: str, label: str, head: Head, output_stride: int, *published: Published) -> Row:
    """One half of a line: `head` on ResNet-50 at `output_stride`."""
    experiment = ade20k(segnet(resnet(50), head, output_stride))
    return Row(key, label, experiment, published, group=f"os{output_stride}")


TABLE = Table(
    number=5,
    caption="Head-to-head comparison on image segmentation, ADE20K, ResNet-50 as backbone",
    row_header="Head",
    columns=(*segmentation(SINGLE_SCALE), *COUNTS),
    groups=(("os8", "output stride backbone: 8"), ("os16", "output stride backbone: 16")),
    # key, head as printed, head, output stride, mean IoU, pixel Acc., params (M), GFLOPs
    rows=(
        _row("baseline", "baseline [23]: 3x3 conv", "conv3x3", 8, 37.87, 78.17, 35.42, 131.37),
        _row("baseline", "baseline [23]: 3x3 conv", "conv3x3", 16, 36.84, 77.84, 35.42, 39.52),
        _row("deeplabv3", "DeepLabv3 [24]: ASPP", "aspp", 8, 40.91, 79.92, 41.48, 151.17),
        _row("deeplabv3", "DeepLabv3 [24]: ASPP", "aspp", 16, 40.34, 79.44, 41.48, 44.47),
        _row("pspnet", "PSPNet [23]: PPM", "ppm", 8, 41.24, 80.01, 49.06, 165.42),
        _row("pspnet", "PSPNet [23]: PPM", "ppm", 16, 39.75, 79.17, 49.06, 48.08),
        _row("pyconvsegnet", "PyConvSegNet: PyConvPH", "pyconvph", 8, 41.54, 80.18, 34.40, 116.84),
        _row("pyconvsegnet", "PyConvSegNet: PyConvPH", "pyconvph", 16, 40.43, 79.45, 34.40, 36.08),
    ),
)
