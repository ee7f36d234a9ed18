"""Pictures of what networks predict, side by side: Figures 10 and 11 (appendix A.3), and detections of Table 8's rows.

The paper prints no picture of detections: those are named by the networks' depth and have no number. Figures 7 and 9,
the training curves, show no predictions: they are drawn from records (`results.printers.curves`).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from experiments.spec import ArchitectureTable, Experiment, Protocol, Row, Table


@dataclass(frozen=True)
class Shown:
    """A column of a figure: a row of a table, tested as its `column` there. `header`: lines above the pictures."""

    header: tuple[str, ...]
    table: int
    row: str
    group: str
    column: str


@dataclass(frozen=True)
class SegmentationFigure:
    """Rows of photographs: the image, its ground truth, and what each of the networks `shown` makes of it."""

    number: int
    caption: str
    shown: tuple[Shown, ...]

    @property
    def name(self) -> str:
        """`figure10`."""
        return f"figure{self.number}"


@dataclass(frozen=True)
class DetectionFigure:
    """Rows of photographs: the boxes of its objects, and those that each of the networks `shown` finds."""

    name: str
    caption: str
    shown: tuple[Shown, ...]


Figure = SegmentationFigure | DetectionFigure


@dataclass(frozen=True)
class Pictured:
    """A column with what it stands for: the run and the test whose predictions are shown. `target`: of its row."""

    header: tuple[str, ...]
    target: str
    experiment: Experiment
    protocol: Protocol


def _head(method: str, head: str, row: str) -> Shown:
    """A head of Table 5 on ResNet-50 of output stride 8."""
    return Shown((method, f"({head})"), 5, row, "os8", "miou")


def _depth(depth: int) -> Shown:
    """PyConvSegNet of Table 6, multi-scale, on PyConvResNet of a depth."""
    return Shown(("PyConvSegNet", f"PyConvResNet-{depth}"), 6, f"pyconvresnet{depth}", "", "miou_ms")


def _detectors(depth: int) -> DetectionFigure:
    """The two detectors of Table 8 on backbones of a depth."""
    names = (f"Baseline SSD-{depth}", f"ssd{depth}"), (f"PyConvSSD-{depth}", f"pyconvssd{depth}")
    return DetectionFigure(
        f"detections{depth}",
        f"Objects in COCO val2017 images found by SSD and PyConvSSD with {depth} layers, 300x300 input.",
        tuple(Shown((label,), 8, row, "", "ap") for label, row in names),
    )


FIGURE10 = SegmentationFigure(
    10,
    "Segmentations of ADE20K validation images by three heads on ResNet-50 of output stride 8, single scale.",
    (
        _head("PSPNet", "PPM", "pspnet"),
        _head("DeepLabv3", "ASPP", "deeplabv3"),
        _head("PyConvSegNet", "PyConvPH", "pyconvsegnet"),
    ),
)
FIGURE11 = SegmentationFigure(
    11,
    "Segmentations of ADE20K validation images by PyConvSegNet on PyConvResNet backbones of three depths, multi-scale.",
    (_depth(50), _depth(101), _depth(152)),
)
DETECTIONS = (_detectors(50), _detectors(101))
FIGURES: tuple[Figure, ...] = (FIGURE10, FIGURE11, *DETECTIONS)


def pictured(figure: Figure, tables: Iterable[Table | ArchitectureTable]) -> tuple[Pictured, ...]:
    """The columns of `figure` as `tables` have them, the paper's or the mini ones; () where one is not among them."""
    numbered = {table.number: table for table in tables if isinstance(table, Table)}
    if not all(shown.table in numbered for shown in figure.shown):
        return ()
    return tuple(_pictured(shown, numbered[shown.table]) for shown in figure.shown)


def figures_of(rows: Iterable[tuple[Table, Row]]) -> list[Figure]:
    """The figures that show one of `rows`."""
    chosen = {(table.number, row.key, row.group) for table, row in rows}
    return [f for f in FIGURES if any((one.table, one.row, one.group) in chosen for one in f.shown)]


def _pictured(shown: Shown, table: Table) -> Pictured:
    row = table.row(shown.row, shown.group)
    protocol = table.protocol(row, table.column(shown.column))
    if row.experiment is None or protocol is None:
        raise ValueError(f"{table.target(row)}/{shown.column} is not measured: no network predicts anything there")
    return Pictured(shown.header, table.target(row), row.experiment, protocol)
