"""Names of rows: plain, partial, globs; what a misspelt one answers."""

import pytest

from experiments import TABLES, paper, rows
from experiments.mini import MINI_TABLES
from experiments.targets import TargetError, find, names


def found(pattern: str, *, mini: bool = False) -> list[str]:
    return [table.target(row) if row else table.name for table, row in find(pattern, mini=mini)]


def test_all_is_every_line_in_page_order() -> None:
    everything = found("all")
    assert everything == found("*")
    lines = [table.target(row) for table, row in rows()]
    assert everything == ["table1", *[t for t in lines if t < "table9" and t[:7] != "table10"], "table9", *lines[-2:]]
    assert len(list(rows(paper()))) == 8 + 24 + 4 + 8 + 6 + 15 + 4 + 2


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("table2/final", ["table2/final"]),
        ("TABLE2/Final", ["table2/final"]),
        ("table3/resnet/50", ["table3/resnet/50"]),
        ("table3/resnet", ["table3/resnet/50", "table3/resnet/101", "table3/resnet/152"]),
        ("table?/final", ["table2/final"]),
        ("table5/*/os16", [f"table5/{k}/os16" for k in ("baseline", "deeplabv3", "pspnet", "pyconvsegnet")]),
        ("table[13]/*resnext/1??", ["table3/resnext/101", "table3/resnext/152"]),
        ("table4/*-augment", ["table4/pyconvresnet50-augment", "table4/pyconvresnet101-augment"]),
        ("table1", ["table1"]),
        ("table1?", ["table10/resnet3d50", "table10/pyconvresnet3d50"]),
    ],
)
def test_patterns(pattern: str, expected: list[str]) -> None:
    assert found(pattern) == expected


def test_a_table_is_all_its_rows() -> None:
    assert [row for _, row in find("table2")] == list(TABLES[2].rows)
    assert len(find("table3/*/50")) == 8
    [(table, row)] = find("table9")
    assert (table, row) == (TABLES[9], None)


def test_every_name_on_the_list_can_be_found() -> None:
    listed = names()
    assert listed[:3] == ["all", "table1", "table2"]
    assert {"table2/final", "table3/resnet", "table3/resnet/50", "table7/fcn"} <= set(listed)
    assert all(find(name) for name in listed)


@pytest.mark.parametrize(
    ("pattern", "what", "nearest"),
    [
        ("tabel2", "names no table", "table2"),
        ("table2/finl", "names no row", "table2/final"),
        ("table2/4312", "names no row", "table2/4321"),
        ("table3/rsnet/50", "names no row", "table3/resnet/50"),
        ("table3/resnet/49", "names no row", "table3/resnet/50"),
        ("table3/senet", "names no row", "table3/se_resnet"),
        ("table2/final/50", "names no row", "table2/final"),
        ("table1/resnet-50", "names no row .table1 shows whole networks and has none.", "table1"),
    ],
)
def test_a_misspelt_name_answers_with_the_nearest_valid_ones(pattern: str, what: str, nearest: str) -> None:
    with pytest.raises(TargetError, match=what) as caught:
        find(pattern)
    assert nearest in caught.value.nearest
    assert nearest in str(caught.value)
    assert repr(pattern) in str(caught.value)


@pytest.mark.parametrize("pattern", ["", "x", "zzz/final"])
def test_without_anything_near_all_valid_names_are_listed(pattern: str) -> None:
    with pytest.raises(TargetError, match=r"names no table; valid: all, table1, .*, table10"):
        find(pattern)


def test_a_target_error_is_a_value_error() -> None:
    assert issubclass(TargetError, ValueError)


class TestMini:
    def test_the_same_names(self) -> None:
        assert found("table2/final", mini=True) == ["mini-table2/final"]
        assert found("mini-table2/final", mini=True) == ["mini-table2/final"]
        assert len(find("all", mini=True)) == sum(len(TABLES[number].rows) for number in MINI_TABLES)

    def test_a_table_without_one(self) -> None:
        with pytest.raises(TargetError, match=r"'table9' names no table with a mini version; nearest: .*table[2-8]"):
            find("table9", mini=True)
