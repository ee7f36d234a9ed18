"""`pyconv data check`: what makes a data set unusable, what makes it another than ILSVRC-2012, and the exit codes."""

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from pyconv.data import manifest, read_split
from pyconv.data.check import Finding, check, compare
from pyconv.data.ilsvrc import differences
from pyconv.data.split import Names, Split
from slurm.cli import cli
from tests.photos import WNIDS, layout


def call(*arguments: Any) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def errors(findings: Iterable[Finding]) -> list[str]:
    return [finding.text for finding in findings if finding.kind == "error"]


def synthetic(name: str, counts: list[int], classes: list[str] | None = None) -> Split:
    labels = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    wnids = classes or [f"n{number:08}" for number in range(len(counts))]
    return Split(Path("/data"), name, tuple(wnids), labels, Names.of(["x.JPEG"] * len(labels)))


def imagenet_train() -> list[int]:
    """Class sizes of ILSVRC-2012's kind: 732 to 1300, 1,281,167 in all."""
    counts = [1300] * 895 + [732] + [1124] * 104
    counts[-1] += 1_281_167 - sum(counts)
    return counts


def test_ilsvrc_itself_does_not_differ() -> None:
    assert sum(imagenet_train()) == 1_281_167
    assert list(differences(synthetic("train", imagenet_train()))) == []
    assert list(differences(synthetic("val", [50] * 1000))) == []
    assert list(differences(synthetic("tiny", [3]))) == []  # no split of the challenge


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ([50] * 999, ["999 classes, ILSVRC-2012 has 1000", "49,950 images, ILSVRC-2012 has 50,000"]),
        ([50] * 999 + [49], ["49,999 images", "1 classes have not the usual 50 images (first: n00000999 has 49)"]),
        ([49, 51] + [50] * 998, ["2 classes have not the usual 50 images (first: n00000000 has 49)"]),
    ],
)
def test_differences_are_told(counts: list[int], told: list[str]) -> None:
    found = list(differences(synthetic("val", counts)))
    assert len(found) == len(told)
    assert all(part in text for part, text in zip(told, found, strict=True))


def test_class_names_must_be_wordnet_numbers_and_the_same_in_both() -> None:
    named = synthetic("val", [50] * 1000, ["tench", *(f"n{number:08}" for number in range(1, 1000))])
    assert list(differences(named)) == ["1 class names are no WordNet numbers like n01440764 (first: tench)"]
    found = errors(compare([synthetic("train", imagenet_train()), named], ilsvrc=True))
    assert found == ["other classes than train: 2 are in one of them only (first: n00000000)"]


def test_files_that_do_not_decode_are_named(tmp_path: Path) -> None:
    root = layout(tmp_path)
    files = sorted((root / "val").rglob("*.JPEG"))
    os.truncate(files[0], 0)
    os.truncate(files[3], files[3].stat().st_size // 2)
    files[5].write_bytes(b"<html>not found</html>")
    (root / "val" / WNIDS[0] / "notes.txt").write_text("x")
    found = check(root, "val", decode=None)
    empty, broken = errors(found.findings)
    assert empty.startswith(f"1 files are empty (0 bytes); replace or delete them: val/{WNIDS[0]}/{files[0].name}")
    assert f"{files[3].name} (image file is truncated" in broken
    assert f"{files[5].name} (not an image)" in broken
    assert broken.startswith("2 files do not decode")
    assert "notes.txt" in next(finding.text for finding in found.findings if finding.kind == "note")


def test_a_png_named_jpeg_and_cmyk_are_fine(tmp_path: Path) -> None:
    root = layout(tmp_path)
    Image.new("RGB", (9, 9)).save(root / "val" / WNIDS[0] / "a.JPEG", "PNG")
    Image.new("CMYK", (9, 9)).save(root / "val" / WNIDS[0] / "b.JPEG", "JPEG")
    assert check(root, "val", decode=None).findings == []


def test_the_sample_is_the_same_each_time_and_of_the_asked_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, decoded = layout(tmp_path, per_class=8), []
    module = sys.modules["pyconv.data.check"]
    monkeypatch.setattr(module, "_decode", lambda content: decoded.append(content))
    check(root, "val", decode=5)
    first, decoded[:] = list(decoded), []
    check(root, "val", decode=5)
    assert decoded == first
    assert len(set(first)) == 5


def test_several_processes_find_what_one_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = layout(tmp_path)
    for path in sorted((root / "val").rglob("*.JPEG"))[::3]:
        os.truncate(path, 300)
    monkeypatch.setattr(sys.modules["pyconv.data.check"], "_CHUNK", 2)
    one, two = (check(root, "val", decode=None, workers=workers).findings for workers in (1, 2))
    assert one == two
    assert errors(one)[0].startswith("4 files do not decode")


def test_exit_codes(tmp_path: Path) -> None:
    root = layout(tmp_path)
    differs = call("data", "check", "imagenet", "--root", root, "--json")
    assert differs.exit_code == 1
    content = json.loads(differs.stdout)
    assert content["splits"]["val"] == manifest(root, "val")
    assert {finding["kind"] for finding in content["findings"]} == {"difference"}
    assert "3 classes, ILSVRC-2012 has 1000" in differs.stderr
    assert "if that is meant: --subset" in differs.stderr
    assert call("data", "check", "imagenet", "--root", root, "--subset").exit_code == 0
    os.truncate(root / "val" / WNIDS[0] / f"{WNIDS[0]}_0.JPEG", 10)
    unusable = call("data", "check", "imagenet", "--root", root, "--subset")
    assert unusable.exit_code == 1
    assert "cannot be used" in unusable.stderr
    assert call("data", "check", "imagenet", "--root", root, "--subset", "--decode", "0").exit_code == 0
    assert call("data", "check", "imagenet", "--root", root, "--decode", "some").exit_code == 2


def test_a_change_while_it_is_looked_at_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, module = layout(tmp_path), sys.modules["pyconv.data.check"]
    whole = module.compute

    def slowly(*arguments: Any) -> Any:
        result = whole(*arguments)
        (root / "val" / WNIDS[0] / f"{WNIDS[0]}_0.JPEG").unlink()
        return result

    monkeypatch.setattr(module, "compute", slowly)
    found = check(root, "val")
    assert errors(found.findings) == ["changed while it was looked at; check again when nobody writes"]
    assert found.kept is None


def test_shards_on_the_command_line(tmp_path: Path) -> None:
    root, shards = layout(tmp_path / "folders"), tmp_path / "shards"
    made = call("data", "shard", "imagenet", "--root", root, "--output", shards, "--size", "10KB", "--json")
    assert made.exit_code == 0, made.stderr
    assert json.loads(made.stdout)["splits"] == {split: manifest(root, split) for split in ("train", "val")}
    assert len(read_split(shards, "val")) == 12
    assert call("data", "check", "imagenet", "--root", shards, "--subset", "--decode", "all").exit_code == 0
    assert call("data", "shard", "imagenet", "--root", root, "--output", shards, "--size", "a lot").exit_code == 2
    again = call("data", "shard", "imagenet", "--root", root, "--output", shards)
    assert again.exit_code == 1
    assert "give another --output" in again.stderr
