"""submitit's keywords in a profile: their names as submitit knows them, their values, and the request for GPUs.

Names are checked when a profile is read, on a machine without SLURM too: submitit itself is asked for them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from slurm import schema
from slurm.schema import Kind, ProfileError

Executor = Literal["local", "slurm"]
Request = Literal["gpus-per-node", "gres"]
EXECUTORS, REQUESTS = get_args(Executor), get_args(Request)

# What every executor of submitit takes, by the same names.
SHARED: dict[str, Kind] = {
    "timeout_min": schema.COUNT,
    "nodes": schema.COUNT,
    "tasks_per_node": schema.COUNT,
    "gpus_per_node": schema.COUNT_OR_NONE,
    "cpus_per_task": schema.COUNT,
    "mem_gb": schema.NUMBER,
    "stderr_to_stdout": schema.FLAG,
}
# Those of SLURM that are more than text or a number.
_SLURM: dict[str, Kind] = {
    "slurm_array_parallelism": schema.COUNT,
    "slurm_signal_delay_s": schema.COUNT,
    "slurm_gpus_per_task": schema.COUNT,
    "slurm_cpus_per_gpu": schema.COUNT,
    "slurm_setup": schema.TEXTS,
    "slurm_teardown": schema.TEXTS,
    "slurm_srun_args": schema.TEXTS,
    "slurm_exclusive": schema.FLAG_OR_TEXT,
    "slurm_gres": schema.TEXT,
    "slurm_additional_parameters": schema.TABLE,
}
# Names and dependencies are given job by job; without srun no signal reaches a job, and it could not be resumed.
_OURS = ("name", "job_name", "dependency", "use_srun")
_OTHER_NAMES = {
    "time": "timeout_min",
    "mem": "mem_gb",
    "ntasks_per_node": "tasks_per_node",
    "num_gpus": "gpus_per_node",
}
_GPUS_BELONG = "write gpus_per_node, and how your cluster wants GPUs asked for under [gpu] (request, type)"
SIGNAL_DELAY = 90  # seconds before the end of a job in which submitit lets it save, unless told otherwise


def check(path: Path, section: str, given: Mapping[str, Any], executor: Executor) -> None:
    """Refuse keywords that submitit's `executor` would not take, or that pyconv gives itself. Raises ProfileError."""
    for key in given:
        if told := _misplaced(key, executor):
            raise ProfileError(f"{path}: {schema.full(section, key)} {told}")
    kinds = SHARED | (_slurm() if executor == "slurm" else {"local_setup": schema.TEXTS})
    schema.check(path, section, given, kinds)
    for key in given.get("slurm_additional_parameters", {}):
        if key.replace("_", "-").startswith(("gpus", "gres")):
            raise ProfileError(f"{path}: {section}.slurm_additional_parameters.{key}: {_GPUS_BELONG}")
    if "gpu" in _gres(given):
        raise ProfileError(f"{path}: {section}.slurm_gres: {_GPUS_BELONG}")


def check_together(path: Path, section: str, words: Mapping[str, Any], executor: Executor, style: Request) -> None:
    """Refuse keywords that contradict each other; `words`: all of a job, `section` those that were read last."""
    if executor == "local" and words.get("nodes", 1) != 1:
        raise ProfileError(f"{path}: {section}.nodes must be 1 where jobs run on this machine, got {words['nodes']}")
    if "slurm_gpus_per_task" in words and ("gpus_per_node" in words or style == "gres"):
        other = "gpus_per_node" if "gpus_per_node" in words else 'request = "gres"'
        raise ProfileError(f"{path}: {section}.slurm_gpus_per_task does not go with {other}: write gpus_per_node only")
    minutes, delay = words["timeout_min"], words.get("slurm_signal_delay_s", SIGNAL_DELAY)
    if executor == "slurm" and delay >= 60 * minutes:
        raise ProfileError(
            f"{path}: {section}.timeout_min = {minutes}: the signal to save comes {delay} s before the end, so nothing "
            "would be computed: raise timeout_min or lower slurm_signal_delay_s"
        )


def gpus(keywords: Mapping[str, Any]) -> int:
    """All GPUs of a job with these keywords, of a profile's own (a request as gres is made later, from the same)."""
    nodes = int(keywords.get("nodes", 1))
    per_task = int(keywords.get("slurm_gpus_per_task", 0)) * int(keywords.get("tasks_per_node", 1))
    return nodes * int(keywords.get("gpus_per_node", per_task))


def request(keywords: Mapping[str, Any], style: Request, kind: str | None) -> dict[str, Any]:
    """The keywords with their GPUs asked for in the `style` of the cluster, of the `kind` it calls by name."""
    words = dict(keywords)
    count = words.get("gpus_per_node", 0)
    if count and style == "gres":
        del words["gpus_per_node"]
        gpus_too = ":".join(filter(None, ("gpu", kind, str(count))))
        words["slurm_gres"] = ",".join(filter(None, (words.get("slurm_gres"), gpus_too)))
    elif count and kind:
        # sbatch takes `--gpus-per-node=h100:8`; submitit's own keyword is a number.
        del words["gpus_per_node"]
        more = words.get("slurm_additional_parameters", {})
        words["slurm_additional_parameters"] = {**more, "gpus-per-node": f"{kind}:{count}"}
    return words


def _slurm() -> dict[str, Kind]:
    """The names of submitit's SLURM executor, as AutoExecutor prefixes them."""
    from submitit import SlurmExecutor

    shared = SlurmExecutor._equivalence_dict().values()
    names = sorted(SlurmExecutor._valid_parameters() - {*shared, *SHARED, *_OURS, *_OTHER_NAMES})
    return {f"slurm_{name}": _SLURM.get(f"slurm_{name}", schema.PLAIN) for name in names}


def _misplaced(key: str, executor: Executor) -> str | None:
    """Why a keyword that submitit has should not stand in this file."""
    plain = key.removeprefix("slurm_")
    if plain in _OURS:
        return "cannot be set: pyconv decides it for each job"
    shared = _OTHER_NAMES.get(plain, plain)
    if shared in SHARED and key != shared:
        return f"goes by submitit's shared name: write {shared}"
    if executor == "local" and key.startswith("slurm_"):
        return 'is for SLURM only: write executor = "slurm" at the top of the file'
    return None


def _gres(words: Mapping[str, Any]) -> list[str]:
    """What `slurm_gres` asks for: `tmp:100G,gpu:2` -> [tmp, gpu]."""
    return [item.partition(":")[0].removeprefix("gres/") for item in str(words.get("slurm_gres", "")).split(",")]
