"""A disposable SLURM on one machine: real daemons, virtual nodes, fake GPUs, for trying and for tests."""

from slurm.lab.cluster import FAKE_GPU, Lab
from slurm.lab.daemons import LabError

__all__ = ["FAKE_GPU", "Lab", "LabError"]
