"""Top-1 and top-5 error in percent of samples that are spread over ranks, with binomial standard errors.

A sample is right in the top 5 when its class is among the five largest scores; of fewer than five classes among all of
them, so the error is 0.
"""

from math import sqrt

import torch
from torch import Tensor

from pyconv import ranks
from pyconv.tasks.values import Evaluation


class Tally:
    """Which of `samples` samples this rank has counted, and which of them were right, on `device`."""

    def __init__(self, samples: int, device: torch.device) -> None:
        self._right = torch.zeros(samples, 3, dtype=torch.uint8, device=device)  # counted, top 1, top 5

    def add(self, numbers: Tensor, scores: Tensor, labels: Tensor) -> None:
        """Samples with these `numbers` (n,) got these `scores` (n, classes), whose `labels` are (n,)."""
        top = scores.topk(min(5, scores.shape[1]), dim=1).indices == labels[:, None]
        counted = torch.ones_like(labels, dtype=torch.bool)
        self._right[numbers] += torch.stack([counted, top[:, 0], top.any(1)], dim=1).to(torch.uint8)

    def evaluation(self, size: tuple[int, int]) -> Evaluation:
        """top1_err and top5_err over all ranks, on every rank. AssertionError unless each sample was counted once."""
        counts = ranks.sum_over(self._right).cpu()
        assert bool((counts[:, 0] == 1).all()), "a sample was not counted exactly once"
        correct = {"top1_err": counts[:, 1].bool(), "top5_err": counts[:, 2].bool()}
        metrics = {name: _error(bits) for name, bits in correct.items()}
        return Evaluation(metrics, len(counts), len(counts), size, correct)


def _error(correct: Tensor) -> tuple[float, int, float | None]:
    wrong = int((~correct).sum())
    p = wrong / len(correct)
    return 100 * p, len(correct), 100 * sqrt(p * (1 - p) / len(correct))
