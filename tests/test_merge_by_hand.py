"""Merging printed numbers that readers entered: carried over as a whole, never mixed or overwritten."""

from pathlib import Path

import pytest
from evidence import save

from results.by_hand import FILE
from results.evidence import Evidence
from results.merge import merge

LINE = '"table8/ssd50" = {{ap = {}, source = "arXiv:2006.11538v1, page 15", by = "A. Reader"}}\n'


def entered(folder: Path, number: str) -> Path:
    folder.mkdir(parents=True)
    (folder / FILE).write_text(LINE.format(number))
    return folder


def outcome(sources: list[Path], into: Path, **options: bool) -> list[tuple[str, str]]:
    return [(step.what, step.told) for step in merge(sources, into, **options).steps if step.place == FILE]


def test_it_is_copied_to_the_byte_with_the_records(tmp_path: Path) -> None:
    save(entered(tmp_path / "one", "12.34"))
    found = merge([tmp_path / "one"], tmp_path / "all")
    assert [step.what for step in found.steps] == ["copied", "copied"]
    assert (tmp_path / "all" / FILE).read_bytes() == (tmp_path / "one" / FILE).read_bytes()
    assert Evidence.load(tmp_path / "all").by_hand["table8/ssd50/ap"].number == 12.34
    assert outcome([tmp_path / "one"], tmp_path / "all") == [("already there", "")]


def test_a_dry_run_tells_it_and_writes_nothing(tmp_path: Path) -> None:
    sources = [entered(tmp_path / "one", "12.34"), entered(tmp_path / "two", "12.35")]
    assert [what for what, _ in outcome(sources, tmp_path / "all", dry_run=True)] == ["copied", "conflict"]
    assert not (tmp_path / "all").exists()


def test_the_same_numbers_written_in_another_way_are_there_already(tmp_path: Path) -> None:
    one, two = entered(tmp_path / "one", "12.34"), entered(tmp_path / "two", "12.34")
    (two / FILE).write_text("# from my copy\n" + (two / FILE).read_text())
    assert [what for what, _ in outcome([one, two], tmp_path / "all")] == ["copied", "already there"]
    assert (tmp_path / "all" / FILE).read_bytes() == (one / FILE).read_bytes()


def test_another_number_is_a_conflict_and_the_first_one_stays(tmp_path: Path) -> None:
    one, two = entered(tmp_path / "one", "12.34"), entered(tmp_path / "two", "12.35")
    found = merge([one, two], tmp_path / "all")
    assert not found.ok
    (told,) = [step.told for step in found.steps if step.what == "conflict"]
    assert told == "1 cell differs, table8/ssd50/ap among them: make one file of both"
    assert Evidence.load(tmp_path / "all").by_hand["table8/ssd50/ap"].number == 12.34


@pytest.mark.parametrize("text", ["not TOML", LINE.format('"a dozen"'), LINE.replace("ssd50", "ssd49").format("1.00")])
def test_a_file_with_a_fault_is_told_and_not_copied(tmp_path: Path, text: str) -> None:
    (entered(tmp_path / "one", "12.34") / FILE).write_text(text)
    ((what, told),) = outcome([tmp_path / "one"], tmp_path / "all")
    assert what == "invalid"
    assert told
    assert not (tmp_path / "all" / FILE).exists()
