"""Specs are values: what a row of the paper is, and what identifies a training run.

`Experiment` is identity: everything in it changes the weights. `Protocol` is how a trained network is tested; a new
one never retrains. `Table`, `Column`, `Row` are the printed page. No torch, no I/O.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import lru_cache
from math import isfinite
from typing import Any, Literal, TypeVar, get_args

from pyconv.architectures import SSD, Network, ResNet, SegNet
from pyconv.recipe import Ade20kAugment, CocoAugment, ImageNetAugment, KineticsAugment, Recipe

# Raise it when the meaning of a field changes without its value changing; older records then keep their own names.
SCHEMA = 1

Task = Literal["imagenet", "ade20k", "coco", "kinetics"]
Noise = Literal["none", "binomial", "segmentation", "detection"]
Weights = Literal["last", "best"]
Dash = Literal["-"]
Published = float | Dash | None
"""A printed number; "-" where the paper prints a dash; None where our copy of the paper is not readable."""

_Item = TypeVar("_Item")

# What a task trains, on inputs of how many dimensions, with whose augmentation.
_TASKS: dict[str, tuple[type, int, type]] = {
    "imagenet": (ResNet, 2, ImageNetAugment),
    "ade20k": (SegNet, 2, Ade20kAugment),
    "coco": (SSD, 2, CocoAugment),
    "kinetics": (ResNet, 3, KineticsAugment),
}


@dataclass(frozen=True)
class Experiment:
    """One training run: `model` on `task` by `recipe`, from `init`'s weights or from scratch, with `seed`.

    Raises `ValueError` when the parts do not belong together, or when `init` has not the weights of the backbone.
    """

    task: Task
    model: Network
    recipe: Recipe
    init: "Experiment | None" = None
    seed: int = 0

    def __post_init__(self) -> None:
        _check_choice("Experiment.task", self.task, tuple(_TASKS))
        model, dims, augment = _TASKS[self.task]
        backbone = self.model if isinstance(self.model, ResNet) else self.model.backbone
        if not isinstance(self.model, model) or backbone.dims != dims:
            raise ValueError(f"{self.task} trains a {dims}-D {model.__name__}, got the {_kind(self.model)}")
        if not isinstance(self.recipe.augment, augment):
            raise ValueError(
                f"{self.name}: the recipe's augment must be a {augment.__name__}, "
                f"got a {type(self.recipe.augment).__name__}"
            )
        if not isinstance(self.seed, int) or self.seed < 0:
            raise ValueError(f"{self.name}: seed must be an integer from 0 up, got {self.seed!r}")
        if self.init is not None and not _starts(self.init.model, backbone):
            raise ValueError(
                f"{self.name}: init trains {self.init.model.name}, whose weights do not fit the backbone "
                f"{backbone.name}: use the experiment that trains this backbone for classification"
            )

    @property
    def name(self) -> str:
        """A label for people and folders: task, network and data; two experiments may share it."""
        parts = [self.task, self.model.name]
        if self.recipe.data != self.task:
            parts.append(self.recipe.data)
        return "-".join(parts)


@dataclass(frozen=True)
class Protocol:
    """How a trained network is tested, on `data`/`split`. Not part of an experiment's identity.

    `crop`: pixels of the network's input. `resize`: short side (imagenet, kinetics) or long side (ade20k) before it.
    `scales`: of multi-scale testing. `flip`: average with the mirrored image. `views`: clips x crops of a video.
    `samples`: how many images or videos a complete test counts; None where copies of the data set differ.
    `weights`: of the last epoch, or of the epoch with the lowest validation top-1 error, an optimistic choice made on
    the test images.
    """

    key: str
    data: str
    split: str = "val"
    crop: int = 224
    resize: int = 256
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    views: tuple[int, int] = (1, 1)
    samples: int | None = None
    weights: Weights = "last"

    def __post_init__(self) -> None:
        _check_choice(f"protocol {self.key}: weights", self.weights, get_args(Weights))


@dataclass(frozen=True)
class Column:
    """One column: `metric` (`top1_err`, ..., `params`, `flops`) under `protocol`, printed with `decimals` in `unit`.

    `scale` divides a raw measurement before it is printed (1e6 for parameters in millions). `protocol` None: a count.
    `input_size`: of a FLOP count at another size than the network's own. `external`: known only from a test server.
    """

    key: str
    header: str
    metric: str
    better: Literal["lower", "higher"]
    unit: str = "%"
    decimals: int = 2
    scale: float = 1.0
    noise: Noise = "none"
    protocol: Protocol | None = None
    input_size: tuple[int, ...] | None = None
    external: bool = False
    group: str = ""

    def __post_init__(self) -> None:
        _check_choice(f"column {self.key}: better", self.better, ("lower", "higher"))
        _check_choice(f"column {self.key}: noise", self.noise, get_args(Noise))


@dataclass(frozen=True)
class Row:
    """One line of a table: `published` beside the experiment that would reproduce it, in the order of the columns.

    `experiment` None: quoted from other papers, shown, never run. `group`: which of the table's side-by-side column
    groups the line stands in ("50", "os8"); lines with one `key` in several groups are printed as one row.
    `protocols`: where a row is tested in another way than its columns say, as (column key, protocol).
    `reference`: counts known from elsewhere where the printed ones are not readable, as (column key, number).
    """

    key: str
    label: str
    experiment: Experiment | None
    published: tuple[Published, ...]
    group: str = ""
    protocols: tuple[tuple[str, Protocol], ...] = ()
    reference: tuple[tuple[str, float], ...] = ()
    footnote: str = ""

    @property
    def printed(self) -> bool:
        """The paper prints this line; one with nothing published and no reference is one that a user added."""
        return bool(self.reference) or any(value is not None for value in self.published)


@dataclass(frozen=True)
class Table:
    """A table of the paper: `columns` repeated for each of `groups` (key, header), one `Row` a line."""

    number: int
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    groups: tuple[tuple[str, str], ...] = ()
    row_header: str = "Network"
    footnotes: tuple[str, ...] = ()
    mini: bool = False

    def __post_init__(self) -> None:
        valid = [key for key, _ in self.groups] or [""]
        for row in self.rows:
            if len(row.published) != len(self.columns):
                raise ValueError(
                    f"{self.name}/{row.key}: {len(row.published)} published values for {len(self.columns)} columns"
                )
            if row.group not in valid:
                raise ValueError(f"{self.name}/{row.key}: group {row.group!r} is none of {valid}")
        targets = [self.target(row) for row in self.rows]
        if twice := sorted({t for t in targets if targets.count(t) > 1}):
            raise ValueError(f"rows named twice: {', '.join(twice)}")

    @property
    def name(self) -> str:
        """`table2`, or `mini-table2` for the minutes-on-a-CPU version."""
        return f"{'mini-' if self.mini else ''}table{self.number}"

    def target(self, row: Row) -> str:
        """How the command line names a row: `table2/final`, `table3/resnet/50`."""
        return "/".join(part for part in (self.name, row.key, row.group) if part)

    def protocol(self, row: Row, column: Column) -> Protocol | None:
        """The protocol under which `column` of `row` is measured."""
        return dict(row.protocols).get(column.key, column.protocol)

    def row(self, key: str, group: str = "") -> Row:
        """The line `key` of column group `group`."""
        return _one(self.rows, f"{self.name}: row", (key, group), lambda row: (row.key, row.group))

    def column(self, key: str) -> Column:
        """The column `key`."""
        return _one(self.columns, f"{self.name}: column", key, lambda column: column.key)

    def published(self, row: Row, column: Column) -> Published:
        """What the paper prints where `row` and `column` meet."""
        return row.published[self.columns.index(column)]

    def cells(self) -> Iterator[tuple[Row, Column, Published]]:
        """Every printed cell, row by row."""
        for row in self.rows:
            for column, published in zip(self.columns, row.published, strict=True):
                yield row, column, published


@dataclass(frozen=True)
class ArchitectureTable:
    """Tables 1 and 9: networks side by side, stage by stage; rendered from the built models, never typed.

    `networks`: (header, experiment whose model is shown, printed params, printed FLOPs), in the paper's units.
    """

    number: int
    caption: str
    networks: tuple[tuple[str, Experiment, float, float], ...]
    footnotes: tuple[str, ...] = field(default=())

    @property
    def name(self) -> str:
        """`table1`, `table9`."""
        return f"table{self.number}"


def resolved(value: Any) -> Any:
    """A spec as plain JSON values: every field of every dataclass, defaults included, labels left out."""
    if is_dataclass(value) and not isinstance(value, type):
        content = {f.name: resolved(getattr(value, f.name)) for f in fields(value) if f.compare}
        return {"type": type(value).__name__, **content}
    if isinstance(value, (tuple, list)):
        return [resolved(item) for item in value]
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and isfinite(value):
        return int(value) if value == int(value) else value  # 1, 1.0 and True are equal, so they are one spec
    raise TypeError(
        f"{value!r} ({type(value).__name__}) has no place in a spec: use finite numbers, text, tuples, dataclasses"
    )


def digest(value: Any) -> str:
    """Twelve hex digits of the SHA-256 of the canonical JSON of `resolved(value)` under the schema version."""
    return digest_resolved(resolved(value))


def digest_resolved(plain: Any) -> str:
    """`digest` of a value that was resolved before, e.g. the spec inside a record."""
    return digest_of_text(canonical_spec(plain))


def canonical_spec(plain: Any) -> str:
    """The text that `digest_resolved` digests."""
    return canonical([SCHEMA, plain])


def canonical(plain: Any) -> str:
    """One text for equal values: JSON without spaces, keys sorted. ValueError for infinite numbers."""
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest_of_text(text: str) -> str:
    """The first 48 bits of its SHA-256 in hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def fingerprint(experiment: Experiment) -> str:
    """The identity of a training run: equal for equal experiments, different when what changes the weights differs."""
    return _remembered(experiment)


def family(experiment: Experiment) -> str:
    """The fingerprint without the seed: runs that differ in their seed only are one family, kept in one folder."""
    return _remembered(replace(experiment, seed=0))


def _remembered(experiment: Experiment) -> str:
    try:
        return _digest_once(experiment)
    except TypeError:  # a list in the place of a tuple cannot be remembered
        return digest(experiment)


@lru_cache(maxsize=65_536)
def _digest_once(experiment: Experiment) -> str:
    return digest(experiment)


def _check_choice(where: str, value: str, valid: tuple[str, ...]) -> None:
    if value not in valid:
        raise ValueError(f"{where} must be one of {', '.join(valid)}; got {value!r}")


def _kind(model: Network) -> str:
    dims = model.dims if isinstance(model, ResNet) else 2
    return f"{dims}-D {type(model).__name__} {model.name}"


def _starts(trained: Network, backbone: ResNet) -> bool:
    """Whether the weights of `trained` are the backbone's: the same stages but for strides and dilations."""
    if not isinstance(trained, ResNet) or len(trained.stages) < len(backbone.stages):
        return False
    same = ("block", "pool", "context", "second_conv", "dims")
    return all(getattr(trained, name) == getattr(backbone, name) for name in same) and all(
        replace(ours, stride=1, dilation=1) == replace(theirs, stride=1, dilation=1)
        for ours, theirs in zip(backbone.stages, trained.stages, strict=False)
    )


def _one(items: Iterable[_Item], what: str, wanted: Any, key: Callable[[_Item], Any]) -> _Item:
    named = {key(item): item for item in items}
    if wanted not in named:
        raise ValueError(f"{what} {wanted!r} is none of {list(named)}")
    return named[wanted]
