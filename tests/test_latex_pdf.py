"""The pages compiled as a user would: all tables, running text, hostile labels, in one column and in two."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from evidence import save
from latex_pages import everything_measured
from test_report import HOSTILE, NOWHERE, hostile

from experiments import tables
from experiments.spec import Table
from results.evidence import Evidence
from results.gather import Report, gather
from results.printers import latex

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("pdflatex") is None,
        reason="needs pdflatex and siunitx (Debian: texlive-latex-recommended, texlive-science)",
    ),
]
ROOM = 1.0  # points that a box may be too wide: nobody sees them


def compiled(folder: Path, name: str) -> str:
    """The log of two faultless runs of pdflatex, in which nothing is undefined, doubled, too wide or too high."""
    environment = {**os.environ, "max_print_line": "1000"}
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", f"{name}.tex"]
    for _ in range(2):
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=120)
        assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    log = (folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")
    assert [box for box in re.findall(r"Overfull \\hbox \(([\d.]+)pt", log) if float(box) > ROOM] == []
    assert re.findall(r"(?:Warning: .*|Overfull \\vbox .*|Missing character.*)", log) == []
    return log


def text_of(pdf: Path) -> str:
    """The words of a PDF, minus signs as typed."""
    if shutil.which("pdftotext") is None:
        pytest.skip("needs pdftotext (Debian: poppler-utils)")
    done = subprocess.run(["pdftotext", "-layout", str(pdf), "-"], check=True, capture_output=True, text=True)
    return done.stdout.replace("\u2212", "-")


def write(folder: Path, pages: dict[str, str]) -> None:
    for name, page in pages.items():
        (folder / name).write_text(page, encoding="ascii")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """All tables, a quarter of a point off everywhere, and one measured row of a mini table."""
    root = tmp_path_factory.mktemp("pdf") / "records"
    everything_measured(root, shift=0.25)
    (small, *_) = minis = tables(mini=True)
    assert isinstance(small, Table)
    row = small.rows[0]
    assert row.experiment is not None
    protocol = small.protocol(row, small.columns[0])
    assert protocol is not None
    save(root, row.experiment, protocol, errors=(31.17, 0.5), mini=True)
    return gather([*tables(), *minis], Evidence.load(root))


def test_the_document_of_all_tables_holds_every_number(report: Report, tmp_path: Path) -> None:
    write(tmp_path, latex.pages(report))
    assert "(./macros.tex" in compiled(tmp_path, "tables")  # a macro that cannot be defined stops the document
    words = re.split(r"[^\d.+-]+", text_of(tmp_path / "tables.pdf"))
    for cell in report.cells:
        for text in (cell.measured_text, cell.published_text, cell.delta_text):
            found = any(word == text or word.startswith(text) for word in words)  # a mark may stand behind it
            assert found or not re.fullmatch(r"[+-]?\d+\.\d+", text), (cell.target, text)
    assert "31.17" in words
    fonts = subprocess.run(
        ["pdffonts", str(tmp_path / "tables.pdf")], check=True, capture_output=True, text=True
    ).stdout
    assert "Type 1" in fonts
    assert "Type 3" not in fonts  # bitmaps, which conferences refuse


@pytest.mark.parametrize("options", ["", "twocolumn"])
def test_both_views_and_the_macros_work_in_a_paper(report: Report, tmp_path: Path, options: str) -> None:
    """Also without any evidence, where words stand in the columns of numbers, and between tables of the paper's own."""
    empty = gather(tables(), NOWHERE)
    (tmp_path / "empty").mkdir()
    write(tmp_path, latex.pages(report))
    write(tmp_path / "empty", {n: page.replace("tab:", "tab:empty-") for n, page in latex.pages(empty).items()})
    names = [
        name.removesuffix(".tex") for name in latex.pages(empty) if name.startswith("table") and name != "tables.tex"
    ]
    refs = " ".join(rf"\ref{{tab:pyconv-{name}}}" for name in names)
    body = "".join(rf"\input{{{name}}}\input{{empty/{name}}}\clearpage" for name in names)
    running = (
        r"Ours: \pyconvTableTwoFinalTopOne, $\pyconvTableTwoFinalTopOneDelta$ from \pyconvTableTwoFinalTopOnePublished;"
        r" $x = \pyconvClaimHgFiveZeroBeatsResnetOneFiveTwoParamsRatio$, \pyconvMiniTableTwoFinalTopOne{} so far. "
    )
    (tmp_path / "paper.tex").write_text(
        rf"\documentclass[{options}]{{article}}\input{{preamble}}\input{{macros}}\begin{{document}}{running}{refs}{body}"
        r"\end{document}"
    )
    log = compiled(tmp_path, "paper")
    assert "Package: siunitx" in log
    words = " ".join(text_of(tmp_path / "paper.pdf").split())
    for text in ("Ours: 22.37, +0.25 from", "22.12; x = 2.39, pending so far."):
        assert text in words


def test_hostile_labels_are_printed_not_executed(tmp_path: Path) -> None:
    body = ""
    for number, text in enumerate(HOSTILE):
        pages = latex.pages(gather([hostile(text)], NOWHERE))
        for view in ("table90", "table90-paper"):
            page = pages[f"{view}.tex"].replace("tab:", f"tab:{number}-")
            (tmp_path / f"{number}{view}.tex").write_text(page, encoding="ascii")
            body += rf"\input{{{number}{view}}}\clearpage"
        write(tmp_path, {name: page for name, page in pages.items() if name in ("preamble.tex", "macros.tex")})
    (tmp_path / "all.tex").write_text(
        rf"\documentclass[twocolumn]{{article}}\input{{preamble}}\input{{macros}}\begin{{document}}{body}\end{{document}}"
    )
    log = compiled(tmp_path, "all")
    assert "root:" not in log + text_of(tmp_path / "all.pdf")
    assert "/etc/passwd" in text_of(tmp_path / "all.pdf")
