"""How much faster fvcore counts on the meta device than plainly: both ways in one process, the totals compared.

Plain fvcore runs the whole model on the CPU to see its shapes. Building the models is not timed on either side; a small
network is counted both ways first, so that what torch imports on its first trace is not timed either.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

from pyconv.architectures import Network, pyconvresnet, pyconvresnet3d, resnet, segnet, ssd

# A classifier, a pyramid, the paper's DeepLabv3 at 473x473, a detector, the video network: small to large.
NETWORKS: tuple[Network, ...] = (
    resnet(50),
    pyconvresnet(50),
    ssd(50),
    segnet(resnet(50), "aspp"),
    pyconvresnet3d(50),
)


@dataclass(frozen=True)
class Timing:
    """Seconds of both ways for one network, `ratio` = plain / fast, and both totals."""

    network: str
    input_size: tuple[int, ...]
    plain_seconds: float
    fast_seconds: float
    ratio: float
    plain_flops: int
    fast_flops: int

    @property
    def equal(self) -> bool:
        """Both ways count the same, to the unit."""
        return self.plain_flops == self.fast_flops


def bench(networks: Sequence[Network] = NETWORKS, progress: Callable[[str], None] | None = None) -> list[Timing]:
    """Time plain fvcore and the count on the meta device for each of `networks`, after a warm-up."""
    _time(resnet(18))
    timings = []
    for network in networks:
        if progress is not None:
            progress(network.name)
        timings.append(_time(network))
    return timings


def report(timings: Sequence[Timing]) -> dict[str, Any]:
    """Plain values for `--json`: the timings, their sum's ratio, whether all totals agree, and the threads used."""
    import torch  # takes seconds

    plain = sum(timing.plain_seconds for timing in timings)
    fast = sum(timing.fast_seconds for timing in timings)
    return {
        "networks": [{**asdict(timing), "equal": timing.equal} for timing in timings],
        "plain_seconds": plain,
        "fast_seconds": fast,
        "ratio": plain / fast,
        "equal": all(timing.equal for timing in timings),
        "threads": torch.get_num_threads(),
    }


def text(timings: Sequence[Timing]) -> str:
    """The timings as a table for a terminal, with their sum."""
    from tabulate import tabulate  # only where a table is shown

    total = report(timings)
    lines = [
        [
            timing.network,
            "x".join(map(str, timing.input_size)),
            f"{timing.plain_seconds:.2f}",
            f"{timing.fast_seconds:.2f}",
            f"{timing.ratio:.1f}",
            f"{timing.fast_flops:,}",
            "equal" if timing.equal else f"PLAIN {timing.plain_flops:,}",
        ]
        for timing in timings
    ]
    together = [f"{total['plain_seconds']:.2f}", f"{total['fast_seconds']:.2f}", f"{total['ratio']:.1f}"]
    lines.append(["together", "", *together, "", "equal" if total["equal"] else "DIFFERENT"])
    header = ["network", "input", "plain s", "fast s", "ratio", "FLOPs (fvcore)", "totals"]
    alignment = ("left", "left", "right", "right", "right", "right", "left")
    return str(tabulate(lines, headers=header, colalign=alignment, disable_numparse=True))


def main(progress: Callable[[str], None] | None = None) -> bool:
    """Print the benchmark; True when both ways give the same totals."""
    timings = bench(progress=progress)
    print(text(timings))
    return all(timing.equal for timing in timings)


def _time(network: Network) -> Timing:
    import torch  # takes seconds

    from pyconv.complexity.tracing import analyse, fvcore_counts
    from pyconv.models import build

    plain_model = build(network).eval()
    plain, plain_seconds = _timed(analyse, plain_model, torch.empty(1, *network.input_size))
    del plain_model
    with torch.device("meta"):
        model, example = build(network).eval(), torch.empty(1, *network.input_size)
    fast, fast_seconds = _timed(fvcore_counts, model, example)
    return Timing(
        network.name,
        network.input_size,
        plain_seconds,
        fast_seconds,
        plain_seconds / fast_seconds,
        plain.total(),
        fast.total(),
    )


def _timed(count: Callable[..., Any], model: Any, example: Any) -> tuple[Any, float]:
    start = perf_counter()
    counts = count(model, example)
    return counts, perf_counter() - start


if __name__ == "__main__":
    raise SystemExit(not main())
