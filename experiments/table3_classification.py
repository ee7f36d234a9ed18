"""Table 3 (section 6): PyConv networks beside six others on ImageNet, at depths 50, 101 and 152.

The authors ran every line themselves, under one recipe. Costs 24 trainings of 90 ImageNet epochs, from 1.3e18 to
4.7e18 multiply-adds each (3 x 3.88 to 13.66 GFLOPs x 1.15e8 images). Expects errors within about half a point of the
printed ones: binomial noise is 0.2 points, re-runs of one network have been seen half a point apart.
"""

from experiments.columns import COUNTS, errors
from experiments.protocols import CROP224
from experiments.recipes import imagenet
from experiments.spec import Row, Table
from pyconv.architectures import (
    iresnet,
    nl_resnet,
    preact_resnet,
    pyconvhgresnet,
    pyconvresnet,
    resnet,
    resnext,
    se_resnet,
)

TABLE = Table(
    number=3,
    caption="Validation error rates on ImageNet beside other architectures",
    columns=(*errors(CROP224), *COUNTS),
    groups=(("50", "network depth: 50"), ("101", "network depth: 101"), ("152", "network depth: 152")),
    # one line: key, network as printed, experiment, top-1, top-5, millions of parameters, GFLOPs, depth
    rows=(
        Row("resnet", "ResNet (baseline) [7]", imagenet(resnet(50)), (23.88, 7.06, 25.56, 4.14), "50"),
        Row("resnet", "ResNet (baseline) [7]", imagenet(resnet(101)), (22.00, 6.10, 44.55, 7.88), "101"),
        Row("resnet", "ResNet (baseline) [7]", imagenet(resnet(152)), (21.55, 5.74, 60.19, 11.62), "152"),
        Row("preact_resnet", "pre-act. ResNet [8]", imagenet(preact_resnet(50)), (23.77, 7.04, 25.56, 4.14), "50"),
        Row("preact_resnet", "pre-act. ResNet [8]", imagenet(preact_resnet(101)), (22.11, 6.26, 44.55, 7.88), "101"),
        Row("preact_resnet", "pre-act. ResNet [8]", imagenet(preact_resnet(152)), (21.41, 5.78, 60.19, 11.62), "152"),
        Row("iresnet", "iResNet [26]", imagenet(iresnet(50)), (22.69, 6.46, 25.56, 4.18), "50"),
        Row("iresnet", "iResNet [26]", imagenet(iresnet(101)), (21.36, 5.63, 44.55, 7.92), "101"),
        Row("iresnet", "iResNet [26]", imagenet(iresnet(152)), (20.66, 5.43, 60.19, 11.65), "152"),
        Row("nl_resnet", "NL-ResNet [22]", imagenet(nl_resnet(50)), (22.91, 6.42, 36.72, 6.18), "50"),
        Row("nl_resnet", "NL-ResNet [22]", imagenet(nl_resnet(101)), (21.40, 5.83, 55.71, 9.91), "101"),
        Row("nl_resnet", "NL-ResNet [22]", imagenet(nl_resnet(152)), (21.91, 6.11, 71.35, 13.66), "152"),
        Row("se_resnet", "SE-ResNet [17]", imagenet(se_resnet(50)), (22.74, 6.37, 28.07, 4.15), "50"),
        Row("se_resnet", "SE-ResNet [17]", imagenet(se_resnet(101)), (21.31, 5.79, 49.29, 7.90), "101"),
        Row("se_resnet", "SE-ResNet [17]", imagenet(se_resnet(152)), (21.38, 5.80, 66.77, 11.65), "152"),
        Row("resnext", "ResNeXt [16]", imagenet(resnext(50)), (22.44, 6.25, 25.03, 4.30), "50"),
        Row("resnext", "ResNeXt [16]", imagenet(resnext(101)), (21.03, 5.66, 44.18, 8.07), "101"),
        Row("resnext", "ResNeXt [16]", imagenet(resnext(152)), (20.98, 5.48, 59.95, 11.84), "152"),
        Row("pyconvhgresnet", "PyConvHGResNet", imagenet(pyconvhgresnet(50)), (21.52, 5.94, 25.23, 4.61), "50"),
        Row("pyconvhgresnet", "PyConvHGResNet", imagenet(pyconvhgresnet(101)), (20.78, 5.57, 44.63, 8.42), "101"),
        Row("pyconvhgresnet", "PyConvHGResNet", imagenet(pyconvhgresnet(152)), (20.64, 5.27, 60.66, 12.29), "152"),
        Row("pyconvresnet", "PyConvResNet", imagenet(pyconvresnet(50)), (22.12, 6.20, 24.85, 3.88), "50"),
        Row("pyconvresnet", "PyConvResNet", imagenet(pyconvresnet(101)), (20.99, 5.53, 42.31, 7.31), "101"),
        Row("pyconvresnet", "PyConvResNet", imagenet(pyconvresnet(152)), (20.48, 5.27, 56.64, 10.72), "152"),
    ),
)
