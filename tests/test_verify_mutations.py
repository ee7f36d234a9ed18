"""Turn one thing wrong, in a description or in a built model, and verify must fail at the cells of that network.

Most mistakes show in the printed digits. Those that hide inside the printed rounding, or change no count at all, show
against the records. Each case says which.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import experiments
from experiments.spec import ArchitectureTable, Experiment, Table
from pyconv import complexity
from pyconv.architectures import (
    Network,
    ResNet,
    Stage,
    iresnet,
    nl_resnet,
    pyconvhgresnet,
    pyconvresnet,
    pyconvresnet3d,
    pyconvsegnet,
    pyconvssd,
    resnet,
    resnet3d,
    se_resnet,
    segnet,
    ssd,
)
from pyconv.complexity import count
from pyconv.layers import PyConv
from pyconv.models import build
from pyconv.models.context import NonLocal, SqueezeExcitation
from pyconv.models.segmentation import PPM, PyConvPH
from pyconv.pyramid import PYRAMIDS, Pyramid
from results.evidence import Evidence
from results.verification import Cell
from results.verify import record_counts, verify

NOTHING = Evidence(Path("none"))
Change = Callable[[Any], Network]
Edit = Callable[[Any], None]


def tables_with(old: Network, new: Network) -> tuple[Table | ArchitectureTable, ...]:
    """The paper's tables as they are when `new` is built wherever `old` should be."""

    def changed(experiment: Experiment) -> Experiment:
        return replace(experiment, model=new, init=None) if experiment.model == old else experiment

    found: list[Table | ArchitectureTable] = []
    for table in experiments.TABLES.values():
        if isinstance(table, ArchitectureTable):
            networks = tuple((header, changed(e), *printed) for header, e, *printed in table.networks)
            found.append(replace(table, networks=networks))
        else:
            rows = [
                row if row.experiment is None else replace(row, experiment=changed(row.experiment))
                for row in table.rows
            ]
            found.append(replace(table, rows=tuple(rows)))
    return tuple(found)


def only(tables: tuple[Table | ArchitectureTable, ...], network: Network) -> list[Table | ArchitectureTable]:
    """Of `tables` the rows of `network`, so that nothing else needs counting."""
    found: list[Table | ArchitectureTable] = []
    for table in tables:
        if isinstance(table, ArchitectureTable):
            networks = tuple(entry for entry in table.networks if entry[1].model == network)
            found += [replace(table, networks=networks)] if networks else []
        else:
            rows = tuple(row for row in table.rows if row.experiment is not None and row.experiment.model == network)
            found += [replace(table, rows=rows)] if rows else []
    return found


def failed(tables: list[Table | ArchitectureTable], evidence: Evidence = NOTHING) -> list[Cell]:
    found = verify(tables, evidence)
    cells = [cell for cell in found.cells if cell.verdict == "FAILED"]
    assert found.ok == (not cells)
    return cells


def stage(number: int, **changes: Any) -> Change:
    """Change the description of one stage, counted from 1, of a ResNet or of a backbone."""

    def change(network: Any) -> Network:
        if not isinstance(network, ResNet):
            return replace(network, backbone=change(network.backbone))
        stages = list(network.stages)
        new = {key: value(stages[number - 1]) if callable(value) else value for key, value in changes.items()}
        stages[number - 1] = replace(stages[number - 1], **new)
        return replace(network, stages=tuple(stages))

    return change


def pyramid(**changes: Any) -> Callable[[Stage], Pyramid]:
    return lambda stage: replace(stage.pyramid, **changes)


# what is wrong, network, the change, the metrics whose printed digits tell
DESCRIBED: list[tuple[str, Network, Change, set[str]]] = [
    ("a 9x9 kernel is 11x11", pyconvresnet(50), stage(1, pyramid=pyramid(kernels=(3, 5, 7, 11))), {"params", "flops"}),
    ("a 5x5 kernel is 3x3", pyconvresnet(152), stage(3, pyramid=pyramid(kernels=(3, 3))), {"params", "flops"}),
    ("8 groups are 4", pyconvresnet(50), stage(2, pyramid=pyramid(groups=(1, 4, 4))), {"params", "flops"}),
    ("32 groups are 16", pyconvhgresnet(101), stage(4, pyramid=pyramid(groups=(16,))), {"params", "flops"}),
    ("the split is reversed", pyconvresnet(50), stage(2, pyramid=pyramid(split=(2, 1, 1))), {"params", "flops"}),
    ("a stage is 8 maps wider", resnet(50), stage(2, width=136), {"params", "flops"}),
    ("the expansion is halved", resnet(50), stage(4, out_channels=1024), {"params", "flops"}),
    ("a block is missing", resnet(101), stage(3, blocks=22), {"params", "flops"}),
    ("a stride is 1", resnet(50), stage(4, stride=1), {"flops"}),
    ("the stem pool moved", resnet(50), lambda n: replace(n, pool="all_shortcuts"), {"flops"}),
    ("SE is left out", se_resnet(101), lambda n: replace(n, context="none"), {"params", "flops"}),
    ("7x9x9 is 9x9x9", pyconvresnet3d(50), stage(1, pyramid=pyramid(
        kernels=((3, 3, 3), (3, 5, 5), (5, 7, 7), (9, 9, 9)))), {"params", "flops"}),
    ("time is strided early", resnet3d(50), stage(2, stride=(2, 2, 2)), {"flops"}),
    ("a Kinetics head has 174 classes", resnet3d(50), lambda n: replace(n, num_classes=174), {"params"}),
    ("output stride 8 for 16", segnet(resnet(50), "ppm", 16), lambda _: segnet(resnet(50), "ppm", 8), {"flops"}),
    ("the other head", segnet(resnet(50), "ppm"), lambda n: replace(n, head="aspp"), {"params", "flops"}),
    ("no auxiliary branch", pyconvsegnet(resnet(152)), lambda n: replace(n, auxiliary=False), {"params", "flops"}),
    ("the other detection head", pyconvssd(50), lambda n: replace(n, head="conv"), {"params", "flops"}),
    ("a backbone block is missing", ssd(101), stage(3, blocks=22), {"params", "flops"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("network", "change", "metrics"), [case[1:] for case in DESCRIBED], ids=[c[0] for c in DESCRIBED]
)
def test_a_wrong_description_fails_by_the_printed_digits(network: Network, change: Change, metrics: set[str]) -> None:
    wrong = change(network)
    assert wrong != network
    right_cells = failed(only(tuple(experiments.TABLES.values()), network))
    cells = failed(only(tables_with(network, wrong), wrong))
    assert right_cells == []
    assert {cell.metric for cell in cells} == metrics
    assert all(cell.measured and f"{cell.measured:,}" in cell.reason and "check first" in cell.reason for cell in cells)


def stem(**changes: Any) -> Edit:
    """Another first convolution."""

    def edit(model: Any) -> None:
        model.conv1 = nn.Conv2d(**{"in_channels": 3, "out_channels": 64, "kernel_size": 7, "stride": 2, "padding": 3,
                                   "bias": False, **changes})  # fmt: skip

    return edit


def less_squeezed(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, SqueezeExcitation):
            channels = module.fc1.in_features
            module.fc1 = nn.Linear(channels, channels // 8, bias=False)
            module.fc2 = nn.Linear(channels // 8, channels, bias=False)


def unpooled(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, NonLocal):
            module.phi[0], module.g[0] = nn.Identity(), nn.Identity()


def cubic_pools(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.MaxPool3d):
            module.kernel_size, module.padding = (3, 3, 3), (1, 1, 1)


def narrow_head(model: Any) -> None:
    model.head = PyConvPH(2048, width=480)


def head_without_a_bin(model: Any) -> None:
    model.head = PPM(2048, 512, bins=(1, 2, 6))


def head_of_3_levels(model: Any) -> None:
    model.head[0].conv2 = PyConv(256, 512, PYRAMIDS[3], stride=2)


def fewer_boxes(model: Any) -> None:
    model.locations[1] = nn.Conv2d(512, 4 * 4, 3, padding=1)
    model.scores[1] = nn.Conv2d(512, 4 * 81, 3, padding=1)


# what is wrong, network, what is done to the built model, the metrics whose printed digits tell
BUILT: list[tuple[str, Network, Edit, set[str]]] = [
    ("the stem is 5x5", resnet(50), stem(kernel_size=5, padding=2), {"params", "flops"}),
    ("the stem has a bias", resnet(50), stem(bias=True), {"flops"}),
    ("SE reduces by 8", se_resnet(50), less_squeezed, {"params", "flops"}),
    ("a non-local block does not pool", nl_resnet(50), unpooled, {"flops"}),
    ("1x3x3 pools are 3x3x3", pyconvresnet3d(50), cubic_pools, {"flops"}),
    ("PyConvPH is 480 wide", pyconvsegnet(resnet(50)), narrow_head, {"params", "flops"}),
    ("PPM lacks a bin", segnet(resnet(50), "ppm"), head_without_a_bin, {"params", "flops"}),
    ("an SSD pyramid has 3 levels", pyconvssd(50), head_of_3_levels, {"params", "flops"}),
    ("an SSD map has 4 boxes for 6", ssd(50), fewer_boxes, {"params", "flops"}),
]


@pytest.fixture
def edit_built(monkeypatch: pytest.MonkeyPatch) -> Callable[[Edit], None]:
    """Do something to every model that is counted, after it is built."""

    def install(edit: Edit) -> None:
        def build_wrong(network: Any) -> nn.Module:
            model = build(network)
            edit(model)
            return model

        monkeypatch.setattr(complexity, "build", build_wrong)

    return install


@pytest.mark.parametrize(("network", "edit", "metrics"), [case[1:] for case in BUILT], ids=[case[0] for case in BUILT])
def test_a_wrongly_built_network_fails_by_the_printed_digits(
    edit_built: Callable[[Edit], None], network: Network, edit: Edit, metrics: set[str]
) -> None:
    edit_built(edit)
    cells = failed(only(tuple(experiments.TABLES.values()), network))
    assert {cell.metric for cell in cells} == metrics


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evidence]:
    root = tmp_path_factory.mktemp("records")
    networks = (
        resnet(50),
        iresnet(50),
        pyconvresnet(50),
        pyconvsegnet(resnet(50)),
        pyconvresnet3d(50),
    )
    for network in networks:
        record_counts(only(tuple(experiments.TABLES.values()), network), root)
    return Evidence.load(root)


# All inside the printed rounding; a dilation changes no count at all.
HIDDEN: list[tuple[str, Network, Change]] = [
    ("pools on the first shortcut only", pyconvresnet(50), lambda _: pyconvresnet(50, pool="first_shortcut")),
    ("a head of 174 classes, as the paper counted", pyconvresnet3d(50), lambda n: replace(n, num_classes=174)),
    ("a dilation", pyconvsegnet(resnet(50)), stage(4, dilation=2)),
]


@pytest.mark.parametrize(("network", "change"), [case[1:] for case in HIDDEN], ids=[case[0] for case in HIDDEN])
def test_a_description_that_only_the_record_knows_to_be_wrong_fails(
    monkeypatch: pytest.MonkeyPatch, recorded: Evidence, network: Network, change: Change
) -> None:
    wrong = replace(change(network), name=network.name)
    tables = tables_with(network, wrong)
    monkeypatch.setattr(experiments, "tables", lambda: tables)
    assert failed(only(tables, wrong), NOTHING) == []
    cells = failed(only(tables, wrong), recorded)
    assert {(cell.metric, cell.convention) for cell in cells} == {
        ("params", None),
        ("flops", "thop-2019"),
        ("flops", "macs"),
        ("flops", "fvcore"),
    }
    assert all("check first" in cell.reason for cell in cells)
    assert any("no longer the recorded one" in cell.reason for cell in cells)


def no_stem_norm(model: Any) -> None:
    model.bn1 = nn.Identity()


def no_stem_relu(model: Any) -> None:
    model.relu = nn.Identity()


def no_classifier_bias(model: Any) -> None:
    model.fc = nn.Linear(2048, 1000, bias=False)


HIDDEN_BUILT: list[tuple[str, Network, Edit, set[str | None]]] = [
    ("the stem's batch norm is dropped", resnet(50), no_stem_norm, {None, "thop-2019"}),
    ("the stem's ReLU is dropped", resnet(50), no_stem_relu, {"thop-2019"}),
    ("the classifier has no bias", iresnet(50), no_classifier_bias, {None}),
]


@pytest.mark.parametrize(
    ("network", "edit", "conventions"), [case[1:] for case in HIDDEN_BUILT], ids=[case[0] for case in HIDDEN_BUILT]
)
def test_a_network_that_only_the_record_knows_to_be_wrong_fails(
    edit_built: Callable[[Edit], None],
    recorded: Evidence,
    network: Network,
    edit: Edit,
    conventions: set[str | None],
) -> None:
    tables = only(tuple(experiments.TABLES.values()), network)
    assert failed(tables, recorded) == []
    edit_built(edit)
    assert failed(tables, NOTHING) == []
    cells = failed(tables, recorded)
    assert {cell.convention for cell in cells} == conventions
    assert all("the code drifted" in cell.reason for cell in cells)


def single_changes(network: ResNet) -> Iterator[ResNet]:
    """Every network that differs in one kernel, one group number or one width, and can be built."""
    for number, each in enumerate(network.stages, start=1):
        for level in range(len(each.pyramid.kernels)):
            for name in ("kernels", "groups"):
                numbers = list(getattr(each.pyramid, name))
                right = numbers[level]
                wrong = (right - 2, right + 2) if name == "kernels" else (right // 2, right * 2)
                for value in wrong:
                    if value < 1:
                        continue
                    numbers[level] = value
                    yield stage(number, pyramid=replace(each.pyramid, **{name: tuple(numbers)}))(network)
        for value in (each.width // 2, each.width * 2):
            yield stage(number, width=value)(network)


def printed_pair(network: Network) -> tuple[str, str]:
    counted = count(network, conventions=["thop-2019"])
    return f"{counted.params / 1e6:.2f}", f"{counted.flops['thop-2019'] / 1e9:.2f}"


@pytest.mark.parametrize("network", [pyconvresnet(50), pyconvhgresnet(50)], ids=lambda network: network.name)
def test_any_single_kernel_group_or_width_changes_the_printed_pair(network: ResNet) -> None:
    right = printed_pair(network)
    counted = 0
    for wrong in single_changes(network):
        try:
            pair = printed_pair(wrong)
        except ValueError:  # groups that do not divide the maps: refused when it is built
            continue
        counted += 1
        assert pair != right, wrong.stages
    assert counted > 25
