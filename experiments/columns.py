"""The columns that the tables share: errors of classification, quality of segmentation, counts."""

from dataclasses import replace
from typing import Any

from experiments.protocols import CROP224, MULTI_SCALE
from experiments.spec import Column, Protocol

# How the paper's printed GFLOPs were counted (one of `pyconv.complexity.CONVENTIONS`).
PAPER_CONVENTION = "thop-2019"

# Millions of parameters and GFLOPs as printed; raw measurements are integers.
PARAMS = Column("params", "params", "params", "lower", unit="M", scale=1e6)
FLOPS = Column("flops", "GFLOPs", "flops", "lower", unit="G", scale=1e9)
COUNTS = (PARAMS, FLOPS)

_TOP1 = Column("top1_err", "top-1", "top1_err", "lower", noise="binomial", protocol=CROP224)
_TOP5 = replace(_TOP1, key="top5_err", header="top-5", metric="top5_err")
_MIOU = Column("miou", "mean IoU", "miou", "higher", noise="segmentation", protocol=MULTI_SCALE)
_PIXEL_ACC = replace(_MIOU, key="pixel_acc", header="pixel Acc.", metric="pixel_acc")


def errors(protocol: Protocol) -> tuple[Column, Column]:
    """Top-1 and top-5 error in percent under `protocol`."""
    return replace(_TOP1, protocol=protocol), replace(_TOP5, protocol=protocol)


def segmentation(protocol: Protocol) -> tuple[Column, Column]:
    """Mean IoU and pixel accuracy in percent under `protocol`."""
    return replace(_MIOU, protocol=protocol), replace(_PIXEL_ACC, protocol=protocol)


def suffixed(column: Column, suffix: str, **changes: Any) -> Column:
    """`column` under a key of its own, where a table has the metric several times."""
    return replace(column, key=f"{column.key}_{suffix}", **changes)
