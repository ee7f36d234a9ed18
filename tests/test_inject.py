"""Injection between markers: nothing else changes by a byte, twice is once, and what cannot be filled is told."""

import re
import stat
from pathlib import Path

import cmarkgfm
import pytest
from click.testing import CliRunner, Result
from cmarkgfm.cmark import Options
from evidence import save_count
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pyconv.architectures import resnet
from results.inject import InjectError, blocks, fill, known
from slurm.cli import cli

OPEN, CLOSE = "<!-- pyconv:table2 -->", "<!-- /pyconv:table2 -->"
NAMES = ("table2", "table3", "claims")


def filled(path: Path, text: str | bytes, **contents: str) -> str:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return fill(path, contents or {"table2": "| new |\n"}, NAMES).after.decode()


def refused(path: Path, text: str | bytes, **contents: str) -> str:
    with pytest.raises(InjectError) as told:
        filled(path, text, **contents)
    return str(told.value).replace(str(path), "FILE")


def test_what_stands_between_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    before, after = "# Title\n\ttab, trailing blanks  \n\n", "\nrest without an end"
    text = f"{before}{OPEN}\nold\nlines\n{CLOSE}\n{after}"
    assert filled(tmp_path / "a.md", text) == f"{before}{OPEN}\n\n| new |\n\n{CLOSE}\n{after}"


def test_line_ends_are_those_of_the_marker(tmp_path: Path) -> None:
    text = f"a\r\n{OPEN}\r\n{CLOSE}\r\nb\nc"
    assert filled(tmp_path / "a.md", text) == f"a\r\n{OPEN}\r\n\r\n| new |\r\n\r\n{CLOSE}\r\nb\nc"


def test_a_marker_may_stand_twice_and_others_stay(tmp_path: Path) -> None:
    block = f"{OPEN}\n{CLOSE}\n"
    other = "<!-- pyconv:table3 -->\nkept\n<!-- /pyconv:table3 -->\n"
    new = f"{OPEN}\n\n| new |\n\n{CLOSE}\n"
    assert filled(tmp_path / "a.md", block + other + block) == new + other + new


@pytest.mark.parametrize("marker", [f"  {OPEN}  ", "<!--pyconv:table2-->", f"\ufeff{OPEN}"])
def test_blanks_around_a_marker_do_not_matter(tmp_path: Path, marker: str) -> None:
    assert filled(tmp_path / "a.md", f"{marker}\n{CLOSE}") == f"{marker}\n\n| new |\n\n{CLOSE}"


@pytest.mark.parametrize("fence", ["```", "~~~~", "```markdown", "  ```"])
def test_a_marker_in_code_is_text(tmp_path: Path, fence: str) -> None:
    code = f"{fence}\n{OPEN}\nexample\n{CLOSE}\n{fence.strip().rstrip('markdown')}\n"
    text = f"{code}\n{OPEN}\n{CLOSE}\n"
    assert filled(tmp_path / "a.md", text) == f"{code}\n{OPEN}\n\n| new |\n\n{CLOSE}\n"
    assert "no marker" in refused(tmp_path / "a.md", code)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "FILE: no marker; put <!-- pyconv:table2 --> and <!-- /pyconv:table2 -->"),
        (f"words {OPEN} words\n{CLOSE} x", "FILE: no marker"),
        (f"    {OPEN}\n    {CLOSE}", "FILE: no marker"),
        (f"* item\n\n  {OPEN}\n  {CLOSE}", "FILE: no marker"),
        (f"a\n{OPEN}\nb", "FILE:2: pyconv:table2 is never closed; put <!-- /pyconv:table2 --> on a line below"),
        (f"{OPEN}\n```\n{CLOSE}\n", "FILE:1: pyconv:table2 is never closed"),
        (f"{OPEN}\n{OPEN}\n{CLOSE}", "FILE:2: pyconv:table2 opens inside pyconv:table2 of line 1"),
        (f"a\n{CLOSE}", "FILE:2: /pyconv:table2 closes nothing; put <!-- pyconv:table2 --> above it"),
        (f"{OPEN}\n<!-- /pyconv:table3 -->", "FILE:2: /pyconv:table3 closes pyconv:table2 of line 1"),
        ("<!-- pyconv:tabel2 -->\n<!-- /pyconv:tabel2 -->", "FILE:1: no table is called 'tabel2'; nearest: table2"),
        ("<!-- pyconv:claims -->\n<!-- /pyconv:claims -->", "FILE: its markers are claims; rendered is table2"),
        (b"a\xff" + OPEN.encode(), "FILE: not UTF-8 text (invalid start byte at byte 1)"),
    ],
)
def test_what_cannot_be_filled_is_told(tmp_path: Path, text: str | bytes, told: str) -> None:
    assert told in refused(tmp_path / "a.md", text)


LINES = st.sampled_from(
    [OPEN, CLOSE, "```", "````", "~~~", "~~~ x", "``` a`b", "   ```", "text", "", "| a |", "* item", "# h", "``` info"]
)


@given(st.lists(LINES, max_size=12))
@settings(max_examples=400, deadline=None)
def test_markers_are_where_github_sees_comments(lines: list[str]) -> None:
    """GitHub's parser passes a comment on as it is; in code it is escaped."""
    options = Options.CMARK_OPT_UNSAFE
    html = cmarkgfm.markdown_to_html_with_extensions("\n".join(lines) + "\n", options=options, extensions=["table"])
    seen = re.findall(f"{OPEN}|{CLOSE}", html)
    pairs = seen == [OPEN, CLOSE] * (len(seen) // 2)
    try:
        found = list(blocks([f"{line}\n" for line in lines], Path("a.md")))
    except InjectError:
        assert not pairs
    else:
        assert pairs
        assert len(found) == len(seen) // 2


PROSE = st.text(st.characters(exclude_categories=("Cs",)), max_size=60).filter(lambda t: "pyconv" not in t)


@given(before=PROSE, inside=PROSE, after=PROSE, content=PROSE, newline=st.sampled_from(["\n", "\r\n"]))
@settings(max_examples=400, deadline=None)
def test_twice_is_once_and_the_rest_is_kept(
    tmp_path_factory: pytest.TempPathFactory, before: str, inside: str, after: str, content: str, newline: str
) -> None:
    assume(not re.search(r"`{3}|~{3}", before + inside + after + content))
    content = content.replace("\r", "")
    path = tmp_path_factory.getbasetemp() / "idempotent.md"
    head, tail = f"{before}\n{OPEN}{newline}", f"{CLOSE}{newline}{after}"
    once = filled(path, f"{head}{inside}\n{tail}", table2=content)
    assert once.startswith(head)
    assert once.endswith(tail)
    between = once[len(head) : len(once) - len(tail)]
    assert between.replace(newline, "\n") == "\n" + content.rstrip("\n") + "\n\n"
    assert filled(path, once, table2=content) == once
    assert fill(path, {"table2": content}, NAMES).stale == ()


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, ["report", *words])


@pytest.fixture
def readme(tmp_path: Path) -> Path:
    """A page beside a folder of records, in a checkout."""
    save_count(tmp_path / "records", resnet(50), 25_557_032, 4_142_713_880)
    path = tmp_path / "docs" / "page.md"
    path.parent.mkdir()
    path.write_text(f"{OPEN}\n{CLOSE}\n<!-- pyconv:claims -->\nkept\n<!-- /pyconv:claims -->\n")
    return path


def test_the_command_fills_once_and_checks(readme: Path) -> None:
    words = ("table2", "--into", str(readme), "--records", str(readme.parents[1] / "records"))
    before = readme.read_bytes()
    stale = run(*words, "--check")
    assert (stale.exit_code, readme.read_bytes()) == (1, before)
    assert f"{readme}:1: table2 is not what is rendered now" in stale.stderr
    readme.chmod(0o640)
    assert run(*words).exit_code == 0
    text = readme.read_text()
    assert "[25.56][table2-r1]" in text
    assert "\nkept\n" in text
    (address,) = re.findall(r"^\[table2-r1\]: (.*)$", text, re.MULTILINE)
    assert (readme.parent / address).is_file()
    assert stat.S_IMODE(readme.stat().st_mode) == 0o640
    at = readme.stat().st_mtime_ns
    assert run(*words, "--check").exit_code == 0
    assert run(*words).exit_code == 0
    assert readme.stat().st_mtime_ns == at
    assert [path.name for path in readme.parent.iterdir()] == ["page.md"]


def test_a_link_to_the_file_stays_a_link(readme: Path) -> None:
    link = readme.parents[1] / "link.md"
    link.symlink_to(readme)
    assert run("table2", "--into", str(link), "--records", str(readme.parents[1] / "records")).exit_code == 0
    assert link.is_symlink()
    assert "25.56" in readme.read_text()


def test_one_file_that_is_refused_leaves_the_others_as_they_are(readme: Path) -> None:
    bad = readme.with_name("bad.md")
    bad.write_text(OPEN)
    before = readme.read_bytes()
    done = run("table2", "--into", str(readme), "--into", str(bad))
    assert done.exit_code == 2
    assert "never closed" in done.stderr
    assert readme.read_bytes() == before


def test_claims_and_summary_are_of_all_tables(readme: Path) -> None:
    readme.write_text(
        "<!-- pyconv:claims -->\n<!-- /pyconv:claims -->\n<!-- pyconv:summary -->\n<!-- /pyconv:summary -->"
    )
    assert "`all`" in run("table2", "--into", str(readme)).stderr
    assert run("all", "--into", str(readme)).exit_code == 0
    assert "| The paper says" in readme.read_text()
    assert "| PENDING " in readme.read_text()


@pytest.mark.parametrize("words", [("--check",), ("--into", "F", "--output", "D"), ("--into", "F", "--format", "json")])
def test_wrong_usage_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("F").write_text(f"{OPEN}\n{CLOSE}\n")
    done = run("table2", *words)
    assert done.exit_code == 2
    assert "--into" in done.stderr


def test_the_names_of_markers_are_those_of_the_targets() -> None:
    assert set(known()) >= {f"table{n}" for n in range(1, 11)} | {"mini-table2", "claims", "summary"}
