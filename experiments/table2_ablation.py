"""Table 2 (section 6): how many pyramid levels in stages 1-4 of the 50-layer network, and where its max pools are.

Costs eight trainings of 90 ImageNet epochs, about 1.4e18 multiply-adds each (3 x 4 GFLOPs x 1.15e8 images); the first
and the last one are Table 3's. Expects every row to beat the baseline; rows 2 to 6 lie within each other's noise.
"""

from experiments.columns import COUNTS, errors
from experiments.protocols import CROP224
from experiments.recipes import imagenet
from experiments.spec import Published, Row, Table
from pyconv.architectures import Pool, pyconvresnet


def _row(key: str, label: str, levels: tuple[int, int, int, int], pool: Pool, *published: Published) -> Row:
    """One line: `levels` pyramid levels in the four stages, max pools at `pool`; "top(...)": top levels only."""
    network = pyconvresnet(50, levels, pool, only="top" if label.startswith("top") else "all")
    return Row(key, label, imagenet(network), published)


TABLE = Table(
    number=2,
    caption="ImageNet ablation experiments of PyConvResNet, depth 50",
    row_header="PyConv levels",
    columns=(*errors(CROP224), *COUNTS),
    # one line: key, PyConv levels as printed, levels, pool, top-1, top-5, params, GFLOPs
    rows=(
        _row("baseline", "(1, 1, 1, 1) baseline", (1, 1, 1, 1), "stem", 23.88, 7.06, 25.56, 4.14),
        _row("2221", "(2, 2, 2, 1)", (2, 2, 2, 1), "stem", 23.12, 6.58, 24.91, 3.91),
        _row("3321", "(3, 3, 2, 1)", (3, 3, 2, 1), "stem", 22.98, 6.62, 24.85, 3.85),
        _row("4321", "(4, 3, 2, 1)", (4, 3, 2, 1), "stem", 22.97, 6.56, 24.85, 3.84),
        _row("top4321", "top(4, 3, 2, 1)", (4, 3, 2, 1), "stem", 23.18, 6.60, 24.24, 3.63),
        _row("5432", "(5, 4, 3, 2)", (5, 4, 3, 2), "stem", 23.03, 6.56, 23.45, 3.71),
        _row("4321max", "(4, 3, 2, 1) max", (4, 3, 2, 1), "first_shortcut", 22.46, 6.24, 24.85, 3.88),
        _row("final", "(4, 3, 2, 1) final", (4, 3, 2, 1), "all_shortcuts", 22.12, 6.20, 24.85, 3.88),
    ),
)
