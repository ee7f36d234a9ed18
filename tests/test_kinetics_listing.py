"""Which videos are listed: class folders and CSV lists in every spelling, numbering of classes, clear refusals."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyconv.data import DataError
from pyconv.data.kinetics_listing import NO_FILE, Listing, listed
from pyconv.data.kinetics_lists import read_list
from tests.kinetics_files import class_folders, tree


def seen(listing: Listing) -> list[tuple[str, str]]:
    return [(listing.classes[label], place) for label, place in zip(listing.labels, listing.places, strict=True)]


def test_class_folders_are_listed_by_class_and_name(tmp_path: Path) -> None:
    root = tree(class_folders(tmp_path), {"val/yoga/notes.txt": b"x", "val/yoga/._0.mp4": b"x", "val/read.me": b"x"})
    (root / "val/yoga/9.MKV").symlink_to(root / "nowhere")
    (root / "val/yoga/8.avi").mkdir()
    found = listed(root, "val")
    assert found.classes == ("abseiling", "yoga")
    names = [("abseiling", f"{n}.mp4") for n in range(3)]
    names += [("yoga", name) for name in ("0.mp4", "1.mp4", "2.mp4", "8.avi", "9.MKV")]
    assert seen(found) == [(label, f"val/{label}/{name}") for label, name in names]
    assert found.sizes.tolist()[-2:] == [NO_FILE, NO_FILE]
    stats = [(root / place).stat() for place in [*found.places][:6]]
    assert found.sizes.tolist()[:6] == [stat.st_size for stat in stats]
    assert found.times.tolist()[:6] == [stat.st_mtime_ns for stat in stats]
    assert found.others == ("val/read.me", "val/yoga/notes.txt")


LINES = {"val/a/1.mp4": "playing, badly", "val/b/2 .mp4": 'the "drums"', "c.mp4": "yoga"}
PLAIN = 'val/a/1.mp4,"playing, badly"\nval/b/2 .mp4,"the ""drums"""\nc.mp4,yoga\n'


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        "path,label\n" + PLAIN,
        "\ufeffPath,Label\n" + PLAIN,
        PLAIN.replace("\n", "\r\n") + "\r\n\r\n",
        "label,path\n" + "\n".join(['"playing, badly",val/a/1.mp4', '"the ""drums""",val/b/2 .mp4', "yoga,./c.mp4"]),
        "path,label,seconds\n" + PLAIN.replace("\n", ",10\n"),
        PLAIN.replace("val/a", "val/x/../a").replace("c.mp4", "  c.mp4 "),
    ],
)
def test_every_spelling_of_a_list_says_the_same(text: str, tmp_path: Path) -> None:
    (tmp_path / "val.csv").write_bytes(text.encode())
    found = read_list(tmp_path / "val.csv")
    assert (found.labels, found.annotated, found.repeated) == (LINES, False, 0)


def test_paths_below_the_root_are_relative_and_others_stay_absolute(tmp_path: Path) -> None:
    root = tree(tmp_path / "k", {"x/1.mp4": b"12", "val.csv": f"{tmp_path}/k/x/1.mp4,a\n{tmp_path}/2.mp4,b\n".encode()})
    (tmp_path / "2.mp4").write_bytes(b"123")
    found = listed(root, "val")
    assert seen(found) == [("a", "x/1.mp4"), ("b", f"{tmp_path}/2.mp4")]
    assert found.sizes.tolist() == [2, 3]


def test_a_list_that_is_split_at_spaces_and_numbered_classes(tmp_path: Path) -> None:
    root = tree(tmp_path, {"my videos/1.mp4": b"", "val.csv": b"my videos/1.mp4 10\nmy videos/2.mp4 9\nb.mp4 10\n"})
    found = listed(root, "val")
    assert found.classes == ("9", "10")  # by number, not by digit
    assert seen(found) == [("9", "my videos/2.mp4"), ("10", "b.mp4"), ("10", "my videos/1.mp4")]
    assert found.sizes.tolist() == [NO_FILE, NO_FILE, 0]


def test_lines_twice_are_counted_and_contradictions_refused(tmp_path: Path) -> None:
    (tmp_path / "val.csv").write_text("a.mp4,x\nb.mp4,y\n./a.mp4,x\n")
    found = read_list(tmp_path / "val.csv")
    assert (found.labels, found.repeated) == ({"a.mp4": "x", "b.mp4": "y"}, 1)
    (tmp_path / "val.csv").write_text("a.mp4,x\nb.mp4,y\n./a.mp4,y\n")
    with pytest.raises(DataError, match=r"val.csv, line 3: a.mp4 is 'y' here and 'x' above; keep one"):
        read_list(tmp_path / "val.csv")


ANNOTATIONS = "label,youtube_id,time_start,time_end,split\n" + "".join(
    f'"{label}",{name},{start},{start + 10},validate\n'
    for label, name, start in [
        ("air drumming", "-abc", 7),
        ("air drumming", "_d-e", 120),
        ("yoga", "gone", 0),
        ("yoga", "x" * 11, 1000000),
    ]
)


def test_the_annotation_files_of_kinetics_name_files_wherever_they_are(tmp_path: Path) -> None:
    files = ["air_drumming/-abc_000007_000017.mp4", "_d-e_000120_000130.webm", "yoga/xxxxxxxxxxx_1000000_1000010.mkv"]
    others = ["yoga/unlisted_000000_000010.mp4", "yoga/-abc_000007_000017.txt", "z/-abc_000007_000017.mp4"]
    root = tree(tmp_path, {f"val/{name}": b"123" for name in (*files, *others)} | {"val.csv": ANNOTATIONS.encode()})
    found = listed(root, "val")
    assert seen(found) == [
        ("air drumming", "val/_d-e_000120_000130.webm"),
        ("air drumming", "val/air_drumming/-abc_000007_000017.mp4"),
        ("yoga", "val/yoga/gone_000000_000010.mp4"),
        ("yoga", "val/yoga/xxxxxxxxxxx_1000000_1000010.mkv"),
    ]
    assert found.sizes.tolist() == [3, 3, NO_FILE, 3]
    assert sorted(found.others) == sorted(f"val/{name}" for name in others)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "val.csv: no video in it; expected lines of path,label"),
        ("path,label\n", "no video in it"),
        ("a.mp4,x\nb.mp4\n", "val.csv, line 2: 1 fields; expected lines of path,label"),
        ("a.mp4,x,3\n", "line 1: 3 fields"),
        ("a.mp4,\n", "line 1: without a label"),
        ("path,label\n,x\n", "line 2: without a path"),
        ("a.mp4\n", "line 1: 1 fields"),
        ("video,class\na.mp4,x\n", "line 1: video is no video by its name, as x.mp4; expected lines of path,label"),
        ("youtube_id,time_start,time_end,split\nabc,1,11,test\n", "no label in its header, as for a test set"),
        (ANNOTATIONS.replace("120,", "1x,"), "line 3: .*'1x'; time_start and time_end are whole seconds"),
        ('a.mp4,"x\n' + "y" * 200_000, "val.csv: no CSV .*field larger"),
    ],
)
def test_lists_that_are_wrong_say_where(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "val.csv").write_text(text)
    with pytest.raises(DataError, match=told):
        listed(tmp_path, "val")


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (
            {"valid/a/1.mp4": b""},
            r"val: no such split \(.* holds valid\); expected val/<class>/<video> or val.csv with",
        ),
        ({"val/readme.txt": b""}, "val: no class folder; expected val/<class>/<video>"),
        ({"val/1.mp4": b"", "val/a/1.mp4": b""}, "1 videos stand outside class folders .*give their classes in .*csv"),
        ({"val/a/b/1.mp4": b"", "val/a/1.mp4": b""}, "val/a: holds the folder b; expected videos only"),
        ({"val/a/1.mp4": b"", "val/b/x.txt": b""}, "val/b: a class without videos"),
        ({"val.csv": b"a.mp4,x\nb.mp4,x\n"}, r"none of the 2 videos of val is there \(first: a.mp4\)"),
    ],
)
def test_other_layouts_are_refused(files: dict[str, bytes], told: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=told):
        listed(tree(tmp_path, files), "val")


def test_nothing_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere/val: no such split \(.*nowhere does not exist\)"):
        listed(tmp_path / "nowhere", "val")


LABEL = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\u2028\u2029"), min_size=1).map(
    str.strip
)


@given(st.dictionaries(LABEL.filter(lambda name: name and name == os.path.normpath(name)), LABEL.filter(bool)))
def test_what_a_csv_writer_writes_is_read_back(labels: dict[str, str]) -> None:
    """Quoted throughout: whatever names and labels hold, but for spaces around them."""
    import csv
    import tempfile

    labels = {f"{name}.mp4": label for name, label in labels.items() if not name.startswith("/")}
    if not labels:
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "val.csv"
        with file.open("w", newline="", encoding="utf-8") as opened:
            csv.writer(opened, quoting=csv.QUOTE_ALL).writerows([("path", "label"), *labels.items()])
        assert read_list(file).labels == labels
