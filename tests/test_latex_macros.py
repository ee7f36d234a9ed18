"""Macros of the running text: one name a number, letters only, the numbers of the cells."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from latex_pages import everything_measured
from test_report import NOWHERE

from experiments import tables
from results.gather import Report, gather
from results.printers.latex_macros import SUFFIXES, macros, named


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    root = tmp_path_factory.mktemp("macros") / "records"
    return gather([*tables(), *tables(mini=True)], everything_measured(root, shift=0.25))


def test_every_number_has_a_name_of_its_own(report: Report) -> None:
    found = [macro.name for macro in macros(report)]
    assert len(found) == len(set(found))
    assert len(found) > len(SUFFIXES) * len(report.cells)  # the claims' numbers too
    assert all(re.fullmatch(r"pyconv[A-Za-z]+", name) for name in found)
    assert not any("Again" in name for name in found)


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="/"), max_size=6), max_size=12))
@settings(max_examples=200, deadline=None)
def test_any_keys_get_names_that_stay_apart(keys: list[str]) -> None:
    names = named(f"table2/{key}/params" for key in keys)
    with_suffixes = [name + suffix for name in names for suffix in SUFFIXES]
    assert len(set(with_suffixes)) == len(SUFFIXES) * len(keys)
    assert all(re.fullmatch("[A-Za-z]+", name) for name in names)


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("table2/final/top1_err", "pyconvTableTwoFinalTopOne"),
        ("table3/resnet/152/params", "pyconvTableThreeResnetOneFiveTwoParams"),
        ("table4/pyconvresnet50-augment/top5_err_320", "pyconvTableFourPyconvresnetFiveZeroAugmentTopFiveThreeTwoZero"),
        ("mini-table2/2221/flops", "pyconvMiniTableTwoTwoTwoTwoOneFlops"),
        ("table7/ke-gan/miou", "pyconvTableSevenKeGanMiou"),
        ("table1/a/err_rate", "pyconvTableOneAErrRate"),
    ],
)
def test_names_are_spelled(target: str, name: str) -> None:
    assert named([target]) == [name]


def test_names_that_would_be_one_are_told_apart() -> None:
    assert named(["a/b", "a-b", "a/b_published", "a/b"]) == [
        "pyconvAB",
        "pyconvABAgain",
        "pyconvABPublishedAgain",
        "pyconvABAgainAgain",
    ]
    assert named(["a/b_published", "a/b"]) == ["pyconvABPublished", "pyconvABAgain"]


def test_values_are_the_cells(report: Report) -> None:
    found = {macro.name: macro.value for macro in macros(report)}
    base = "pyconvTableTwoFinalTopOne"
    assert [found[base + suffix] for suffix in SUFFIXES] == ["22.37", "22.12", r"\ensuremath{+0.25}"]
    assert found["pyconvTableOneZeroPyconvresnetThreedFiveZeroParams".replace("Threed", "ThreeD")] == "45.37"
    assert found["pyconvTableSevenFcnMiou"] == r"\textit{quoted}"
    assert found["pyconvTableSevenFcnMiouPublished"] == "29.39"
    assert found["pyconvTableSevenPyconvsegnetOneFiveTwoTestMiou"] == r"\textit{external}"
    assert found["pyconvTableEightSsdFiveZeroApPublished"] == "?"
    assert found["pyconvMiniTableTwoFinalTopOne"] == r"\textit{pending}"


def test_numbers_of_sentences_are_computed(report: Report) -> None:
    found = {macro.name: macro.value for macro in macros(report)}
    ratio = "pyconvClaimHgFiveZeroBeatsResnetOneFiveTwoParamsRatio"
    assert found[ratio] == f"{60_192_808 / 25_232_168:.2f}" == "2.39"
    gain = "pyconvClaimTwoLevelsHelpTopOneDifference"
    assert [found[gain + suffix] for suffix in SUFFIXES] == ["0.76", f"{23.88 - 23.12:.2f}", "0.00"]
    without = {macro.name: macro.value for macro in macros(gather(tables(), NOWHERE))}
    assert [without[gain + suffix] for suffix in SUFFIXES] == [r"\textit{pending}", "0.76", r"\textit{pending}"]


def test_the_documented_names_exist(report: Report) -> None:
    template = Path(__file__).parent.parent / "results" / "templates" / "macros.tex.j2"
    told = set(re.findall(r"\\(pyconv\w+)", template.read_text()))
    assert len(told) == 3
    assert told <= {macro.name for macro in macros(report)}
