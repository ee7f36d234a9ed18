"""Testing of segmentation networks with sliding windows: `evaluate` measures, `predict` only writes label maps."""

from pyconv.segmentation.testing import evaluate, predict

__all__ = ["evaluate", "predict"]
