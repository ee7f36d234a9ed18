"""LaTeX: any text is text, every line has its cells, the paper's layout, nothing published passes for measured."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from evidence import save
from hypothesis import given, settings
from hypothesis import strategies as st
from latex_pages import PUBLISHED, columns, everything_measured, lines, parts, printed, rows, width
from test_report import HOSTILE, NEW, NOWHERE, OLD, TABLE, evidence, hostile

from experiments import tables
from experiments.claims import CLAIMS
from experiments.mini import MINI_TABLES
from experiments.spec import Row, Table
from results.evidence import Evidence
from results.gather import Report, gather
from results.printers import latex, latex_emphasis, latex_numbers, latex_text
from results.report import BESIDE_OTHERS
from slurm.cli import cli

PLAIN = [2, 3, 4, 5, 6, 7, 8, 10]  # the tables that are no architectures
DEVIATION = (10, 1, 2)  # table, row, column whose count is not the printed one


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The pages of all tables where every measurement gives the printed number."""
    root = tmp_path_factory.mktemp("measured") / "records"
    return latex.pages(gather([*tables(), *tables(mini=True)], everything_measured(root)))


@pytest.fixture(scope="module")
def pending() -> dict[str, str]:
    """The pages of all tables without any evidence."""
    return latex.pages(gather([*tables(), *tables(mini=True)], NOWHERE))


@given(st.text(max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_text_is_text(text: str) -> None:
    escaped = latex_text.escape(text)
    assert escaped.isascii()
    accents = "|".join(map(re.escape, latex_text.ACCENTS.values()))
    commands = [re.escape(command) for command in latex_text.SPECIAL.values()]
    known = "|".join([*sorted(commands, key=len, reverse=True), rf"\\(?:{accents})\{{(?:[A-Za-z]|\\[ij])\}}", r"\{\}"])
    rest = re.sub(known, "", escaped)
    assert not re.search(r"[\\{}$&#%_^~\[\]\"<>|`\n\r\x00-\x1f]", rest), rest
    assert not re.search(r"--|''|,,", escaped)
    assert parts(escaped) == [escaped.strip()]


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("5x5 and 16x224x224", r"5\ensuremath{\times}5 and 16\ensuremath{\times}224\ensuremath{\times}224"),
        ("0x10 x3 ax2 2xb", "0x10 x3 ax2 2xb"),
        (
            '"last" of ("a")',
            r"\textquotedblleft{}last\textquotedblright{} of (\textquotedblleft{}a\textquotedblright{})",
        ),
        ("É ï ç", r"\'{E} \"{\i} \c{c}"),
        ("a--b ''c''", "a-{}-b '{}'c'{}'"),
        (r"\input{x}", r"\textbackslash{}input\{x\}"),
        ("^^41 %", r"\textasciicircum{}\textasciicircum{}41 \%"),
        ("漢", "{[}U+6F22{]}"),
    ],
)
def test_text_is_printed_as_meant(text: str, source: str) -> None:
    assert latex_text.escape(text) == source


def test_every_line_has_a_cell_a_column(measured: dict[str, str], pending: dict[str, str]) -> None:
    tables_of = [{name: page for name, page in pages.items() if name != "claims.tex"} for pages in (measured, pending)]
    tabular = [page for pages in tables_of for page in pages.values() if r"\begin{tabular}" in page]
    tabular += [page for text in HOSTILE for page in latex.pages(gather([hostile(text)], NOWHERE)).values()][:2]
    assert len(tabular) == 2 * (2 * 10 + len(MINI_TABLES)) + 2
    for page in tabular:
        header = page.partition("\\toprule\n")[2].partition("\\midrule")[0].splitlines()
        found = [width(line) for line in [*header, *lines(page)] if line.endswith(r"\\")]
        assert set(found) == {columns(page)}, page
        assert page.isascii()


def test_the_sentences_have_a_table_of_their_own(measured: dict[str, str]) -> None:
    rows = [line for line in measured["claims.tex"].splitlines() if line.startswith(r"\raggedright") and "&" in line]
    assert len(rows) == len({claim.key.split("/")[0] for claim in CLAIMS}) == 25
    for line in rows:
        sentence, on_printed, on_measured = parts(line)
        assert sentence.endswith(")")
        assert "pending" not in on_printed
        assert on_measured
    assert any("both hold" in parts(line)[1] for line in rows)
    assert r"\input{claims}" in measured["tables.tex"]


def test_hostile_text_adds_no_cell_and_no_line() -> None:
    harmless = latex.pages(gather([hostile("x")], NOWHERE))
    for text in HOSTILE:
        pages = latex.pages(gather([hostile(text)], NOWHERE))
        for name, page in pages.items():
            assert len(page.splitlines()) == len(harmless[name].splitlines()), (name, text)
            assert [width(line) for line in lines(page)] == [width(line) for line in lines(harmless[name])]


# In brackets, which `rows` leaves out, in the place of two lost counts.
COMPUTED = PUBLISHED["table8"]["derived_not_published"]["Baseline SSD-50"]


def best(number: int, place: int) -> tuple[float, str]:
    """Of a column of published.yaml: the best number and how the paper emphasises it."""
    names, found = printed(number)
    numbers = [row[place] for row in found if isinstance(row[place], float)]
    if names[place].startswith(("params", "GFLOPs")):
        return min(numbers), "underlined" if number == 5 else ""
    return (min if "err" in names[place] else max)(numbers), "bold"


@pytest.mark.parametrize("number", PLAIN)
def test_the_best_published_numbers_are_emphasised(pending: dict[str, str], number: int) -> None:
    names, expected = printed(number)
    for row, page_row in zip(expected, rows(pending[f"table{number}.tex"]), strict=True):
        for place, (value, (text, style)) in enumerate(zip(row, page_row, strict=True)):
            if not isinstance(value, float):
                lost = f"{COMPUTED[names[place]]}" if number == 8 and names[place] in COMPUTED else "?"
                assert (text, style) == ({"-": "--", None: lost}[value], "")
                continue
            top, how = best(number, place)
            assert (float(text), style) == (value, how if value == top else ""), (number, row)


@pytest.mark.parametrize("number", PLAIN)
def test_with_the_printed_results_the_paper_view_is_the_printed_table(measured: dict[str, str], number: int) -> None:
    names, expected = printed(number)
    found = rows(measured[f"table{number}-paper.tex"])
    for line, (row, page_row) in enumerate(zip(expected, found, strict=True)):
        for place, (value, (text, style)) in enumerate(zip(row, page_row, strict=True)):
            run_here = number != 7 or line >= 12
            if value == "-" or (run_here and names[place].startswith("test_")):
                assert (text, style) == ("--", "")  # the test server's numbers cannot be measured here
            elif value is not None and (number, line, place) != DEVIATION:
                top, how = best(number, place)
                ours = "" if names[place].startswith("test_") else how  # nothing measured in these columns
                assert (text, style) == (f"{value:.2f}", ours if value == top else ""), (number, line, place)


@pytest.mark.parametrize("number", PLAIN)
def test_nothing_published_passes_for_measured(pending: dict[str, str], number: int) -> None:
    quoted = 12 if number == 7 else 0
    found = rows(pending[f"table{number}-paper.tex"])
    assert {cell for row in found[quoted:] for cell in row} == {("--", "")}
    for row, page_row in zip(printed(number)[1][:quoted], found, strict=False):
        assert [text for text, _ in page_row] == [
            f"{value:.2f}" if isinstance(value, float) else {"-": "--", None: "?"}[value] for value in row
        ]
        assert {style for _, style in page_row} == {""}
    assert "not measured yet" in pending[f"table{number}-paper.tex"]


def test_architectures_hold_their_counts_in_both_views(measured: dict[str, str]) -> None:
    page = measured["table9-paper.tex"]
    assert r"7\ensuremath{\times}9\ensuremath{\times}9, 16, G=16" in page
    counts = [parts(line) for line in lines(page)[-2:]]
    assert [re.findall(r"\d+\.\d+", " ".join(line)) for line in counts] == [["47.00", "45.37"], ["93.26", "91.81"]]
    assert r"\textbf{91.81}" in counts[1][2]
    assert r"45.37}{\textsuperscript{\mdseries 1}}\ensuremath{{}\times 10^{6}}" in counts[0][2]  # no power of 61
    assert "174-way" in page
    shown = "".join(lines(measured["table9.tex"])[-6:])
    assert [text in shown for text in ("44.91", "45.37", "+0.46")] == [True] * 3


def test_a_mini_table_is_no_table_of_a_paper(tmp_path: Path) -> None:
    (small, *_) = tables(mini=True)
    assert isinstance(small, Table)
    for row, error in zip(small.rows, (31.17, 28.5), strict=False):
        protocol = small.protocol(row, small.columns[0])
        assert row.experiment is not None
        assert protocol is not None
        save(tmp_path, row.experiment, protocol, errors=(error, 5.0), mini=True)
    pages = latex.pages(gather([small], Evidence.load(tmp_path)))
    assert set(pages) == {"mini-table2.tex", *BESIDE_OTHERS}
    assert [row[0] for row in rows(pages["mini-table2.tex"])[:3]] == [("31.17", ""), ("28.50", ""), ("pending", "")]
    assert "checks the pipeline, not the paper" in pages["mini-table2.tex"]


def compared(root: Path, *errors: float | None) -> Report:
    """Table 90 with rows of the given measured top-1 errors."""
    experiments = [OLD, NEW, replace(OLD, seed=1), replace(NEW, seed=1)]
    made = []
    for number, (experiment, error) in enumerate(zip(experiments, errors, strict=False)):
        run = replace(experiment, recipe=replace(experiment.recipe, epochs=90 + number))
        made.append(Row(f"r{number}", f"R{number}", run, (20.0, 25.56, 4.14)))
        if error is not None:
            save(root, run, errors=(error, 5.0))
    return gather([replace(TABLE, rows=(*made, TABLE.rows[-1]))], Evidence.load(root))


def test_ties_are_all_bold_and_pending_ones_do_not_compete(tmp_path: Path) -> None:
    page = latex.pages(compared(tmp_path, 21.004, 20.996, None, 22.5))["table90-paper.tex"]
    assert [row[0] for row in rows(page)] == [
        ("21.00", "bold"),
        ("21.00", "bold"),
        ("--", ""),
        ("22.50", ""),
        ("30.00", ""),
    ]


def test_one_number_is_not_the_best(tmp_path: Path) -> None:
    report = compared(tmp_path, 21.0, None)
    (sheet,) = report.sheets
    alone = replace(sheet, rows=sheet.rows[:2])
    assert latex_emphasis.measured_best(alone) == {}
    assert latex_emphasis.measured_best(sheet) == {(0, 0): "bold"}  # beside the quoted 30.00


def test_a_number_off_its_protocol_is_marked_and_never_the_best(tmp_path: Path) -> None:
    (sheet,) = compared(tmp_path, 21.0, 22.0, 23.0).sheets
    first = sheet.rows[0]
    assert first.cells[0] is not None
    off = replace(first.cells[0], departures=("a smaller crop",))
    changed = replace(sheet, rows=(replace(first, cells=(off, *first.cells[1:])), *sheet.rows[1:]))
    assert latex_emphasis.measured_best(changed) == {(1, 0): "bold"}
    for page in (latex.as_printed(changed), latex.compared(changed)):
        assert r"21.00{\textsuperscript{\mdseries \ensuremath{\ddagger}}}" in page


def test_deltas_carry_the_letter_of_their_verdict(tmp_path: Path) -> None:
    page = latex.pages(compared(tmp_path, 22.0, 18.0, 20.0, 20.1))["table90.tex"]
    found = [re.sub(r"[^a-z]", "", parts(line)[1].partition("mdseries")[2]) for line in lines(page) if "delta" in line]
    assert found == ["w", "b", "", "i"]
    assert "b BETTER, w WORSE, i INCONCLUSIVE, without a letter MATCH" in page


def test_footnotes_stand_at_their_numbers_in_both_views(measured: dict[str, str]) -> None:
    for name in ("table10.tex", "table10-paper.tex"):
        number = "44.91" if name == "table10.tex" else "45.37"
        assert rf"{number}{{\textsuperscript{{\mdseries 1}}}}" in measured[name]
        assert re.search(r"\\textsuperscript\{1\}~The printed 44\.91", measured[name])
        assert "one seed each" in measured[name]
    assert "Quoted from other papers, not run here: FCN {[}38{]}, " in measured["table7-paper.tex"]
    assert "Recipe.batch" in measured["table2.tex"]
    assert "Recipe.batch" not in measured["table2-paper.tex"]


def test_the_paper_view_tells_the_units_that_it_has(measured: dict[str, str]) -> None:
    convention = "One multiply-add is one FLOP (convention thop-2019)."
    for number, told in (
        (1, convention),
        (2, rf"Results in \%. Parameters in millions. {convention}"),
        (7, r"Results in \%."),
    ):
        assert measured[f"table{number}-paper.tex"].splitlines()[-3] == rf"{told}\par"


def test_an_underlined_number_is_as_wide_as_its_column() -> None:
    entries = [latex_numbers.Entry(text) for text in ("116.84", "36.08", "-0.5")]
    made = latex_numbers.column([*entries, latex_numbers.Entry("7.00", "12")])
    assert made.spec == r"S[table-format=+3.2{\textsuperscript{\mdseries 12}}]"
    source = made.source(latex_numbers.Entry("36.08", style="underlined"))
    assert source == r"{\phantom{+0}\underline{36.08}\phantom{{\textsuperscript{\mdseries 12}}}}"
    assert made.source(latex_numbers.Entry("1e5 & x")) == r"{1e5 \& x}"


def test_the_same_records_give_the_same_pages(tmp_path: Path) -> None:
    first, again = (
        latex.pages(gather([TABLE], found)) for found in (evidence(tmp_path / "a"), evidence(tmp_path / "b"))
    )
    assert first == again


def test_the_command_prints_tables_that_can_be_input(tmp_path: Path) -> None:
    """Both views and the sentences, each a float; what belongs into a folder beside them stays out."""
    told = CliRunner().invoke(cli, ["report", "table2", "--format", "latex", "--records", str(tmp_path)])
    assert told.exit_code == 0
    assert told.stdout.count(r"\begin{tabular}") == 3
    assert r"\documentclass" not in told.stdout
    assert r"\newcommand" not in told.stdout
    CliRunner().invoke(cli, ["report", "table2", "--format", "latex", "--output", str(tmp_path / "out")])
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"table2.tex", "table2-paper.tex", "claims.tex", *BESIDE_OTHERS}
