"""Table 1 (section 4): ResNet-50, PyConvResNet-50 and PyConvHGResNet-50, stage by stage, for an input of 224x224.

Rendered from the built models. Costs nothing to check: parameters and FLOPs are counted. Expects the printed counts.
"""

from experiments.recipes import imagenet
from experiments.spec import ArchitectureTable
from pyconv.architectures import pyconvhgresnet, pyconvresnet, resnet

TABLE = ArchitectureTable(
    number=1,
    caption="PyConvResNet and PyConvHGResNet, depth 50, input 224x224",
    # one line: network as printed, experiment, millions of parameters, GFLOPs
    networks=(
        ("ResNet-50", imagenet(resnet(50)), 25.56, 4.14),
        ("PyConvResNet-50", imagenet(pyconvresnet(50)), 24.85, 3.88),
        ("PyConvHGResNet-50", imagenet(pyconvhgresnet(50)), 25.23, 4.61),
    ),
)
