"""A file that ends before it says it does: cut anywhere it is found out, whole it is not suspected."""

import struct
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyconv.data.containers import missing_bytes, tells_when_shown
from tests.video_files import encode, scene

ENDINGS = ("mp4", "mov", "avi", "webm", "mkv")


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("films")
    return {ending: encode(folder / f"a.{ending}", scene(12)).read_bytes() for ending in ENDINGS}


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_what_is_cut_off_is_told_to_the_byte(
    films: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    ending = data.draw(st.sampled_from(("avi", "webm", "mkv")))  # one element that says how long all of it is
    content = films[ending]
    length = data.draw(st.integers(200, len(content)))
    path = tmp_path_factory.getbasetemp() / "cut"
    path.write_bytes(content[:length])
    assert missing_bytes(path) == len(content) - length


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_cut_through_a_box_is_told_to_its_end(
    films: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = films[data.draw(st.sampled_from(("mp4", "mov")))]
    ends = [0]  # of the boxes, one after the other: a textbook reader
    while ends[-1] < len(content):
        ends.append(ends[-1] + struct.unpack_from(">I", content, ends[-1])[0])
    assert ends[-1] == len(content)
    length = data.draw(st.integers(12, len(content)))
    inside = [(start, end) for start, end in pairwise(ends) if start + 8 <= length < end]
    path = tmp_path_factory.getbasetemp() / "cut box"
    path.write_bytes(content[:length])
    if inside or length in ends:
        assert missing_bytes(path) == (inside[0][1] - length if inside else 0)


def test_a_box_of_64_bits_and_one_to_the_end_of_the_file(tmp_path: Path) -> None:
    path, start = tmp_path / "a.mp4", struct.pack(">I4s4x", 12, b"ftyp")
    path.write_bytes(start + struct.pack(">I4sQ", 1, b"mdat", 16 + 2**33))
    assert missing_bytes(path) == 2**33
    path.write_bytes(start + struct.pack(">I4s", 0, b"mdat") + b"any length")
    assert missing_bytes(path) == 0


def test_what_declares_no_size_is_not_suspected(tmp_path: Path) -> None:
    path = tmp_path / "a"
    live = b"\x1aE\xdf\xa3\x84abcd\x18S\x80g\x01" + b"\xff" * 7 + b"clusters"  # a segment of unknown size
    endless = b"RIFF\xff\xff\xff\xffAVI LIST"
    for content in (b"", b"x", b"RIFF", b"\x1aE\xdf\xa3", b"\x1aE\xdf\xa3\x84ab", live, endless, b"text" * 9):
        path.write_bytes(content)
        assert missing_bytes(path) == 0, content


@pytest.mark.parametrize("ending", ["mp4", "mov"])
@pytest.mark.parametrize("appended", [b"\n", b"\0" * 512, b"<!-- saved from a web page -->", b"\xff" * 20])
def test_what_somebody_appended_is_not_judged(
    films: dict[str, bytes], tmp_path: Path, ending: str, appended: bytes
) -> None:
    (tmp_path / "a").write_bytes(films[ending] + appended)
    assert missing_bytes(tmp_path / "a") == 0


@given(st.binary(max_size=80), st.sampled_from((b"", b"\0\0\0\x0cftyp", b"RIFF\1\1\0\0AVI ", b"\x1aE\xdf\xa3")))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_judged(tmp_path_factory: pytest.TempPathFactory, content: bytes, start: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(start + content)
    assert missing_bytes(path) >= 0


def test_containers_that_store_times(films: dict[str, bytes], tmp_path: Path) -> None:
    for ending, content in films.items():
        (tmp_path / "a").write_bytes(content)
        assert tells_when_shown(tmp_path / "a") == (ending != "avi")
