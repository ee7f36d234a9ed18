"""Table 10 (appendix A.2): ResNet3D-50 and PyConvResNet3D-50 on Kinetics-400, 10 clips x 3 crops a video.

Costs two trainings of 90 epochs on 246,000 videos, about 6e18 multiply-adds each (3 x 92 GFLOPs x 2.2e7 clips). Expects
some 2.5 points less top-1 error by PyConv; binomial noise is 0.34 points, and copies of the validation videos differ.
"""

from experiments.columns import COUNTS, errors
from experiments.protocols import VIEWS30
from experiments.recipes import kinetics
from experiments.spec import Row, Table
from pyconv.architectures import pyconvresnet3d, resnet3d

TABLE = Table(
    number=10,
    caption="Video recognition error rates on Kinetics-400",
    row_header="Architecture",
    columns=(*errors(VIEWS30), *COUNTS),
    # one line: key, architecture as printed, experiment, top-1, top-5, millions of parameters, GFLOPs
    rows=(
        Row("resnet3d50", "ResNet3D-50 [7]", kinetics(resnet3d(50)), (37.01, 15.41, 47.00, 93.26)),
        Row("pyconvresnet3d50", "PyConvResNet3D-50", kinetics(pyconvresnet3d(50)), (34.56, 13.34, 44.91, 91.81)),
    ),
)
