"""The variables that sbatch must not see: an enclosing job's, and options of another day in the user's shell."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

INHERITED = ("SLURM_", "SLURMD_", "SBATCH_", "SRUN_", "SALLOC_", "SUBMITIT_")
DISTRIBUTED = ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
KEPT = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_TIME_FORMAT")


def inherited() -> dict[str, str]:
    """Variables of an enclosing job, or of the user's shell, that would change what sbatch does."""
    return {
        key: value
        for key, value in os.environ.items()
        if (key.startswith(INHERITED) or key in DISTRIBUTED) and key not in KEPT
    }


@contextmanager
def clean_environment() -> Iterator[None]:
    """Without the variables of `inherited`, which are put back afterwards."""
    hidden = inherited()
    for key in hidden:
        del os.environ[key]
    try:
        yield
    finally:
        os.environ.update(hidden)
