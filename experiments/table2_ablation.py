"""Table 2 (section 6): how many pyramid levels in stages 1-4 of the 50-layer network, and where its max pools are.

Costs eight trainings of 90 ImageNet epochs, about 1.4e18 multiply-adds each (3 x 4 GFLOPs x 1.15e8 images); the first
and the last one are Table 3's. Expects every row to beat the baseline; rows 2 to 6 lie within each other's noise.
"""

from dataclasses import replace
from typing import Literal

from experiments.columns import COUNTS, errors
from experiments.protocols import CROP224
from experiments.recipes import imagenet
from experiments.spec import Experiment, Row, Table
from pyconv.architectures import Pool, pyconvresnet


def _run(levels: tuple[int, int, int, int], pool: Pool, only: Literal["all", "top"] = "all") -> Experiment:
    """`levels` pyramid levels in the four stages (or the top level of each only), max pools at `pool`."""
    return imagenet(pyconvresnet(50, levels, pool, only=only))


TABLE = Table(
    number=2,
    caption="ImageNet ablation experiments of PyConvResNet, depth 50",
    row_header="PyConv levels",
    columns=(*(replace(column, header=f"{column.header}(%)") for column in errors(CROP224)), *COUNTS),
    # key, PyConv levels as printed, (levels, pool), (top-1, top-5, params (M), GFLOPs)
    rows=(
        Row("baseline", "(1, 1, 1, 1) baseline", _run((1, 1, 1, 1), "stem"), (23.88, 7.06, 25.56, 4.14)),
        Row("2221", "(2, 2, 2, 1)", _run((2, 2, 2, 1), "stem"), (23.12, 6.58, 24.91, 3.91)),
        Row("3321", "(3, 3, 2, 1)", _run((3, 3, 2, 1), "stem"), (22.98, 6.62, 24.85, 3.85)),
        Row("4321", "(4, 3, 2, 1)", _run((4, 3, 2, 1), "stem"), (22.97, 6.56, 24.85, 3.84)),
        Row("top4321", "top(4, 3, 2, 1)", _run((4, 3, 2, 1), "stem", only="top"), (23.18, 6.60, 24.24, 3.63)),
        Row("5432", "(5, 4, 3, 2)", _run((5, 4, 3, 2), "stem"), (23.03, 6.56, 23.45, 3.71)),
        Row("4321max", "(4, 3, 2, 1) max", _run((4, 3, 2, 1), "first_shortcut"), (22.46, 6.24, 24.85, 3.88)),
        Row("final", "(4, 3, 2, 1) final", _run((4, 3, 2, 1), "all_shortcuts"), (22.12, 6.20, 24.85, 3.88)),
    ),
)
