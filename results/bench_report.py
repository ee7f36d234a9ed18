"""How long reports take, in fresh processes with their imports: all tables from what is recorded, then from thousands.

    tables    `pyconv report all` in every format from the given records, aim `TABLES_AIM`
    records   the same from `count` made-up records of the paper's ImageNet rows, aim `RECORDS_AIM`

The made-up records are valid and have the size of real ones: outcomes of 50,000 images, a history of their epochs whose
every step is held against the recipe. All of them depart from their protocol, so that each has a footnote.
"""

import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import count, islice
from math import sqrt
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from experiments import tables
from experiments.spec import Experiment, Protocol, Table, family, fingerprint, resolved
from results.outcomes import pack
from results.records import Metric, Record, encode, record_path
from results.report import EXPORTS, FORMATS

TABLES_AIM = 2.0  # seconds
RECORDS_AIM = 5.0
IMAGES = 50_000
_SCRIPT = """
import sys
from pathlib import Path
from experiments import tables
from results.evidence import Evidence
from results.report import write_reports
write_reports(tables(), Evidence.load(Path(sys.argv[1])), Path(sys.argv[2]), sys.argv[3].split(","))
if "torch" in sys.modules:
    sys.exit("torch was imported")
"""


@dataclass(frozen=True)
class Timing:
    """Seconds of each round of one thing, and the aim for their median."""

    name: str
    seconds: tuple[float, ...]
    aim: float

    @property
    def median(self) -> float:
        """Of the rounds."""
        return median(self.seconds)

    @property
    def met(self) -> bool:
        """Whether the median is within the aim."""
        return self.median <= self.aim

    def report(self) -> dict[str, object]:
        """As plain values."""
        return {"name": self.name, "seconds": list(self.seconds), "median": self.median, "aim": self.aim}


def bench(
    records: Path, number: int, epochs: int, rounds: int, progress: Callable[[str], None] | None = None
) -> list[Timing]:
    """Both timings; `number` made-up records with histories of `epochs`. Raises CalledProcessError when one fails."""
    told = progress or (lambda _: None)
    formats = ",".join(FORMATS | EXPORTS)
    with TemporaryDirectory() as folder:
        told("all tables")
        name = f"all tables, {len(FORMATS | EXPORTS)} formats"
        few = Timing(name, _rounds(records, folder, formats, rounds), TABLES_AIM)
        made = Path(folder) / "records"
        told(f"making {number:,} records")
        size = make(made, number, epochs)
        told(f"{number:,} records")
        name = f"the same from {number:,} records of {epochs} epochs ({size / 1e6:.0f} MB)"
        return [few, Timing(name, _rounds(made, folder, formats, rounds), RECORDS_AIM)]


def make(root: Path, number: int, epochs: int) -> int:
    """Write `number` made-up records below `root`; returns their size in bytes."""
    generator, size = Random(0), 0
    for experiment, protocol in islice(_runs(), number):
        text = encode(_record(experiment, protocol, epochs, generator))
        path = record_path(root, experiment, protocol)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        size += len(text)
    return size


def text(timings: Iterable[Timing]) -> str:
    """The timings as a table for a terminal."""
    from tabulate import tabulate  # only where a table is shown

    lines = [
        [one.name, f"{one.median:.2f}", f"{min(one.seconds):.2f} - {max(one.seconds):.2f}", f"{one.aim:.0f}"]
        for one in timings
    ]
    alignment = ("left", "right", "right", "right")
    return str(tabulate(lines, ["", "s, median", "range", "aim"], colalign=alignment, disable_numparse=True))


def _rounds(records: Path, folder: str, formats: str, rounds: int) -> tuple[float, ...]:
    """Seconds of each round, after one that is not counted (files of libraries come into memory)."""
    out = Path(folder) / "out"
    command = [sys.executable, "-c", _SCRIPT, str(records), str(out), formats]
    return tuple(_timed(command) for _ in range(rounds + 1))[1:]


def _timed(command: list[str]) -> float:
    start = perf_counter()
    subprocess.run(command, check=True)
    return perf_counter() - start


def _runs() -> Iterable[tuple[Experiment, Protocol]]:
    """The paper's trainings on ImageNet with their protocols, seed after seed."""
    found = {
        (row.experiment, protocol): None
        for table in tables()
        if isinstance(table, Table)
        for row, column, _ in table.cells()
        if (protocol := table.protocol(row, column)) and row.experiment and row.experiment.task == "imagenet"
    }
    return ((replace(experiment, seed=seed), protocol) for seed in count() for experiment, protocol in found)


def _record(experiment: Experiment, protocol: Protocol, epochs: int, generator: Random) -> Record:
    """A valid record with made-up numbers."""
    right = generator.getrandbits(IMAGES) | generator.getrandbits(IMAGES)
    value = 100 * (IMAGES - right.bit_count()) / IMAGES
    entry = {"lr": 0.1, "train_loss": 1.5, "train_top1_err": 30.5, "seconds": 900.5, "steps": 5005, "samples": 1281167}
    seen = {"batch": [143, 256], "norm_batch": 32, "input": [224, 224], "lrs": [[0.1, 5005]], "top1_err": 25.5}
    split = {"samples": IMAGES, "classes": 1000, "sha256": "a" * 64}
    return Record(
        name=experiment.name,
        fingerprint=fingerprint(experiment),
        family=family(experiment),
        seed=experiment.seed,
        experiment=resolved(experiment),
        protocol=resolved(protocol),
        metrics={
            "top1_err": Metric(value, "%", IMAGES, sqrt(value * (100 - value) / IMAGES)),
            "top5_err": Metric(value / 4, "%", IMAGES, None),
        },
        outcomes={"top1_err": pack(bit == "1" for bit in f"{right:0{IMAGES}b}")},
        per_class={},
        observed={"input": [protocol.crop, protocol.crop]},
        expected_samples=IMAGES,
        counted_samples=IMAGES,
        complexity={"params": 25_000_000, "flops": {}},
        checkpoint={"sha256": "b" * 64, "epochs": experiment.recipe.epochs},
        data={"name": "imagenet", "splits": {"train": {**split, "samples": 1_281_167}, "val": split}},
        code={"commit": "0" * 40, "dirty": False, "diff_sha256": None},
        environment={"python": "3.11"},
        job={"id": "1", "executor": "slurm"},
        timings={"train": 1.0},
        history=[{"epoch": number, **entry, **seen} for number in range(1, epochs + 1)],
        deviations=["made up by a benchmark"],
        mini=False,
    )
