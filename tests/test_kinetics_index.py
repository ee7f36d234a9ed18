"""The index: every video looked at once, resumed at any byte, refused where it is not true any more."""

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyconv.data import DataError, isolated, kinetics_index
from pyconv.data.isolated import Lost
from pyconv.data.kinetics_entries import Entry, entries_of, index_file, indexed, journal_file
from pyconv.data.kinetics_index import Index, pace, write_index
from pyconv.data.video import WORDS, Facts
from tests.kinetics_files import FACTS, Probe, class_folders, content, tree
from tests.video_files import encode, scene


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Probe:
    stand_in = Probe()
    monkeypatch.setattr(kinetics_index, "probe", stand_in)
    return stand_in


def write(root: Path, **options: object) -> Index:
    return write_index(root, "val", workers=0, **options)  # type: ignore[arg-type]


FINITE = st.floats(0, 1e6)


@given(
    st.builds(Entry, st.text(), st.integers(0), st.integers(), st.none() | st.just("ab" * 32))
    | st.builds(Entry, st.text(), st.integers(-1), st.integers(), word=st.sampled_from(WORDS)),
    st.none() | st.builds(Facts, *[st.integers(1, 9**9)] * 3, FINITE, FINITE, st.integers(0, 359), st.booleans()),
)
def test_an_entry_is_a_line_and_back(entry: Entry, facts: Facts | None) -> None:
    entry = dataclasses.replace(entry, facts=facts)
    line = entry.line()
    assert line.count("\n") == 1 == len(line.splitlines())
    assert Entry.read(json.loads(line)) == entry


def test_each_video_is_looked_at_once_and_its_word_kept(tmp_path: Path, probe: Probe) -> None:
    held = {f"val/a/{word}.mp4": content(word) for word in WORDS}
    root = tree(class_folders(tmp_path), held | {"val/a/zero.mp4": b"", "val/a/ok.mp4": content()})
    (root / "val/a/gone.mp4").symlink_to("nowhere")
    (root / "val/a/folder.mp4").mkdir()
    os.mkfifo(root / "val/a/pipe.mp4")
    index = write(root)
    words = {entry.place.split("/")[2]: entry.word for entry in index.entries if entry.word}
    odd = {"zero.mp4": "empty", "gone.mp4": "missing", "folder.mp4": "folder", "pipe.mp4": "no file"}
    assert words == {f"{word}.mp4": word for word in WORDS} | odd
    assert (index.usable, len(index.entries)) == (7, 16)
    assert all(entry.facts == FACTS for entry in index.entries if entry.word is None)
    assert len(probe.asked) == 12
    before = index_file(root, "val").read_bytes()
    again = write(root)
    assert len(probe.asked) == 12
    assert (again.entries, index_file(root, "val").read_bytes()) == (index.entries, before)
    assert not journal_file(root, "val").exists()
    assert entries_of(root, "val") == indexed(root, "val")[1] == index.entries


def test_only_what_was_added_or_changed_is_looked_at_again(tmp_path: Path, probe: Probe) -> None:
    root = class_folders(tmp_path)
    write(root)
    probe.asked.clear()
    tree(root, {"val/yoga/new.mp4": content(), "val/yoga/1.mp4": content("corrupt")})
    touched = root / "val/abseiling/2.mp4"
    os.utime(touched, ns=(0, 12345))
    (root / "val/abseiling/0.mp4").unlink()
    told = r"1 videos were added \(first: val/yoga/new.mp4\), 1 videos are gone \(first: .*0.mp4\), 1 videos are of an"
    with pytest.raises(DataError, match=told):
        indexed(root, "val")
    index = write(root)
    assert sorted(probe.asked) == ["1.mp4", "2.mp4", "new.mp4"]
    fresh = tmp_path / "fresh"
    shutil.copytree(root / "val", fresh / "val")
    assert write(fresh).entries == index.entries


def test_killed_at_any_byte_it_goes_on_and_ends_the_same(tmp_path: Path, probe: Probe) -> None:
    root = tree(class_folders(tmp_path), {"val/yoga/bad.mp4": content("cut off")})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kinetics_index, "publish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            write(root)
    whole, journal = journal_file(root, "val").read_bytes(), journal_file(root, "val")
    with pytest.raises(DataError, match=r"the index is not finished; run `pyconv data prepare .*`, it goes on"):
        indexed(root, "val")
    index = write(root)
    expected = index_file(root, "val").read_bytes()
    for cut in range(0, len(whole) + 1, 29):
        index_file(root, "val").unlink()
        journal.write_bytes(whole[:cut] + b"\0" * (cut % 3))
        probe.asked.clear()
        assert write(root).entries == index.entries
        assert index_file(root, "val").read_bytes() == expected
        assert len(probe.asked) == 7 - max(0, whole[:cut].count(b"\n") - 1)


def test_a_journal_or_an_index_that_is_not_ours_is_begun_anew(tmp_path: Path, probe: Probe) -> None:
    root = class_folders(tmp_path)
    journal_file(root, "val").parent.mkdir()
    journal_file(root, "val").write_text('{"format": 99, "split": "val"}\n{"place": 3}\n')
    write(root)
    file = index_file(root, "val")
    right = file.read_bytes()
    for wrong in (right[:-1], right[:-40], right.replace(b'"frames": 250', b'"frames": 251', 1), b"", b"\n" * 3):
        file.write_bytes(wrong)
        with pytest.raises(DataError, match=r"val.jsonl: damaged, or of another version; delete it, then run"):
            indexed(root, "val")
        write(root)
        assert file.read_bytes() == right
    file.unlink()
    with pytest.raises(DataError, match=r"val.jsonl: no index yet; run `pyconv data prepare kinetics --root"):
        indexed(root, "val")
    with pytest.raises(DataError, match="no such split"):
        indexed(root, "test")
    assert len(probe.asked) == 36


def test_headers_alone_are_not_enough_for_one_that_decodes(tmp_path: Path, probe: Probe) -> None:
    root = class_folders(tmp_path)
    assert {entry.sha256 for entry in write(root, decode=False).entries} == {None}
    assert all(entry.sha256 for entry in write(root).entries)
    assert len(probe.asked) == 12
    write(root, decode=False)
    assert len(probe.asked) == 12
    write(root, again=2)
    assert len(probe.asked) == 14
    write(root, again=None)
    assert len(probe.asked) == 20


def test_broken_videos_are_skipped_or_refused_after_all_were_looked_at(tmp_path: Path, probe: Probe) -> None:
    bad = {f"val/yoga/bad{n}.mp4": content("cut off") for n in range(4)} | {"val/yoga/e\n.mp4": b""}
    root = tree(class_folders(tmp_path), bad)
    told = (
        r"5 of 11 videos of val cannot be used: 4 cut off \(val/yoga/bad0.mp4, val/yoga/bad1.mp4, val/yoga/bad2.mp4, "
        r"...\), 1 empty \('val/yoga/e\\n.mp4'\); replace or delete them, or leave them out with --broken skip"
    )
    with pytest.raises(DataError, match=told):
        write(root, broken="refuse")
    assert not index_file(root, "val").exists()
    assert len(probe.asked) == 10
    assert write(root).usable == 6
    assert len(probe.asked) == 10


def test_none_that_can_be_used_is_always_refused(tmp_path: Path, probe: Probe) -> None:
    root = tree(tmp_path, {"val/a/1.mp4": content("no frames"), "val/a/2.mp4": content("no frames")})
    with pytest.raises(DataError, match=r"2 of 2 videos of val cannot be used: 2 no frames .*replace or delete them$"):
        write(root)
    assert len(probe.asked) == 2


def test_decoders_that_crash_or_hang_are_told_and_tried_again_next_time(
    tmp_path: Path, probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = class_folders(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(isolated, "each", lambda function, tasks, _: _lossy(function, tasks))
        index = write(root)
    assert [entry.word for entry in index.entries] == ["hangs the decoder", *[None] * 4, "crashes the decoder"]
    probe.asked.clear()
    assert write(root).usable == 6
    assert probe.asked == ["0.mp4", "2.mp4"]


def _lossy(function, tasks):  # type: ignore[no-untyped-def]
    lost = {0: Lost.SLOW, 5: Lost.DIED}
    for number in random.Random(0).sample(range(6), 6):  # in any order
        yield number, lost.get(number) or function(tasks[number])


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_what_must_not_be_read_or_written_is_said(tmp_path: Path, probe: Probe) -> None:
    root = class_folders(tmp_path)
    (root / "val/yoga/1.mp4").chmod(0)
    for decode in (False, True):
        assert [entry.word for entry in write(root, decode=decode).entries if entry.word] == ["no permission"]
    (root / "val/yoga/1.mp4").chmod(0o644)
    assert write(root).usable == 6
    assert len(probe.asked) == 11
    (root / "index").chmod(0o555)
    with pytest.raises(DataError, match="index: cannot be written, and the index stands with its videos; let one prep"):
        write(root)
    (root / "index").chmod(0o755)


def test_two_at_once_are_refused_and_the_pace_is_told(tmp_path: Path, probe: Probe) -> None:
    root, said = class_folders(tmp_path), []

    def told(done: int, total: int, text: str) -> None:
        said.append((done, total, text.partition(",")[0]))
        if done == 1:
            with pytest.raises(DataError, match="another process is writing here"):
                write(root)

    write(root, told=told)
    assert said == [(n, 6, "val") for n in range(1, 7)]
    assert len(probe.asked) == 6
    assert pace(50, 150, 10.0) == "5.0 a second, 20 s left"
    assert pace(60, 3660, 30.0) == "2.0 a second, 30 min left"


@pytest.mark.slow
def test_a_process_that_is_killed_is_gone_on_with(tmp_path: Path) -> None:
    """kill -9 of the writer with its processes at work, on real videos."""
    folder = tmp_path / "val" / "a"
    folder.mkdir(parents=True)
    video = encode(tmp_path / "video.mp4", scene(60)).read_bytes()
    for number in range(60):
        (folder / f"{number:03}.mp4").write_bytes(video + b"\0\0\0\x09free" + bytes([number]))
    program = (
        "import sys; from pathlib import Path; from pyconv.data.kinetics_index import write_index; "
        "write_index(Path(sys.argv[1]), 'val', workers=2)"
    )
    writer = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)])
    journal = journal_file(tmp_path, "val")
    while not journal.exists() or journal.read_bytes().count(b"\n") < 5:
        assert writer.poll() is None
        time.sleep(0.005)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    held = journal.read_bytes().count(b"\n") - 1
    assert 4 <= held < 60
    seen: list[int] = []
    write_index(tmp_path, "val", workers=2, told=lambda _, total, __: seen.append(total))
    assert set(seen) == {60 - held}
    resumed = index_file(tmp_path, "val").read_bytes()
    shutil.rmtree(tmp_path / "index")
    write_index(tmp_path, "val", workers=0)
    assert index_file(tmp_path, "val").read_bytes() == resumed
