"""Testing of networks for clips with several views of each video: `evaluate`."""

from pyconv.video.testing import evaluate

__all__ = ["evaluate"]
