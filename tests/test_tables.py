"""Every number of every table against `data/published.yaml`, the numbers as read from the paper beside the project."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import experiments.table2_ablation
from experiments import TABLES, all_experiments, paper, rows, tables, trainings
from experiments.protocols import CROP320, CROP617, MULTI_SCALE, SINGLE_SCALE
from experiments.spec import ArchitectureTable, Row, Table, fingerprint
from experiments.targets import find

PUBLISHED: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "data" / "published.yaml").read_text())

# The column names of published.yaml -> our column keys.
COLUMNS = {
    2: {"top1_err": "top1_err", "top5_err": "top5_err", "params_M": "params", "GFLOPs": "flops"},
    4: {"GFLOPs_224": "flops_224", "GFLOPs_320": "flops_320", "params_M": "params"},
    5: {"mean_IoU": "miou", "pixel_Acc": "pixel_acc", "params_M": "params", "GFLOPs": "flops"},
    6: {
        "mean_IoU_SS": "miou_ss",
        "mean_IoU_MS": "miou_ms",
        "pixel_Acc_SS": "pixel_acc_ss",
        "pixel_Acc_MS": "pixel_acc_ms",
        "params_M": "params",
        "GFLOPs": "flops",
    },
    7: {
        "val_mIoU": "miou",
        "val_pAcc": "pixel_acc",
        "test_mIoU": "test_miou",
        "test_pAcc": "test_pixel_acc",
        "test_score": "test_score",
    },
    8: {
        "AP_50_95": "ap",
        "AP_50": "ap50",
        "AP_75": "ap75",
        **{f"A{kind}_{size}": f"a{kind.lower()}_{size.lower()}" for kind in "PR" for size in "SML"},
        **{f"AR_{detections}": f"ar{detections}" for detections in (1, 10, 100)},
        "params_M": "params",
        "GFLOPs": "flops",
    },
}
COLUMNS[3] = COLUMNS[10] = COLUMNS[2]

# Labels of Table 7 that published.yaml explains in brackets.
LABELS = {
    "PyConvSegNet-152 (dagger: inference crop 617x617)": "PyConvSegNet-152 †",
    "PyConvSegNet-152 (club: 120 epochs, train+val)": "PyConvSegNet-152 ♣",
}
PAPER = {table.number: table for table in paper()}
PRINTED = [number for number, table in PAPER.items() if isinstance(table, Table)]


def lines(number: int) -> list[tuple[str, str, list[Any]]]:
    """(label, group, numbers) of every line of published.yaml, in its order."""
    found = []
    for label, content in PUBLISHED[f"table{number}"]["rows"].items():
        groups = content.items() if isinstance(content, dict) else [("", content)]
        found += [(LABELS.get(label, label), str(group), numbers) for group, numbers in groups]
    return found


def test_ten_tables_in_page_order() -> None:
    assert list(TABLES) == list(range(1, 11))
    assert [table.name for table in tables()] == [f"table{n}" for n in range(1, 11)]
    assert [n for n, table in TABLES.items() if isinstance(table, ArchitectureTable)] == [1, 9]


@pytest.mark.parametrize("number", PRINTED)
def test_every_line_and_number_is_the_published_one(number: int) -> None:
    ours = [(row.label, row.group, list(row.published)) for row in PAPER[number].rows]
    assert ours == lines(number)


@pytest.mark.parametrize("number", PRINTED)
def test_columns_stand_in_the_published_order(number: int) -> None:
    names = [COLUMNS[number].get(name, name) for name in PUBLISHED[f"table{number}"]["columns"]]
    assert [column.key for column in TABLES[number].columns] == names


@pytest.mark.parametrize(("number", "depth"), [(1, "ResNet-50"), (9, "ResNet3D-50")])
def test_architecture_tables_print_the_published_counts(number: int, depth: str) -> None:
    published = PUBLISHED[f"table{number}"]
    assert depth in published["params_M"]
    ours = TABLES[number].networks
    assert {header: params for header, _, params, _ in ours} == published["params_M"]
    assert {header: flops for header, _, _, flops in ours} == published["FLOPs_G"]


@pytest.mark.parametrize("number", [1, 9])
def test_architecture_tables_show_the_published_stages(number: int) -> None:
    """Blocks, widths, kernels, maps and groups of each stage, largest kernel first as printed."""
    published = PUBLISHED[f"table{number}"]
    for header, experiment, _, _ in TABLES[number].networks:
        model = experiment.model
        assert len(model.stages) == len(published["stages"]) == 4
        assert (model.pool == "stem") == (published["stem"][header]["pool"] is not None)
        for stage, printed in zip(model.stages, published["stages"], strict=True):
            cell = printed[header]
            assert stage.blocks == cell["blocks"]
            assert stage.width == cell.get("reduce_1x1", cell.get("reduce"))
            assert stage.out_channels == cell.get("expand_1x1", cell.get("expand"))
            levels = [
                [kernel(level.kernel), level.out_channels, level.groups]
                for level in reversed(stage.pyramid.levels(stage.width, stage.width, model.dims))
            ]
            assert levels == cell.get("levels", cell.get("spatial"))


def kernel(sizes: tuple[int, ...]) -> int | str:
    """9 for 9x9 as in Table 1, "7x9x9" as in Table 9."""
    return sizes[0] if len(sizes) == 2 else "x".join(map(str, sizes))


def test_null_and_dash_stay_apart() -> None:
    table = TABLES[7]
    assert table.row("pspnet152").published[2:] == (None, None, None)
    assert table.row("pspnet269").published[2:] == ("-", "-", 55.38)
    lost = TABLES[8].row("ssd50").published
    assert [i for i, value in enumerate(lost) if value is not None] == [5]
    assert TABLES[8].columns[5].key == "ap_l"
    none = [t.target(r) for t, r in rows(PAPER.values()) if None in r.published]
    assert none == ["table7/pspnet152", "table8/ssd50"]


def test_computed_counts_of_ssd50_are_reference_and_not_published() -> None:
    row = TABLES[8].row("ssd50")
    derived = PUBLISHED["table8"]["derived_not_published"]["Baseline SSD-50"]
    assert dict(row.reference) == {"params": derived["params_M"], "flops": derived["GFLOPs"]}
    assert "not published" in row.footnote
    assert [r.key for _, r in rows() if r.reference] == ["ssd50"]


def test_column_groups_are_the_printed_ones() -> None:
    assert [key for key, _ in TABLES[3].groups] == ["50", "101", "152"]
    assert [key for key, _ in TABLES[5].groups] == ["os8", "os16"]
    assert all(str(row.experiment.model.depth) == row.group for row in TABLES[3].rows)
    for row in TABLES[5].rows:
        assert f"os{row.experiment.model.backbone.output_stride}" == row.group
    for number in PRINTED:  # every line with groups stands in all of them
        table = TABLES[number]
        keys = {row.key for row in table.rows}
        assert len(table.rows) == len(keys) * max(len(table.groups), 1)


def test_table4_tests_one_training_at_two_sizes() -> None:
    table = TABLES[4]
    assert table.column("top1_err_320").protocol == CROP320
    assert table.column("flops_320").input_size == (3, 320, 320)
    assert table.column("flops_224").input_size is None
    assert [row.experiment.recipe.epochs for row in table.rows] == [90, 300, 90, 300]


def test_table6_and_table5_share_a_run_and_its_numbers() -> None:
    head, backbone = TABLES[5].row("pyconvsegnet", "os8"), TABLES[6].row("resnet50")
    assert fingerprint(head.experiment) == fingerprint(backbone.experiment)
    assert head.published == tuple(backbone.published[i] for i in (0, 2, 4, 5))
    assert TABLES[5].column("miou").protocol == TABLES[6].column("miou_ss").protocol == SINGLE_SCALE
    assert TABLES[6].column("miou_ms").protocol == MULTI_SCALE


def test_table7_quotes_others_and_marks_what_the_server_says() -> None:
    table = TABLES[7]
    assert [row.key for row in table.rows if row.experiment] == [
        "pyconvsegnet152",
        "pyconvsegnet152-617",
        "pyconvsegnet152-trainval",
    ]
    assert [column.key for column in table.columns if column.external] == ["test_miou", "test_pixel_acc", "test_score"]
    standard, dagger, club = table.rows[-3:]
    assert standard.experiment == dagger.experiment == TABLES[6].row("pyconvresnet152").experiment
    assert table.protocol(standard, table.column("miou")) == MULTI_SCALE
    assert table.protocol(dagger, table.column("miou")) == table.protocol(dagger, table.column("pixel_acc")) == CROP617
    assert (club.experiment.recipe.epochs, club.experiment.recipe.split) == (120, "train+val")
    for row in (standard, club):  # the score is the mean of the other two
        assert (row.published[2] + row.published[3]) / 2 == pytest.approx(row.published[4], abs=0.005)


def test_the_paper_is_52_trainings() -> None:
    everything = trainings(PAPER.values())
    assert len(everything) == 52
    standing = {fingerprint(experiment) for experiment in all_experiments(PAPER.values())}
    assert standing == set(everything)  # no init stands outside the tables
    assert [len(trainings([PAPER[n]])) for n in (1, 2, 3, 4, 10)] == [3, 8, 24, 4, 2]
    for experiment in everything.values():  # an init is trained before what starts from it
        order = list(everything)
        if experiment.init is not None:
            assert order.index(fingerprint(experiment.init)) < order.index(fingerprint(experiment))


def test_tables_2_and_3_are_32_lines_and_30_trainings() -> None:
    pair = [PAPER[2], PAPER[3]]
    assert len(list(rows(pair))) == 32
    assert len(trainings(pair)) == 30
    assert TABLES[2].row("baseline").experiment == TABLES[3].row("resnet", "50").experiment
    assert TABLES[2].row("final").experiment == TABLES[3].row("pyconvresnet", "50").experiment


def test_no_two_lines_of_a_table_are_one_training_but_for_another_test() -> None:
    for number in PRINTED:
        runs = [(fingerprint(row.experiment), row.protocols) for row in TABLES[number].rows if row.experiment]
        assert len(set(runs)) == len(runs)


def test_metrics_are_the_words_of_the_project_and_directions_are_right() -> None:
    lower = {"top1_err", "top5_err", "params", "flops"}
    for number in PRINTED:
        for column in TABLES[number].columns:
            assert column.better == ("lower" if column.metric in lower else "higher")
            assert (column.protocol is None) == (column.metric in {"params", "flops"})
            assert column.scale == {"params": 1e6, "flops": 1e9}.get(column.metric, 1)


def test_a_ninth_row_of_table_2_is_one_line_in_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Insert the line into the module's source: the table, its target and its training are there, nothing else is."""
    line = '        Row("3332", "(3, 3, 3, 2)", _run((3, 3, 3, 2), "stem"), (None, None, None, None)),\n'
    source = Path(experiments.table2_ablation.__file__).read_text()
    last = next(text for text in source.splitlines(keepends=True) if 'Row("final"' in text)
    module = ModuleType("nine")
    exec(compile(source.replace(last, last + line), "nine", "exec"), module.__dict__)
    before, trainings_before = TABLES[2].rows, len(trainings())
    monkeypatch.setitem(TABLES, 2, module.TABLE)
    assert len(module.TABLE.rows) == len(before) + 1
    [(table, row)] = find("table2/3332")
    assert table.target(row) == "table2/3332"
    assert len(trainings()) == trainings_before + 1
    assert paper()[1] == PAPER[2]  # what is not printed is no line of the paper
    assert [row.key for _, row in find("table2/3332", mini=True)] == ["3332"]


class TestTableRefuses:
    table = TABLES[2]

    def test_a_line_with_a_number_too_few(self) -> None:
        short = replace(self.table.rows[0], published=(23.88, 7.06, 25.56))
        with pytest.raises(ValueError, match="table2/baseline: 3 published values for 4 columns"):
            replace(self.table, rows=(short,))

    def test_a_line_twice(self) -> None:
        with pytest.raises(ValueError, match="rows named twice: table2/baseline"):
            replace(self.table, rows=(self.table.rows[0],) * 2)

    def test_a_group_that_is_not_there(self) -> None:
        stray = replace(self.table.rows[0], group="50")
        with pytest.raises(ValueError, match=r"table2/baseline: group '50' is none of \[''\]"):
            replace(self.table, rows=(stray,))

    def test_an_unknown_row_or_column(self) -> None:
        with pytest.raises(ValueError, match=r"table2: row .*'fina'.* is none of .*'final'"):
            self.table.row("fina")
        with pytest.raises(ValueError, match=r"table2: column 'top1' is none of .*'top1_err'"):
            self.table.column("top1")

    def test_choices_that_do_not_exist(self) -> None:
        with pytest.raises(ValueError, match="column params: better must be one of lower, higher; got 'less'"):
            replace(self.table.column("params"), better="less")
        with pytest.raises(ValueError, match="noise must be one of none, binomial, segmentation, detection"):
            replace(self.table.column("params"), noise="gaussian")


def test_published_finds_the_cell() -> None:
    table = TABLES[3]
    row = table.row("pyconvhgresnet", "101")
    assert isinstance(row, Row)
    assert table.published(row, table.column("top5_err")) == 5.57
