"""What a run reads: usable videos with labels and facts, compact; and the manifest that a record names them by."""

import hashlib
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pyconv.data import DataError, kinetics, kinetics_index
from pyconv.data.kinetics import manifest, read_kinetics
from pyconv.data.kinetics_index import write_index
from pyconv.data.video import Facts
from tests.kinetics_files import FACTS, Probe, class_folders, content, tree

TURNED = Facts(30, 640, 360, 29.97, 1.001, 90, True)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six videos that can be used and two that cannot, indexed."""
    monkeypatch.setattr(kinetics_index, "probe", Probe())
    files = {
        "val/abseiling/bad.mp4": content("corrupt"),
        "val/yoga/0.mp4": content(TURNED),
        "val/yoga/zero.mp4": b"",
        "val/zumba/x.mp4": content("corrupt"),
    }
    root = tree(class_folders(tmp_path / "kinetics"), files)
    write_index(root, "val", workers=0)
    return root


def test_usable_videos_have_label_path_and_facts(root: Path) -> None:
    split = read_kinetics(root, "val")
    places = [f"val/{label}/{n}.mp4" for label in ("abseiling", "yoga") for n in range(3)]
    assert (len(split), split.name, split.root) == (6, "val", root)
    assert split.classes == ("abseiling", "yoga", "zumba")  # a class without a usable video keeps its number
    assert [split.place(n) for n in range(6)] == places
    assert [split.path(n) for n in range(6)] == [root / place for place in places]
    assert [split.label(n) for n in range(6)] == split.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert [split.facts(n) for n in range(6)] == [FACTS, FACTS, FACTS, TURNED, FACTS, FACTS]
    skipped = {"val/abseiling/bad.mp4": "corrupt", "val/yoga/zero.mp4": "empty", "val/zumba/x.mp4": "corrupt"}
    assert dict(split.skipped) == skipped


def test_a_split_is_a_few_arrays_to_a_worker(root: Path) -> None:
    split = read_kinetics(root, "val")
    again = pickle.loads(pickle.dumps(split))
    assert [again.facts(n) for n in range(6)] == [split.facts(n) for n in range(6)]
    per_video = sum(array.nbytes for array in (split.labels, split.shapes, split.rates, split.variable)) / 6
    assert per_video == 4 + 4 * 4 + 2 * 8 + 1


def test_the_manifest_is_over_classes_names_sizes_and_content(root: Path) -> None:
    lines = []
    for label in ("abseiling", "yoga"):
        for number in range(3):
            held = (root / f"val/{label}/{number}.mp4").read_bytes()
            lines.append(f"{label}\t{number}.mp4\t{len(held)}\t{hashlib.sha256(held).hexdigest()}\n")
    assert manifest(root, "val") == {
        "samples": 6,
        "classes": 3,
        "sha256": hashlib.sha256("".join(lines).encode()).hexdigest(),
        "hashed": "class, name, size, content",
        "skipped": {"corrupt": 2, "empty": 1},
    }


def test_neither_the_place_nor_the_layout_changes_the_manifest(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(root / "val", other / "somewhere else")
    split = read_kinetics(root, "val")
    places = [*(split.place(n) for n in range(6)), *(place for place, _ in split.skipped)]
    lines = [f"{other}/somewhere else/{place[4:]},{place.split('/')[1]}" for place in places]
    (other / "val.csv").write_text("\n".join(reversed(lines)))
    write_index(other, "val", workers=0)
    assert manifest(other, "val") == manifest(root, "val")
    assert read_kinetics(other, "val").path(3) == other / "somewhere else/yoga/0.mp4"


def test_headers_alone_give_a_manifest_that_says_so(root: Path) -> None:
    shutil.rmtree(root / "index")
    write_index(root, "val", workers=0, decode=False)
    assert manifest(root, "val")["hashed"] == "class, name, size"


def test_content_changed_in_place_is_found_in_a_small_set(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = root / "val/yoga/1.mp4"
    before = manifest(root, "val")
    file.write_bytes(file.read_bytes()[::-1])
    assert len(read_kinetics(root, "val")) == 6
    with pytest.raises(DataError, match=r"yoga/1.mp4: its content changed since it was decoded; prepare this data set"):
        manifest(root, "val")
    monkeypatch.setattr(kinetics, "VERIFIED", 100)  # of a large one the index is believed
    assert manifest(root, "val") == before


def test_a_list_that_gives_other_labels_is_not_the_one_that_was_indexed(root: Path) -> None:
    (root / "val.csv").write_text("val/yoga/0.mp4,b\nval/abseiling/0.mp4,a\n")
    write_index(root, "val", workers=0)
    assert read_kinetics(root, "val").classes == ("a", "b")
    (root / "val.csv").write_text("val/yoga/0.mp4,a\nval/abseiling/0.mp4,b\n")
    with pytest.raises(DataError, match="the list or its classes changed since it was written"):
        read_kinetics(root, "val")


def test_no_torch_is_imported_to_read(root: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from pyconv.data.layouts import manifest; "
        "from pyconv.data.kinetics import read_kinetics; root = Path(sys.argv[1]); "
        "read_kinetics(root, 'val'), manifest('kinetics', root, 'val'); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(root)], check=True, stdout=subprocess.PIPE, text=True)
    assert done.stdout == "False\n"
