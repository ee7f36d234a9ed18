"""Randomness as a pure function: every draw is seeded by SHA-256(seed, what, epoch, step or index).

So the order of the images, their augmentation, CutMix and dropout are the same for any number of workers, ranks and
interruptions. `Batches` cuts the order of an epoch into global batches and those into micro-batches.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Moment:
    """Where a training run stands: micro-batch `micro` of optimiser step `step` (of its epoch) of `epoch`, from 0."""

    seed: int
    epoch: int
    step: int
    micro: int = 0


def derive_seed(*keys: int | str) -> int:
    """63 bits of the SHA-256 of the keys: independent streams for different keys, equal everywhere."""
    return int.from_bytes(hashlib.sha256(json.dumps(keys).encode()).digest()[:8], "big") >> 1


def epoch_order(samples: int, seed: int, epoch: int) -> list[int]:
    """The order in which epoch `epoch` visits the samples: a permutation."""
    generator = torch.Generator().manual_seed(derive_seed("order", seed, epoch))
    return torch.randperm(samples, generator=generator).tolist()


@dataclass(frozen=True)
class MicroBatch:
    """Samples that pass through the network together, on one rank: `number` of its step, `share` of the global batch.

    A share of 0 only keeps the ranks in step, where a batch has fewer micro-batches than there are ranks.
    """

    number: int
    indices: tuple[int, ...]
    share: float


@dataclass(frozen=True)
class Batches:
    """An epoch of `samples` as steps of `batch_size` samples over all ranks, each cut into micro-batches.

    Micro-batch m of a step belongs to rank m mod `world_size`, so its content does not depend on how many ranks
    there are. The last batch may be smaller (`drop_last`: left out).
    """

    samples: int
    batch_size: int
    micro_batch: int
    drop_last: bool = False
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        if not self.steps:
            raise ValueError(
                f"{self.samples} samples make no batch of {self.batch_size} when the last one is dropped: "
                f"use batch_size <= {self.samples} or drop_last=False"
            )

    @property
    def steps(self) -> int:
        """Optimiser steps an epoch."""
        return self.samples // self.batch_size if self.drop_last else -(-self.samples // self.batch_size)

    def step(self, order: Sequence[int], step: int) -> list[MicroBatch]:
        """This rank's micro-batches of `step`: as many as every other rank's, at least one."""
        batch = order[step * self.batch_size : (step + 1) * self.batch_size]
        cut = [tuple(batch[start : start + self.micro_batch]) for start in range(0, len(batch), self.micro_batch)]
        if len(cut) > 1 and len(cut[-1]) == 1:  # batch norm has no variance over one image: it joins its neighbours
            cut[-2:] = [cut[-2] + cut[-1]]
        rounds = -(-len(cut) // self.world_size)
        numbers = range(self.rank, rounds * self.world_size, self.world_size)
        return [
            MicroBatch(n, cut[n], len(cut[n]) / len(batch)) if n < len(cut) else MicroBatch(n, cut[0], 0.0)
            for n in numbers
        ]
