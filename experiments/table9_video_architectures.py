"""Table 9 (appendix A.2): ResNet3D-50 and PyConvResNet3D-50, stage by stage, for clips of 16 x 224 x 224.

Rendered from the built models. Costs nothing to check: parameters and FLOPs are counted. Expects the printed counts but
for PyConvResNet3D-50's parameters: with the printed 400-way classifier they are 45.37 M, and 44.91 M are those of a
174-way one.
"""

from experiments.recipes import kinetics
from experiments.spec import ArchitectureTable
from pyconv.architectures import pyconvresnet3d, resnet3d

TABLE = ArchitectureTable(
    number=9,
    caption="Video recognition networks, input 16x224x224, time first",
    # one line: network as printed, experiment, millions of parameters, GFLOPs
    networks=(
        ("ResNet3D-50", kinetics(resnet3d(50)), 47.00, 93.26),
        ("PyConvResNet3D-50", kinetics(pyconvresnet3d(50)), 44.91, 91.81),
    ),
)
